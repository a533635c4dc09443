"""What the same people take, and what the same people like."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.data.histories import Histories
from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import Channel, Lesson, Visits
from recllm.retrieval.cooccurrence import Cooccurrence, most_popular
from recllm.retrieval.matrices import liked_part, weighted_matrix
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

    liked_only: ClassVar[bool] = False
    """Whether only what a user likes counts."""

    def profile(self, visits: Visits) -> Sparse:
        """The sum over the user's items; where `decay` is below 1, older ones count less."""
        known = visits.matrix(liked_only=self.liked_only, decay=self.model.decay)
        return Sparse(sparse.csr_array(known @ self.model.weights))

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
        if lesson.matrix(liked_only=True).nnz == lesson.matrix(liked_only=False).nnz:
            return None
        return cls(_ease(cls, lesson))


def _ease(channel: type[ItemWeights], lesson: Lesson) -> Cooccurrence:
    """EASE with the λ that ranks best for the validation users."""
    config, matrix = lesson.config, lesson.matrix(liked_only=channel.liked_only)
    few = most_popular(matrix, CHOOSING_ITEMS)
    models: dict[float, Cooccurrence] = {}

    def fitted(matrix: sparse.csr_array, l2: float) -> Cooccurrence:
        return Cooccurrence.fit(matrix, regularisation=l2, neighbours=config.neighbours, exact_items=lesson.exact_items)

    def tries() -> Iterable[tuple[float, DenseScores]]:
        for place, l2 in enumerate(config.regularisation):
            lesson.progress("count what goes together", place, len(config.regularisation))
            models[l2] = fitted(few, l2)
            yield l2, channel.scorer(models[l2])

    l2 = lesson.best(channel.name, config.regularisation, tries())
    lesson.chosen[f"{channel.name} λ"] = l2
    return models[l2] if few is matrix and l2 in models else fitted(matrix, l2)
