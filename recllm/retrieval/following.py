"""What is taken soon after what: directed item-item weights, from the order in which people take things."""

import numpy as np
from scipy import sparse

from recllm.data.histories import Histories
from recllm.retrieval.cooccurrence import Cooccurrence, strongest

DECAY = 0.85
"""An event counts this much less for every newer one."""

FAINT = 0.1
"""Events that count less than this are left out while learning; it keeps long histories affordable."""

BLOCK = 1024
"""Items whose weights are computed together."""


def what_follows(
    histories: Histories, items: int, *, shrinkage: float, neighbours: int, horizon: int = 10
) -> Cooccurrence:
    """Weights from the items of a history to those that its user likes next.

    Every moment of every history is an example: its events A [moments, items], each weighted by `DECAY` to the number
    of newer ones, and the liked events Y among the next `horizon`, rounded up to whole timestamps. The weights are
    `W_ij = (AᵀY)_ij / ((Σ_t A_ti² + s) · sqrt(Σ_t Y_tj + s))`: the regression of each item's future on each item
    alone, less of it where it is expected anyway. These are sequential rules (Ludewig & Jannach, arXiv 1803.09587) with
    shrinkage; solving for all items jointly (SLIT, Choi et al. 2021) was no better and needs an items × items matrix.

    Args:
        histories: Whom to learn from.
        items: Size of the catalog.
        shrinkage: s.
        neighbours: Weights kept per item.
        horizon: How far to look ahead, in events.
    """
    before, after = _moments(histories, items, horizon)
    seen = np.asarray(before.power(2).sum(axis=0)).ravel()
    taken = np.asarray(after.sum(axis=0)).ravel()
    after = sparse.csr_array(after * (1 / np.sqrt(taken + shrinkage))[None, :].astype(np.float32))
    columns = sparse.csc_array(before * (1 / (seen + shrinkage))[None, :].astype(np.float32))
    parts = [
        strongest(columns[:, start : start + BLOCK].T @ after, neighbours) for start in range(0, max(items, 1), BLOCK)
    ]
    return Cooccurrence(sparse.csr_array(sparse.vstack(parts, format="csr")), DECAY)


def _moments(histories: Histories, items: int, horizon: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """CSR [moments, items]: what was known at each timestamp of each user, and what they liked next."""
    events = np.arange(histories.n_events)
    first, last = (np.repeat(edge, histories.lengths) for edge in (histories.offsets[:-1], histories.offsets[1:]))
    starts = np.flatnonzero((events == first) | np.concatenate([[True], np.diff(histories.blocks) != 0])[: len(events)])
    edges = np.append(starts, len(events))
    ends = edges[1:]
    begun = np.flatnonzero(ends < last[starts])  # something follows
    start, end = starts[begun], ends[begun]
    reach = np.minimum(end + horizon, last[start]) - 1
    until = edges[np.searchsorted(edges, reach, side="right")]
    liked = np.concatenate([[0], np.cumsum(histories.signals > 0)])
    hopeful = liked[until] > liked[end]
    start, end, until = start[hopeful], end[hopeful], until[hopeful]
    span = int(np.log(FAINT) / np.log(DECAY))
    block_end = np.repeat(ends, np.diff(edges))
    owner, rows = _ranges(np.maximum(start - span, first[start]), end)
    weights = (DECAY ** (end[owner] - block_end[rows])).astype(np.float32)
    before = sparse.csr_array((weights, (owner, histories.item_rows[rows])), shape=(len(start), items))
    owner, rows = _ranges(end, until)
    owner, rows = owner[histories.signals[rows] > 0], rows[histories.signals[rows] > 0]
    ones = np.ones(len(rows), dtype=np.float32)
    return before, sparse.csr_array((ones, (owner, histories.item_rows[rows])), shape=(len(start), items))


def _ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which range, and which number, for all numbers of all ranges."""
    lengths = stop - start
    owner = np.repeat(np.arange(len(start)), lengths)
    offsets = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) - offsets[owner] + start[owner]
