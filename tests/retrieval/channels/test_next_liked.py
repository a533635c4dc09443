"""What follows what: against the formula on dense matrices, and in a world with an arrow of time."""

import numpy as np

from recllm.counts.next_liked import DECAY, DISCOUNT, next_liked
from recllm.counts.pairs import soon_after
from recllm.data.histories import Histories


def log(times: list[list[int]], items: list[list[int]], signals: list[list[int]] | None = None) -> Histories:
    lengths = [len(row) for row in items]
    flat = [1] * sum(lengths) if signals is None else [signal for row in signals for signal in row]
    return Histories(
        tuple(str(user) for user in range(len(items))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([item for row in items for item in row], dtype=np.int64),
        np.array([time for row in times for time in row], dtype=np.int64),
        np.array(flat, dtype=np.int8),
        np.zeros(sum(lengths), dtype=np.int64),
    )


def test_golden() -> None:
    """Against a loop: what is liked within the horizon, to the end of a timestamp, is counted from every event."""
    rng = np.random.default_rng(0)
    times = [sorted(rng.integers(0, 8, rng.integers(1, 15)).tolist()) for _ in range(30)]
    items = [rng.permutation(20)[: len(row)].tolist() for row in times]
    signals = [rng.integers(-1, 2, len(row)).tolist() for row in times]
    counts = np.zeros((20, 20))
    for when, what, verdict in zip(times, items, signals, strict=True):
        for event in range(len(what)):
            furthest = min(event + 3, len(what) - 1)
            for later in range(event + 1, len(what)):
                if (later <= furthest or when[later] == when[furthest]) and verdict[later] > 0:
                    counts[what[event], what[later]] += 1
    popular = (counts.sum(0) + 7 * 3) ** DISCOUNT
    expected = counts / (counts.sum(1) + 7 * 3)[:, None] / popular
    model = next_liked(soon_after(log(times, items, signals), 20, 3), shrinkage=7.0, neighbours=20, horizon=3)
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-6)
    assert model.decay == DECAY


def test_the_horizon_reaches_to_the_end_of_a_block_and_no_further() -> None:
    histories = log([[1, 2, 3, 3, 4], [1, 1]], [[0, 1, 2, 3, 4], [5, 6]])
    near = next_liked(soon_after(histories, 7, 2), shrinkage=1.0, neighbours=7, horizon=2).weights.toarray()
    assert np.flatnonzero(near[0]).tolist() == [1, 2, 3]
    assert np.flatnonzero(near[3]).tolist() == [4], "another user's events do not follow"
    assert np.flatnonzero(near[5]).tolist() == [6]


def test_time_has_a_direction() -> None:
    """Everybody walks around a ring; co-occurrence cannot tell the next station from the last one."""
    rng = np.random.default_rng(0)
    walks = [((rng.integers(12) + np.arange(4)) % 12).tolist() for _ in range(200)]
    model = next_liked(soon_after(log([list(range(4))] * 200, walks), 12, 1), shrinkage=1.0, neighbours=12, horizon=1)
    weights = model.weights.toarray()
    assert (weights.argmax(axis=1) == (np.arange(12) + 1) % 12).all()
    assert not weights[np.arange(12), (np.arange(12) - 1) % 12].any()


def test_nothing_follows() -> None:
    assert next_liked(soon_after(log([[1], [1]], [[0], [1]]), 3), shrinkage=1.0, neighbours=2).weights.nnz == 0
    assert next_liked(soon_after(Histories.empty(2), 3), shrinkage=1.0, neighbours=2).weights.shape == (3, 3)
    assert next_liked(soon_after(Histories.empty(0), 0), shrinkage=1.0, neighbours=2).weights.shape == (0, 0)


def test_the_strongest_neighbours_are_kept() -> None:
    rng = np.random.default_rng(1)
    histories = log([list(range(9))] * 50, [rng.permutation(15)[:9].tolist() for _ in range(50)])
    full = next_liked(soon_after(histories, 15), shrinkage=1.0, neighbours=15).weights.toarray()
    cut = next_liked(soon_after(histories, 15), shrinkage=1.0, neighbours=3).weights.toarray()
    for row in range(15):
        assert sorted(cut[row][cut[row] > 0]) == sorted(full[row])[-3:]
