"""The titled rows of a page: for you, because of what you have, popular, new, by category; no item stands twice."""

import numpy as np
import torch

from recllm.data.histories import Histories
from recllm.lists.request import ListRequest
from recllm.lists.serve import Served
from recllm.ranking.rules import best_items
from recllm.serve.answers import Line, Row
from recllm.serve.live.now import Now

BECAUSE = 2
"""Of how many of the newest liked items a row is made."""

NEIGHBOURS = 100
"""Items that are most like another, among which the user's ranking chooses."""


class Rows:
    """Makes rows for one user from one ranking.

    Args:
        now: What answers.
        seen: All that the user has; one user.
        request: What may be listed.
        n: Length of a row.
    """

    def __init__(self, now: Now, seen: Histories, request: ListRequest, n: int) -> None:
        model = now.state.model
        self._model, self._n, self._seen = model, n, seen
        served = Served(model, request)
        known = served.known(seen)
        free = served.eligible(seen)
        with model.threads_for(len(known)):
            lora = now.state.adapted(known, True, None)
            batch = served.rank_all(known, lora, torch.from_numpy(free), served.asked_at(seen))
        self._scores, self._free = batch.line(0, len(model.catalog))
        self._leading = np.zeros(len(self._scores), dtype=np.int64)
        self._leading[batch.candidates.rows[0].numpy()] = batch.channels[0].argmax(dim=0).numpy()
        self.found: list[Row] = []

    def make(self, most: int) -> tuple[Row, ...]:
        """Up to `most` rows, the most personal first."""
        model, seen = self._model, self._seen
        everything = np.ones(len(self._scores), dtype=bool)
        if seen.n_events:
            self._add("Recommended for you", "for_you", None, everything)
            self._because(most)
        popularity = model.channels.popularity
        late = popularity.trend.at(np.array([popularity.trend.end]))[0]
        self._add("Popular now", "popular", None, late > 0, late)
        self._add("New here", "new", None, popularity.liked == 0)
        for category in self._categories(most):
            self._add(category, "category", category, self._model.attributes.items_valued(category))
        if not self.found:
            self._add("More to discover", "popular", None, everything)
        return tuple(self.found[:most])

    def _because(self, most: int) -> None:
        seen, catalog = self._seen, self._model.catalog
        liked = [int(row) for row in seen.item_rows[seen.signals > 0][::-1]][: min(BECAUSE, most - 2)]
        text = self._model.channels.text
        for row in liked:
            near = np.zeros(len(self._scores), dtype=bool)
            alike = (text @ text[row]).numpy()
            near[np.argpartition(-alike, min(NEIGHBOURS, len(alike) - 1))[:NEIGHBOURS]] = True
            self._add(f"Because of “{catalog.titles[row]}”", "because", catalog.item_ids[row], near)

    def _categories(self, most: int) -> list[str]:
        """Of the best items that are in no row yet, the values that are most frequent."""
        if "categories" not in self._model.catalog.frame.columns:
            return []
        best = best_items(self._scores, self._free, self._model.ties, 10 * self._n)
        values = self._model.catalog.frame["categories"][best.tolist()].to_list()
        counted: dict[str, int] = {}
        for one in (value for row in values for value in row or []):
            counted[one] = counted.get(one, 0) + 1
        common = sorted(counted, key=lambda one: (-counted[one], one))
        return [one for one in common if counted[one] >= self._n][:most]

    def _add(self, title: str, kind: str, about: str | None, which: np.ndarray, by: np.ndarray | None = None) -> None:
        """A row of the best free items of these, if there are enough to be one."""
        model = self._model
        scores = self._scores if by is None else by.astype(np.float32)
        items = best_items(scores, self._free & which, model.ties, self._n)
        if len(items) < min(self._n, 3):
            return
        self._free[items] = False
        catalog, names = model.catalog, model.channels.names
        lines = [
            Line(catalog.item_ids[item], place, float(self._scores[item]), catalog.titles[item], names[leading])
            for place, (item, leading) in enumerate(zip(items, self._leading[items], strict=True), 1)
        ]
        self.found.append(Row(title, kind, about, tuple(lines)))
