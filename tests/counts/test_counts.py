"""Counts are an algebra: whole numbers, whatever the order, to the last bit; and gone is gone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts import pairs
from recllm.counts.cooccurrence import Cooccurrence, Gram
from recllm.counts.counts import Counts
from recllm.counts.items import MOMENTS, USUAL, resolution_of
from recllm.counts.next_liked import next_liked
from recllm.counts.trend import Popularity, Trend
from recllm.data.histories import Histories
from recllm.errors import ArtifactError

ITEMS = 7

events = st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 30), st.integers(-1, 1))
logs = st.lists(st.lists(events, max_size=8, unique_by=lambda event: event[0]), max_size=8)


def people(log: list[list[tuple[int, int, int]]]) -> Histories:
    """Users with events (item, time, signal), oldest first."""
    rows = [event for user in log for event in sorted(user, key=lambda event: event[1])]
    item, time, signal = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Histories(
        tuple(f"u{user}" for user in range(len(log))),
        np.concatenate([[0], np.cumsum([len(user) for user in log])]).astype(np.int64),
        item,
        time.astype(np.float64),
        signal.astype(np.int8),
        np.zeros(len(item), dtype=np.int64),
    )


def counts(log: list[list[tuple[int, int, int]]], resolution: float = 2.0) -> Counts:
    return Counts.of(people(log), ITEMS, resolution)


def same(a: Counts, b: Counts) -> bool:
    mine, other = a.tensors(), b.tensors()
    return mine.keys() == other.keys() and all(
        mine[name].dtype == other[name].dtype and np.array_equal(mine[name], other[name]) for name in mine
    )


@settings(deadline=None)
@given(logs, st.randoms())
def test_the_sum_of_parts_is_the_count_of_all_in_any_order(log: list, chance: object) -> None:
    users = [[user] for user in log]
    chance.shuffle(users)  # type: ignore[attr-defined]
    total = sum(map(counts, users), counts([]))
    assert same(total, counts(log))
    assert total.digest() == counts(log).digest()


@settings(deadline=None)
@given(logs, logs)
def test_who_is_taken_away_was_never_there(staying: list, leaving: list) -> None:
    both = counts(staying + leaving)
    assert same(both - counts(leaving), counts(staying))
    assert same(counts(staying) + counts(leaving), both)
    assert same((both - counts(staying)) + counts(staying), both)


@settings(deadline=None)
@given(logs)
def test_what_is_derived_from_equal_counts_is_equal_to_the_last_bit(log: list) -> None:
    one = sum((counts([user]) for user in reversed(log)), counts([[(0, 0, 1), (1, 5, -1)]])) - counts(
        [[(0, 0, 1), (1, 5, -1)]]
    )
    for made in (one, counts(log)):
        gram = Gram(made.items.taken, made.pairs.taken)
        ease = Cooccurrence.of(gram, regularisation=2.0, neighbours=3).weights
        follow = next_liked(made.pairs.next_liked, shrinkage=1.0, neighbours=3).weights
        trend = Trend.of(made.items.clock)
        arrays = [ease.toarray(), follow.toarray(), trend.ends, trend.counts, Popularity.of(made.items).liked]
        if made is one:
            first = arrays
    for before, after in zip(first, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


@settings(deadline=None)
@given(logs)
def test_every_count_is_what_it_says(log: list) -> None:
    found = counts(log, 4.0)
    taken, liked = np.zeros((len(log), ITEMS), dtype=int), np.zeros((len(log), ITEMS), dtype=int)
    clock: dict[tuple[int, int], int] = {}
    for user, history in enumerate(log):
        for item, time, signal in history:
            taken[user, item] = 1
            if signal > 0:
                liked[user, item] = 1
                clock[time // 4, item] = clock.get((time // 4, item), 0) + 1
    assert found.items.taken.tolist() == taken.sum(axis=0).tolist()
    assert found.items.liked.tolist() == liked.sum(axis=0).tolist()
    for matrix, expected in ((found.pairs.taken, taken.T @ taken), (found.pairs.liked, liked.T @ liked)):
        np.testing.assert_array_equal(matrix.toarray(), np.triu(expected, 1))
    assert (found.users, found.events) == (sum(map(bool, log)), sum(map(len, log)))
    told = sparse.coo_array(found.items.clock.liked)
    moments = found.items.clock.moments[told.row]
    assert dict(zip(zip(moments.tolist(), told.col.tolist(), strict=True), told.data.tolist(), strict=True)) == clock


def test_pairs_that_are_all_liked_are_kept_once() -> None:
    all_liked = counts([[(0, 0, 1), (1, 1, 1)]])
    assert all_liked.pairs.liked is all_liked.pairs.taken
    mixed = all_liked + counts([[(0, 0, 1), (1, 1, -1)]])
    assert mixed.pairs.liked is not mixed.pairs.taken
    back = mixed - counts([[(0, 0, 1), (1, 1, -1)]])
    assert back.pairs.liked is back.pairs.taken


def test_taking_away_what_was_not_there_is_noticed() -> None:
    some = counts([[(0, 0, 1), (1, 1, 1)]])
    assert some.is_possible
    assert not (some - counts([[(2, 0, 1)]])).is_possible
    assert not (some + counts([[(2, 0, 1)]]) - counts([[(1, 0, 1), (2, 0, 1)]])).is_possible


def test_new_items_are_nobodys() -> None:
    grown = counts([[(0, 0, 1), (1, 1, 1)]]).extended(ITEMS + 2)
    assert len(grown) == ITEMS + 2
    log = people([[(0, 0, 1), (1, 1, 1)]])
    assert same(grown, Counts.of(log, ITEMS + 2, 2.0))


@settings(deadline=None)
@given(logs)
def test_they_are_kept_on_disk_as_they_are(log: list) -> None:
    made = counts(log)
    saved = SavedArrays("the counts", made.tensors())
    assert same(Counts.from_tensors(saved, ITEMS), made)
    saved.all_taken()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("items.taken", lambda array: array - 5),
        ("items.taken", lambda array: array[:-1]),
        ("items.taken", lambda array: array * 0),
        ("items.clock.moments", lambda array: array[::-1]),
        ("items.clock.at.indices", lambda array: array + ITEMS),
        ("pairs.taken.indices", lambda array: array + ITEMS),
        ("pairs.taken.indptr", lambda array: array[::-1]),
        ("pairs.next_liked.data", lambda array: array.astype(np.float32)),
        ("users", lambda array: array - 9),
    ],
)
def test_what_is_damaged_is_refused(name: str, change: object) -> None:
    arrays = counts([[(0, 0, 1), (1, 9, 1), (2, 20, -1)], [(1, 3, 1), (2, 4, 1)]]).tensors()
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    with pytest.raises(ArtifactError):
        Counts.from_tensors(SavedArrays("the counts", arrays), ITEMS)


def test_a_users_newest_events_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRED", 2)
    found = counts([[(0, 0, 1), (1, 1, 1), (2, 2, 1)]])
    assert found.pairs.taken.nnz == 1
    assert found.pairs.taken[1, 2] == 1
    assert found.items.taken[0] == 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e10, allow_nan=False), min_size=2, max_size=20))
def test_a_log_has_at_most_so_many_moments(times: list[float]) -> None:
    resolution = resolution_of(np.array(times))
    moments = np.floor(np.array(times) / resolution)
    assert np.ptp(moments) < MOMENTS
    span = np.ptp(times)
    if span:
        assert np.log2(resolution) % 1 == 0
        assert span / resolution > (MOMENTS - 1) / 2 - 1
    else:
        assert resolution == USUAL


def test_counts_of_other_moments_are_not_added() -> None:
    with pytest.raises(AssertionError):
        counts([[(0, 0, 1)]], 2.0) + counts([[(0, 0, 1)]], 4.0)


def test_a_trend_counts_what_is_over() -> None:
    """Item 0 early, item 1 late: at the end the late one is ahead, and nobody inside a moment is told what is in it."""
    log = [[(0, time, 1)] for time in range(0, 60)] + [[(1, time, 1)] for time in range(60, 90)]
    trend = Trend.of(counts(log, 1.0).items.clock, half_life=0.1)
    early, late = trend.at(np.array([30.0, trend.end]))
    assert early[1] == 0 < early[0]
    assert late[1] > late[0]
    assert trend.at(np.array([60.0]))[0, 1] == 0
    assert trend.total.tolist()[:2] == [60, 30]
    assert dataclasses.astuple(Trend.of(counts([], 1.0).items.clock))[3] == 1.0
