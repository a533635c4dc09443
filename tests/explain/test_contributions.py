"""Contributions equal the planted weights, and removing sets do what they claim."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.explain.contributions import LARGEST_SET, contributions, removals, without
from tests.explain.world import N_ITEMS, Additive, users

ALONE = np.arange(N_ITEMS)


@given(st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6), st.permutations([0, 1, 2]))
def test_contributions_are_the_planted_weights(weights: list[float], history: list[int]) -> None:
    planted = {(j, 10 + i): weights[3 * i + j] for i in range(2) for j in range(3)}
    score = Additive(planted, prior={10: 3.0, 4: 1.0})
    found = contributions(score, users([7], history), 1, [10, 11], ALONE)
    assert [rows.tolist() for rows in found.causes] == [[row] for row in history]
    expected = [[planted[j, item] for j in history] for item in (10, 11)]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    np.testing.assert_allclose(found.average, score.weights[history].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.ranking.scores[1], score.prior)
    np.testing.assert_allclose(found.ranking.scores[0], score.prior + score.weights[[0, 1, 2]].sum(axis=0), atol=1e-5)


def test_one_call_with_each_item_left_out_once() -> None:
    score = Additive({})
    found = contributions(score, users([3, 5, 3, 8]), 0, [10], ALONE)
    assert [rows.tolist() for rows in found.causes] == [[5], [3], [8]]
    (asked,) = score.calls
    assert [asked.items_of(u).tolist() for u in range(len(asked))] == [[3, 5, 3, 8], [], [3, 3, 8], [5, 8], [3, 5, 3]]


def test_editions_go_together() -> None:
    groups = ALONE.copy()
    groups[5] = 3
    found = contributions(Additive({(3, 10): 1.0, (5, 10): 2.0}), users([3, 8, 5]), 0, [10], groups)
    assert [rows.tolist() for rows in found.causes] == [[8], [5, 3]]
    np.testing.assert_allclose(found.values, [[0.0, 3.0]])


def test_only_the_newest_are_left_out_and_older_ones_stay() -> None:
    score = Additive({(0, 10): 5.0, (1, 10): 1.0, (2, 10): 2.0})
    found = contributions(score, users([0, 1, 2]), 0, [10], ALONE, newest=2)
    assert [rows.tolist() for rows in found.causes] == [[1], [2]]
    np.testing.assert_allclose(found.values, [[1.0, 2.0]])
    assert all(0 in score.calls[0].items_of(u) for u in (0, 2, 3))


def test_without_leaves_all_events_with_an_item_out() -> None:
    copies = without(users([1], [3, 5, 3]), 1, [(), [3], [5, 9]])
    assert [copies.items_of(u).tolist() for u in range(3)] == [[3, 5, 3], [5], [3, 3]]


def removed(rank: Additive, history: list[int], item: int, n: int) -> tuple[list[int], int | None] | None:
    found = contributions(rank, users(history), 0, [item], ALONE)
    order = [int(cause) for cause in np.argsort(-found.values[0], kind="stable") if found.values[0][cause] > 0]
    (removal,) = removals(rank, users(history), 0, np.array([item]), found, [order], n)
    return None if removal is None else ([int(found.causes[cause][0]) for cause in removal.causes], removal.instead)


def test_a_single_cause_before_larger_sets() -> None:
    # Item 10 has 3 + 1 and item 11 has 2: without the first cause it falls behind, without the second it does not.
    rank = Additive({(0, 10): 3.0, (1, 10): 1.0}, prior={11: 2.0}, seen=[0, 1])
    assert removed(rank, [0, 1], 10, n=1) == ([0], 11)


def test_a_single_cause_need_not_be_the_strongest() -> None:
    # Without 0 the rival loses more than the item does; without 1 the item falls behind.
    rank = Additive({(0, 10): 3.0, (0, 11): 4.0, (1, 10): 2.0}, seen=[0, 1])
    assert removed(rank, [0, 1], 10, n=1) == ([1], 11)


def test_pairs_and_larger_sets() -> None:
    even = {(j, 10): 1.0 for j in range(6)}
    history = list(range(6))
    assert removed(Additive(even, {11: 4.5}, history), history, 10, 1) == ([0, 1], 11)
    assert removed(Additive(even, {11: 1.5}, history), history, 10, 1) == ([0, 1, 2, 3, 4], 11)


def test_no_small_set() -> None:
    history = list(range(LARGEST_SET + 2))
    rank = Additive({(j, 10): 1.0 for j in history}, {11: 0.5}, history)
    assert removed(rank, history, 10, 1) is None
    assert removed(Additive({}, {10: 9.0}), [0], 10, 1) is None


def test_an_item_that_is_not_in_the_list_cannot_leave_it() -> None:
    assert removed(Additive({(0, 10): 1.0}, {11: 2.0}, [0]), [0], 10, 1) is None


def test_nothing_comes_instead_where_nothing_is_left() -> None:
    seen = [row for row in range(N_ITEMS) if row not in (10, 11)]
    rank = Additive({(0, 10): 1.0, (0, 11): 1.0}, {11: -1.0, 10: -3.0}, seen)
    assert removed(rank, [0], 10, n=1) is None  # 10 is not the best
    rank = Additive({(0, 10): 3.0}, {11: 2.0}, [row for row in range(N_ITEMS) if row not in (10, 11)])
    assert removed(rank, [0], 10, n=1) == ([0], 11)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_what_is_said_is_true(seed: int, n: int) -> None:
    """Random weights: without the set the item is out of the list, and the other item is in."""
    rng = np.random.default_rng(seed)
    history = rng.choice(10, size=rng.integers(1, 9), replace=False).tolist()
    rank = Additive({(j, i): float(rng.normal()) for j in range(10) for i in range(10, N_ITEMS)}, seen=range(10))
    rank.prior[:] = rng.normal(size=N_ITEMS)
    top = rank(users(history)).top(0, n)
    for item in top.tolist():
        answer = removed(rank, history, item, n)
        if answer is not None:
            causes, instead = answer
            after = rank(users([row for row in history if row not in causes])).top(0, n)
            assert item not in after
            assert instead in after
            assert instead not in top
