"""What follows what: against the formula on dense matrices, and in a world with an arrow of time."""

import numpy as np

from recllm.data.histories import Histories
from recllm.retrieval.following import DECAY, what_follows


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
    """Two users; blocks of equal times are seen and asked as a whole, and what was not liked is no target."""
    histories = log([[1, 2, 2, 3], [5, 6, 7]], [[0, 1, 2, 3], [3, 0, 1]], [[1, 1, 0, 1], [-1, 1, 1]])
    d = DECAY
    seen = np.array([[1, 0, 0, 0], [d**2, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, d]])
    taken = np.array([[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])
    expected = (seen.T @ taken) / ((seen**2).sum(0) + 7)[:, None] / np.sqrt(taken.sum(0) + 7)
    model = what_follows(histories, 4, shrinkage=7.0, neighbours=4, horizon=1)
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-6)
    assert model.decay == DECAY


def test_the_horizon_reaches_to_the_end_of_a_block() -> None:
    histories = log([[1, 2, 3, 3, 4]], [[0, 1, 2, 3, 4]])
    near = what_follows(histories, 5, shrinkage=1.0, neighbours=5, horizon=2).weights.toarray()
    assert np.flatnonzero(near[0]).tolist() == [1, 2, 3, 4], "0 is still remembered when 2 and 3 are there, and 4 asked"
    assert np.flatnonzero(near[2]).tolist() == [4]


def test_time_has_a_direction() -> None:
    """Everybody walks around a ring; co-occurrence cannot tell the next station from the last one."""
    rng = np.random.default_rng(0)
    walks = [((rng.integers(12) + np.arange(4)) % 12).tolist() for _ in range(200)]
    model = what_follows(log([list(range(4))] * 200, walks), 12, shrinkage=1.0, neighbours=12, horizon=1)
    weights = model.weights.toarray()
    assert (weights.argmax(axis=1) == (np.arange(12) + 1) % 12).all()
    assert not weights[np.arange(12), (np.arange(12) - 1) % 12].any()


def test_nothing_follows() -> None:
    assert what_follows(log([[1, 1]], [[0, 1]]), 3, shrinkage=1.0, neighbours=2).weights.nnz == 0
    assert what_follows(Histories.empty(2), 3, shrinkage=1.0, neighbours=2).weights.shape == (3, 3)
    assert what_follows(Histories.empty(0), 0, shrinkage=1.0, neighbours=2).weights.shape == (0, 0)


def test_the_strongest_neighbours_are_kept() -> None:
    rng = np.random.default_rng(1)
    histories = log([list(range(9))] * 50, [rng.permutation(15)[:9].tolist() for _ in range(50)])
    full = what_follows(histories, 15, shrinkage=1.0, neighbours=15).weights.toarray()
    cut = what_follows(histories, 15, shrinkage=1.0, neighbours=3).weights.toarray()
    for row in range(15):
        assert sorted(cut[row][cut[row] > 0]) == sorted(full[row])[-3:]
