"""What others liked soon after the same events: directed item-item weights, from the order of events."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
from scipy import sparse

from recllm.data.histories import Histories
from recllm.encoders.validation import mean_ndcg
from recllm.retrieval.channel import Lesson
from recllm.retrieval.channels.cooccurrence import ItemWeights
from recllm.retrieval.cooccurrence import Cooccurrence, strongest

DECAY = 0.85
"""When a user is scored, an event counts this much less for every newer one."""

DISCOUNT = 0.4
"""Power of an item's popularity by which its weights are divided: 0 favours popular items, 1 rare ones."""

BLOCK = 1024
"""Items whose weights are computed together."""


@final
@dataclass(frozen=True)
class NextLiked(ItemWeights):
    """Sequential rules; a user's older events count less."""

    name = "next_liked"
    words = "what others liked soon after the same events"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """None where no user has events at two moments, as in a log without times."""
        if not lesson.base.blocks.any():
            return None
        config = lesson.config
        lesson.progress("count what is liked next", 0, 1)
        model = next_liked(lesson.base, lesson.items, shrinkage=config.shrinkage, neighbours=config.neighbours)
        if len(lesson.validation.query):
            lesson.figures[cls.name] = mean_ndcg(cls.scorer(model), lesson.validation)
        return cls(model)


def next_liked(
    histories: Histories, items: int, *, shrinkage: float, neighbours: int, horizon: int = 20
) -> Cooccurrence:
    """Weights from the items of a history to those that its user likes next.

    Counts N_ij: how often somebody liked j within `horizon` events after i, rounded up to a whole timestamp. Weights
    are `W_ij = N_ij / ((Σ_j N_ij + s·horizon) · (Σ_i N_ij + s·horizon)^DISCOUNT)`: the share of i's followers, less of
    it where j follows everything. These are sequential rules (Ludewig & Jannach, arXiv 1803.09587) with shrinkage;
    solving for all items jointly (SLIT, Choi et al. 2021) was worse and needs an items × items matrix.

    Args:
        histories: Whom to learn from.
        items: Size of the catalog.
        shrinkage: s, in events.
        neighbours: Weights kept per item.
        horizon: How far to look ahead, in events.
    """
    seen, next_ = _pairs(histories, items, horizon)
    before, after = np.asarray(seen.T @ next_.sum(axis=1)).ravel(), np.asarray(next_.sum(axis=0)).ravel()
    rare = (after + shrinkage * horizon) ** -DISCOUNT
    next_ = sparse.csr_array(next_ * rare[None, :].astype(np.float32))
    columns = sparse.csc_array(seen * (1 / (before + shrinkage * horizon))[None, :].astype(np.float32))
    parts = [
        strongest(columns[:, start : start + BLOCK].T @ next_, neighbours) for start in range(0, max(items, 1), BLOCK)
    ]
    return Cooccurrence(sparse.csr_array(sparse.vstack(parts, format="csr")), DECAY)


def _pairs(histories: Histories, items: int, horizon: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """CSR [events, items]: each event's item, and what its user liked soon after it."""
    events = np.arange(histories.n_events)
    last = np.repeat(histories.offsets[1:], histories.lengths)
    block_ends = np.flatnonzero(np.diff(histories.blocks, append=-1) != 0) + 1  # may miss a user's last one
    reach = np.minimum(events + 1 + horizon, last) - 1
    until = events
    if len(events):
        until = np.minimum(block_ends[np.searchsorted(block_ends, reach, side="right")], last)
    owner, rows = _ranges(events + 1, until)
    liked = histories.signals[rows] > 0
    owner, rows = owner[liked], rows[liked]
    ones = np.ones(max(len(events), len(rows)), dtype=np.float32)
    shape = (len(events), items)
    seen = sparse.csr_array((ones[: len(events)], (events, histories.item_rows)), shape=shape)
    return seen, sparse.csr_array((ones[: len(rows)], (owner, histories.item_rows[rows])), shape=shape)


def _ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which range, and which number, for all numbers of all ranges."""
    lengths = stop - start
    owner = np.repeat(np.arange(len(start)), lengths)
    offsets = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) - offsets[owner] + start[owner]
