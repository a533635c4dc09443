"""What a shop looks like from outside."""

import numpy as np
import pytest

from recllm.adaptation.statistics import STATISTICS, shop_statistics
from recllm.data.histories import Histories

DAY = 86_400.0


def histories(*users: list[tuple[int, float, int]]) -> Histories:
    """Each user's (item, day, signal)."""
    events = [event for user in users for event in user]
    offsets = np.concatenate([[0], np.cumsum([len(user) for user in users])])
    items, days, signals = (np.array(column) for column in zip(*events, strict=True))
    ids = tuple(f"user {number}" for number in range(len(users)))
    return Histories(ids, offsets, items, days * DAY, signals.astype(np.int8), np.zeros(len(items), dtype=np.int64))


def named(values: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, values.tolist(), strict=True))


def test_worked_out_by_hand() -> None:
    """Three users, one without events; items 0 (taken twice), 1 and 2 of five."""
    known = histories([(0, 0.0, 1), (1, 0.0, -1), (2, 2.0, 1)], [(0, 1.0, 1)], [])
    found = named(shop_statistics(known, 5, ("text", "next_liked")))
    expected = {
        "users": np.log(2),
        "items with events": np.log(3),
        "events": np.log(4),
        "events per user": np.log(2),
        "events per item": np.log(4 / 3),
        "density": np.log(4 / 6),
        "share of the popular tenth": 0.5,
        "evenness": 1.5 * np.log(2) / np.log(3),
        "share of items with events": 0.6,
        "items taken once": 2 / 3,
        "visits per user": np.log(1.5),
        "reads histories": 0.0,
    }
    assert found == pytest.approx(expected, abs=1e-5)


def test_of_nothing_they_are_numbers() -> None:
    assert np.isfinite(shop_statistics(Histories.empty(3), 0, ())).all()


def test_the_order_of_users_does_not_matter() -> None:
    one, other = [(0, 0.0, 1), (1, 3.0, 1)], [(2, 1.0, 1)]
    forward = shop_statistics(histories(one, other), 4, ("history",))
    assert np.array_equal(forward, shop_statistics(histories(other, one), 4, ("history",)))
