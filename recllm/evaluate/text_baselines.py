"""Baselines that know items by their text alone."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.encoders.text import TextEncoder, TextEncoderConfig, Whitening
from recllm.evaluate.baselines import EVENTS, WINDOWS, Baseline, Events, Known, Scores, grid


@dataclass(eq=False, kw_only=True)
class _Text(Baseline, ABC):
    """Learns nothing from events but which items are warm, so that even `events` can be changed when scoring.

    Attributes:
        text: How items become vectors.
    """

    at_scoring = frozenset({"window", "events"})
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._vectors = self._prepared(TextEncoder(self.text).encode_catalog(catalog), self._popularity["all"] > 0)

    @abstractmethod
    def _prepared(self, vectors: Scores, warm: NDArray[np.bool_]) -> Scores:
        """Unit vectors to compare by, float32 [items, dim]."""

    def _scores(self, known: Known) -> Scores:
        profile = known.matrix(self._items) @ self._vectors
        return _unit(profile) @ self._vectors.T


@final
@dataclass(eq=False, kw_only=True)
class TextMean(_Text):
    """Cosine between an item's sentence vector and the mean of the history's; no whitening."""

    name = "text mean"

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(events=EVENTS, window=WINDOWS)

    def _prepared(self, vectors: Scores, warm: NDArray[np.bool_]) -> Scores:
        return _unit(vectors)


@final
@dataclass(eq=False, kw_only=True)
class WhitenedTextKNN(_Text):
    """Cosine of whitened sentence vectors (WhitenRec, arXiv 2402.10602), statistics from warm items only.

    Attributes:
        shrinkage: Weight of the identity in the covariance.
        pool: To the mean of the history's vectors, or to the nearest one of them.
    """

    name = "whitened text kNN"
    at_scoring = frozenset({"window", "events", "pool"})
    events: Events = "liked"
    shrinkage: float = 0.1
    pool: Literal["mean", "max"] = "mean"

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(shrinkage=(0.1, 0.3), events=("liked", "all"), pool=("mean", "max"), window=WINDOWS)

    def _prepared(self, vectors: Scores, warm: NDArray[np.bool_]) -> Scores:
        return Whitening.fit(vectors[warm], self.shrinkage)(vectors)

    def _scores(self, known: Known) -> Scores:
        if self.pool == "mean":
            return super()._scores(known)
        scores = np.zeros((len(known.histories), self._items), dtype=np.float32)
        for user in np.flatnonzero(known.histories.lengths).tolist():
            scores[user] = (self._vectors[known.histories.items_of(user)] @ self._vectors.T).max(axis=0)
        return scores


def _unit(vectors: Scores) -> Scores:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)
