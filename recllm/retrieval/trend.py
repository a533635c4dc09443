"""What is popular, and what was so at any moment."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from recllm.artifact.arrays import SavedArrays
from recllm.data.histories import Histories
from recllm.data.saved import LATEST
from recllm.errors import ArtifactError
from recllm.retrieval.profiles import Shared

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
        ends: Last timestamp of each bin, float64 [bins].
        counts: float32 [bins + 1, items], decayed counts of liked events up to the end of the bin before.
        total: float32 [items], liked events of all times.
        half_life: Seconds of the newest half-life.
    """

    ends: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    half_life: float

    @classmethod
    def fit(cls, histories: Histories, items: int, half_life: float = 0.1) -> "Trend":
        """Bins hold equally many liked events of `histories`; an event counts half after this share of them."""
        liked = histories.signals > 0
        times, rows = histories.timestamps[liked], histories.item_rows[liked]
        total = np.bincount(rows, minlength=items).astype(np.float32)
        if not len(times):
            return cls(np.zeros(1), np.zeros((2, items), dtype=np.float32), total, 1.0)
        ends = np.unique(np.quantile(times, np.linspace(0, 1, TREND_BINS + 1)[1:], method="lower"))
        fresh = np.zeros((len(ends) + 1, items), dtype=np.float32)
        np.add.at(fresh, (np.searchsorted(ends, times) + 1, rows), 1.0)
        memory = 0.5 ** (1 / (half_life * TREND_BINS))
        for bin_ in range(1, len(fresh)):
            fresh[bin_] += memory * fresh[bin_ - 1]
        begun = np.quantile(times, max(1 - half_life, 0.0), method="lower")
        return cls(ends, fresh, total, max(float(ends[-1] - begun), 1.0))

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

    def profile(self, timestamps: np.ndarray) -> Shared:
        """The logarithm of `at`; who asks at the same moment shares it."""
        bins = np.where(timestamps > self.ends[-1], timestamps, self.ends[0] - 1 - len(self.ends))
        inside = timestamps <= self.ends[-1]
        bins[inside] += np.searchsorted(self.ends, timestamps[inside], side="right")
        _, first, row = np.unique(bins, return_index=True, return_inverse=True)
        return Shared(torch.from_numpy(np.log1p(self.at(timestamps[first]))), torch.from_numpy(row))

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
        liked: Distinct training users with a liked event, float32 [items].
        trend: The same over time.
    """

    liked: np.ndarray
    trend: Trend

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
