"""Weights from the items of a history to those that its user likes next."""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from scipy import sparse

from recllm.counts.cooccurrence import Cooccurrence, strongest
from recllm.counts.later import Later
from recllm.counts.pairs import HORIZON

DECAY: Final = 0.85
"""When a user is scored, an event counts this much less for every newer one."""

DISCOUNT: Final = 0.4
"""Power of an item's popularity by which its weights are divided: 0 favours popular items, 1 rare ones."""

BLOCK = 1024
"""Items whose weights are computed together."""


def next_liked(
    counts: sparse.csr_array | Callable[[], sparse.csr_array],
    *,
    shrinkage: float,
    neighbours: int,
    horizon: int = HORIZON,
) -> Cooccurrence:
    """Sequential rules, computed when they are first asked for.

    Weights are `W_ij = N_ij / ((Σ_j N_ij + s·horizon) · (Σ_i N_ij + s·horizon)^DISCOUNT)`: the share of i's followers,
    less of it where j follows everything. These are sequential rules (Ludewig & Jannach, arXiv 1803.09587) with
    shrinkage; solving for all items jointly (SLIT, Choi et al. 2021) was worse and needs an items × items matrix.

    Args:
        counts: N [items, items], how often somebody liked j soon after i, or what counts it.
        shrinkage: s, in events.
        neighbours: Weights kept per item.
        horizon: How far ahead was looked, in events.
    """
    return Cooccurrence(Later(partial(_weights, counts, shrinkage * horizon, neighbours)), DECAY)


def _weights(
    counts: sparse.csr_array | Callable[[], sparse.csr_array], shrinkage: float, neighbours: int
) -> sparse.csr_array:
    counts = counts() if callable(counts) else counts
    before, after = (np.asarray(counts.sum(axis=axis, dtype=np.int64)).ravel() for axis in (1, 0))
    often = (1 / (before + shrinkage)).astype(np.float32)
    rare = ((after + shrinkage) ** -DISCOUNT).astype(np.float32)
    parts = []
    for start in range(0, max(len(before), 1), BLOCK):
        block = counts[start : start + BLOCK].astype(np.float32)
        scaled = block * often[start : start + BLOCK, None] * rare[None, :]
        parts.append(strongest(sparse.csr_array(scaled), neighbours))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))
