"""How fresh a served model is: what it has counted, what its weights have seen, and when to fit again."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

REFIT_SHARE = 0.5
"""A refit is due when this share of all counted events came after it: up to there fitting again lost against counts
that move, from there on it gained (scripts/bench/NOTES.md, a shop through time)."""

LOSS = 0.1
"""What a half-life is the time to: NDCG@10 lower by this part."""

FEWEST = 2
"""Measurements that a half-life needs."""

MEDIANS_FROM = 5
"""With so many, each is replaced by the median of it and its two neighbours: one that is far off moves nothing."""

SPREAD = 0.45
"""How much the difference of NDCG@10 varies between tasks, as a part of √(m(1 − m)) with m the mean: .28 to .42 in the
five periods of a gift shop in which it was measured."""

SURE = 1.645
"""A loss of so many standard errors is no chance: in 19 of 20 logs without one there is less."""

WEEK = 7 * 86_400.0
"""Seconds."""


class Measured(NamedTuple):
    """Lists of counts that stood still and lists of renewed ones, on the same tasks.

    Attributes:
        weeks: How long the counts had stood still.
        stale: Their NDCG@10.
        fresh: That of the renewed ones.
        tasks: How many tasks were asked.
    """

    weeks: float
    stale: float
    fresh: float
    tasks: int


@final
@dataclass(frozen=True)
class Freshness:
    """What a model has counted, what its weights have seen, and whether it should be fitted again.

    Times are unix seconds; None where the log has no times, or nothing.

    Attributes:
        newest_event: The newest event that is counted.
        events: How many are counted.
        events_since_fit: How many of these came after the fit.
        share_since_fit: Their share of all, 0 to 1.
        weights_from: The newest event that shaped the weights.
        age: Seconds from the newest event to now; 0 where that event is of the future.
        half_life_weeks: Weeks until lists of counts that stand still have an NDCG@10 that is 10 % below lists of
            renewed counts, measured on the shop's own log; None where it could not be measured.
        refit_due: Whether to fit again.
        reason: Why, or why not, in one sentence.
    """

    newest_event: float | None
    events: int
    events_since_fit: int
    share_since_fit: float
    weights_from: float | None
    age: float | None
    half_life_weeks: float | None
    refit_due: bool
    reason: str

    @classmethod
    def of(
        cls,
        *,
        events: int,
        events_since_fit: int,
        newest_event: float | None,
        weights_from: float | None,
        half_life_weeks: float | None = None,
        now: float | None = None,
    ) -> Self:
        """From what is counted, and when that was.

        A refit is due when at least `REFIT_SHARE` of all events came after the last one. The half-life is that of
        counts, not of weights: where the newest event is older than that, the reason asks for `update`.

        Args:
            events: How many are counted.
            events_since_fit: How many of these came after the fit; more than there are (others were forgotten) count as
                all of them.
            newest_event: Unix seconds; None for logs without times or events.
            weights_from: The newest event at the fit; None for logs without times, or if nothing was learned.
            half_life_weeks: See `half_life`.
            now: Unix seconds; None: what the clock of the machine says.
        """
        since = min(max(events_since_fit, 0), events)
        share = since / events if events else 0.0
        age = None if newest_event is None else max((time.time() if now is None else now) - newest_event, 0.0)
        due, reason = _verdict(events, share, age, half_life_weeks, learned=events > since)
        return cls(newest_event, events, since, share, weights_from, age, half_life_weeks, due, reason)

    def at(self, now: float | None) -> Self:
        """The same at another moment, unix seconds; None: that of the newest event."""
        return type(self).of(
            events=self.events,
            events_since_fit=self.events_since_fit,
            newest_event=self.newest_event,
            weights_from=self.weights_from,
            half_life_weeks=self.half_life_weeks,
            now=(self.newest_event or 0.0) if now is None else now,
        )

    def to_dict(self) -> dict[str, Any]:
        """All attributes, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            "no events are counted"
            if not self.events
            else f"{self.events:,} events are counted, {self.events_since_fit:,} of them "
            f"({_percent(self.share_since_fit)}) since the fit"
        ]
        if self.newest_event is not None and self.age is not None:
            lines.append(f"the newest event is of {_moment(self.newest_event)}{_ago(self.age)}")
        elif self.events:
            lines.append("events have no times")
        if self.weights_from is not None:
            lines.append(f"the weights have seen events until {_moment(self.weights_from)}")
        if self.half_life_weeks is not None:
            lines.append(
                f"counts that stand still cost {_percent(LOSS)} of NDCG@10 after {_weeks(self.half_life_weeks)}"
            )
        lines.append(f"refit {'due' if self.refit_due else 'not due'}: {self.reason}")
        return "\n".join(lines)


def _verdict(
    events: int,
    share: float,
    age: float | None,
    half_life_weeks: float | None,
    *,
    learned: bool,
) -> tuple[bool, str]:
    """Whether a refit is due, and why."""
    if not events:
        return False, "there are no events yet that could be learned from."
    if not learned:
        return True, "all events came after the fit, so nothing was learned from any; fit with them."
    if share >= REFIT_SHARE:
        return True, f"{_percent(share)} of the events came after the fit; fit again at {_percent(REFIT_SHARE)}."
    late = math.inf if half_life_weeks is None else half_life_weeks * WEEK
    told = f"{_percent(share)} of the events came after the fit; {_percent(REFIT_SHARE)} make it due"
    if age is not None and age >= late:
        return False, f"{told}. But the newest event is {_weeks(age / WEEK)} old: bring what came since with update()."
    return False, f"{told}."


# --- the half-life -----------------------------------------------------------------------------------------------


def half_life(curve: Sequence[Measured | tuple[float, float, float, int]]) -> float | None:
    """Weeks until counts that stand still cost a tenth of NDCG@10.

    The loss `1 - stale / fresh` of each week is replaced by the nearest curve that begins at 0 and never falls
    (isotonic regression, weighted by tasks; from `MEDIANS_FROM` weeks on after a median over neighbours). The answer is
    where that curve passes a tenth, in a straight line between weeks.

    None where it does not; where fewer than `FEWEST` weeks differ at all; and where the loss may be noise, of all weeks
    together or of those from the answer on: then NDCG@10 is lower by less than `SURE` standard errors, of as many tasks
    with differences as wide as `SPREAD` says.

    Args:
        curve: What was measured, such as `FitReport.ageing`; weeks in any order, and those without tasks or with
            nothing to lose are left out.
    """
    weeks = _usable(curve)
    if (weeks.stale != weeks.fresh).sum() < FEWEST:
        return None
    fitted = _rising(_smoothed(1 - weeks.stale / weeks.fresh), weeks.tasks)
    reached = np.flatnonzero(fitted >= LOSS - 1e-12)
    if not len(reached):
        return None
    first = int(reached[0])
    if not (weeks.is_loss_for_sure(0) and weeks.is_loss_for_sure(first)):
        return None
    week, level = (float(weeks.weeks[first - 1]), float(fitted[first - 1])) if first else (0.0, 0.0)
    part = min((LOSS - level) / (float(fitted[first]) - level), 1.0)
    return week + part * (float(weeks.weeks[first]) - week)


@final
@dataclass(frozen=True, eq=False)
class _Weeks:
    """`Measured` as arrays, float64 [weeks], in order."""

    weeks: NDArray[np.float64]
    stale: NDArray[np.float64]
    fresh: NDArray[np.float64]
    tasks: NDArray[np.float64]

    def is_loss_for_sure(self, first: int) -> bool:
        """Whether chance hardly makes such a loss, of the weeks from `first` on that differ at all."""
        some = np.flatnonzero(self.stale != self.fresh)
        some = some[some >= first]
        lost = float((self.fresh - self.stale)[some] @ self.tasks[some])
        mean = np.minimum(self.fresh[some], 1.0)
        variance = float((SPREAD**2 * mean * (1 - mean)) @ self.tasks[some])
        return lost > 0 and lost >= SURE * math.sqrt(variance)


def _usable(curve: Sequence[Measured | tuple[float, float, float, int]]) -> _Weeks:
    """In order; what was measured twice in a week is put together."""
    usable = [
        one
        for one in (Measured(*given) for given in curve)
        if all(map(math.isfinite, one)) and one.weeks > 0 and one.tasks > 0 and one.fresh > 0 and one.stale >= 0
    ]
    table = np.array(usable, dtype=np.float64).reshape(-1, 4)
    weeks, places = np.unique(table[:, 0], return_inverse=True)
    tasks = np.bincount(places, table[:, 3], len(weeks)).astype(np.float64)
    stale, fresh = (np.bincount(places, table[:, column] * table[:, 3], len(weeks)) / tasks for column in (1, 2))
    return _Weeks(weeks, stale, fresh, tasks)


def _smoothed(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """[weeks]: medians of neighbours, if there are many; 0 stands before the first, the last is as the last three."""
    if len(loss) < MEDIANS_FROM:
        return loss
    medians = np.median(np.lib.stride_tricks.sliding_window_view(np.concatenate([[0.0], loss]), 3), axis=-1)
    return np.concatenate([medians, medians[-1:]])


def _rising(loss: NDArray[np.float64], tasks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest curve that never falls and is nowhere below 0, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # level, tasks, weeks
    for level, weight in zip(loss.tolist(), tasks.tolist(), strict=True):
        size = 1
        while blocks and blocks[-1][0] >= level:
            other, mass, weeks = blocks.pop()
            level = (other * mass + level * weight) / (mass + weight)
            weight, size = mass + weight, size + weeks
        blocks.append((level, weight, size))
    levels = [level for level, *_ in blocks]
    return np.maximum(np.repeat(levels, [size for *_, size in blocks]), 0.0)


# --- words -------------------------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or not share else f"{100 * share:.1f} %"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _ago(seconds: float) -> str:
    """How long since then, where that is worth saying."""
    for size, unit in ((WEEK, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f", {seconds / size:,.0f} {unit}s ago"
    return ""


def _weeks(weeks: float) -> str:
    return f"{weeks:.0f} weeks" if weeks >= 10 else f"{weeks:.1f} weeks"
