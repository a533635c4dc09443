"""What is counted of pairs of items: who took both, who liked both, and what was liked soon after what."""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts.items import canonical, csr_arrays, saved_csr, widened
from recllm.counts.matrices import binary_matrix
from recllm.counts.tally import counted_ranges
from recllm.data.histories import Histories

HORIZON = 20
"""What is liked within so many events counts as liked soon after, rounded up to a whole timestamp."""

MOST_PAIRED = 4096
"""Of a user with more events only the newest are paired: pairs grow with the square."""


@final
@dataclass(frozen=True, eq=False)
class PairCounts:
    """How many users have both of two items, and how often one was liked soon after the other.

    Attributes:
        taken: CSR int32 [items, items], users who took both, above the diagonal.
        liked: The same of users who like both; the same object where every event is liked.
        next_liked: CSR int32 [items, items], how often somebody liked j soon after an event with i.
    """

    taken: sparse.csr_array
    liked: sparse.csr_array
    next_liked: sparse.csr_array

    @classmethod
    def of(cls, histories: Histories, items: int) -> "PairCounts":
        """Of users' events, each user's newest `MOST_PAIRED`."""
        histories = histories.last(MOST_PAIRED) if histories.lengths.max(initial=0) > MOST_PAIRED else histories
        taken = taken_by_both(binary_matrix(histories, items, liked_only=False))
        liked = taken
        if not (histories.signals > 0).all():
            liked = _once(taken, taken_by_both(binary_matrix(histories, items, liked_only=True)))
        return cls(taken, liked, soon_after(histories, items))

    def __add__(self, other: "PairCounts") -> "PairCounts":
        return self._with(other, 1)

    def __sub__(self, other: "PairCounts") -> "PairCounts":
        return self._with(other, -1)

    def _with(self, other: "PairCounts", sign: int) -> "PairCounts":
        taken = canonical(self.taken + sign * other.taken)
        liked = taken
        if self.liked is not self.taken or other.liked is not other.taken:
            liked = _once(taken, canonical(self.liked + sign * other.liked))
        return PairCounts(taken, liked, canonical(self.next_liked + sign * other.next_liked))

    def extended(self, items: int) -> "PairCounts":
        """Over a catalog that has grown to `items`; nobody took the new ones yet."""
        taken = widened(self.taken, items, items)
        liked = taken if self.liked is self.taken else widened(self.liked, items, items)
        return PairCounts(taken, liked, widened(self.next_liked, items, items))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        liked = {} if self.liked is self.taken else csr_arrays(self.liked, "liked.")
        return {**csr_arrays(self.taken, "taken."), **liked, **csr_arrays(self.next_liked, "next_liked.")}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "PairCounts":
        """The inverse of `tensors`."""
        taken = saved_csr(saved.under("taken"), items, items)
        liked = saved_csr(saved.under("liked"), items, items) if "liked.data" in saved else taken
        return cls(taken, liked, saved_csr(saved.under("next_liked"), items, items))


def _once(taken: sparse.csr_array, liked: sparse.csr_array) -> sparse.csr_array:
    """`taken` where both are equal: in memory once, and written down in one way."""
    same = all(np.array_equal(getattr(taken, part), getattr(liked, part)) for part in ("indptr", "indices", "data"))
    return taken if same else liked


def taken_by_both(matrix: sparse.csr_array) -> sparse.csr_array:
    """CSR int32 [items, items], above the diagonal, of a binary matrix [users, items]: users who have both items."""
    matrix = matrix.copy()
    matrix.sum_duplicates()  # each user's items in order: behind an item are those that come above the diagonal
    matrix.eliminate_zeros()
    ends = np.repeat(matrix.indptr[1:], np.diff(matrix.indptr))
    return counted_ranges(matrix.indices, np.arange(1, matrix.nnz + 1), ends, matrix.indices, matrix.shape[1])


def soon_after(histories: Histories, items: int, horizon: int = HORIZON) -> sparse.csr_array:
    """CSR int32 [items, items]: how often somebody liked j within `horizon` events after i, whole timestamps only."""
    events = np.arange(histories.n_events)
    last = np.repeat(histories.offsets[1:], histories.lengths)
    block_ends = np.flatnonzero(np.diff(histories.blocks, append=-1) != 0) + 1  # may miss a user's last one
    reach = np.minimum(events + 1 + horizon, last) - 1
    until = events
    if len(events):
        until = np.minimum(block_ends[np.searchsorted(block_ends, reach, side="right")], last)
    liked = histories.signals > 0
    before = np.concatenate([[0], np.cumsum(liked)])  # how many liked ones there are before each event
    return counted_ranges(histories.item_rows, before[events + 1], before[until], histories.item_rows[liked], items)
