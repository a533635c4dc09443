"""A race of arms: each round measures those that are left, paired unit by unit, and stops whoever is surely behind.

A unit is whatever is asked alike of every arm: a user, or a case. Differences are paired, since units differ far more
than arms do. An arm stops when the interval of its difference to the leader lies below nothing; and before a costly
round only the best go on (successive halving, Jamieson and Talwalkar, AISTATS 2016).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

LEVEL = 1.96
"""Standard errors to either side of a 95 % interval."""

Measure = Callable[[Sequence[int], int], Float[np.ndarray, "arms units"]]
"""Of the arms asked for, in a round: each unit's value, NaN where a unit says nothing. Rounds may have other units."""


@final
@dataclass(frozen=True)
class Gain:
    """A mean difference with its 95 % interval.

    Attributes:
        value: Mean over the units that say something.
        low: Lower end; minus infinity where fewer than two units do.
        high: Upper end.
        n: Units.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, differences: Float[np.ndarray, "units"]) -> "Gain":
        """Of paired differences, NaN where a unit says nothing; the interval is the normal one."""
        known = differences[~np.isnan(differences)]
        value = float(known.mean()) if len(known) else 0.0
        error = LEVEL * float(known.std(ddof=1)) / len(known) ** 0.5 if len(known) > 1 else float("inf")
        return cls(value, value - error, value + error, len(known))

    def __str__(self) -> str:
        return f"{self.value:+.1%} [{self.low:+.1%}, {self.high:+.1%}]"


@final
@dataclass(frozen=True)
class Lap:
    """An arm in a round.

    Attributes:
        round: Which, from 0.
        value: Mean over units, less what the arm costs.
        gain: Over the leader of the round, with its interval; of the leader itself, nothing.
        stopped: Why the arm goes no further; empty for one that does.
    """

    round: int
    value: float
    gain: Gain
    stopped: str = ""


@final
@dataclass
class Race:
    """How a race went.

    Attributes:
        leader: Position of the arm that won.
        laps: Of each arm, round by round.
        cut: Whether time was up before the last round.
    """

    leader: int = 0
    laps: list[list[Lap]] = field(default_factory=list)
    cut: bool = False

    def stopped(self, arm: int) -> str:
        """Why an arm did not reach the end; empty where it did."""
        return self.laps[arm][-1].stopped if self.laps[arm] else "not run: the time was used up"


def race(
    arms: int,
    measure: Measure,
    *,
    widths: Sequence[int],
    costs: Sequence[float] | NDArray[np.float64] = (),
    keep: Sequence[int] = (0,),
    over: Callable[[], bool] = lambda: False,
) -> Race:
    """Find the best of several arms.

    Args:
        arms: How many.
        measure: Measures arms in a round.
        widths: How many arms each round begins with at most; the last round decides.
        costs: What is taken off each arm's mean, in units of a value; none without.
        keep: Arms that never stop, such as the incumbent.
        over: Whether time is up; asked before each round but the first.

    Returns:
        The leader of the last round that was run, and every arm's laps.
    """
    prices = np.zeros(arms) if not len(costs) else np.asarray(costs, dtype=np.float64)
    result, running = Race(laps=[[] for _ in range(arms)]), list(range(arms))
    for number in range(len(widths)):
        if number and over():
            result.cut = True
            break
        values = np.asarray(measure(running, number), dtype=np.float64) - prices[running, None]
        means = np.nanmean(values, axis=1)
        best = int(np.argmax(means))  # of equals the first, which is the one that stands
        result.leader = running[best]
        width = widths[number + 1] if number + 1 < len(widths) else arms
        gone_on = set(np.argsort(-means, kind="stable")[:width]) | {running.index(arm) for arm in keep}
        going = []
        for place, arm in enumerate(running):
            gain = Gain.of(values[place] - values[best])
            why = "" if arm in keep or place == best else _why(gain, place in gone_on, width)
            result.laps[arm].append(Lap(number, float(means[place]), gain, why))
            if not why:
                going.append(arm)
        running = going
        if len(running) == 1:
            break
    return result


def _why(gain: Gain, among_the_best: bool, width: int) -> str:
    if gain.high < 0:
        return f"behind the leader: {gain}"
    return "" if among_the_best else f"not among the best {width}"
