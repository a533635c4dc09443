"""Items consumed by the same people: EASE for small catalogs, sparse item-item cosines for large ones."""

from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.linalg
from scipy import sparse

EXACT_ITEMS = 12_000
"""EASE inverts an items × items matrix; above this many items that takes too long and too much memory."""


@final
@dataclass(frozen=True)
class Cooccurrence:
    """Item-item weights; a user's scores are the sum of the rows of their items.

    Attributes:
        weights: float32 CSR [items, items], the strongest `neighbours` of each row, diagonal zero.
    """

    weights: sparse.csr_array

    @classmethod
    def fit(cls, matrix: sparse.csr_matrix, *, regularisation: float, neighbours: int) -> "Cooccurrence":
        """Weights from a binary user × item matrix.

        Up to `EXACT_ITEMS` items with events this is EASE (Steck, arXiv 1905.03375), `B = I − P / diag(P)` with
        `P = (XᵀX + λI)⁻¹`; above, cosine similarity with the same λ as shrinkage.

        Args:
            matrix: [users, items], 1 where a user has the item.
            regularisation: λ.
            neighbours: Weights kept per item.
        """
        matrix = sparse.csr_array(matrix).astype(np.float32)
        counts = np.asarray(matrix.sum(axis=0)).ravel()
        warm = np.flatnonzero(counts)
        fitted = _ease if len(warm) <= EXACT_ITEMS else _cosine
        weights = fitted(matrix[:, warm], regularisation, neighbours)
        weights.resize((len(warm), len(warm)))
        place = sparse.csr_array(
            (np.ones(len(warm), dtype=np.float32), (np.arange(len(warm)), warm)), shape=(len(warm), matrix.shape[1])
        )
        return cls(sparse.csr_array(place.T @ weights @ place))

    def scores(self, matrix: sparse.csr_array) -> np.ndarray:
        """float32 [users, items] from a user × item matrix of what is known."""
        return np.asarray((matrix @ self.weights).todense(), dtype=np.float32)

    def extended(self, items: int) -> "Cooccurrence":
        """The same weights over a catalog that has grown to `items`; new items have none."""
        weights = self.weights.copy()
        weights.resize((items, items))
        return Cooccurrence(weights)


def _ease(matrix: sparse.csr_array, regularisation: float, neighbours: int) -> sparse.csr_array:
    gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularisation
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(gram)), overwrite_b=True, check_finite=False)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return _strongest(weights.astype(np.float32), neighbours)


def _cosine(matrix: sparse.csr_array, shrinkage: float, neighbours: int) -> sparse.csr_array:
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    parts = []
    for start in range(0, matrix.shape[1], 2048):  # rows in blocks, so that the dense part stays small
        overlap = np.asarray((matrix[:, start : start + 2048].T @ matrix).todense(), dtype=np.float32)
        overlap /= norms[start : start + 2048, None] * norms[None, :] + shrinkage
        overlap[np.arange(len(overlap)), start + np.arange(len(overlap))] = 0.0
        parts.append(_strongest(overlap, neighbours))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _strongest(weights: np.ndarray, neighbours: int) -> sparse.csr_array:
    """The `neighbours` weights of largest magnitude in each row."""
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
