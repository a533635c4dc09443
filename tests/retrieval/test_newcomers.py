"""Whoever nothing is known of is shown what served others best who had no part in it."""

import numpy as np
import pytest

from recllm.counts.items import ItemCounts
from recllm.data.histories import Histories
from recllm.retrieval.newcomers import LIKED, OF_LATE, TAKEN, Newcomers, ndcg_of_order, orders, sure_gain

ITEMS = 40


def people(rows: np.ndarray, times: np.ndarray, signals: np.ndarray | None = None) -> Histories:
    """Users with as many events each: rows and times [users, events]."""
    users, events = rows.shape
    return Histories(
        tuple(f"u{user}" for user in range(users)),
        np.arange(users + 1, dtype=np.int64) * events,
        rows.ravel().astype(np.int64),
        times.ravel().astype(np.float64),
        np.ones(rows.size, dtype=np.int8) if signals is None else signals.ravel().astype(np.int8),
        np.zeros(rows.size, dtype=np.int64),
    )


def two_eras(drift: bool, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    late = np.arange(200) >= 100
    rows = np.stack([rng.permutation(20)[:6] + 20 * (drift and one) for one in late])
    return people(rows, np.arange(6) + 100.0 * np.arange(200)[:, None])


def test_what_is_popular_of_late_is_taken_where_tastes_change_and_only_there() -> None:
    ties = np.arange(ITEMS)
    assert Newcomers.choose(two_eras(drift=True), ties).name in OF_LATE
    assert Newcomers.choose(two_eras(drift=False), ties).name == LIKED


def test_luck_does_not_make_it_popular_of_late() -> None:
    ties = np.arange(ITEMS)
    chosen = [Newcomers.choose(two_eras(drift=False, seed=seed), ties).name for seed in range(12)]
    assert sum(name in OF_LATE for name in chosen) <= 1


def test_taken_and_liked_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(ITEMS)[:6] for _ in range(60)])
    histories = people(rows, np.tile(np.arange(6.0), (60, 1)), np.where(rows < 10, 1, -1))
    counts = orders(ItemCounts.of(histories, ITEMS, 1.0))
    assert counts[LIKED][10:].sum() == 0 < counts[TAKEN][10:].sum()
    assert Newcomers.choose(histories, np.arange(ITEMS)).name == LIKED


def test_one_order_for_everybody_has_the_figures_of_any_ranking() -> None:
    import torch

    from recllm.encoders.validation import ndcg_at_10

    histories, counts = two_eras(drift=True), np.random.default_rng(1).random(ITEMS)
    scores = torch.from_numpy(counts).expand(len(histories), -1).float()
    expected = ndcg_at_10(scores, Histories.empty(len(histories)), histories)
    np.testing.assert_allclose(ndcg_of_order(counts.astype(np.float32), np.arange(ITEMS), histories), expected)


@pytest.mark.parametrize("users", [0, 1, 2])
def test_with_nobody_to_ask_it_is_what_is_liked(users: int) -> None:
    histories = people(np.zeros((users, 1)), np.zeros((users, 1)))
    found = Newcomers.choose(histories, np.arange(3))
    assert (found.name, found.figure) == (LIKED, None)
    assert found.counts.tolist() == [users, 0, 0]


def test_a_gain_is_sure_two_standard_errors_above_nothing() -> None:
    gains = np.array([0.0, 1.0] * 50)
    assert 0 < sure_gain(gains) < 0.5
    assert sure_gain(gains - 0.45) < 0
    assert sure_gain(np.array([1.0])) == -np.inf
