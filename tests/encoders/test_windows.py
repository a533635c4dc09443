"""Training windows end at block edges, and never show their targets."""

import numpy as np
import pytest

from recllm.data.histories import Histories
from recllm.encoders.windows import WindowSampler


def random_histories(users: int = 40, seed: int = 0) -> Histories:
    """Users with baskets of one to four items, each item once."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 30, users)
    times = [np.sort(rng.integers(0, 10, length)) for length in lengths]
    rows = [rng.permutation(50)[:length] for length in lengths]
    events = int(lengths.sum())
    return Histories(
        tuple(map(str, range(users))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(rows).astype(np.int64),
        np.concatenate(times).astype(np.int64),
        rng.choice([-1, 0, 1], events).astype(np.int8),
        np.zeros(events, dtype=np.int64),
    )


@pytest.mark.parametrize("positions", [1, 5])
def test_windows_never_show_their_targets(positions: int) -> None:
    histories = random_histories()
    sampler = WindowSampler(histories, max_events=8, horizon=4, positions=positions)
    rng = np.random.default_rng(0)
    for _ in range(20):
        users = rng.choice(len(sampler), 16)
        windows, predictions = sampler.draw_supports(users, rng)
        assert len(windows) == 16
        newest_seen = np.array([windows.timestamps[end - 1] for end in windows.offsets[1:]])
        assert (predictions.asked_at > newest_seen).all(), "one asks after the window's last event"
        for prediction, (row, time) in enumerate(zip(predictions.user, predictions.time, strict=True)):
            own = sampler.users[users[row]]
            items, times = (
                histories.items_of(own),
                histories.timestamps[histories.offsets[own] : histories.offsets[own + 1]],
            )
            seen = windows.items_of(int(row))[: int(time)]
            targets = predictions.target_item[predictions.target_of == prediction].numpy()
            place = {item: at for at, item in enumerate(items.tolist())}
            assert not set(seen.tolist()) & set(targets.tolist())
            assert all(histories.signals[histories.offsets[own] + place[item]] > 0 for item in targets.tolist())
            if len(seen):
                newest = max(times[place[item]] for item in seen.tolist())
                assert all(times[place[item]] > newest for item in targets.tolist())


def test_targets_are_whole_timestamps() -> None:
    """The next `horizon` events and whatever shares the last one's timestamp; only the liked ones of them."""
    histories, horizon = random_histories(), 4
    sampler = WindowSampler(histories, max_events=8, horizon=horizon, positions=4)
    rng = np.random.default_rng(0)
    rounded = 0
    for _ in range(10):
        users = rng.choice(len(sampler), 16)
        windows, predictions = sampler.draw_supports(users, rng)
        for prediction, (row, time) in enumerate(zip(predictions.user, predictions.time, strict=True)):
            own = histories.of([sampler.users[users[row]]])
            seen = windows.items_of(int(row))[: int(time)].tolist()
            # A point of prediction is where the window, or its beginning, is over.
            end = windows.items_of(int(row)).tolist()
            start = own.item_rows.tolist().index(seen[-1]) + 1 if seen else own.item_rows.tolist().index(end[0])
            last = own.timestamps[min(start + horizon, own.n_events) - 1]
            wanted = [at for at in range(start, own.n_events) if own.timestamps[at] <= last and own.signals[at] > 0]
            found = predictions.target_item[predictions.target_of == prediction].tolist()
            assert sorted(found) == sorted(own.item_rows[wanted].tolist())
            rounded += sum(own.timestamps[start:] <= last) > horizon
    assert rounded, "some basket is longer than the horizon"


def test_weights_of_a_prediction_sum_to_one() -> None:
    sampler = WindowSampler(random_histories(), max_events=8, horizon=4, positions=4)
    _, predictions = sampler.draw(np.arange(10), np.random.default_rng(0))
    sums = np.bincount(predictions.target_of.numpy(), predictions.target_weight.numpy())
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    assert len(sums) == len(predictions.user)


def test_users_who_never_like_anything_are_left_out() -> None:
    histories = random_histories()
    nothing = Histories(
        histories.user_ids,
        histories.offsets,
        histories.item_rows,
        histories.timestamps,
        np.full(histories.n_events, -1, dtype=np.int8),
        histories.tokens,
    )
    assert len(WindowSampler(nothing, max_events=8, horizon=4, positions=2)) == 0


def test_no_window_is_empty() -> None:
    sampler = WindowSampler(random_histories(200), max_events=8, horizon=4, positions=1)
    windows, _ = sampler.draw_supports(np.arange(len(sampler)), np.random.default_rng(0))
    assert windows.lengths.min() >= 1


def test_same_seed_same_windows() -> None:
    sampler = WindowSampler(random_histories(), max_events=8, horizon=4, positions=4)
    one, other = (sampler.draw_supports(np.arange(12), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one[0].item_rows, other[0].item_rows)
    np.testing.assert_array_equal(one[1].target_item, other[1].target_item)


def test_mixed_lengths_cover_all_support_sizes() -> None:
    histories, rng = random_histories(200), np.random.default_rng(0)
    alike, mixed = (
        WindowSampler(histories, max_events=8, horizon=4, positions=1, mixed=mixed) for mixed in (False, True)
    )
    lengths = [sampler.draw_supports(np.arange(len(sampler)), rng)[0].lengths for sampler in (alike, mixed)]
    assert set(lengths[1].tolist()) >= {1, 2, 3, 4, 5, 8}
    assert len(set(lengths[0][lengths[0] < lengths[0].max()].tolist())) < len(set(lengths[1].tolist()))
