"""What history items contribute to a recommendation: a Shapley value of which only the two ends are computed.

The contribution of a history item j to a recommended item i is the mean of what goes with it last and of what comes
with it first: ``s(i | H) - s(i | H without j)`` and ``s(i | j alone) - s(i | nothing)``, where s is the score that is
served, computed again (adaptation included) on the shorter history. By the first alone, each of two causes that stand
in for each other would seem to do nothing; by the second alone, what only works together would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.histories import Histories
from recllm.explain.ranker import Floats, RankFunction, Ranking, scored

NEWEST = 50

WHOLE, EMPTY = 0, 1
_FIRST = 2


@final
@dataclass(frozen=True, eq=False)
class Contributions:
    """What history items do to scores, one at a time: the last to go, and the first to come.

    Attributes:
        causes: What was left out, oldest first: the rows of one thing's items, the newest first.
        last: [items, causes], how much each recommended item's score falls without the cause.
        first: [items, causes], how much it rises from nothing with the cause alone.
        average: [causes], the mean of both, averaged over the whole catalog.
        ranking: With the whole history (0), with none (1), and without cause k (2 + k).
    """

    causes: tuple[NDArray[np.int64], ...]
    last: Floats
    first: Floats
    average: Floats
    ranking: Ranking

    @cached_property
    def values(self) -> Floats:
        """[items, causes], the contributions."""
        return (self.last + self.first) / 2

    def without(self, cause: int) -> int:
        """The history of `ranking` that lacks this cause."""
        return _FIRST + cause


def contributions(
    rank: RankFunction,
    histories: Histories,
    user: int,
    item_rows: ArrayLike,
    groups: NDArray[np.int64],
    newest: int = NEWEST,
) -> Contributions:
    """Rank without each of the `newest` distinct things of the history, and score with each alone.

    Args:
        rank: What is served.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items], catalog rows of the recommended items.
        groups: [catalog], items of one group are one thing and are left out together.
        newest: How many to try; older ones are never left out.
    """
    items = np.asarray(item_rows, dtype=np.int64).reshape(-1)
    known = histories.items_of(user)
    causes = _causes(known, groups, newest)
    others = [known[~np.isin(known, rows)] for rows in causes]
    ranking = rank(without(histories, user, [(), known, *causes]))
    alone = scored(rank, without(histories, user, [known, *others]))
    scores, each_alone = ranking.of(items), alone.of(items)
    average = ranking.means[WHOLE] - ranking.means[_FIRST:] + alone.means[1:] - alone.means[0]
    return Contributions(
        causes=causes,
        last=scores[WHOLE][:, None] - scores[_FIRST:].T,
        first=each_alone[1:].T - each_alone[0][:, None],
        average=average / 2,
        ranking=ranking,
    )


def _causes(rows: NDArray[np.int64], groups: NDArray[np.int64], newest: int) -> tuple[NDArray[np.int64], ...]:
    things: dict[int, dict[int, None]] = {}
    for row in rows[::-1].tolist():
        things.setdefault(int(groups[row]), {})[row] = None
    return tuple(np.array(list(things[thing]), dtype=np.int64) for thing in list(things)[:newest][::-1])


def without(histories: Histories, user: int, item_rows: Sequence[ArrayLike]) -> Histories:
    """Copies of one user's history, each without all events with the items of one entry of `item_rows`."""
    copies = histories.of(np.full(len(item_rows), user))
    keep = np.ones(copies.n_events, dtype=bool)
    for copy, rows in enumerate(item_rows):
        own = slice(copies.offsets[copy], copies.offsets[copy + 1])
        keep[own] = ~np.isin(copies.item_rows[own], np.asarray(rows, dtype=np.int64))
    return copies.drop_events(keep)
