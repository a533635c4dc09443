"""What history items contribute to a recommendation, and which of them it cannot do without.

The contribution of a history item j to a recommended item i is ``s(i | H) - s(i | H without j)``, where s is the score
that is served, computed again (adaptation included) on the shorter history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.histories import Histories
from recllm.explain.ranker import Floats, RankFunction, Ranking

NEWEST = 50
LARGEST_SET = 5
"""A larger set of items that a recommendation depends on explains nothing to a reader."""
PAIRED = 5
"""Pairs are tried among this many of the strongest, triples among one fewer."""

_WHOLE, _EMPTY, _FIRST = 0, 1, 2


@final
@dataclass(frozen=True, eq=False)
class Contributions:
    """What leaving history items out changes, one at a time.

    Attributes:
        causes: What was left out, oldest first: the rows of one thing's items, the newest first.
        values: [items, causes], how much each recommended item's score falls.
        average: [causes], the same, averaged over the whole catalog.
        ranking: With the whole history (0), with none (1), without cause k (2 + k).
    """

    causes: tuple[NDArray[np.int64], ...]
    values: Floats
    average: Floats
    ranking: Ranking

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
    """Leave out each of the `newest` distinct things of the history and rank again, in one call of `rank`.

    Args:
        rank: What is served.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items], catalog rows of the recommended items.
        groups: [catalog], items of one group are one thing and are left out together.
        newest: How many to try; older ones are never left out.
    """
    items = np.asarray(item_rows, dtype=np.int64).reshape(-1)
    causes = _causes(histories.items_of(user), groups, newest)
    ranking = rank(without(histories, user, [(), histories.items_of(user), *causes]))
    scores = ranking.scores
    return Contributions(
        causes=causes,
        values=scores[_WHOLE, items][:, None] - scores[_FIRST:, items].T,
        average=scores[_WHOLE].mean() - scores[_FIRST:].mean(axis=1),
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


@final
@dataclass(frozen=True)
class Removal:
    """Causes (by their number) without which an item leaves the list, and the best item that then enters it."""

    causes: tuple[int, ...]
    instead: int | None


def removals(
    rank: RankFunction,
    histories: Histories,
    user: int,
    item_rows: NDArray[np.int64],
    found: Contributions,
    orders: Sequence[Sequence[int]],
    n: int,
) -> list[Removal | None]:
    """For each item, the smallest set tried without which it is not among the `n` best; None: none was found.

    Tried are single causes, then pairs and triples of the strongest, then the first four to `LARGEST_SET` of the order.
    Everything is ranked anew for each, so what is returned is true.

    Args:
        rank: What is served.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items]
        found: Their contributions.
        orders: For each item, the causes that may be named, strongest first.
        n: Length of the list.
    """
    before = found.ranking.top(_WHOLE, n)
    result: list[Removal | None] = [None] * len(item_rows)
    larger: list[tuple[int, tuple[int, ...]]] = []
    tops = {cause: found.ranking.top(found.without(cause), n) for order in orders for cause in order}
    for number, (item, order) in enumerate(zip(item_rows.tolist(), orders, strict=True)):
        if item not in before:
            continue
        alone = next((cause for cause in order if item not in tops[cause]), None)
        if alone is not None:
            result[number] = Removal((alone,), _instead(tops[alone], before))
        else:
            larger += [(number, causes) for causes in _sets(order)]
    if larger:
        sets = [np.concatenate([found.causes[cause] for cause in causes]) for _, causes in larger]
        ranking = rank(without(histories, user, sets))
        for copy, (number, causes) in enumerate(larger):
            top = ranking.top(copy, n)
            if result[number] is None and int(item_rows[number]) not in top:
                result[number] = Removal(causes, _instead(top, before))
    return result


def _sets(order: Sequence[int]) -> list[tuple[int, ...]]:
    larger = range(4, min(LARGEST_SET, len(order)) + 1)
    few = (*combinations(order[:PAIRED], 2), *combinations(order[: PAIRED - 1], 3))
    return [*few, *(tuple(order[:size]) for size in larger)]


def _instead(after: NDArray[np.int64], before: NDArray[np.int64]) -> int | None:
    fresh = after[~np.isin(after, before)]
    return int(fresh[0]) if len(fresh) else None
