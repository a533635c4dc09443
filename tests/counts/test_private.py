"""Counts with noise: how much is needed, against opacus' accountant; what one person may add; what shows at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from recllm.config import from_mapping
from recllm.counts.counts import Counts
from recllm.counts.private import LEFT_OUT, SHARES, PrivacyConfig, gaussian_noise
from recllm.data.histories import Histories
from recllm.errors import ConfigError
from recllm.testing import opposite_tastes

ITEMS, DAY = 12, 86_400.0


def people(lengths: list[int], seed: int = 0, items: int = ITEMS) -> Histories:
    """Histories of these lengths, an event a day, one in four of them no like."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(items)[:length] for length in lengths]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([DAY * np.arange(1, length + 1) for length in lengths])
    signals = np.where(np.arange(len(rows)) % 4 == 3, 0, 1).astype(np.int8)
    names = tuple(f"u{number}" for number in range(len(lengths)))
    return Histories(names, offsets, rows, times, signals, np.zeros(len(rows), dtype=np.int64))


def parts_of(counts: Counts) -> dict[str, np.ndarray]:
    """Every part as a dense array."""
    pairs = {f"pairs.{name}": getattr(counts.pairs, name).toarray() for name in ("taken", "liked", "next_liked")}
    items = counts.items
    by_moment = np.zeros((40, items.clock.liked.shape[1]))
    by_moment[items.clock.moments] = items.clock.liked.toarray()
    return {"taken": items.taken, "liked": items.liked, "clock": by_moment, **pairs}


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_the_noise_costs_what_it_says(epsilon: float, delta: float) -> None:
    """The definition, by numbers: what is more than e^ε times as likely with one person than without has chance δ."""
    noise = gaussian_noise(epsilon, delta)
    at = np.linspace(-12 * noise, 1 + 12 * noise, 400_001)
    without, with_them = (np.exp(-((at - mean) ** 2) / (2 * noise**2)) for mean in (0.0, 1.0))
    more = np.maximum(with_them - np.exp(epsilon) * without, 0.0) / (noise * np.sqrt(2 * np.pi))
    assert np.trapezoid(more, at) == pytest.approx(delta, rel=1e-3)


def test_another_accountant_agrees() -> None:
    """By Rényi divergence, which asks for a little more than is needed, and never for less."""
    accountant = pytest.importorskip("opacus.accountants.analysis.rdp")
    orders = np.linspace(1.01, 100, 1000).tolist()
    rdp = accountant.compute_rdp(q=1.0, noise_multiplier=gaussian_noise(2.0, 1e-6), steps=1, orders=orders)
    assert 2.0 <= accountant.get_privacy_spent(orders=orders, rdp=rdp, delta=1e-6)[0] < 2.3


@settings(max_examples=30)
@given(st.lists(st.integers(1, ITEMS), min_size=1, max_size=6), st.integers(1, 6), st.integers(0, 10**6))
def test_one_person_changes_no_more_than_the_noise_is_made_for(lengths: list[int], events: int, seed: int) -> None:
    config, whole = PrivacyConfig(epsilon=1.0, events=events), people(lengths, seed)
    with_them, without = (
        parts_of(Counts.of(some.last(events), ITEMS, DAY)) for some in (whole, whole.of(np.arange(1, len(lengths))))
    )
    unit = gaussian_noise(1.0, config.delta * (1 - LEFT_OUT))
    length = 0.0
    for name, noise in config.noise.items():
        change = np.abs(with_them[name] - without[name])
        assert change.max() <= 1
        assert change.sum() <= config.entries[name]
        length += (change**2).sum() / noise**2
    assert length <= 1 / unit**2 + 1e-9, "the whole costs more than it says"
    assert sum(SHARES.values()) == pytest.approx(1)


def test_an_entry_of_one_person_shows_as_rarely_as_delta_says() -> None:
    config = PrivacyConfig(epsilon=2.0, delta=0.4, events=4)
    alone, chance = people([4]), np.random.default_rng(0)
    shown = dict.fromkeys(config.bars, 0)
    for _ in range(600):
        found = parts_of(config.of(alone, ITEMS, DAY, chance))
        for name in shown:
            shown[name] += bool(found[name].any())
    assert sum(shown.values()) / 600 <= config.delta * LEFT_OUT + 0.04
    assert min(shown.values()) > 0, "the bars are higher than they need to be"


def test_noise_lies_over_everything_and_is_drawn_anew() -> None:
    """Over many people counts are nearly what they are; without the noise twice would be the same."""
    histories, _ = opposite_tastes(4000, 20, 8)
    config = PrivacyConfig(epsilon=4.0, events=8)
    exact, one, other = (parts_of(c) for c in (
        Counts.of(histories, 20, DAY), config.of(histories, 20, DAY), config.of(histories, 20, DAY)
    ))  # fmt: skip
    for name, noise in config.noise.items():
        there = exact[name] > config.bars.get(name, 0) + 6 * noise
        assert there.any() or name == "clock"
        if there.any():
            error = (one[name] - exact[name])[there]
            assert 0.5 * noise < error.std() < 1.6 * noise or there.sum() < 10
            assert (one[name] != other[name])[there].any()


def test_they_are_counts_that_can_be_saved() -> None:
    histories, _ = opposite_tastes(300, 20, 8)
    counts = PrivacyConfig(epsilon=50.0, delta=0.01, events=5).of(histories, 20, DAY)
    assert counts.is_possible
    assert (counts.items.taken >= counts.items.liked).all()
    assert counts.events == histories.n_events
    assert counts.pairs.taken.nnz > 0
    assert (np.diff(counts.items.clock.liked.indptr) > 0).all()


def test_only_the_newest_events_are_counted() -> None:
    histories = people([8, 8, 8, 8])
    counts = PrivacyConfig(epsilon=1e6, delta=0.5, events=2).of(histories, ITEMS, DAY)
    assert counts.items.taken.sum() == 8
    assert_array_equal(counts.items.taken, Counts.of(histories.last(2), ITEMS, DAY).items.taken)


def test_less_is_told_under_more_noise() -> None:
    noise = [PrivacyConfig(epsilon=epsilon).noise["taken"] for epsilon in (8.0, 3.0, 1.0)]
    assert noise == sorted(noise)
    few, many = (PrivacyConfig(epsilon=1.0, events=events).noise["pairs.taken"] for events in (10, 40))
    assert_allclose(many / few, np.sqrt(40 * 39 / (10 * 9)))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"epsilon": 0}, "epsilon: wanted a number above 0; got 0"),
        ({"epsilon": -1.0}, "epsilon: wanted a number above 0; got -1.0"),
        ({"epsilon": float("nan")}, "epsilon: wanted a number above 0; got nan"),
        ({"epsilon": 1.0, "delta": 0.0}, r"delta: wanted a number in \(0, 1\); got 0.0"),
        ({"epsilon": 1.0, "events": 0}, "events: wanted a whole number of at least 1; got 0"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, float], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        from_mapping(PrivacyConfig, given, "privacy")
