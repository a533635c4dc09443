"""Items consumed by the same people: EASE, over all items of small catalogs and over the popular ones of large."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts.items import canonical, csr_arrays, saved_places, widened
from recllm.counts.lapack import cholesky_, inverse_
from recllm.counts.later import Later
from recllm.counts.pairs import taken_by_both

EXACT_ITEMS = 20_000
"""Up to this many items with events EASE is solved for all of them: an items × items matrix in place, 1.6 GB."""

SECONDS = 130.0
"""What that takes on one core; the time grows with the cube of the items."""

HUBS = 4096
"""In larger catalogs it is solved for this many popular items."""

ROWS = 1024
"""Rows of an items × items matrix that are looked at together."""


def affordable_items(seconds: float) -> int:
    """How many items EASE can be solved for in about this time; never fewer than the hubs of a larger catalog."""
    return int(min(max(EXACT_ITEMS * (seconds / SECONDS) ** (1 / 3), HUBS), EXACT_ITEMS))


@final
@dataclass(frozen=True, eq=False)
class Gram:
    """How many users took both of two items: all that EASE needs of a log.

    Attributes:
        diagonal: int64 [items], users who took each item.
        above: CSR int32 [items, items], users who took both, above the diagonal.
    """

    diagonal: np.ndarray
    above: sparse.csr_array

    @classmethod
    def of(cls, matrix: sparse.csr_array) -> "Gram":
        """Of a binary matrix [users, items]."""
        return cls(np.asarray(matrix.sum(axis=0, dtype=np.int64)).ravel(), taken_by_both(matrix))

    def __len__(self) -> int:
        return len(self.diagonal)

    @property
    def whole(self) -> sparse.csr_array:
        """CSR [items, items], both sides of the diagonal, which is left out."""
        return sparse.csr_array(self.above + self.above.T)

    def among(self, items: np.ndarray) -> "Gram":
        """Of these items only, in this order."""
        if (np.diff(items) > 0).all():
            return Gram(self.diagonal[items], sparse.csr_array(self.above[items][:, items]))
        return Gram(self.diagonal[items], sparse.csr_array(sparse.triu(self.whole[items][:, items], format="csr")))

    def most_popular(self, items: int) -> "Gram":
        """With the most popular items only, the others being nobody's; itself if there are no more than that."""
        if (self.diagonal > 0).sum() <= items:
            return self
        popular = np.zeros(len(self), dtype=bool)
        popular[np.argsort(-self.diagonal, kind="stable")[:items]] = True
        chosen = sparse.diags_array(popular.astype(np.int32), format="csr", dtype=np.int32)
        return Gram(self.diagonal * popular, canonical(sparse.csr_array(chosen @ self.above @ chosen)))


@final
@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """Item-item weights; a user's scores are the sum of the rows of their items.

    Attributes:
        given: The weights, or what computes them.
        decay: How much less a user's event counts for every newer one; 1: all alike.
    """

    given: sparse.csr_array | Later[sparse.csr_array]
    decay: float = 1.0

    @property
    def weights(self) -> sparse.csr_array:
        """float32 CSR [items, items], the strongest `neighbours` of each row, diagonal zero."""
        return self.given.get() if isinstance(self.given, Later) else self.given

    @classmethod
    def fit(cls, matrix: sparse.csr_array, *, regularisation: float, neighbours: int) -> "Cooccurrence":
        """EASE of a binary matrix [users, items]; see `solve`."""
        return cls(solve(Gram.of(matrix), regularisation=regularisation, neighbours=neighbours))

    @classmethod
    def of(
        cls,
        gram: Gram | Callable[[], Gram],
        *,
        regularisation: float,
        neighbours: int,
        exact_items: int | None = None,
    ) -> "Cooccurrence":
        """EASE, solved when it is first asked for; see `solve`."""
        make = partial(solve, gram, regularisation=regularisation, neighbours=neighbours, exact_items=exact_items)
        return cls(Later(make))

    @classmethod
    def empty(cls, items: int) -> "Cooccurrence":
        """Of a catalog of which nothing was taken."""
        return cls(sparse.csr_array((items, items), dtype=np.float32))

    def extended(self, items: int) -> "Cooccurrence":
        """The same weights over a catalog that has grown to `items`; new items have none."""
        return Cooccurrence(widened(self.weights, items, items), self.decay)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        return {**csr_arrays(self.weights.astype(np.float32)), "decay": np.array(self.decay)}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "Cooccurrence":
        """The inverse of `tensors`: rows that begin where the last one ends, and columns inside the catalog.

        Raises:
            ArtifactError: They are not: compiled code reads there unchecked.
        """
        data = saved.floats("data", None)
        weights = sparse.csr_array((data, *saved_places(saved, len(data), items, items)), shape=(items, items))
        return cls(weights, saved.number("decay", 0.0, 1.0))


def solve(
    gram: Gram | Callable[[], Gram], *, regularisation: float, neighbours: int, exact_items: int | None = None
) -> sparse.csr_array:
    """EASE's weights, float32 CSR [items, items].

    Up to `exact_items` items with events this is EASE (Steck, arXiv 1905.03375), `B = I − P / diag(P)` with
    `P = (G + λI)⁻¹`. Above, the `HUBS` most popular items are solved so, towards each other and towards the rest;
    every other item i gets what is left of its co-occurrence with j once the hubs have spoken, regressed on i
    alone: `B_ij = (G_ij − Σ_hubs G_ih B_hj) / (G_ii + λ)`. Of these as many are kept as it co-occurs with items: where
    that are few, the rest is what hubs leave of nothing.

    Args:
        gram: G, how many users took both of two items, or what counts it.
        regularisation: λ.
        neighbours: Weights kept per item.
        exact_items: None: `EXACT_ITEMS`.
    """
    gram = gram() if callable(gram) else gram
    warm = np.flatnonzero(gram.diagonal)
    if len(warm) <= (EXACT_ITEMS if exact_items is None else exact_items):
        weights = _ease(gram.among(warm), regularisation, neighbours)
    else:
        warm = warm[np.argsort(-gram.diagonal[warm], kind="stable")]
        weights = _ease_around_hubs(gram.among(warm), regularisation, neighbours)
    place = sparse.csr_array(
        (np.ones(len(warm), dtype=np.float32), (np.arange(len(warm)), warm)), shape=(len(warm), len(gram))
    )
    return sparse.csr_array(place.T @ weights @ place)


def _ease(gram: Gram, regularisation: float, neighbours: int) -> sparse.csr_array:
    inverse = _inverse(gram, regularisation)
    scale = np.diag(inverse).copy()
    parts = []
    for start in range(0, len(inverse), ROWS):
        weights = inverse[start : start + ROWS] / -scale
        weights[np.arange(len(weights)), start + np.arange(len(weights))] = 0.0
        parts.append(strongest(weights, neighbours))
    return _stacked(parts, len(gram))


def _inverse(gram: Gram, regularisation: float) -> np.ndarray:
    """(G + λI)⁻¹, float32 [items, items], in the memory of one such matrix.

    Counts with noise are no counts of anybody: where the matrix is not positive definite, λ is doubled until it is.
    """
    while True:
        dense = _lower(gram, regularisation)
        try:
            if len(dense):
                cholesky_(dense)
            break
        except ArithmeticError:
            regularisation *= 2
    if len(dense):
        inverse_(dense)
    for start in range(0, len(dense), ROWS):  # only the lower triangle was written
        stop = min(start + ROWS, len(dense))
        dense[start:stop, stop:] = dense[stop:, start:stop].T
        block = dense[start:stop, start:stop]
        block[:] = np.tril(block) + np.tril(block, -1).T
    return dense


def _lower(gram: Gram, regularisation: float) -> np.ndarray:
    """G + λI in Fortran's order; what is above the diagonal is not."""
    items = len(gram)
    dense = np.zeros((items, items), dtype=np.float32, order="F")
    for start in range(0, items, ROWS):  # what is above in rows is below in columns: only the lower triangle is read
        dense.T[start : start + ROWS] = gram.above[start : start + ROWS].toarray()
    dense[np.diag_indices_from(dense)] = gram.diagonal + regularisation
    return dense


def _ease_around_hubs(gram: Gram, regularisation: float, neighbours: int) -> sparse.csr_array:
    """Items are sorted by popularity, the hubs first."""
    items, whole, hubs = len(gram), gram.whole, min(HUBS, len(gram))
    inverse = _inverse(gram.among(np.arange(hubs)), regularisation)
    scale = np.diag(inverse).copy()
    across = sparse.csr_array(whole[hubs:, :hubs].astype(np.float32))
    parts = []
    for start in range(0, len(inverse), ROWS // 4):
        rows = inverse[start : start + ROWS // 4]
        among = rows / -scale
        among[np.arange(len(rows)), start + np.arange(len(rows))] = 0.0
        parts.append(strongest(np.concatenate([among, (across @ rows.T).T], axis=1), neighbours))
    solved = _stacked(parts, items)
    for start in range(hubs, items, ROWS):
        block = whole[start : start + ROWS].astype(np.float32)
        counts, own = gram.diagonal[start : start + ROWS], np.arange(start, min(start + ROWS, items))
        # What is left as one product, [−across, I] · [solved; block]: a difference would put both sides in order first.
        both = sparse.hstack([-across[own - hubs], sparse.eye_array(len(own), dtype=np.float32)], format="csr")
        left = sparse.csr_array(both @ sparse.vstack([solved, block], format="csr"))
        row = np.repeat(np.arange(len(own)), np.diff(left.indptr))
        left.data *= (1 / (counts + regularisation)).astype(np.float32)[row]
        left.data[left.indices == own[row]] = 0.0
        parts.append(_strongest_stored(left, np.minimum(np.diff(block.indptr), neighbours)))
    return _stacked(parts, items)


def strongest(weights: np.ndarray | sparse.csr_array, neighbours: int) -> sparse.csr_array:
    """CSR of the `neighbours` weights of largest magnitude in each row."""
    if sparse.issparse(weights):
        return _strongest_stored(sparse.csr_array(weights), np.full(weights.shape[0], neighbours))
    rows, columns = weights.shape
    if columns > neighbours:
        keep = np.argpartition(-np.abs(weights), neighbours - 1, axis=1)[:, :neighbours]
    else:
        keep = np.tile(np.arange(columns), (rows, 1))
    keep.sort(axis=1)
    indptr = np.arange(rows + 1) * keep.shape[1]
    result = sparse.csr_array((np.take_along_axis(weights, keep, axis=1).ravel(), keep.ravel(), indptr), weights.shape)
    result.eliminate_zeros()
    return result


def _strongest_stored(weights: sparse.csr_array, neighbours: np.ndarray) -> sparse.csr_array:
    sizes = -np.abs(weights.data)
    keep = np.ones(len(sizes), dtype=bool)
    ends = zip(weights.indptr[:-1].tolist(), weights.indptr[1:].tolist(), neighbours.tolist(), strict=True)
    for start, stop, most in ends:
        if stop - start > most:  # row by row: one sort of all rows takes ten times as long
            keep[start + np.argpartition(sizes[start:stop], max(most - 1, 0))[most:]] = False
    indptr = np.concatenate([[0], np.cumsum(keep)])[weights.indptr]
    result = sparse.csr_array((weights.data[keep], weights.indices[keep], indptr), shape=weights.shape)
    result.eliminate_zeros()
    result.sort_indices()
    return result


def _stacked(parts: list[sparse.csr_array], items: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack([sparse.csr_array((0, items), dtype=np.float32), *parts], format="csr"))
