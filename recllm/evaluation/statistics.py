"""How sure a figure is: 95 % intervals from a bootstrap that draws users, with all that belongs to them, together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.errors import DataError

LEVEL = 0.95
_CELLS = 2**22
"""Users × resamples drawn at a time."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_Combine = Callable[[NDArray[np.float64]], list[NDArray[np.float64]]]


@final
@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: Of all entries; NaN without any.
        low: Lower end of the interval; NaN where there is none to give.
        high: Upper end.
        n: Users that have an entry.
    """

    value: float
    low: float
    high: float
    n: int


def identity(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean itself; `numpy.sqrt` in its place makes an RMSE of squared errors."""
    return means


def mean_estimate(
    values: ArrayLike,
    users: Sequence[object] | NDArray,
    *,
    statistic: Statistic = identity,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The mean over entries.

    Args:
        values: [entries]; NaN is left out.
        users: [entries], whose each is. Entries of one user (other seeds, other events) are drawn together.
        statistic: Taken of the mean, elementwise.
        resamples: Bootstrap samples; the interval is percentile.
        seed: The same seed gives the same interval; the order of the entries does not matter.

    Returns:
        The interval is NaN for fewer than two users: one says nothing of others.
    """
    return _bootstrap([values], users, lambda means: [statistic(means[:, 0])], resamples, seed)[0]


def paired_estimates(
    ours: ArrayLike,
    theirs: ArrayLike,
    users: Sequence[object] | NDArray,
    *,
    statistic: Statistic = identity,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Estimate, Estimate]:
    """How much better ours is: mean(ours) − mean(theirs), and mean(ours) / mean(theirs) − 1.

    Entries where either is NaN are left out; else as `mean_estimate`. The ratio is NaN where mean(theirs) is not above
    0. If that happens in a resample only, the figure stands without an interval.
    """

    def compared(means: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        mine, base = statistic(means[:, 0]), statistic(means[:, 1])
        return [mine - base, mine / np.where(base > 0, base, np.nan) - 1]

    difference, ratio = _bootstrap([ours, theirs], users, compared, resamples, seed)
    return difference, ratio


def _bootstrap(
    columns: Sequence[ArrayLike], users: Sequence[object] | NDArray, combine: _Combine, resamples: int, seed: int
) -> list[Estimate]:
    """`combine` takes means [samples, columns] and returns figures, [samples] each."""
    if resamples < 1:
        raise DataError(f"at least one resample is needed, got {resamples}")
    sums = _sums_per_user(columns, users)
    n = len(sums)
    values = [float(figure[0]) for figure in combine(_means(sums.sum(axis=0, keepdims=True)))]
    if n < 2:
        return [Estimate(value, np.nan, np.nan, n) for value in values]
    block = max(1, _CELLS // n)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    # A report asks for thousands of intervals over the same users: their draws are made once.
    rounds = (_draws(n, size, seed + 7919 * place) for place, size in enumerate(sizes))
    figures = np.concatenate([combine(_means(draws @ sums)) for draws in rounds], axis=1)
    tail = (1 - LEVEL) / 2
    lows, highs = np.quantile(figures, [tail, 1 - tail], axis=1)  # NaN if any of a figure is
    found = zip(values, lows, highs, strict=True)
    return [Estimate(value, float(low), float(high), n) for value, low, high in found]


@lru_cache(maxsize=4)
def _draws(n: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """[resamples, n]: how often each user is drawn in each resample."""
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    places = drawn + n * np.arange(resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def _sums_per_user(columns: Sequence[ArrayLike], users: Sequence[object] | NDArray) -> NDArray[np.float64]:
    """[users, columns + 1]: sums of the entries where no column is NaN, and how many those are."""
    values = [np.asarray(column, dtype=np.float64) for column in columns]
    shapes = [column.shape for column in values]
    if any(shape != (len(users),) for shape in shapes):
        raise DataError(f"one value per entry is needed: got shapes {shapes} for {len(users)} entries of `users`")
    keep = ~np.isnan(values).any(axis=0)
    found, owner = np.unique(np.asarray(users)[keep], return_inverse=True)
    weights = [*(column[keep] for column in values), np.ones(len(owner))]
    return np.stack([np.bincount(owner, weight, minlength=len(found)) for weight in weights], axis=1)


def _means(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # nobody has an entry
        means: NDArray[np.float64] = totals[:, :-1] / totals[:, -1:]
    return means
