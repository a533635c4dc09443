"""Learning paths: what to take in which order, never something before what it needs."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from recllm.counts.order import usual_needs
from recllm.data.histories import Histories
from recllm.data.ids import read_ids
from recllm.errors import DataError
from recllm.lists.prerequisites import Prerequisites
from recllm.lists.results import Recommendations
from recllm.lists.serve import list_columns
from recllm.model.asked import histories_of
from recllm.model.fitted import Fitted
from recllm.ranking.rules import best_items, check_list_options

__all__ = ["paths"]


def paths(state: Fitted, users: Any, goal: Any, n: Any, prerequisites: Any, adapt: bool) -> Recommendations:
    """See `Recommender.path`."""
    n, _ = check_list_options(n, 0.0)
    catalog = state.model.catalog
    given = Prerequisites.read(prerequisites, catalog)
    needs = Prerequisites.of_order(usual_needs(state.counted.counts)) if given is None else given
    goals = _goals(goal, state)
    path = "the goal alone" if goals else "the best list"
    unknown = () if needs.needs else (f"nothing is known of what is taken before what, so the path is {path}.",)
    histories, notes = histories_of(state, users)
    finder = _Finder(state, needs, goals, n)
    for user, scores in enumerate(state.scores(histories, adapt, None)):
        finder.find(histories, user, scores)
    columns = list_columns(catalog, histories.user_ids, finder.rows, finder.scores)
    return Recommendations(
        **columns, **finder.reasons, user_ids=histories.user_ids, notes=(*notes, *needs.notes, *unknown, *finder.notes)
    )


def _goals(goal: Any, state: Fitted) -> list[int]:
    if goal is None:
        return []
    ids = read_ids(goal, "goal")
    rows = state.model.catalog.rows(ids)
    if not ids:
        raise DataError("goal: no item is named; write an item's id, several, or leave it out.")
    if (rows < 0).any():
        raise DataError(f"goal: item {ids[int(np.argmin(rows))]!r} is not in the catalog.")
    return list(dict.fromkeys(rows.tolist()))


@final
class _Finder:
    """Collects users' paths, and why each step is there."""

    def __init__(self, state: Fitted, needs: Prerequisites, goals: Sequence[int], n: int) -> None:
        self._model, self._needs, self._goals, self._n = state.model, needs, goals, n
        self.rows: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.notes: list[str] = []
        self.reasons: dict[str, list[Any]] = {"explanation": [], "reason_code": [], "evidence": []}

    def find(self, histories: Histories, user: int, scores: np.ndarray) -> None:
        """One user's path."""
        taken = set(histories.items_of(user).tolist())
        whole = self._to_goals(taken, scores, histories.user_ids[user]) if self._goals else self._ahead(taken, scores)
        path = whole[: self._n]
        rows = np.array(path, dtype=np.int64)
        self.rows.append(rows)
        self.scores.append(scores[rows])
        for place, row in enumerate(path):
            self._explain(row, [later for later in whole[place + 1 :] if row in self._needs.needs.get(later, ())])

    def _to_goals(self, taken: set[int], scores: np.ndarray, user: str) -> list[int]:
        """All that the goals need, and the goals; also where it is longer than a path may be."""
        wanted = {goal for goal in self._goals if goal not in taken}
        if not wanted:
            self.notes.append(f"{user!r} has all of the goal already, so the path is empty.")
        steps = set(wanted)
        for goal in wanted:
            steps |= self._needs.missing(goal, taken)
        path = list(self._needs.in_order(steps, scores))
        if len(path) > self._n:
            self.notes.append(
                f"the way to the goal has {len(path)} steps for {user!r}; these are the first {self._n}, "
                f"n={len(path)} shows all."
            )
        return path

    def _ahead(self, taken: set[int], scores: np.ndarray) -> list[int]:
        """The best of what can be reached in so many steps, each after what it needs."""
        path: list[int] = []
        have = set(taken)
        allowed = np.ones(len(scores), dtype=bool)
        allowed[list(taken)] = False
        for row in best_items(scores, allowed, self._model.ties, len(scores)).tolist():
            if row in have:
                continue
            missing = self._needs.missing(row, have)
            if len(path) + len(missing) < self._n:
                steps = [*self._needs.in_order(missing, scores), row]
                path += steps
                have.update(steps)
            if len(path) == self._n:
                break
        return path

    def _explain(self, row: int, later: Sequence[int]) -> None:
        """In words, what the step is for."""
        catalog = self._model.catalog
        ids = [catalog.item_ids[one] for one in later]
        first = catalog.titles[later[0]] if later else ""
        if row in self._goals:
            code, words = "goal", "This is the goal."
        elif later and self._needs.learned:
            code, words = "usually before", f"Most people take this before {first}."
        elif later:
            code, words = "needed", f"This is needed for {first}."
        else:
            code, words = "ready", "This suits best of what can be taken next."
        self.reasons["explanation"].append(words)
        self.reasons["reason_code"].append(code)
        self.reasons["evidence"].append({"needed_for": ids, "learned": self._needs.learned})
