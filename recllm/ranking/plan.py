"""Rules as they hold for one catalog: lists that keep all of them, as long as they allow."""

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recllm.data.attributes import Attributes
from recllm.data.values import Values
from recllm.errors import DataError
from recllm.ranking.asked import STRONGEST, Rules
from recllm.ranking.filters import below_ceiling, column_of, known_values
from recllm.ranking.limits import Counting, Limit
from recllm.ranking.rules import best_items
from recllm.ranking.variety import POOL, SPREADS, Calibration, Floats, Variety, gains_of, vectors_of
from recllm.ranking.wishes import STEP, items_meant

MOST_BOUNDS = 256
"""Ceilings whose items are remembered; users may all have their own."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@final
class Plan:
    """The rules of a request, looked up in a catalog.

    Args:
        rules: What was asked for.
        attributes: Of the catalog.
        vectors: Unit text vectors of its items, float32 [items, dim].
        ties: int64 [items], decides between equal scores.
        diversity: 0 for the best scores, up to 1 for the greatest variety.

    Raises:
        DataError: A rule names a column that is not there or has no order, or a boost means no item.
    """

    def __init__(
        self, rules: Rules, attributes: Attributes, vectors: Floats, ties: Rows, diversity: float = 0.0
    ) -> None:
        self.rules, self._vectors, self._ties, self._diversity = rules, vectors, ties, diversity
        self._catalog = attributes.catalog
        self._limits = Limit.all_of(rules, attributes)
        self._boost = _boost(rules, attributes)
        self._categories = _categories(rules, attributes) if self.varies else None
        self._below: dict[tuple[str, object], Mask] = {}
        for column, bound in (rules.ceilings or {}).items():
            column_of(self._catalog, column)
            if not isinstance(bound, Mapping):
                self._passing(column, bound)

    @property
    def varies(self) -> bool:
        """Whether lists are chosen for more than their scores."""
        return bool(self._diversity or self.rules.calibrated)

    @property
    def is_plain(self) -> bool:
        """Whether a list is the best of what may be listed."""
        return not (self.varies or self._limits or self.rules.pinned)

    @property
    def term(self) -> Float[Tensor, "items"] | None:
        """What boosts add, as `recllm.ranking.wishes.moved` does it; None without any."""
        return None if self._boost is None else torch.from_numpy(self._boost * np.float32(STEP))

    def below_ceilings(self, user: str) -> Mask:
        """bool [items]: what no ceiling of the user's forbids."""
        passing = np.ones(len(self._catalog), dtype=bool)
        for column, bound in (self.rules.ceilings or {}).items():
            if isinstance(bound, Mapping):
                if user not in bound:
                    return np.zeros_like(passing)
                bound = bound[user]
            passing &= self._passing(column, bound)
        return passing

    def why_none(self, user: str) -> str | None:
        """In words, why no item is below a user's ceilings; None if some are."""
        for column, bound in (self.rules.ceilings or {}).items():
            if isinstance(bound, Mapping) and user not in bound:
                return f"ceilings of {column} are given by user, and not for this one"
            own = bound[user] if isinstance(bound, Mapping) else bound
            if not self._passing(column, own).any():
                known = known_values(column_of(self._catalog, column), own)
                return f"no item has a {column} of at most {own}; {known}"
        return None if self.below_ceilings(user).any() else "no item is below all ceilings together"

    def rows(self, user: str, scores: Floats, eligible: Mask, n: int, liked: Rows | None = None) -> Rows:
        """The user's list: item rows, best first.

        Args:
            user: Whose it is.
            scores: float32 [items].
            eligible: bool [items], what may be listed.
            n: Length of the list; it is shorter where the rules allow no more.
            liked: Rows of what the user liked, for `calibrated`.
        """
        if self.is_plain:
            return best_items(scores, eligible, self._ties, n)
        pinned = self.pinned(user)

        def of_length(length: int, first: Sequence[int]) -> list[int]:
            return self._of_length(length, first, scores, eligible, liked)

        found = of_length(n, pinned)
        if len(found) < n and any(limit.most < 1 for limit in self._limits):
            found = self._in_order(_as_long_as_shares_allow(found, n, pinned, of_length), pinned, scores)
        return np.array(found, dtype=np.int64)

    def _in_order(self, found: list[int], pinned: Sequence[int], scores: Floats) -> list[int]:
        """What is pinned, then the rest: by score again, where it does not vary."""
        leading = [row for row in pinned if row in found]
        rest = [row for row in found if row not in leading]
        if not self.varies:
            listed = np.zeros(len(scores), dtype=bool)
            listed[rest] = True
            rest = best_items(scores, listed, self._ties, len(rest)).tolist()
        return [*leading, *rest]

    def _of_length(
        self, n: int, pinned: Sequence[int], scores: Floats, eligible: Mask, liked: Rows | None
    ) -> list[int]:
        """A list of at most `n` items with the caps of one of `n`."""
        growing = _Growing(eligible, Counting(self._limits, n), n)
        for row in pinned:
            growing.offer(row)
        if self.varies and not growing.done:
            self._vary(growing, scores, liked)
        while not growing.done:
            chunk = best_items(scores, growing.open, self._ties, 4 * n + 50)
            if not len(chunk):
                break
            for row in chunk.tolist():
                growing.offer(row)
        return growing.rows

    def _vary(self, growing: "_Growing", scores: Floats, liked: Rows | None) -> None:
        rows = best_items(scores, growing.open, self._ties, growing.length * POOL)
        first, rows = len(growing.rows), np.concatenate([np.array(growing.rows, dtype=np.int64), rows])
        gain = np.concatenate([np.zeros(first), gains_of(scores[rows[first:]])])
        shares, wanted = self._shares(rows, liked)
        spread = SPREADS[self.rules.diversity_by](vectors_of(self._vectors[rows], shares))
        calibration = Calibration(wanted / wanted.sum(), shares) if self.rules.calibrated and wanted.any() else None
        variety = Variety(gain, self._diversity, spread, self.rules.calibrated, calibration)
        for place in range(first):
            variety.take(place)
        while not growing.done:
            values = np.where(growing.open[rows], variety.values(), -np.inf)
            place = int(np.argmax(values)) if len(rows) else 0
            if not len(rows) or values[place] == -np.inf:
                return
            growing.offer(int(rows[place]))
            variety.take(place)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the rules was passed over."""
        pinned = self.rules.pinned or ()
        ids = [one for some in pinned.values() for one in some] if isinstance(pinned, Mapping) else list(pinned)
        unknown = [one for one, row in zip(ids, self._catalog.rows(ids).tolist(), strict=True) if row < 0]
        if not unknown:
            return ()
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        return (f"pinned is {unknown[0]!r}{more}, which the catalog does not have; this is passed over.",)

    def pinned(self, user: str) -> list[int]:
        """Rows of what leads the user's list where it may be listed; what the catalog does not have is passed over."""
        pinned = self.rules.pinned
        own = pinned.get(user, ()) if isinstance(pinned, Mapping) else pinned or ()
        return [row for row in self._catalog.rows(list(own)).tolist() if row >= 0]

    def _shares(self, rows: Rows, liked: Rows | None) -> tuple[Floats, Floats]:
        """[rows, categories] and [categories], of those that occur: shares in items, and sums over what was liked."""
        liked = np.zeros(0, dtype=np.int64) if liked is None else liked
        if self._categories is None:
            return np.zeros((len(rows), 0)), np.zeros(0)
        own = [self._categories.of_item(row) for row in (*rows.tolist(), *liked.tolist())]
        numbers = np.unique(np.concatenate(own)) if own else np.zeros(0, dtype=np.int64)
        shares = np.zeros((len(own), len(numbers)))
        for place, some in enumerate(own):
            shares[place, np.searchsorted(numbers, some)] = 1 / max(len(some), 1)
        return shares[: len(rows)], shares[len(rows) :].sum(axis=0)

    def _passing(self, column: str, bound: object) -> Mask:
        if bound is None:
            return np.ones(len(self._catalog), dtype=bool)
        found = self._below.get((column, bound))
        if found is None:
            if len(self._below) >= MOST_BOUNDS:
                self._below.clear()
            found = self._below[column, bound] = below_ceiling(self._catalog, column, bound)
        return found


def _as_long_as_shares_allow(
    found: list[int], n: int, pinned: Sequence[int], of_length: Callable[[int, Sequence[int]], list[int]]
) -> list[int]:
    """A share is one of the list as it is, not as it was wanted; and what a longer one allows may follow."""
    wanted = n
    while len(found) < wanted:
        wanted = len(found)
        found = of_length(wanted, pinned)
    while len(found) < n and len(more := of_length(len(found) + 1, found)) > len(found):
        found = more
    return found


@final
class _Growing:
    """A list while it grows: what may still be listed, and what is full."""

    def __init__(self, eligible: Mask, counting: Counting, length: int) -> None:
        self.open, self.length, self.rows = eligible.copy(), length, list[int]()
        self._counting = counting

    @property
    def done(self) -> bool:
        return len(self.rows) >= self.length

    def offer(self, row: int) -> None:
        """Take an item if it may be listed."""
        if self.done or not self.open[row]:
            return
        self.rows.append(row)
        self.open[row] = False
        for closed in self._counting.closed_by(row):
            self.open[closed] = False


def _boost(rules: Rules, attributes: Attributes) -> NDArray[np.float32] | None:
    """float32 [items]; None without boosts."""
    if not rules.boosted:
        return None
    term = np.zeros(len(attributes.catalog), dtype=np.float32)
    rows = attributes.catalog.rows(list(rules.boosted)).tolist()
    for (of, amount), row in zip(rules.boosted.items(), rows, strict=True):
        term[row if row >= 0 else items_meant(of, attributes)] += amount
    return np.clip(term, -STRONGEST, STRONGEST)


def _categories(rules: Rules, attributes: Attributes) -> Values | None:
    """None where no item has any."""
    values = attributes.values("categories")
    if len(values):
        return values
    if rules.calibrated:
        raise DataError("calibrated needs categories, and no item of the catalog has any; leave it out.")
    return None
