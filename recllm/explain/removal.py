"""Sets of history items taken out together: without which the recommendation would not be where it is.

Where causes stand in for each other, none of them alone changes anything; so sets are tried, and what a set does is
seen by ranking anew without it. Nothing is concluded from contributions alone: they only say which sets to try.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np
from numpy.typing import NDArray

from recllm.data.histories import Histories
from recllm.explain.contributions import EMPTY, WHOLE, Contributions, without
from recllm.explain.ranker import Floats, RankFunction, Ranking

Causes = tuple[int, ...]
"""Numbers of causes, in the order of the contributions."""

LARGEST_SET = 5
"""A larger set of items that a recommendation depends on explains nothing to a reader who has to read all of them."""
SIZES = (3, 5, 8)
"""How many of the strongest are taken out together. Of eight a reason names two and counts the rest."""
MOST_ALIKE = 2
HALF_WAY = 0.5
"""A set carries an item that stays in the list all the same if this share of what the history does goes with it."""
FIRST = 0.0
"""The logarithm of the first place."""
LEAST_FALL = 0.1
"""Of what the history does: a set with which less goes carries nothing."""


@final
class Removals:
    """Ranks one user's history without sets of causes, each set once however many items it is tried for.

    Args:
        rank: What is served.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        found: The causes, and the rankings without each.
        n: Length of the list.
    """

    def __init__(self, rank: RankFunction, histories: Histories, user: int, found: Contributions, n: int) -> None:
        self._rank, self._histories, self._user, self._found, self._n = rank, histories, user, found, n
        self._tried = {frozenset([cause]): (found.ranking, found.without(cause)) for cause in range(len(found.causes))}
        self._tops: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._depths: dict[tuple[int, int, int], float] = {}
        self.before = self._top(found.ranking, WHOLE)
        self.without_history = self._top(found.ranking, EMPTY)

    def try_all(self, sets: Iterable[Causes]) -> None:
        """Rank without each of these, in one call of `rank`."""
        fresh = [one for one in dict.fromkeys(map(frozenset, sets)) if one and one not in self._tried]
        if not fresh:
            return
        rows = [np.concatenate([self._found.causes[cause] for cause in sorted(one)]) for one in fresh]
        ranking = self._rank(without(self._histories, self._user, rows))
        self._tried |= {one: (ranking, copy) for copy, one in enumerate(fresh)}

    def tried(self, causes: Causes) -> bool:
        """Whether it is known what this set does."""
        return frozenset(causes) in self._tried

    def leaves(self, causes: Causes, item: int) -> bool:
        """Whether the item is in the list, and without these is not."""
        return item in self.before and item not in self._top(*self._tried[frozenset(causes)])

    def instead(self, causes: Causes) -> int | None:
        """The best item that without these is in the list, and is not now."""
        after = self._top(*self._tried[frozenset(causes)])
        fresh = after[~np.isin(after, self.before)]
        return int(fresh[0]) if len(fresh) else None

    def falls(self, causes: Causes, item: int) -> float:
        """How far the item falls without these: 1 is as far as without any history, 0 not at all.

        Places count by their logarithm, equal scores as the middle of their places. What is first with and without a
        history is measured by its lead over the second. -inf: the history does not lift the item, so nothing can fall.
        """
        now, nothing = ((self._found.ranking, history) for history in (WHOLE, EMPTY))
        first = self._middle(*now, item) == self._middle(*nothing, item) == FIRST
        depth = self._lag if first else self._middle
        high, low, after = (depth(*one, item) for one in (now, nothing, self._tried[frozenset(causes)]))
        return -np.inf if low <= high else (after - high) / (low - high)

    def lifted(self, item: int) -> bool:
        """Whether the item stands better with the history than without; at the first place, whether its lead grows."""
        return self.falls((0,), item) > -np.inf

    def carries(self, causes: Causes, item: int) -> bool:
        """Whether it is these that carry the item.

        Without them it leaves the list, if the history brought it into the list; else it falls `HALF_WAY`.
        """
        if item in self.before and item not in self.without_history:
            return self.leaves(causes, item)
        return self.falls(causes, item) >= HALF_WAY

    def _top(self, ranking: Ranking, history: int) -> NDArray[np.int64]:
        key = (id(ranking), history)
        if key not in self._tops:
            self._tops[key] = ranking.top(history, self._n)
        return self._tops[key]

    def _middle(self, ranking: Ranking, history: int, item: int) -> float:
        key = (id(ranking), history, item)
        if key not in self._depths:
            self._depths[key] = float(np.log(ranking.middle(history, item)))
        return self._depths[key]

    def _lag(self, ranking: Ranking, history: int, item: int) -> float:
        """The item's lead over the best other, negative."""
        return -ranking.lead(history, item)


@final
@dataclass(frozen=True)
class Attempt:
    """What to take out for one recommendation: single causes, the strongest three, five and eight, and what is alike.

    Where the strongest of one size carry the item, and those of the size before do not, what lies between is tried.

    Attributes:
        item: Row of the recommended item.
        gains: float [causes], its positive contributions.
        citable: Causes that may be cited, strongest first.
        nameable: Causes that may be named as taken out, strongest first.
        alike: Causes that may be cited and have something in common.
    """

    item: int
    gains: Floats
    citable: Causes
    nameable: Causes
    alike: tuple[Causes, ...] = ()

    def coarse(self) -> list[Causes]:
        """Sets to try first."""
        return [*_strongest(self.citable), *_strongest(self.nameable), *self.alike[:MOST_ALIKE]]

    def fine(self, removals: Removals) -> list[Causes]:
        """Sets to try when it is known what the coarse ones do."""
        return [*self._between(self.citable, removals.carries), *self._between(self.nameable, removals.leaves)]

    def carrying(self, removals: Removals) -> Causes:
        """The smallest set that carries the item, else the one without which it falls most; empty: it hardly falls."""
        ordered = self._by_size(self.citable, removals.carries, self.alike[:MOST_ALIKE])
        for causes in ordered:
            if removals.carries(causes, self.item):
                return causes
        few = [causes for causes in ordered if len(causes) <= LARGEST_SET]
        best = max(few, key=lambda causes: removals.falls(causes, self.item), default=())
        return best if best and removals.falls(best, self.item) >= LEAST_FALL else ()

    def leaving(self, removals: Removals) -> Causes:
        """The smallest set of at most `LARGEST_SET` without which the item is not in the list; empty: there is none."""
        ordered = self._by_size(self.nameable, removals.leaves)
        few = (causes for causes in ordered if len(causes) <= LARGEST_SET)
        return next((causes for causes in few if removals.leaves(causes, self.item)), ())

    def _between(self, order: Causes, does: Callable[[Causes, int], bool]) -> list[Causes]:
        """What lies between a set that does it and the next smaller one that does not."""
        if any(does((cause,), self.item) for cause in order):
            return []
        size = next((len(causes) for causes in _strongest(order) if does(causes, self.item)), 0)
        pairs = combinations(order[:size], 2) if 2 < size <= SIZES[0] else ()
        return [*pairs, *(order[:less] for less in (size - 1, size - 2) if less > SIZES[0])]

    def _by_size(
        self, order: Causes, does: Callable[[Causes, int], bool], alike: Iterable[Causes] = ()
    ) -> list[Causes]:
        """All that was tried for this item, whatever was tried for others, the smallest and strongest first."""
        sets = [*((cause,) for cause in order), *_strongest(order), *self._between(order, does), *alike]
        return sorted(dict.fromkeys(sets), key=lambda causes: (len(causes), -float(self.gains[list(causes)].sum())))


def _strongest(order: Causes) -> list[Causes]:
    return list(dict.fromkeys(order[:size] for size in SIZES if order))
