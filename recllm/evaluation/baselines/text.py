"""Baselines that know items by their text, alone or where there is nothing else."""

from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.encoders.text import TextEncoderConfig, Whitening
from recllm.evaluation.baselines.baseline import EVENTS, WINDOWS, Baseline, Events, Known, Scores, grid
from recllm.evaluation.baselines.ease import as_array, ease_weights
from recllm.retrieval.channels.text_cooccurrence import predicted_sources
from recllm.tuning.items import encoder_for


@dataclass(eq=False, kw_only=True)
class TextMean(Baseline):
    """Cosine between an item's sentence vector and the mean of the history's; no whitening.

    It learns nothing from events but which items are warm, so that even `events` can be changed when scoring.

    Attributes:
        text: How items become vectors.
    """

    name = "text mean"
    choices = grid(events=EVENTS, window=WINDOWS)
    at_scoring = frozenset({"window", "events"})
    tells_new_items_apart = True
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._vectors = self._prepared(
            encoder_for(self.text, catalog).encode_catalog(catalog), self._popularity["all"] > 0
        )

    def _prepared(self, vectors: Scores, warm: NDArray[np.bool_]) -> Scores:
        """Unit vectors to compare by, float32 [items, dim]."""
        return _unit(vectors)

    def _scores(self, known: Known) -> Scores:
        return _unit(known.matrix(self._items) @ self._vectors) @ self._vectors.T


@final
@dataclass(eq=False, kw_only=True)
class WhitenedTextKNN(TextMean):
    """Cosine of whitened sentence vectors (WhitenRec, arXiv 2402.10602), statistics from warm items only.

    Attributes:
        shrinkage: Weight of the identity in the covariance.
        pool: To the mean of the history's vectors, or to the nearest one of them.
    """

    name = "whitened text kNN"
    choices = grid(shrinkage=(0.1, 0.3), events=("liked", "all"), pool=("mean", "max"), window=WINDOWS)
    at_scoring = frozenset({"window", "events", "pool"})
    events: Events = "liked"
    shrinkage: float = 0.1
    pool: Literal["mean", "max"] = "mean"

    def _prepared(self, vectors: Scores, warm: NDArray[np.bool_]) -> Scores:
        return Whitening.fit(vectors[warm], self.shrinkage)(vectors)

    def _scores(self, known: Known) -> Scores:
        if self.pool == "mean":
            return super()._scores(known)
        scores = np.zeros((len(known.histories), self._items), dtype=np.float32)
        for user in np.flatnonzero(known.histories.lengths).tolist():
            scores[user] = (self._vectors[known.histories.items_of(user)] @ self._vectors.T).max(axis=0)
        return scores


@final
@dataclass(eq=False, kw_only=True)
class TextRidge(Baseline):
    """EASE, and for items without events the weights that their text predicts.

    With the weights W [warm, warm] and whitened text vectors E [warm, dim], ridge regression of the columns on the text
    gives `W ≈ A Eᵀ` with `A = W E (EᵀE + ρI)⁻¹`: a new item with the vector e gets the column `A e`. Where it stands in
    a history, its row in A is predicted likewise. (Text to the parameters of a collaborative model, as in DropoutNet
    and CLCRec, in closed form.)

    Attributes:
        text: How items become vectors.
        regularisation: λ of EASE.
        ridge: ρ.
        shrinkage: Of whitening.
    """

    name = "text-to-EASE ridge"
    choices = grid(events=EVENTS, regularisation=(800.0, 3200.0, 12800.0), ridge=(0.1, 1.0, 10.0), window=WINDOWS)
    at_scoring = frozenset({"window", "ridge"})
    tells_new_items_apart = True
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    regularisation: float = 800.0
    ridge: float = 1.0
    shrinkage: float = 0.1

    def _fit(self, catalog: Catalog, known: Known) -> None:
        matrix = known.matrix(len(catalog))
        self._warm = known.counts(len(catalog)) > 0
        self._weights, self.note = ease_weights(matrix, self.regularisation)
        vectors = encoder_for(self.text, catalog).encode_catalog(catalog)
        self._vectors = Whitening.fit(vectors[self._warm], self.shrinkage)(vectors)
        self._predicted: dict[float, Scores] = {}
        self._moments = np.asarray(self._weights @ (self._vectors * self._warm[:, None]), dtype=np.float32)

    def _scores(self, known: Known) -> Scores:
        matrix = known.matrix(self._items)
        if self.ridge not in self._predicted:
            self._predicted[self.ridge] = predicted_sources(self._moments, self._vectors, self._warm, self.ridge)[0]
        predicted = (matrix @ self._predicted[self.ridge]) @ self._vectors.T
        return np.where(self._warm, as_array(matrix @ self._weights), predicted)


def _unit(vectors: Scores) -> Scores:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)
