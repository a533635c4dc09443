"""What a rating or an event means: liked, neutral or disliked, and its token for the history encoder."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.errors import ConfigError, DataError

RATING_TOKENS = 5
MAX_EVENT_NAMES = 26

_NEGATIVE = """
dislike disliked unlike downvote thumbsdown negative notinterested skip skipped hide hidden block mute report reject
rejected dismiss return returned refund refunded cancel canceled cancelled remove removefromcart unfollow unsubscribe
drop dropped
"""
# Compared without case and punctuation.
NEGATIVE_EVENTS = frozenset(_NEGATIVE.split())
# Being shown an item is no opinion on it.
NEUTRAL_EVENTS = frozenset({"impression", "impressions", "exposure", "shown"})

_ENOUGH_TO_TELL_COUNTS = 100

FEW = 4096
"""Events up to which looking up each name takes less time than setting up a join."""


@dataclass(frozen=True)
class Feedback:
    """The meaning of ratings and events, inferred when fitting and saved with the model.

    Attributes:
        scale: Lowest and highest rating, or None: there are no ratings, or they are not on a scale (votes, counts).
        liked_from: Ratings from here on are likes; None: every positive rating.
        disliked_to: Ratings up to here (and below `liked_from`) are dislikes; None: every negative rating.
        event_names: Names with a token of their own, most frequent first.
    """

    scale: tuple[float, float] | None = None
    liked_from: float | None = None
    disliked_to: float | None = None
    event_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ConfigError(f"feedback.scale must be (lowest, highest), got {self.scale}")
        if len(self.event_names) > MAX_EVENT_NAMES or len(set(self.event_names)) < len(self.event_names):
            raise ConfigError(f"feedback.event_names must be at most {MAX_EVENT_NAMES} distinct names")

    @classmethod
    def infer(cls, frame: pl.DataFrame, liked_from: float | None = None) -> "Feedback":
        """Infer the scale from the ratings and the names from the events.

        0/1: 1 is liked. Up to 5 (half stars too): liked from 4, disliked to 2. Up to 10: 8 and 4. Up to 100: 80 and 40.
        Negative or larger numbers, and counts (100 or more whole numbers, half of them in the lowest fifth of a 10 or
        100 scale), are no scale: positive is liked, negative disliked.

        Args:
            frame: The frame of a log.
            liked_from: Overrides the threshold.

        Raises:
            DataError: `liked_from` is not a finite number.
        """
        return cls.of_tallies(Tallies.of(frame), liked_from)

    @classmethod
    def of_tallies(cls, tallies: "Tallies", liked_from: float | None = None) -> "Feedback":
        """As `infer`, of how often each rating and each name occurs."""
        if liked_from is not None and not np.isfinite(liked_from):
            raise DataError(f"liked_from must be a finite rating, got {liked_from}")
        scale, likes, dislikes = _scale(tallies.ratings, tallies.rated)
        frequent = sorted(tallies.events.items(), key=lambda event: (-event[1], event[0]))
        names = tuple(name for name, _ in frequent[:MAX_EVENT_NAMES])
        return cls(scale, likes if liked_from is None else float(liked_from), dislikes, names)

    @property
    def n_tokens(self) -> int:
        """Number of tokens: 0 plain, 1 to 5 ratings, then one per event name."""
        return 1 + RATING_TOKENS + len(self.event_names)

    def signals(self, frame: pl.DataFrame) -> NDArray[np.int8]:
        """int8 [events]: +1 liked, 0 neutral, -1 disliked. The rating decides; without one, event and weight do."""
        signals = _implicit_signals(frame)
        if "rating" in frame.columns:
            rating = _floats(frame["rating"])
            liked = rating >= np.float32(self.liked_from) if self.liked_from is not None else rating > 0
            disliked = rating <= np.float32(self.disliked_to) if self.disliked_to is not None else rating < 0
            rated = np.where(liked, 1, np.where(disliked, -1, 0))
            signals = np.where(np.isnan(rating), signals, rated).astype(np.int8)
        return signals

    def tokens(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """int64 [events]: 1 to 5 for a rating on a scale, else 6… for a known event name, else 0."""
        tokens = np.zeros(frame.height, dtype=np.int64)
        if "event" in frame.columns and self.event_names:
            number = {name: 1 + RATING_TOKENS + place for place, name in enumerate(self.event_names)}
            tokens = _of_names(frame["event"], lambda name: number.get(name, 0), 0)
        if "rating" in frame.columns and self.scale is not None:
            rating = _floats(frame["rating"])
            highest = self.scale[1]
            stars = 1 + 4 * rating if highest <= 1 else rating * RATING_TOKENS / highest
            rated = np.clip(np.floor(np.nan_to_num(stars) + 0.5), 1, RATING_TOKENS).astype(np.int64)
            tokens = np.where(np.isnan(rating), tokens, rated)
        return tokens


@dataclass(frozen=True, eq=False)
class Tallies:
    """How often each rating and each event name occurs in a log; those of its parts add up to those of the whole.

    Attributes:
        ratings: float32 [distinct], ascending.
        rated: int64 [distinct], how often each occurs.
        events: Name -> how often it occurs.
    """

    ratings: NDArray[np.float32]
    rated: NDArray[np.int64]
    events: dict[str, int]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Tallies":
        """Of the frame of a log."""
        values = _floats(frame["rating"]) if "rating" in frame.columns else np.zeros(0, dtype=np.float32)
        ratings, rated = np.unique(values[~np.isnan(values)], return_counts=True)
        counts = frame["event"].drop_nulls().value_counts() if "event" in frame.columns else None
        events = {} if counts is None else dict(zip(counts["event"].to_list(), counts["count"].to_list(), strict=True))
        return cls(ratings, rated.astype(np.int64), events)

    def __add__(self, other: "Tallies") -> "Tallies":
        ratings, place = np.unique(np.concatenate([self.ratings, other.ratings]), return_inverse=True)
        rated = np.zeros(len(ratings), dtype=np.int64)
        np.add.at(rated, place, np.concatenate([self.rated, other.rated]))
        return Tallies(ratings, rated, dict(Counter(self.events) + Counter(other.events)))


def _scale(
    values: NDArray[np.float32], times: NDArray[np.int64]
) -> tuple[tuple[float, float] | None, float | None, float | None]:
    if not len(values):
        return None, None, None
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 100:
        return None, None, None
    if high <= 1:
        binary = bool(np.isin(values, [0.0, 1.0]).all())
        return (0.0, 1.0), 1.0 if binary else 0.8, 0.0 if binary else 0.4
    top = 5.0 if high <= 5 else 10.0 if high <= 10 else 100.0
    if top > 5 and times.sum() >= _ENOUGH_TO_TELL_COUNTS and _look_like_counts(values, times, top):
        return None, None, None
    return (1.0 if top < 100 else 0.0, top), 0.8 * top, 0.4 * top


def _look_like_counts(values: NDArray[np.float32], times: NDArray[np.int64], top: float) -> bool:
    so_far = np.cumsum(times)
    middle = values[np.searchsorted(so_far, [(so_far[-1] - 1) // 2, so_far[-1] // 2], side="right")]
    return bool((values == np.floor(values)).all()) and float(np.mean(middle)) <= top / 5


def _implicit_signals(frame: pl.DataFrame) -> NDArray[np.int8]:
    signals = np.ones(frame.height, dtype=np.int8)
    if "event" in frame.columns:
        signals = _of_names(frame["event"], _meaning, 1).astype(np.int8)
    if "weight" in frame.columns:
        weight = _floats(frame["weight"])
        signals[weight == 0] = 0
        signals[weight < 0] = -1
    return signals


def _of_names(events: pl.Series, value: Callable[[str], int], otherwise: int) -> NDArray[np.int64]:
    """int64 [events]: the value of each event's name; `otherwise` where it has none."""
    if len(events) <= FEW:
        return np.array([otherwise if name is None else value(name) for name in events.to_list()], dtype=np.int64)
    names = events.unique().drop_nulls()
    values = pl.Series([value(name) for name in names], dtype=pl.Int64)
    found: NDArray[np.int64] = events.replace_strict(names, values, default=otherwise).cast(pl.Int64).to_numpy().copy()
    return found


@lru_cache(1024)
def _meaning(event: str) -> int:
    spelling = re.sub(r"[\W_]+", "", event).casefold()
    return -1 if spelling in NEGATIVE_EVENTS else 0 if spelling in NEUTRAL_EVENTS else 1


def _floats(series: pl.Series) -> NDArray[np.float32]:
    """float32 [rows], NaN where missing."""
    return series.cast(pl.Float32).to_numpy()
