"""What the same people take, and what the same people like."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self, final

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.cooccurrence import Cooccurrence, Gram
from recllm.counts.counts import Counts
from recllm.counts.matrices import liked_part, weighted_matrix
from recllm.data.histories import Histories
from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import Channel, Lesson, Visits
from recllm.retrieval.profiles import Sparse

CHOOSING_ITEMS = 6_000
"""Where there are more, λ is chosen with the most popular ones only: EASE costs the cube of their number."""


@dataclass(frozen=True)
class ItemWeights(Channel):
    """Adds up weights between a user's items and all others.

    Attributes:
        model: The weights.
    """

    model: Cooccurrence

    counted = True
    liked_only: ClassVar[bool] = False
    """Whether only what a user likes counts."""

    def profile(self, visits: Visits) -> Sparse:
        """The sum over the user's items; where `decay` is below 1, older ones count less."""
        known = visits.matrix(liked_only=self.liked_only, decay=self.model.decay)
        return Sparse(known @ self.model.weights)

    def extended(self, text: Float[Tensor, "items dim"]) -> Self:
        """New items have no weights."""
        return type(self)(self.model.extended(len(text)))

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The weights."""
        return self.model.tensors()

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`."""
        return cls(Cooccurrence.from_tensors(saved, items))

    @classmethod
    def scorer(cls, model: Cooccurrence) -> DenseScores:
        """From histories to every item's score by these weights, as validation wants it."""

        def scores(histories: Histories) -> Float[Tensor, "users items"]:
            known = liked_part(histories) if cls.liked_only else histories
            matrix = weighted_matrix(known, model.weights.shape[1], model.decay)
            return Sparse(sparse.csr_array(matrix @ model.weights)).all()

        return scores


@final
@dataclass(frozen=True)
class TakenTogether(ItemWeights):
    """EASE over all events."""

    name = "cooccurrence"
    words = "what the same people take"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """With the best λ."""
        return cls(_ease(cls, lesson))


@final
@dataclass(frozen=True)
class LikedTogether(ItemWeights):
    """EASE over liked events."""

    name = "liked"
    words = "what the same people like"
    liked_only = True

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """With the best λ; None where every event is liked, and all events say the same."""
        counts = lesson.counts.items
        if not lesson.renewing and counts.taken.sum() == counts.liked.sum():
            return None
        return cls(_ease(cls, lesson))


def _ease(channel: type[ItemWeights], lesson: Lesson) -> Cooccurrence:
    """EASE with the λ that ranks best for the validation users."""
    config, counts = lesson.config, lesson.counts
    models: dict[float, Cooccurrence] = {}

    def fitted(gram: Gram | Callable[[], Gram], l2: float) -> Cooccurrence:
        return Cooccurrence.of(gram, regularisation=l2, neighbours=config.neighbours, exact_items=lesson.exact_items)

    everything = partial(_gram, counts, channel.liked_only)
    few = None if lesson.renewing else everything().most_popular(CHOOSING_ITEMS)

    def tries() -> Iterable[tuple[float, DenseScores]]:
        for place, l2 in enumerate(config.regularisation):
            lesson.progress("count what goes together", place, len(config.regularisation))
            assert few is not None, "settings are chosen once"
            models[l2] = fitted(few, l2)
            yield l2, channel.scorer(models[l2])

    l2 = lesson.best(channel.name, config.regularisation, tries(), noted=f"{channel.name} λ")
    chosen_on_all = l2 in models and int((everything().diagonal > 0).sum()) <= CHOOSING_ITEMS
    return models[l2] if chosen_on_all else fitted(everything, l2)


def _gram(counts: Counts, liked_only: bool) -> Gram:
    """Not before it is needed: pairs may still have to be counted."""
    if liked_only:
        return Gram(counts.items.liked, counts.pairs.liked)
    return Gram(counts.items.taken, counts.pairs.taken)
