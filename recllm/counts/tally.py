"""Counting pairs of items without writing the pairs down: those of thirty million events would take 20 GB."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from recllm.counts.items import narrow

AT_ONCE = 2**22
"""Pairs that are looked at together; sorting more of them leaves the processor's caches."""


def counted_ranges(
    owners: np.ndarray, start: np.ndarray, stop: np.ndarray, targets: np.ndarray, items: int
) -> sparse.csr_array:
    """CSR int32 [items, items]: how often j is among `targets[start:stop]` of an event with i.

    Args:
        owners: Each event's item [events].
        start: Where what goes with it begins [events].
        stop: Where that is over; there may be none.
        targets: Items.
        items: Size of the catalog.
    """
    lengths = np.maximum(stop - start, 0)
    some = np.flatnonzero(lengths)
    some = some[np.argsort(owners[some], kind="stable")]
    owners, start, lengths = owners[some], start[some], lengths[some]
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))  # where an item's events begin
    before = np.concatenate([[0], np.cumsum(lengths)])[np.append(firsts, len(owners))]  # pairs of earlier items
    ends = np.append(firsts[1:], len(owners))
    indptr = np.zeros(items + 1, dtype=np.int64)
    indices, data = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
    item = 0
    while item < len(firsts):
        # As many items as fit, and always one.
        until = max(int(np.searchsorted(before, before[item] + AT_ONCE, side="right")) - 1, item + 1)
        events = slice(firsts[item], ends[until - 1])
        count = _one_item if until == item + 1 else _several_items
        columns, times, each = count(owners[events], start[events], lengths[events], targets, items)
        indices.append(columns.astype(np.int32))
        data.append(times.astype(np.int32))
        indptr[owners[firsts[item:until]] + 1] = each
        item = until
    return sparse.csr_array(
        (np.concatenate(data), np.concatenate(indices), narrow(np.cumsum(indptr))), shape=(items, items)
    )


def _one_item(
    owners: np.ndarray, start: np.ndarray, lengths: np.ndarray, targets: np.ndarray, items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of events with one item, of which there may be any number: columns, how often, and how many columns [1]."""
    tally = np.zeros(items, dtype=np.int64)
    piece = np.cumsum(lengths) // AT_ONCE
    cuts = np.flatnonzero(np.diff(piece, prepend=-1, append=-1))
    for begin, end in pairwise(cuts):
        tally += np.bincount(targets[ranges(start[begin:end], lengths[begin:end])[1]], minlength=items)
    columns = np.flatnonzero(tally)
    return columns, tally[columns], np.array([len(columns)])


def _several_items(
    owners: np.ndarray, start: np.ndarray, lengths: np.ndarray, targets: np.ndarray, items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of events in the order of their items: columns, how often, and how many columns each item has [items here]."""
    row = np.cumsum(np.diff(owners, prepend=owners[:1]) != 0)
    owner, place = ranges(start, lengths)
    keys = row[owner] * items + targets[place]
    keys.sort()
    at = np.flatnonzero(np.diff(keys, prepend=-1))
    times = np.diff(at, append=len(keys))
    keys = keys[at]
    rows = np.arange(row[-1] + 1)
    each = np.diff(np.searchsorted(keys, rows * items), append=len(keys))
    return keys - np.repeat(rows * items, each), times, each


def ranges(start: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which range, and which number, for all numbers of all ranges."""
    owner = np.repeat(np.arange(len(start)), lengths)
    offsets = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) + (start - offsets)[owner]
