"""Sets that are taken out do what is said of them, and few are tried."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.explain.contributions import contributions
from recllm.explain.removal import LARGEST_SET, Attempt, Removals
from tests.explain.world import N_ITEMS, Additive, Saturating, users

ALONE = np.arange(N_ITEMS)


def removed(rank: Additive, history: list[int], item: int, n: int) -> tuple[list[int], int | None] | None:
    found = contributions(rank, users(history), 0, [item], ALONE)
    order = [int(cause) for cause in np.argsort(-found.values[0], kind="stable") if found.values[0][cause] > 0]
    attempt = Attempt(item, np.maximum(found.values[0], 0), tuple(order), tuple(order))
    removals = Removals(rank, users(history), 0, found, n)
    removals.try_all(attempt.coarse())
    removals.try_all(attempt.fine(removals))
    causes = attempt.leaving(removals)
    return ([int(found.causes[cause][0]) for cause in causes], removals.instead(causes)) if causes else None


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


def carried(rank: Additive, history: list[int], item: int, n: int = 1) -> list[int]:
    found = contributions(rank, users(history), 0, [item], ALONE)
    order = tuple(int(cause) for cause in np.argsort(-found.values[0], kind="stable") if found.values[0][cause] > 0)
    attempt = Attempt(item, np.maximum(found.values[0], 0), order, ())
    removals = Removals(rank, users(history), 0, found, n)
    removals.try_all(attempt.coarse())
    removals.try_all(attempt.fine(removals))
    return sorted(int(found.causes[cause][0]) for cause in attempt.carrying(removals))


def test_those_that_stand_in_for_each_other_carry_only_together() -> None:
    for size in (1, 2, 3, 4, 5, 6, 8):
        rank = Saturating({(j, 10): 1.0 for j in range(size)}, {11: 0.5}, seen=range(9))
        assert carried(rank, list(range(9)), 10) == list(range(size)), size


def test_half_of_what_the_history_does_carries_an_item_that_stays_in_the_list() -> None:
    """Item 10 is first, and 8th without a history; without 0 it is 4th, without 1 the second."""
    rank = Additive({(0, 10): 6.5, (1, 10): 2.0}, {row: 10.0 - row for row in range(2, 9)}, seen=[0, 1])
    assert carried(rank, [0, 1], 10, n=N_ITEMS) == [0]


def test_what_is_first_all_the_same_is_carried_by_its_lead() -> None:
    rank = Additive({(0, 10): 3.0, (1, 10): 0.5}, {10: 2.0, 11: 1.0}, seen=[0, 1])
    assert carried(rank, [0, 1], 10) == [0]


def test_what_the_history_does_not_lift_is_carried_by_nothing() -> None:
    rank = Additive({(0, 10): 1.0, (0, 11): 2.0}, {12: 5.0}, seen=[0])
    found = contributions(rank, users([0]), 0, [10, 13], ALONE)
    removals = Removals(rank, users([0]), 0, found, 3)
    assert removals.lifted(10)
    assert not removals.lifted(13)


def test_every_set_is_ranked_once_and_few_are_tried() -> None:
    history = list(range(20))
    rank = Additive({(j, i): 1.0 for j in history for i in range(20, 30)}, seen=history, items=40)
    found = contributions(rank, users(history), 0, np.arange(20, 30), np.arange(40))
    attempts = [Attempt(item, np.ones(20), tuple(range(20)), tuple(range(20))) for item in range(20, 30)]
    removals = Removals(rank, users(history), 0, found, 10)
    for _ in range(2):
        removals.try_all(causes for one in attempts for causes in one.coarse())
        removals.try_all(causes for one in attempts for causes in one.fine(removals))
    asked = [tuple(calls.items_of(u).tolist()) for calls in rank.calls for u in range(len(calls))]
    assert len(set(asked)) == 42 + 3
    assert len(asked) == len(set(asked)) + 1, "of no history the list is asked for, and the scores"
