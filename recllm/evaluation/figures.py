"""What was measured, kept user by user, and the figures that follow from it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from recllm.errors import DataError
from recllm.evaluation.names import MAIN_METRIC, METRICS, Place
from recllm.evaluation.statistics import Estimate, identity, mean_estimate, paired_estimates
from recllm.evaluation.verdicts import Comparison

COLUMNS = (
    *("protocol", "dataset", "fold", "seed", "method", "shots"),
    *("metric", "value", "ci_low", "ci_high", "n_users"),
)


@final
@dataclass(frozen=True, eq=False)
class Measured:
    """One method on one arm of one split.

    Attributes:
        dataset: Name of the data.
        fold: Number of the fold.
        seed: Of the split and of what was fitted.
        method: Name; `channel: …` for one source of candidates, `control: …` for a control of the square.
        protocol: Of the arm.
        shots: Of the arm.
        user_ids: The users asked.
        per_user: Metric -> [users]; NaN where it is not defined for a user. RMSE is made from MSE.
        of_lists: Metrics that belong to all lists together, such as coverage, and costs.
        activity: Events that each user had before the query, [users].
    """

    dataset: str
    fold: int
    seed: int
    method: str
    protocol: str
    shots: int
    user_ids: tuple[str, ...]
    per_user: Mapping[str, NDArray[np.float64]]
    of_lists: Mapping[str, float]
    activity: NDArray[np.int64]

    def __post_init__(self) -> None:
        columns = {**self.per_user, "activity": self.activity}
        wrong = {name: np.shape(column) for name, column in columns.items() if np.shape(column) != (len(self),)}
        if wrong:
            raise DataError(f"{self.method!r} has {len(self)} users but columns of shape {wrong}; give one per user.")

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def metrics(self) -> frozenset[str]:
        """All metrics there are."""
        rmse = {"RMSE"} if "MSE" in self.per_user else set()
        return frozenset({*self.per_user, *self.of_lists} - {"RMSE"} | rmse)

    def values(self, metric: str) -> NDArray[np.float64]:
        """What to average: [users]."""
        return np.asarray(self.per_user[_source(metric)], dtype=np.float64)


_Runs = dict[tuple[int, int], Measured]


@final
class Figures:
    """Figures of all that was measured.

    Folds and seeds are pooled, entries of one user resampled together; datasets and protocols are never pooled.
    """

    def __init__(self, measured: Sequence[Measured]) -> None:
        self._cells: dict[Place, dict[tuple[str, int], _Runs]] = {}
        self._estimates: dict[tuple[Place, str, int, str], Estimate] = {}
        self._comparisons: dict[tuple[Place, str, str, int, str], Comparison] = {}
        for run in measured:
            cells = self._cells.setdefault(Place(run.dataset, run.protocol), {})
            runs = cells.setdefault((run.method, run.shots), {})
            if (run.fold, run.seed) in runs:
                raise DataError(
                    f"{run.method!r} was measured twice at {run.protocol}/{run.shots} of {run.dataset!r}, fold "
                    f"{run.fold}, seed {run.seed}; give every result once."
                )
            runs[run.fold, run.seed] = run

    @property
    def places(self) -> tuple[Place, ...]:
        """Datasets and protocols, in the order in which they were measured."""
        return tuple(self._cells)

    def methods(self, place: Place, metric: str | None = None, shots: int | None = None) -> tuple[str, ...]:
        """The methods measured there (by this metric, at this K), in order of appearance."""
        found = {method for (method, k), runs in self._measured(place, metric) if shots in (None, k)}
        in_order = dict.fromkeys(method for method, _ in self._cells.get(place, {}))
        return tuple(method for method in in_order if method in found)

    def shots(self, place: Place, metric: str | None = None) -> tuple[int, ...]:
        """All K measured there (by this metric), ascending."""
        return tuple(sorted({k for (_, k), _ in self._measured(place, metric)}))

    def metrics(self, place: Place, shots: int) -> tuple[str, ...]:
        """All metrics measured there, in the order of tables."""
        return _metrics(run for (_, k), runs in self._measured(place) if k == shots for run in runs.values())

    def users(self, place: Place) -> int:
        """Distinct users asked there."""
        return len({user for _, runs in self._measured(place) for run in runs.values() for user in run.user_ids})

    def default_shots(self, place: Place) -> int:
        """The K to look at where there is room for one: 10, else the largest at which somebody was asked."""
        shots = {k for (_, k), runs in self._measured(place) if any(len(run) for run in runs.values())}
        return 10 if 10 in shots else max(shots, default=0)

    def estimate(self, place: Place, method: str, shots: int, metric: str = MAIN_METRIC) -> Estimate:
        """A method's figure; NaN where it was not measured."""
        key = (place, method, shots, metric)
        if key not in self._estimates:
            self._estimates[key] = _estimate(self._runs(place, method, shots).values(), metric)
        return self._estimates[key]

    def comparable(self, place: Place, ours: str, theirs: str, metric: str = MAIN_METRIC) -> tuple[int, ...]:
        """The K at which both have values per user."""
        found = [
            {k for k in self.shots(place) if _with_values(self._runs(place, method, k).values(), metric)}
            for method in (ours, theirs)
        ]
        return tuple(sorted(set.intersection(*found)))

    def comparison(self, place: Place, ours: str, theirs: str, shots: int, metric: str = MAIN_METRIC) -> Comparison:
        """Two methods on the same users."""
        key = (place, ours, theirs, shots, metric)
        if key not in self._comparisons:
            mine, other, users = _paired(self._runs(place, ours, shots), self._runs(place, theirs, shots), metric)
            estimates = paired_estimates(mine, other, users, statistic=_statistic(metric))
            self._comparisons[key] = Comparison(place.protocol, shots, *estimates, place.dataset, ours, theirs, metric)
        return self._comparisons[key]

    def segments(self, place: Place, shots: int, metric: str = MAIN_METRIC) -> dict[str, dict[str, Estimate]]:
        """Users in thirds by how many events they had: third -> method -> figure.

        Users with the same number of events stay together, so the thirds may differ in size, or be fewer.
        """
        methods = self.methods(place, metric, shots)
        cells = {method: _with_values(self._runs(place, method, shots).values(), metric) for method in methods}
        cells = {method: runs for method, runs in cells.items() if runs}
        activity = [run.activity for runs in cells.values() for run in runs if len(run)]
        if not activity:
            return {}
        return {
            f"{low:,}–{high:,} events" if low < high else f"{low:,} events": {
                method: _estimate(runs, metric, (low, high)) for method, runs in cells.items()
            }
            for low, high in _thirds(np.concatenate(activity))
        }

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Everything as rows of `COLUMNS`; `fold` and `seed` are None where several are pooled."""
        return list(self._make_rows())

    def _make_rows(self) -> Iterator[dict[str, Any]]:
        for place, cells in self._cells.items():
            in_order = {method: row for row, method in enumerate(self.methods(place))}
            for (method, k), runs in sorted(cells.items(), key=lambda cell: (in_order[cell[0][0]], cell[0][1])):
                pooled: list[tuple[int | None, int | None]] = [(None, None)] if len(runs) > 1 else []
                for fold, seed in [*sorted(runs), *pooled]:
                    chosen = [run for key, run in runs.items() if fold is None or key == (fold, seed)]
                    for metric in _metrics(chosen):
                        whole = len(chosen) == len(runs)
                        found = self.estimate(place, method, k, metric) if whole else _estimate(chosen, metric)
                        names = (place.protocol, place.dataset, fold, seed, method, k, metric)
                        figures = (found.value, found.low, found.high, found.n)
                        yield dict(zip(COLUMNS, (*names, *figures), strict=True))

    def _measured(self, place: Place, metric: str | None = None) -> list[tuple[tuple[str, int], _Runs]]:
        """((method, K), runs) there (by this metric)."""
        cells = self._cells.get(place, {}).items()
        return [cell for cell in cells if metric is None or any(metric in run.metrics for run in cell[1].values())]

    def _runs(self, place: Place, method: str, shots: int) -> _Runs:
        return self._cells.get(place, {}).get((method, shots), {})


def _source(metric: str) -> str:
    return "MSE" if metric == "RMSE" else metric


def _statistic(metric: str) -> Any:
    return np.sqrt if metric == "RMSE" else identity


def _metrics(runs: Iterable[Measured]) -> tuple[str, ...]:
    """All metrics of these, in the order of tables."""
    metrics = {metric for run in runs for metric in run.metrics}
    return (*(name for name in METRICS if name in metrics), *sorted(metrics - set(METRICS)))


def _with_values(runs: Iterable[Measured], metric: str) -> list[Measured]:
    """The runs that have a value of each user."""
    return [run for run in runs if _source(metric) in run.per_user]


def _estimate(runs: Collection[Measured], metric: str, between: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Over all entries, or those of users with so many events; what belongs to whole lists is averaged over runs."""
    measured = _with_values(runs, metric)
    if not measured:
        found = [run.of_lists[metric] for run in runs if metric in run.of_lists]
        users = {user for run in runs for user in run.user_ids}
        return Estimate(float(np.mean(found)) if found else np.nan, np.nan, np.nan, len(users))
    chosen = [(run.activity >= between[0]) & (run.activity <= between[1]) for run in measured]
    values = np.concatenate([run.values(metric)[some] for run, some in zip(measured, chosen, strict=True)])
    owners = np.array([user for run in measured for user in run.user_ids], dtype=str)[np.concatenate(chosen)]
    return mean_estimate(values, owners, statistic=_statistic(metric))


def _paired(
    ours: _Runs, theirs: _Runs, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Both methods' values and the user, one entry per user asked of both in the same fold and seed."""
    mine, other, users = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=str)]
    for key in sorted({*ours, *theirs}):
        first, second = _partner(ours, key, theirs), _partner(theirs, key, ours)
        if first is None or second is None or len(_with_values((first, second), metric)) < 2:
            continue
        mine_of, theirs_of = (np.array(run.user_ids, dtype=str) for run in (first, second))
        common, ours_at, theirs_at = np.intersect1d(mine_of, theirs_of, assume_unique=True, return_indices=True)
        users.append(common)
        mine.append(first.values(metric)[ours_at])
        other.append(second.values(metric)[theirs_at])
    return np.concatenate(mine), np.concatenate(other), np.concatenate(users)


def _partner(runs: _Runs, key: tuple[int, int], others: _Runs) -> Measured | None:
    """The run of a fold and seed; a method without chance may have been measured with one seed for all."""
    if key in runs:
        return runs[key]
    same = [run for run in runs.values() if run.fold == key[0] and run.user_ids == others[key].user_ids]
    return same[0] if same else None


def _thirds(activity: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Lowest and highest number of events of each third that has users."""
    cuts = np.unique(np.quantile(activity, [1 / 3, 2 / 3], method="inverted_cdf"))
    third = np.searchsorted(cuts, activity)
    return [(int(activity[third == t].min()), int(activity[third == t].max())) for t in np.unique(third)]
