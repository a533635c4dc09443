"""What is popular, and what was so at any moment."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts.items import Clock, ItemCounts
from recllm.data.histories import Histories
from recllm.data.saved import LATEST
from recllm.errors import ArtifactError

TREND_BINS = 64
"""Moments at which popularity is remembered; equally many events lie between two."""

MOST_EVENTS = 1e12
"""No log has more."""


@final
@dataclass(frozen=True)
class Trend:
    """Popularity as it was at a moment: recent events count more.

    After the end of the log nobody knows what is popular, and what was popular then says less the longer ago it is: it
    fades towards the popularity of all times, by half in each half-life.

    Attributes:
        ends: When each bin is over, float64 [bins].
        counts: float32 [bins + 1, items], decayed counts of liked events up to the end of the bin before.
        total: float32 [items], liked events of all times.
        half_life: Seconds of the newest half-life.
    """

    ends: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    half_life: float

    @classmethod
    def of(cls, clock: Clock, half_life: float = 0.1) -> "Trend":
        """Bins hold equally many liked events, as far as whole moments can; an event counts half after this share."""
        items, each = clock.liked.shape[1], np.asarray(clock.liked.sum(axis=1, dtype=np.int64)).ravel()
        total = np.asarray(clock.liked.sum(axis=0, dtype=np.int64), dtype=np.float32).ravel()
        if not len(each):
            return cls(np.zeros(1), np.zeros((2, items), dtype=np.float32), total, 1.0)
        so_far = np.cumsum(each)
        cuts = np.floor(np.linspace(0, 1, TREND_BINS + 1)[1:] * (so_far[-1] - 1))
        last = np.unique(np.searchsorted(so_far, cuts, side="right"))  # moments that end a bin
        # Nobody who asks during a moment is told what happens in it.
        ends = (clock.moments[last] + 1) * clock.resolution
        bin_of = np.searchsorted(last, np.arange(len(each)))
        ones = (np.ones(len(each), dtype=np.int32), (bin_of, np.arange(len(each))))
        fresh = np.zeros((len(ends) + 1, items), dtype=np.float32)
        fresh[1:] = (sparse.csr_array(ones, shape=(len(ends), len(each))) @ clock.liked).toarray()
        memory = 0.5 ** (1 / (half_life * TREND_BINS))
        for bin_ in range(1, len(fresh)):
            fresh[bin_] += memory * fresh[bin_ - 1]
        begun = np.searchsorted(so_far, np.floor(max(1 - half_life, 0.0) * (so_far[-1] - 1)), side="right")
        half = float(ends[-1] - clock.moments[begun] * clock.resolution)
        return cls(ends, fresh, total, max(half, 1.0))

    def at(self, timestamps: np.ndarray) -> np.ndarray:
        """float32 [moments, items]: events of bins that were over by then; before all data, the latest."""
        over = np.searchsorted(self.ends, timestamps, side="right")
        latest = len(self.ends)
        counts = self.counts[np.where(over == 0, latest, over)]
        late = np.flatnonzero(timestamps > self.ends[-1])
        if len(late) and self.total.any():
            fresh = 0.5 ** ((timestamps[late] - self.ends[-1]) / self.half_life)
            usual = self.total * (self.counts[-1].sum() / self.total.sum())
            counts[late] = usual + fresh[:, None].astype(np.float32) * (self.counts[-1] - usual)
        return counts

    @property
    def end(self) -> float:
        """When the log ends, unix seconds."""
        return float(self.ends[-1])

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        return {
            "ends": self.ends,
            "counts": self.counts,
            "total": self.total,
            "half_life": np.array(self.half_life),
        }

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "Trend":
        """The inverse of `tensors`.

        Raises:
            ArtifactError: Something is missing, of another shape or out of range.
        """
        ends = saved.floats("ends", None, least=0, most=LATEST, dtype=np.float64)
        if not len(ends) or (np.diff(ends) <= 0).any():
            raise ArtifactError("the ends of the bins of the trend are not in order")
        counts = saved.floats("counts", len(ends) + 1, items, least=0, most=MOST_EVENTS)
        total = saved.floats("total", items, least=0, most=MOST_EVENTS)
        return cls(ends, counts, total, saved.number("half_life", 1e-3, LATEST))

    def extended(self, items: int) -> "Trend":
        """The same over a catalog that has grown to `items`; nobody took the new ones yet."""
        fresh = items - len(self.total)
        counts = np.pad(self.counts, ((0, 0), (0, fresh)))
        return replace(self, counts=counts, total=np.pad(self.total, (0, fresh)))


@final
@dataclass(frozen=True)
class Popularity:
    """What several channels read.

    Attributes:
        liked: Distinct users with a liked event, float32 [items].
        trend: The same over time.
    """

    liked: np.ndarray
    trend: Trend

    @classmethod
    def of(cls, counts: ItemCounts, half_life: float = 0.1) -> "Popularity":
        """From what is counted of items."""
        return cls(counts.liked.astype(np.float32), Trend.of(counts.clock, half_life))

    def now(self, histories: Histories) -> np.ndarray:
        """float64 [users]: the end of the training log or, if that is later, when a user was last seen."""
        return np.maximum(self.trend.end, last_seen(histories, np.full(len(histories), self.trend.end)))

    def extended(self, items: int) -> "Popularity":
        """The same over a catalog that has grown to `items`; nobody took the new ones yet."""
        return Popularity(np.pad(self.liked, (0, items - len(self.liked))), self.trend.extended(items))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        return {"popularity": self.liked} | {f"trend.{name}": part for name, part in self.trend.tensors().items()}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "Popularity":
        """The inverse of `tensors`."""
        liked = saved.floats("popularity", items, least=0, most=MOST_EVENTS)
        return cls(liked, Trend.from_tensors(saved.under("trend"), items))


def last_seen(histories: Histories, otherwise: np.ndarray) -> np.ndarray:
    """float64 [users]: the time of each user's newest event; `otherwise` [users] for those without."""
    some = histories.lengths > 0
    seen = otherwise.astype(np.float64)
    seen[some] = histories.timestamps[histories.offsets[1:][some] - 1]
    return seen
