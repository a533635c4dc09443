"""Counts: everything that the counting channels know of a shop's users."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from recllm.artifact import fingerprint
from recllm.artifact.arrays import SavedArrays
from recllm.counts.items import ItemCounts
from recllm.counts.later import Later
from recllm.counts.pairs import PairCounts
from recllm.data.histories import Histories
from recllm.errors import ArtifactError


@final
@dataclass(frozen=True, eq=False)
class Counts:
    """Sums over users. Whole numbers: `a + b` and `a - b` are exact, and no order of them matters.

    `Counts.of(a) + Counts.of(b)` is what `Counts.of` makes of the users of both, as long as nobody is in both; and
    `total - Counts.of(u)` is the count of a shop that never saw u. So a user whose events change is taken out as they
    were and put in as they are, shards of a log can be counted apart, and whoever is forgotten is gone.

    Attributes:
        users: How many have events.
        events: How many they have.
        items: What is counted of single items.
        given_pairs: What is counted of pairs of items, or what counts it where it is first needed.
    """

    users: int
    events: int
    items: ItemCounts
    given_pairs: PairCounts | Later[PairCounts]

    @property
    def pairs(self) -> PairCounts:
        """What is counted of pairs of items."""
        return self.given_pairs.get() if isinstance(self.given_pairs, Later) else self.given_pairs

    @property
    def has_pairs(self) -> bool:
        """Whether pairs have been counted."""
        return not isinstance(self.given_pairs, Later) or self.given_pairs.is_made

    @classmethod
    def of(cls, histories: Histories, items: int, resolution: float, *, pairs: bool = True) -> "Counts":
        """Of the events of users.

        Args:
            histories: Each user's first event with every item.
            items: Size of the catalog.
            resolution: Seconds that a moment lasts; counts of one shop have the same (see `resolution_of`).
            pairs: Whether pairs of items are counted here, or where they are first needed.
        """
        counted = partial(PairCounts.of, histories, items)
        return cls(
            int((histories.lengths > 0).sum()),
            histories.n_events,
            ItemCounts.of(histories, items, resolution),
            counted() if pairs else Later(counted),
        )

    @property
    def resolution(self) -> float:
        """Seconds that a moment lasts."""
        return self.items.clock.resolution

    def __len__(self) -> int:
        """Size of the catalog."""
        return len(self.items.taken)

    def __repr__(self) -> str:
        return f"Counts({self.users:,} users, {self.events:,} events, {len(self):,} items)"

    def __add__(self, other: "Counts") -> "Counts":
        users, events = self.users + other.users, self.events + other.events
        return Counts(users, events, self.items + other.items, self.pairs + other.pairs)

    def __sub__(self, other: "Counts") -> "Counts":
        users, events = self.users - other.users, self.events - other.events
        pairs = partial(_difference, self, other)
        counted = pairs() if self.has_pairs and other.has_pairs else Later(pairs)
        return Counts(users, events, self.items - other.items, counted)

    def plus(self, change: "Counts", recount: Callable[[], PairCounts]) -> "Counts":
        """The sum; where pairs have not been counted yet, `recount` counts those of the sum when they are needed."""
        if self.has_pairs:
            return self + change
        users, events = self.users + change.users, self.events + change.events
        return Counts(users, events, self.items + change.items, Later(recount))

    def extended(self, items: int) -> "Counts":
        """Over a catalog that has grown to `items`; nobody took the new ones yet."""
        if items == len(self):
            return self
        pairs: PairCounts | Later[PairCounts] = Later(partial(_extended, self.given_pairs, items))
        if self.has_pairs:
            pairs = self.pairs.extended(items)
        return Counts(self.users, self.events, self.items.extended(items), pairs)

    @property
    def is_possible(self) -> bool:
        """Whether these are counts of somebody: nothing was taken away that was not in them."""
        arrays = self.tensors(pairs=self.has_pairs).values()
        return all(int(array.min(initial=0)) >= 0 for array in arrays)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(array.nbytes for array in self.tensors().values())

    def digest(self) -> str:
        """SHA-256 over every count: equal for equal counts, however they came about."""
        return fingerprint(*(part for name, array in sorted(self.tensors().items()) for part in (name, array)))

    def tensors(self, *, pairs: bool = True) -> dict[str, np.ndarray]:
        """Everything to save, by name; without pairs where they can be counted again."""
        groups = {"items": self.items.tensors()} | ({"pairs": self.pairs.tensors()} if pairs else {})
        parts = {f"{group}.{name}": array for group, arrays in groups.items() for name, array in arrays.items()}
        return {"users": np.array(self.users), "events": np.array(self.events), **parts}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, recount: Callable[[], PairCounts] | None = None) -> "Counts":
        """The inverse of `tensors`.

        Args:
            saved: The arrays.
            items: Size of the catalog.
            recount: What counts pairs where they were not saved.

        Raises:
            ArtifactError: Something is missing, of another shape or out of range.
        """
        users, events = (int(saved.integers(name, least=0, below=2**62)) for name in ("users", "events"))
        single = ItemCounts.from_tensors(saved.under("items"), items)
        if (single.taken < single.liked).any():
            raise ArtifactError("an item is liked by more users than have it")
        pairs = PairCounts.from_tensors(saved.under("pairs"), items) if recount is None else Later(recount)
        return cls(users, events, single, pairs)


def _extended(pairs: PairCounts | Later[PairCounts], items: int) -> PairCounts:
    return (pairs.get() if isinstance(pairs, Later) else pairs).extended(items)


def _difference(more: Counts, less: Counts) -> PairCounts:
    return more.pairs - less.pairs
