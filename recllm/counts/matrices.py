"""Histories as sparse matrices, users × items."""

import numpy as np
from scipy import sparse

from recllm.data.histories import Histories


def binary_matrix(histories: Histories, items: int, *, liked_only: bool) -> sparse.csr_array:
    """float32 CSR [users, items], 1 where the user has the item."""
    return weighted_matrix(liked_part(histories) if liked_only else histories, items)


def weighted_matrix(histories: Histories, items: int, decay: float = 1.0) -> sparse.csr_array:
    """float32 CSR [users, items], `decay` to the power of how many of the user's events are newer."""
    weights = (decay**histories.newer if decay < 1 else np.ones(histories.n_events)).astype(np.float32)
    matrix = sparse.csr_array(
        (weights, histories.item_rows, histories.offsets), shape=(len(histories), items), copy=True
    )
    matrix.sum_duplicates()
    np.minimum(matrix.data, 1.0, out=matrix.data)
    return matrix


def liked_part(histories: Histories) -> Histories:
    """Only the liked events; all users stay."""
    liked = histories.signals > 0
    return histories if liked.all() else histories.drop_events(liked)
