"""Pairs are counted piece by piece: whatever fits into a piece, the counts are the same, and memory is the piece's."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.counts import tally
from recllm.counts.tally import counted_ranges

ITEMS = 5

events = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 12), st.integers(0, 12)), max_size=20)
targets = st.lists(st.integers(0, ITEMS - 1), min_size=12, max_size=12)


@settings(deadline=None)
@given(events, targets, st.integers(1, 30))
def test_every_pair_is_counted_whatever_fits_into_a_piece(log: list, goals: list, piece: int) -> None:
    expected = np.zeros((ITEMS, ITEMS), dtype=int)
    for owner, start, stop in log:
        for goal in goals[start:stop]:
            expected[owner, goal] += 1
    owner, start, stop = np.array(log, dtype=np.int64).reshape(-1, 3).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "AT_ONCE", piece)
        found = counted_ranges(owner, start, stop, np.array(goals), ITEMS)
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.has_canonical_format
    assert (found.data.dtype, found.indices.dtype, found.indptr.dtype) == (np.int32, np.int32, np.int32)


def test_a_popular_item_with_more_pairs_than_fit_takes_the_memory_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "AT_ONCE", 2**12)
    users, basket = 2_000, 200
    owner = np.repeat([0, 1], users // 2)
    start = np.zeros(users, dtype=np.int64)
    tracemalloc.start()
    try:
        found = counted_ranges(owner, start, start + basket, np.arange(basket), basket)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.data.tolist() == [users // 2] * 2 * basket
    assert peak < 0.2 * 8 * users * basket
