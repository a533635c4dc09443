"""In which order items are shown: the best first, and of equal ones the one that the hash of its id says."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recllm.data.doors import real_number, whole_number

_CELLS = 2**20
"""Users × items sorted at a time: the sort keys stay in the cache."""

_NEVER = np.iinfo(np.int64).min
"""The sort key of what may not be listed."""


def tie_order(item_ids: Sequence[str]) -> np.ndarray:
    """int64 [items]: each item's place by a hash of its id, which no catalog order can influence."""
    digests = [hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest() for item in item_ids]
    place = np.empty(len(item_ids), dtype=np.int64)
    place[sorted(range(len(item_ids)), key=digests.__getitem__)] = np.arange(len(item_ids))
    return place


def best_items(scores: np.ndarray, allowed: np.ndarray, ties: np.ndarray, n: int) -> np.ndarray:
    """Item rows of the `n` best allowed items, best first; fewer if fewer are allowed.

    Args:
        scores: float32 [items].
        allowed: bool [items].
        ties: int64 [items], decides between equal scores.
        n: Length of the list.
    """
    rows = np.flatnonzero(allowed)
    if len(rows) > 4 * n + 50:  # sorting all of a large catalog for a short list would be the slowest part
        bar = np.partition(scores[rows], len(rows) - n)[len(rows) - n]
        rows = rows[scores[rows] >= bar]
    result: np.ndarray = rows[np.lexsort((ties[rows], -scores[rows]))][:n]
    return result


def best_lists(
    scores: NDArray[np.float32], allowed: NDArray[np.bool_], ties: NDArray[np.int64], length: int
) -> NDArray[np.int32]:
    """The best items of many users at once; for each of them what `best_items` gives.

    Args:
        scores: float32 [tasks, items]; −inf (and NaN) is never listed.
        allowed: bool [tasks, items].
        ties: int64 [items]; of equal scores the item with the lower value comes first.
        length: Of the lists.

    Returns:
        int32 [tasks, length]: item rows, best first, −1 after the end.
    """
    tasks, items = scores.shape
    best = np.full((tasks, length), -1, dtype=np.int32)
    kept = min(length, items)
    order = np.argsort(ties, kind="stable")[::-1]
    place = np.empty(items, dtype=np.int64)
    place[order] = np.arange(items)
    block = max(1, _CELLS // max(items, 1))
    for start in range(0, tasks if kept else 0, block):
        some = slice(start, start + block)
        keys = _sort_keys(scores[some], allowed[some], place)
        keys = np.sort(np.partition(keys, items - kept, axis=1)[:, items - kept :], axis=1)[:, ::-1]
        best[some, :kept] = np.where(keys == _NEVER, -1, order[keys & 0xFFFFFFFF])
    return best


def _sort_keys(scores: NDArray[np.float32], allowed: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The score in the upper 32 bits, the place among ties in the lower: no two are equal, so a cut is never between.

    The bits of a float grow with it, those of negative ones the other way round.
    """
    scores = scores.astype(np.float32, copy=False) + np.float32(0)  # −0 and 0 are one score
    listable = scores > -np.inf  # not so for NaN
    bits = scores.view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = (bits.astype(np.int64) << 32) | place
    keys[~(allowed & listable)] = _NEVER
    return keys


def check_list_options(n: int, diversity: float) -> tuple[int, float]:
    """Both as plain numbers; raises ConfigError for a length below 1 or a diversity outside [0, 1]."""
    return whole_number(n, "n, the length of the list,", 1), real_number(diversity, "diversity", 0, 1)
