"""EASE: every item's weight towards every other, in closed form."""

from dataclasses import dataclass
from typing import Any, final

from scipy import sparse

from recllm.counts.cooccurrence import EXACT_ITEMS, HUBS, Cooccurrence
from recllm.data.catalog import Catalog
from recllm.evaluation.baselines.baseline import EVENTS, WINDOWS, Baseline, Known, Scores, grid

ALL_WEIGHTS, MOST_WEIGHTS = 8_000, 1_000
"""EASE keeps all weights up to so many items, and so many of each item above."""


@final
@dataclass(eq=False, kw_only=True)
class EASE(Baseline):
    """EASE (Steck, arXiv 1905.03375) with all its weights; `note` says what is left out where the catalog is large.

    Attributes:
        regularisation: λ.
    """

    name = "EASE"
    choices = grid(events=EVENTS, regularisation=(50.0, 200.0, 800.0, 3200.0), window=WINDOWS)
    regularisation: float = 200.0

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._weights, self.note = ease_weights(known.matrix(len(catalog)), self.regularisation)

    def _scores(self, known: Known) -> Scores:
        return as_array(known.matrix(self._items) @ self._weights)


def ease_weights(matrix: sparse.csr_array, regularisation: float) -> tuple[Scores | sparse.csr_array, str]:
    """EASE's weights [items, items], dense with all of them where that is affordable, and what was left out else."""
    items = matrix.shape[1]
    warm = int((matrix.sum(axis=0) > 0).sum())
    dense = warm <= ALL_WEIGHTS
    neighbours = max(items, 1) if dense else MOST_WEIGHTS
    weights = Cooccurrence.fit(matrix, regularisation=regularisation, neighbours=neighbours).weights
    if dense:
        return as_array(weights), ""
    note = f"of EASE's weights towards {warm:,} items with events the {neighbours} strongest of each are kept"
    if warm > EXACT_ITEMS:
        note += (
            f"; an items × items matrix is inverted for the {HUBS:,} most popular items only, what is left is "
            "regressed on each item alone"
        )
    return weights, note


def as_array(matrix: Any) -> Scores:
    """The same as an array."""
    array: Scores = matrix.toarray() if sparse.issparse(matrix) else matrix
    return array
