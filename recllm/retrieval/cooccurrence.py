"""Items consumed by the same people: EASE, over all items of small catalogs and over the popular ones of large."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import scipy.linalg
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.errors import ArtifactError

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
@dataclass(frozen=True)
class Cooccurrence:
    """Item-item weights; a user's scores are the sum of the rows of their items.

    Attributes:
        weights: float32 CSR [items, items], the strongest `neighbours` of each row, diagonal zero.
        decay: How much less a user's event counts for every newer one; 1: all alike.
    """

    weights: sparse.csr_array
    decay: float = 1.0

    @classmethod
    def fit(
        cls, matrix: sparse.csr_matrix, *, regularisation: float, neighbours: int, exact_items: int | None = None
    ) -> "Cooccurrence":
        """Weights from a binary user × item matrix.

        Up to `exact_items` items with events this is EASE (Steck, arXiv 1905.03375), `B = I − P / diag(P)` with
        `P = (XᵀX + λI)⁻¹`. Above, the `HUBS` most popular items are solved so, towards each other and towards the rest;
        every other item i gets what is left of its co-occurrence with j once the hubs have spoken, regressed on i
        alone: `B_ij = (G_ij − Σ_hubs G_ih B_hj) / (G_ii + λ)`.

        Args:
            matrix: [users, items], 1 where a user has the item.
            regularisation: λ.
            neighbours: Weights kept per item.
            exact_items: None: `EXACT_ITEMS`.
        """
        matrix = sparse.csr_array(matrix).astype(np.float32)
        counts = np.asarray(matrix.sum(axis=0)).ravel()
        warm = np.flatnonzero(counts)
        if len(warm) <= (EXACT_ITEMS if exact_items is None else exact_items):
            weights = _ease(matrix[:, warm], regularisation, neighbours)
        else:
            warm = warm[np.argsort(-counts[warm], kind="stable")]
            weights = _ease_around_hubs(matrix[:, warm], regularisation, neighbours)
        place = sparse.csr_array(
            (np.ones(len(warm), dtype=np.float32), (np.arange(len(warm)), warm)), shape=(len(warm), matrix.shape[1])
        )
        return cls(sparse.csr_array(place.T @ weights @ place))

    @classmethod
    def empty(cls, items: int) -> "Cooccurrence":
        """Of a catalog of which nothing was taken."""
        return cls(sparse.csr_array((items, items), dtype=np.float32))

    def extended(self, items: int) -> "Cooccurrence":
        """The same weights over a catalog that has grown to `items`; new items have none."""
        weights = self.weights.copy()
        weights.resize((items, items))
        return replace(self, weights=weights)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        weights = self.weights
        return {
            "data": weights.data.astype(np.float32),
            "indices": weights.indices.astype(np.int32),
            "indptr": weights.indptr.astype(np.int64),
            "decay": np.array(self.decay),
        }

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "Cooccurrence":
        """The inverse of `tensors`: rows that begin where the last one ends, and columns inside the catalog.

        Raises:
            ArtifactError: They are not: compiled code reads there unchecked.
        """
        data = saved.floats("data", None)
        indices = saved.integers("indices", len(data), least=0, below=items, dtype=np.int32)
        indptr = saved.integers("indptr", items + 1, least=0, below=len(data) + 1)
        if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
            raise ArtifactError("the rows of weights between items do not follow each other")
        weights = sparse.csr_array((data, indices, indptr), shape=(items, items))
        return cls(weights, saved.number("decay", 0.0, 1.0))


def _ease(matrix: sparse.csr_array, regularisation: float, neighbours: int) -> sparse.csr_array:
    inverse = _inverse(matrix, regularisation)
    scale = np.diag(inverse).copy()
    parts = []
    for start in range(0, len(inverse), ROWS):
        weights = inverse[start : start + ROWS] / -scale
        weights[np.arange(len(weights)), start + np.arange(len(weights))] = 0.0
        parts.append(strongest(weights, neighbours))
    return _stacked(parts, matrix.shape[1])


def _inverse(matrix: sparse.csr_array, regularisation: float) -> np.ndarray:
    """(XᵀX + λI)⁻¹, float32 [items, items], in the memory of one such matrix."""
    items = matrix.shape[1]
    gram = np.zeros((items, items), dtype=np.float32, order="F")
    for start in range(0, items, ROWS):
        gram[:, start : start + ROWS] = (matrix.T @ matrix[:, start : start + ROWS]).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    if not items:
        return gram
    factor, info = scipy.linalg.lapack.spotrf(gram, lower=True, overwrite_a=True)
    assert info == 0, "λ above 0 keeps the matrix positive definite"
    gram, _ = scipy.linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    for start in range(0, items, ROWS):  # only the lower triangle was written
        stop = min(start + ROWS, items)
        gram[start:stop, stop:] = gram[stop:, start:stop].T
        block = gram[start:stop, start:stop]
        block[:] = np.tril(block) + np.tril(block, -1).T
    return gram


def _ease_around_hubs(matrix: sparse.csr_array, regularisation: float, neighbours: int) -> sparse.csr_array:
    """Columns are sorted by popularity, the hubs first."""
    items = matrix.shape[1]
    hubs, rest = sparse.csr_array(matrix[:, :HUBS]), sparse.csr_array(matrix[:, HUBS:])
    inverse = _inverse(hubs, regularisation)
    scale = np.diag(inverse).copy()
    across = sparse.csr_array(rest.T @ hubs)
    parts = []
    for start in range(0, len(inverse), ROWS // 4):
        rows = inverse[start : start + ROWS // 4]
        among = rows / -scale
        among[np.arange(len(rows)), start + np.arange(len(rows))] = 0.0
        parts.append(strongest(np.concatenate([among, (across @ rows.T).T], axis=1), neighbours))
    solved = _stacked(parts, items)
    for start in range(0, rest.shape[1], ROWS):
        block = sparse.csr_array(rest[:, start : start + ROWS])
        counts = np.asarray(block.sum(axis=0)).ravel()
        left = sparse.csr_array(block.T @ matrix - across[start : start + ROWS] @ solved)
        own = sparse.csr_array(
            (np.ones(len(counts), dtype=bool), (np.arange(len(counts)), HUBS + start + np.arange(len(counts)))),
            shape=left.shape,
        )
        left = left - left.multiply(own)
        parts.append(strongest(left * (1 / (counts + regularisation))[:, None].astype(np.float32), neighbours))
    return _stacked(parts, items)


def strongest(weights: np.ndarray | sparse.csr_array, neighbours: int) -> sparse.csr_array:
    """CSR of the `neighbours` weights of largest magnitude in each row."""
    if sparse.issparse(weights):
        return _strongest_stored(sparse.csr_array(weights), neighbours)
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


def _strongest_stored(weights: sparse.csr_array, neighbours: int) -> sparse.csr_array:
    sizes = -np.abs(weights.data)
    keep = np.ones(len(sizes), dtype=bool)
    for start, stop in zip(weights.indptr[:-1].tolist(), weights.indptr[1:].tolist(), strict=True):
        if stop - start > neighbours:  # row by row: one sort of all rows takes ten times as long
            keep[start + np.argpartition(sizes[start:stop], neighbours - 1)[neighbours:]] = False
    indptr = np.concatenate([[0], np.cumsum(keep)])[weights.indptr]
    result = sparse.csr_array((weights.data[keep], weights.indices[keep], indptr), shape=weights.shape)
    result.eliminate_zeros()
    return result


def _stacked(parts: list[sparse.csr_array], items: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack([sparse.csr_array((0, items), dtype=np.float32), *parts], format="csr"))


def most_popular(matrix: sparse.csr_array, items: int) -> sparse.csr_array:
    """The matrix with the events of its most popular items only; itself if there are no more than that."""
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    if (counts > 0).sum() <= items:
        return matrix
    popular = np.zeros(len(counts), dtype=bool)
    popular[np.argsort(-counts, kind="stable")[:items]] = True
    entries = matrix.tocoo()
    keep = popular[entries.col]
    return sparse.csr_array((entries.data[keep], (entries.row[keep], entries.col[keep])), shape=matrix.shape)
