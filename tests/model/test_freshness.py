"""When to fit again: the rule in every case, and the half-life of curves whose answer is known."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.model.freshness import (
    LOSS,
    MEDIANS_FROM,
    REFIT_SHARE,
    SPREAD,
    WEEK,
    Freshness,
    Measured,
    half_life,
)

NOW = 1_700_000_000.0


def fresh(**given: object) -> Freshness:
    usual = {"events": 1000, "events_since_fit": 10, "newest_event": NOW - 3600, "weights_from": NOW - WEEK, "now": NOW}
    return Freshness.of(**{**usual, **given})  # type: ignore[arg-type]


# --- the rule ----------------------------------------------------------------------------------------------------


def test_a_fresh_model_says_so() -> None:
    state = fresh(half_life_weeks=8.0)
    assert (state.events, state.events_since_fit, state.share_since_fit, state.age) == (1000, 10, 0.01, 3600)
    assert not state.refit_due
    assert state.reason == "1.0 % of the events came after the fit; 50 % make it due."
    assert str(state).splitlines() == [
        "1,000 events are counted, 10 of them (1.0 %) since the fit",
        "the newest event is of 2023-11-14 21:13 UTC, 60 minutes ago",
        "the weights have seen events until 2023-11-07 22:13 UTC",
        "counts that stand still cost 10 % of NDCG@10 after 8.0 weeks",
        "refit not due: 1.0 % of the events came after the fit; 50 % make it due.",
    ]


def test_it_is_a_value_that_json_can_hold() -> None:
    state = fresh()
    assert Freshness(**json.loads(json.dumps(state.to_dict()))) == state
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.events = 3  # type: ignore[misc]


@pytest.mark.parametrize("events", [int(1000 * REFIT_SHARE), 999])
def test_many_new_events_make_a_refit_due(events: int) -> None:
    state = fresh(events_since_fit=events)
    assert state.refit_due
    assert "fit again" in state.reason
    assert not fresh(events_since_fit=int(1000 * REFIT_SHARE) - 1).refit_due


def test_counts_that_move_make_no_refit_due_however_old_the_weights_are() -> None:
    assert not fresh(newest_event=NOW, weights_from=NOW - 400 * WEEK, half_life_weeks=4.0).refit_due


def test_who_brings_no_events_is_asked_for_them_first() -> None:
    """The weights are no older than what is counted: fitting again would learn nothing new."""
    state = fresh(newest_event=NOW - 9 * WEEK, weights_from=NOW - 9 * WEEK, events_since_fit=0, half_life_weeks=4.0)
    assert not state.refit_due
    assert "9.0 weeks old" in state.reason
    assert "update()" in state.reason


def test_without_any_event_nothing_is_due() -> None:
    state = fresh(events=0, events_since_fit=0, newest_event=None, weights_from=None)
    assert (state.refit_due, state.share_since_fit, state.age) == (False, 0.0, None)
    assert str(state).splitlines()[0] == "no events are counted"


def test_of_a_catalog_alone_that_has_got_events() -> None:
    state = fresh(events=12, events_since_fit=12, weights_from=None)
    assert (state.refit_due, state.share_since_fit) == (True, 1.0)
    assert "nothing was learned" in state.reason


def test_logs_without_times_have_a_share_and_no_age() -> None:
    state = fresh(newest_event=None, weights_from=None, half_life_weeks=1.0)
    assert (state.age, state.share_since_fit, state.refit_due) == (None, 0.01, False)
    assert "events have no times" in str(state)
    assert "seen" not in str(state)
    assert fresh(newest_event=None, weights_from=None, events_since_fit=500).refit_due


def test_events_of_the_future_are_not_younger_than_now() -> None:
    assert fresh(newest_event=NOW + 9).age == 0
    assert "ago" not in str(fresh(newest_event=NOW + 9))


def test_the_same_at_another_moment() -> None:
    state = fresh(half_life_weeks=2.0)
    late = state.at(NOW + 3 * WEEK)
    assert late == fresh(half_life_weeks=2.0, now=NOW + 3 * WEEK)
    assert "update()" in late.reason
    assert state.at(None).age == 0
    assert late.at(None) == state.at(None), "what a card says does not depend on when it is written"
    nothing = fresh(newest_event=None, weights_from=None)
    assert nothing.at(None) == nothing


def test_a_share_that_is_hardly_there_is_not_none() -> None:
    assert "less than 0.1 % of the events" in fresh(events=10**6, events_since_fit=2).reason


def test_others_may_have_been_forgotten_since() -> None:
    assert fresh(events=5, events_since_fit=9).share_since_fit == 1
    assert fresh(events=5, events_since_fit=-1).events_since_fit == 0


def test_the_clock_of_the_machine_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.model.freshness.time.time", lambda: NOW + WEEK)
    assert fresh(now=None, newest_event=NOW).age == WEEK


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.none() | st.floats(-1e9, 4e9),
    st.none() | st.floats(-1e9, 4e9),
    st.none() | st.floats(0.01, 1e4),
)
def test_whatever_comes_is_answered(
    events: int, since: int, newest: float | None, weights: float | None, weeks: float | None
) -> None:
    state = Freshness.of(
        events=events,
        events_since_fit=since,
        newest_event=newest,
        weights_from=weights,
        half_life_weeks=weeks,
        now=NOW,
    )
    assert 0 <= state.share_since_fit <= 1
    assert state.age is None or state.age >= 0
    assert state.reason.endswith(".")
    assert ("refit due" in str(state)) is state.refit_due
    assert state.refit_due or state.share_since_fit < REFIT_SHARE


# --- the half-life -----------------------------------------------------------------------------------------------


def planted(loss: Callable[[float], float], weeks: int = 20, noise: float = 0.0, seed: int = 0) -> list[Measured]:
    """NDCG@10 around .1 of 100 to 300 tasks a week; `noise` in parts of the widest that is reckoned with."""
    rng = np.random.default_rng(seed)
    curve = []
    for week in range(1, weeks + 1):
        tasks = 100 + int(rng.integers(200))
        error = noise * SPREAD * math.sqrt(0.1 * 0.9 / tasks) * float(rng.normal())
        curve.append(Measured(week, max(0.1 * (1 - loss(week)) + error, 0.0), 0.1, tasks))
    return curve


@pytest.mark.parametrize(
    ("loss", "weeks"),
    [
        (lambda week: 0.02 * week, 5.0),
        (lambda week: 1 - math.exp(-week / 10), -10 * math.log(0.9)),
        (lambda week: 0.15 * (1 - 0.5 ** (week / 3)), 3 * math.log2(3)),
        (lambda week: 0.0 if week < 8 else 0.3, 7 + 1 / 3),
        (lambda week: 0.2, 0.5),
    ],
    ids=["straight", "exponential", "saturating", "a step", "at once"],
)
def test_planted_curves_are_found(loss: Callable[[float], float], weeks: float) -> None:
    found = half_life(planted(loss))
    assert found == pytest.approx(weeks, abs=0.05)
    noisy = [half_life(planted(loss, noise=0.5, seed=seed)) for seed in range(20)]
    assert sum(one is not None and abs(one - weeks) <= 3 for one in noisy) >= 16


@pytest.mark.parametrize(
    "loss",
    [lambda week: 0.0, lambda week: 0.004 * week, lambda week: -0.02 * week, lambda week: 0.09],
    ids=["none", "too slow", "standing still wins", "just below"],
)
def test_a_curve_that_does_not_reach_it_has_none(loss: Callable[[float], float]) -> None:
    assert half_life(planted(loss)) is None


@pytest.mark.parametrize("weeks", [3, 6, 20])
def test_noise_has_none(weeks: int) -> None:
    """Without any loss, and with differences as wide as is reckoned with: one in twenty gets through."""
    found = [half_life(planted(lambda _: 0.0, weeks, noise=1.0, seed=seed)) for seed in range(200)]
    assert sum(one is not None for one in found) <= 16
    assert all(half_life(planted(lambda _: 0.0, weeks, noise=0.3, seed=seed)) is None for seed in range(200))


def test_few_tasks_are_no_measurement() -> None:
    few = [one._replace(tasks=1) for one in planted(lambda week: 0.02 * week, weeks=8)]
    assert half_life(few) is None
    assert half_life([one._replace(tasks=500) for one in few]) == pytest.approx(5.0)


def test_what_the_end_alone_says_has_to_be_sure_as_well() -> None:
    """A small loss all along is for sure, that the last week's is a large one is not."""
    curve = [Measured(week, 0.095, 0.1, 3000) for week in (1, 2, 3)]
    assert half_life([*curve, Measured(4, 0.07, 0.1, 10)]) is None
    assert half_life([*curve, Measured(4, 0.07, 0.1, 3000)]) == pytest.approx(3.2)


def test_a_loss_that_does_not_last_is_none() -> None:
    """Losses of .12, 0 and 0 are one of .04 until then, in equally many tasks."""
    curve = [Measured(week, 0.1 * (1 - loss), 0.1, 3000) for week, loss in enumerate((0.12, 0.0, 0.0, 0.2), 1)]
    assert half_life(curve) == pytest.approx(3 + 0.06 / 0.16)


def test_one_week_that_is_far_off_moves_nothing() -> None:
    curve = planted(lambda week: 0.02 * week)
    for far in (1, 2, 9, 20):
        broken = [one._replace(stale=0.0) if one.weeks == far else one for one in curve]
        assert half_life(broken) == pytest.approx(5.0, abs=0.01)
    at_the_end = [one._replace(stale=0.0) if one.weeks == 20 else one for one in planted(lambda week: 0.004 * week)]
    assert half_life(at_the_end) is None


def test_what_fits_measure() -> None:
    """At the first of the moments nothing is old yet; a budget may leave two that are."""
    curve = [(2.7, 0.104, 0.104, 127), (8.2, 0.136, 0.149, 134), (12.2, 0.092, 0.150, 100)]
    assert half_life(curve) == pytest.approx(8.4, abs=0.1)
    assert half_life(curve[:2]) is None
    assert half_life(curve[1:]) is not None


def test_what_cannot_be_measured_is_left_out() -> None:
    curve = planted(lambda week: 0.02 * week)
    useless = [
        Measured(3, 0.1, 0.0, 50),
        Measured(3, math.nan, 0.1, 50),
        Measured(4, 0.0, 0.1, 0),
        Measured(0, 0.0, 0.1, 50),
        Measured(-2, 0.0, 0.1, 50),
        Measured(math.inf, 0.0, 0.1, 50),
        Measured(5, -1.0, 0.1, 50),
    ]
    assert half_life([*useless, *curve]) == half_life(curve)
    assert half_life(useless) is None
    assert half_life([]) is None


losses = st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 500)), min_size=2, max_size=30)


def measured(triples: list[tuple[float, float, int]]) -> list[Measured]:
    return [Measured(week, *triple) for week, triple in enumerate(triples, 1)]


@given(losses, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_more_tasks_are_only_surer(triples: Any, random: Any) -> None:
    curve = measured(triples)
    found = half_life(curve)
    assert found is None or 0 < found <= len(curve)
    shuffled = list(curve)
    random.shuffle(shuffled)
    assert half_life(shuffled) == found
    more = half_life([one._replace(tasks=one.tasks * 3) for one in curve])
    assert found is None or more == pytest.approx(found, rel=1e-9, abs=1e-9)
    halves = [one._replace(tasks=one.tasks * 2) for one in curve]
    assert half_life([*curve, *halves]) == (None if more is None else pytest.approx(more, rel=1e-6, abs=1e-6))


@given(losses, st.floats(0, 0.5))
def test_more_loss_is_never_a_longer_life(triples: Any, more: float) -> None:
    curve = measured(triples)
    worse = [one._replace(stale=max(one.stale - more, 0.0)) for one in curve]
    found, sooner = half_life(curve), half_life(worse)
    assert found is None or sooner is None or sooner <= found + 1e-9


@given(st.floats(0.005, 0.2), st.integers(2, 40))
def test_a_straight_loss_reaches_a_tenth_where_it_should(per_week: float, weeks: int) -> None:
    curve = [Measured(week, 1 - min(per_week * week, 1.0), 1.0, 1000) for week in range(1, weeks + 1)]
    found, wanted = half_life(curve), LOSS / per_week
    if wanted > weeks:
        assert found is None
    elif wanted <= weeks - 1 or weeks < MEDIANS_FROM:  # the median of the last three is that of the last but one
        assert found == pytest.approx(wanted, rel=1e-6)
