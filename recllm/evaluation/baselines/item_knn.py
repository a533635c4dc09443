"""Item-kNN: what the users of an item's users have, too."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.evaluation.baselines.baseline import EVENTS, WINDOWS, Baseline, Known, Scores, grid

BLOCK_ENTRIES = 1 << 25
"""Entries of a dense block of an items × items matrix: 128 MB."""


@final
@dataclass(eq=False, kw_only=True)
class ItemKNN(Baseline):
    """Sum of the cosines between an item and the items of the history (Deshpande & Karypis 2004).

    Attributes:
        shrinkage: Added to the denominator, so that two items shared by few users are not taken for alike.
        neighbours: Most similar items remembered of each item.
    """

    name = "item-kNN"
    choices = grid(events=EVENTS, shrinkage=(0.0, 10.0, 100.0), neighbours=(50, 200, 800), window=WINDOWS)
    shrinkage: float = 10.0
    neighbours: int = 200

    def _fit(self, catalog: Catalog, known: Known) -> None:
        matrix = known.matrix(len(catalog))
        norms = np.sqrt(known.counts(len(catalog))).astype(np.float32)
        rows = max(1, BLOCK_ENTRIES // max(len(catalog), 1))
        blocks = [
            self._block(matrix, norms, np.arange(start, min(start + rows, len(catalog))))
            for start in range(0, len(catalog), rows)
        ]
        weights = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, 0))
        self._weights = sparse.csr_array(weights).astype(np.float64)

    def _block(self, matrix: sparse.csr_array, norms: Scores, rows: NDArray[np.int64]) -> sparse.csr_array:
        """The nearest items of some: CSR [rows, items]."""
        cosines = np.asarray((matrix[:, rows].T @ matrix).todense(), dtype=np.float32)
        cosines /= np.maximum(norms[rows, None] * norms + np.float32(self.shrinkage), 1e-9)
        cosines[np.arange(len(rows)), rows] = 0.0
        if (kept := self.neighbours) < cosines.shape[1]:
            bar = np.partition(cosines, -kept, axis=1)[:, -kept, None]
            cosines[cosines < bar] = 0.0  # at the bar all stay: which of them is dropped would be up to row order
        return sparse.csr_array(cosines)

    def _scores(self, known: Known) -> Scores:
        # In float32 the order of items would decide how ties are rounded apart.
        sums: NDArray[np.float64] = (known.matrix(self._items).astype(np.float64) @ self._weights).toarray()
        return sums.astype(np.float32)
