"""What ratings and events mean."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data import Feedback, Interactions
from recllm.data.feedback import MAX_EVENT_NAMES
from recllm.errors import ConfigError, DataError


def log(**columns: list[object]) -> Interactions:
    rows = len(next(iter(columns.values())))
    frame = pl.DataFrame({"user_id": ["u"] * rows, "item_id": [str(i) for i in range(rows)], **columns}, strict=False)
    return Interactions.from_frame(frame)


@pytest.mark.parametrize(
    ("ratings", "scale", "signals", "tokens"),
    [
        ([1, 2, 3, 4, 5], (1, 5), [-1, -1, 0, 1, 1], [1, 2, 3, 4, 5]),
        ([0.5, 2.5, 3.5, 4.5], (1, 5), [-1, 0, 0, 1], [1, 3, 4, 5]),
        ([1, 4, 5, 7, 8, 10], (1, 10), [-1, -1, 0, 0, 1, 1], [1, 2, 3, 4, 4, 5]),
        ([0, 40, 60, 80, 100], (0, 100), [-1, -1, 0, 1, 1], [1, 2, 3, 4, 5]),
        ([0, 1, 1], (0, 1), [-1, 1, 1], [1, 5, 5]),
        ([1, 1], (0, 1), [1, 1], [5, 5]),
        ([0.1, 0.5, 0.9], (0, 1), [-1, 0, 1], [1, 3, 5]),
        ([-3, 0, 12], None, [-1, 0, 1], [0, 0, 0]),
        ([1, 250], None, [1, 1], [0, 0]),
        ([1] * 90 + [60] * 10, None, [1] * 100, [0] * 100),
    ],
)
def test_scales(ratings: list[float], scale: object, signals: list[int], tokens: list[int]) -> None:
    events = log(rating=ratings)
    feedback = Feedback.infer(events.frame)
    assert feedback.scale == scale
    assert feedback.signals(events.frame).tolist() == signals
    assert feedback.tokens(events.frame).tolist() == tokens
    assert feedback.signals(events.frame).dtype == np.int8
    assert feedback.tokens(events.frame).dtype == np.int64
    assert feedback.n_tokens == 6


def test_the_threshold_can_be_chosen() -> None:
    events = log(rating=[1, 2, 3, 3.6, 5])
    assert Feedback.infer(events.frame, liked_from=3.6).signals(events.frame).tolist() == [-1, -1, 0, 1, 1]
    assert Feedback.infer(events.frame, liked_from=2).signals(events.frame).tolist() == [-1, 1, 1, 1, 1]
    with pytest.raises(DataError, match="finite"):
        Feedback.infer(events.frame, liked_from=float("nan"))


def test_events_without_ratings() -> None:
    events = log(event=["buy", "buy", "Not interested", "skip", "impression", "view", "view", "view", None])
    feedback = Feedback.infer(events.frame)
    assert feedback.scale is None
    assert feedback.event_names == ("view", "buy", "Not interested", "impression", "skip")
    assert feedback.signals(events.frame).tolist() == [1, 1, -1, -1, 0, 1, 1, 1, 1]
    assert feedback.tokens(events.frame).tolist() == [7, 7, 8, 10, 9, 6, 6, 6, 0]
    assert feedback.n_tokens == 11
    assert feedback.tokens(log(event=["sing"]).frame).tolist() == [0]


def test_plain_events_and_weights() -> None:
    plain = Interactions.from_mapping({"u": ["a", "b"]})
    feedback = Feedback.infer(plain.frame)
    assert feedback == Feedback()
    assert feedback.signals(plain.frame).tolist() == [1, 1]
    assert feedback.tokens(plain.frame).tolist() == [0, 0]
    weighted = log(weight=[2, 0, -1, None])
    assert feedback.signals(weighted.frame).tolist() == [1, 0, -1, 1]


def test_a_rating_wins_and_the_event_stands_in_for_a_missing_one() -> None:
    events = log(rating=[1, 5, None, None], event=["like", "dislike", "like", "dislike"])
    feedback = Feedback.infer(events.frame)
    assert feedback.signals(events.frame).tolist() == [-1, 1, 1, -1]
    assert feedback.tokens(events.frame).tolist() == [1, 5, 7, 6]


def test_a_rating_that_is_no_scale_leaves_the_token_to_the_event() -> None:
    events = log(rating=[-2, 30], event=["answer", "ask"])
    feedback = Feedback.infer(events.frame)
    assert feedback.signals(events.frame).tolist() == [-1, 1]
    assert feedback.tokens(events.frame).tolist() == [6, 7]


def test_the_most_frequent_names_get_tokens() -> None:
    names = [f"e{i:02}" for i in range(40)]
    events = log(event=[*names, "e39"])
    feedback = Feedback.infer(events.frame)
    assert len(feedback.event_names) == MAX_EVENT_NAMES
    assert feedback.event_names[:3] == ("e39", "e00", "e01")
    assert feedback.n_tokens == 6 + MAX_EVENT_NAMES
    assert feedback.tokens(events.frame)[38] == 0


def test_one_meaning_for_fit_and_later_events() -> None:
    feedback = Feedback.infer(log(rating=[1, 5]).frame)
    later = Interactions.from_mapping({"u": [{"item_id": "a", "rating": 1}, {"item_id": "b"}]})
    assert feedback.signals(later.frame).tolist() == [-1, 1]


@pytest.mark.parametrize(
    "wrong", [{"scale": (5.0, 1.0)}, {"event_names": ("a", "a")}, {"event_names": tuple(str(i) for i in range(27))}]
)
def test_a_wrong_feedback_is_a_config_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Feedback(**wrong)  # type: ignore[arg-type]


@settings(max_examples=50)
@given(
    ratings=st.lists(st.none() | st.floats(-200, 200, width=32), min_size=1, max_size=30),
    names=st.lists(st.none() | st.text(min_size=1, max_size=3), min_size=30, max_size=30),
)
def test_signals_and_tokens_stay_in_range(ratings: list[float | None], names: list[str | None]) -> None:
    events = log(rating=ratings, event=names[: len(ratings)])
    feedback = Feedback.infer(events.frame)
    signals, tokens = feedback.signals(events.frame), feedback.tokens(events.frame)
    assert len(signals) == len(tokens) == len(events)
    assert set(signals.tolist()) <= {-1, 0, 1}
    assert tokens.min() >= 0
    assert tokens.max() < feedback.n_tokens
