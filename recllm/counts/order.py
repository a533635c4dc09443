"""What people take first: courses that almost everybody had before another one, from the order of events."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from recllm.counts.counts import Counts

HAVE_IT = 0.85
"""Of those who took an item, this share at least took what it needs."""
BEFORE = 0.75
"""And of those who took both soon after each other, this share took what is needed first."""
SURE = 1.0
"""Both are a standard error below what was counted: of few people nothing is concluded. Chosen in planted schools of
400 and 1,500 students, of whom one in twenty or seven takes courses in any order: 98 % of what is learned is true, and
90 to 100 % of what is true is learned."""


def usual_needs(counts: Counts) -> sparse.csr_array:
    """float32 CSR [items, items]: row j has the items that people take before j, with how sure that is; no circles.

    Args:
        counts: Of the users. Where a log has no order there is nothing to learn, and no entry.
    """
    after = sparse.csr_array(counts.pairs.next_liked).astype(np.float64)
    pairs = sparse.coo_array(after)
    before, item = pairs.row, pairs.col
    forth, back = pairs.data, _at(after, item, before)
    both = _at(sparse.csr_array(counts.pairs.taken + counts.pairs.taken.T).astype(np.float64), before, item)
    taken = counts.items.taken[item].astype(np.float64)
    have, first = lower_end(np.minimum(both, taken), taken), lower_end(forth, forth + back)
    sure = (have >= HAVE_IT) & (first >= BEFORE)
    strength = (have * first)[sure].astype(np.float32)
    return _without_circles(sparse.csr_array((strength, (item[sure], before[sure])), shape=after.shape))


def lower_end(hits: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The lower end of Wilson's interval of a share, `SURE` standard errors wide; 0 where there is nothing."""
    size = np.maximum(of, 1.0)
    share, slack = hits / size, SURE**2 / size
    centre = share + slack / 2
    reach = SURE * np.sqrt(share * (1 - share) / size + slack / (4 * size))
    end: np.ndarray = np.where(of > 0, (centre - reach) / (1 + slack), 0.0)
    return end


def _at(matrix: sparse.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Entries of a sparse matrix, 0 where there is none."""
    return np.asarray(matrix[rows, columns]).ravel() if len(rows) else np.zeros(0)


def _without_circles(needs: sparse.csr_array) -> sparse.csr_array:
    """The same without the weakest of every circle."""
    while True:
        _, part = csgraph.connected_components(needs, directed=True, connection="strong")
        entries = sparse.coo_array(needs)
        inside = part[entries.row] == part[entries.col]
        if not inside.any():
            return needs
        weakest = np.full(int(part.max()) + 1, np.inf)
        np.minimum.at(weakest, part[entries.row][inside], entries.data[inside])
        keep = ~inside | (entries.data > weakest[part[entries.row]])
        needs = sparse.csr_array((entries.data[keep], (entries.row[keep], entries.col[keep])), shape=needs.shape)
