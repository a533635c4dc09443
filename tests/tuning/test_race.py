"""Arms with known means: who wins, who is stopped when, and what a race without a difference says."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recllm.tuning.race import race

UNITS = 400


def measured(means: Sequence[float], noise: float = 0.3, seed: int = 0) -> tuple[list[tuple[list[int], int]], object]:
    """Units differ far more than arms do; `calls` says who was measured when."""
    rng = np.random.default_rng(seed)
    units = rng.normal(1.0, 1.0, size=(4, UNITS))
    own = rng.normal(0.0, noise, size=(4, len(means), UNITS))
    calls: list[tuple[list[int], int]] = []

    def measure(arms: Sequence[int], number: int) -> NDArray[np.float64]:
        calls.append((list(arms), number))
        return np.stack([units[number] + means[arm] + own[number, arm] for arm in arms])

    return calls, measure


def test_the_best_wins_and_who_is_surely_behind_is_not_measured_again() -> None:
    calls, measure = measured([0.0, 0.2, 0.19, -0.5])
    done = race(4, measure, widths=[4, 4])  # type: ignore[arg-type]
    assert done.leader in (1, 2)
    assert calls[0] == ([0, 1, 2, 3], 0)
    assert calls[1] == ([0, 1, 2], 1), "the incumbent stays, and who is level with the leader"
    assert done.stopped(3).startswith("behind the leader: -")
    assert done.stopped(2) == "" == done.stopped(0)
    assert done.laps[0][1].gain.high < 0, "measured to the end all the same"


def test_only_so_many_begin_a_costly_round() -> None:
    calls, measure = measured([0.0, *np.linspace(0.01, 0.03, 9)], noise=0.5)
    done = race(10, measure, widths=[10, 3])  # type: ignore[arg-type]
    assert len(calls[1][0]) <= 4, "three, and the incumbent"
    assert sum(done.stopped(arm) == "not among the best 3" for arm in range(10)) >= 5


def test_of_equals_the_incumbent_leads() -> None:
    assert race(5, lambda arms, _: np.ones((len(arms), UNITS)), widths=[5, 5]).leader == 0


def test_what_an_arm_costs_is_taken_off() -> None:
    _, measure = measured([0.0, 0.05], noise=0.0)
    assert race(2, measure, widths=[2]).leader == 1  # type: ignore[arg-type]
    _, measure = measured([0.0, 0.05], noise=0.0)
    assert race(2, measure, widths=[2], costs=[0.0, 0.06]).leader == 0  # type: ignore[arg-type]


def test_who_runs_out_of_time_says_what_the_last_round_said() -> None:
    calls, measure = measured([0.0, 0.3, -0.4])
    done = race(3, measure, widths=[3, 3], over=lambda: True)  # type: ignore[arg-type]
    assert done.cut
    assert done.leader == 1
    assert len(calls) == 1


def test_units_that_say_nothing_are_left_out() -> None:
    def measure(arms: Sequence[int], _: int) -> NDArray[np.float64]:
        values = np.tile(np.linspace(0, 1, UNITS), (len(arms), 1)) + 0.1 * np.array(arms)[:, None]
        values[:, ::2] = np.nan
        return values

    done = race(2, measure, widths=[2])
    assert done.leader == 1
    assert done.laps[0][0].gain.n == UNITS // 2
