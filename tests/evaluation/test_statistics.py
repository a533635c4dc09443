"""Intervals against scipy, against a known truth, and what must (not) change them."""

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recllm.errors import DataError
from recllm.evaluation.statistics import Estimate, mean_estimate, paired_estimates


def difference_estimate(*given: Any, **options: Any) -> Estimate:
    return paired_estimates(*given, **options)[0]


def ratio_estimate(*given: Any, **options: Any) -> Estimate:
    return paired_estimates(*given, **options)[1]


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


def test_the_interval_has_the_truth_in_it_as_often_as_it_says() -> None:
    """Users differ, and each has a few entries that resemble each other: an interval over entries would fail."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 3)
    inside = 0
    for seed in range(200):
        values = np.repeat(rng.normal(0.3, 1, 60), 3) + rng.normal(0, 0.3, 180)
        found = mean_estimate(values, users, resamples=400, seed=seed)
        inside += found.low <= 0.3 <= found.high
    assert 0.90 <= inside / 200 <= 0.985


def test_as_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=300)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    ours = mean_estimate(values, range(300), resamples=4000)
    assert ours.value == pytest.approx(values.mean())
    # The ends are quantiles of 4,000 draws with a deviation of .06: about .002 of noise each.
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_more_entries_of_the_same_users_make_nobody_surer() -> None:
    values = np.random.default_rng(3).random(80)
    names = [f"user {row}" for row in range(80)]
    once = mean_estimate(values, names)
    twice = mean_estimate(np.concatenate([values, values]), names + names)
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert twice.n == once.n == 80
    apart = mean_estimate(np.concatenate([values, values]), range(160))
    assert width(apart) == pytest.approx(width(once) / 2**0.5, rel=0.1)


def test_a_paired_difference_is_narrower() -> None:
    rng = np.random.default_rng(4)
    theirs = rng.random(100)
    ours = theirs + rng.normal(0.05, 0.02, 100)
    paired = difference_estimate(ours, theirs, range(100))
    assert paired.value == pytest.approx((ours - theirs).mean())
    assert paired.low > 0.04
    unpaired = difference_estimate(
        np.concatenate([ours, np.zeros(100)]) * 2, np.concatenate([np.zeros(100), theirs]) * 2, range(200)
    )
    assert unpaired.value == pytest.approx(paired.value)
    assert width(paired) < width(unpaired) / 5


def test_ratio() -> None:
    rng = np.random.default_rng(5)
    theirs = rng.random(200)
    found = ratio_estimate(theirs * 1.1 + rng.normal(0, 0.01, 200), theirs, range(200))
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert 0.08 < found.low < found.value < found.high < 0.12


def test_rmse_is_the_root_of_the_mean() -> None:
    squared = np.array([1.0, 4.0, 9.0, 16.0])
    plain, root = mean_estimate(squared, range(4)), mean_estimate(squared, range(4), statistic=np.sqrt)
    assert (root.value, root.low, root.high) == pytest.approx((plain.value**0.5, plain.low**0.5, plain.high**0.5))
    same = difference_estimate(squared, squared * 4, range(4), statistic=np.sqrt)
    assert same.value == pytest.approx(-root.value)
    twice = ratio_estimate(squared * 4, squared, range(4), statistic=np.sqrt)
    assert (twice.value, twice.low, twice.high) == pytest.approx((1, 1, 1))


def test_nan_is_left_out_pairwise() -> None:
    ours, theirs = np.array([1, np.nan, 3, 4, 5.0]), np.array([1, 2, np.nan, 2, 2.0])
    found = difference_estimate(ours, theirs, list("abcde"))
    assert found == difference_estimate(ours[[0, 3, 4]], theirs[[0, 3, 4]], list("ade"))
    assert found.value == pytest.approx(5 / 3)
    assert found.n == 3


def test_the_order_of_entries_does_not_matter_and_the_seed_does() -> None:
    rng = np.random.default_rng(6)
    values, users, order = rng.random(50), rng.integers(0, 20, 50), rng.permutation(50)
    found, again = mean_estimate(values, users), mean_estimate(values[order], users[order])
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    assert found == mean_estimate(values, users)
    assert found != mean_estimate(values, users, seed=1)


@pytest.mark.parametrize(("values", "n"), [([], 0), ([np.nan, np.nan], 0), ([0.5], 1), ([0.5, np.nan], 1)], ids=repr)
def test_too_few_users_for_an_interval(values: list[float], n: int) -> None:
    users = list("ab")[: len(values)]
    for found in (mean_estimate(values, users), difference_estimate(values, values, users)):
        assert found.n == n
        assert np.isnan([found.low, found.high]).all()
        assert np.isnan(found.value) == (n == 0)


def test_a_ratio_to_nothing() -> None:
    nothing = ratio_estimate([1.0, 1.0], [0.0, 0.0], ["a", "b"])
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.n == 2
    rarely = ratio_estimate([1.0, 1.0], [0.0, 1.0], ["a", "b"])
    assert rarely.value == 1
    assert np.isnan([rarely.low, rarely.high]).all()


def test_bad_input() -> None:
    with pytest.raises(DataError, match="one value per entry"):
        mean_estimate([1.0, 2.0], ["a"])
    with pytest.raises(DataError, match="resample"):
        mean_estimate([1.0], ["a"], resamples=0)


def test_ten_thousand_users_are_quick() -> None:
    values = np.random.default_rng(7).random(10_000)
    start = time.process_time()
    found = mean_estimate(values, np.arange(10_000))
    assert time.process_time() - start < 2
    assert width(found) == pytest.approx(2 * 1.96 * values.std() / 100, rel=0.1)
