"""What goes together as far as texts tell: co-occurrence for items that nobody has taken yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.cooccurrence import Cooccurrence
from recllm.counts.later import Later
from recllm.retrieval.channel import Channel, Lesson, Visits
from recllm.retrieval.channels.cooccurrence import TakenTogether
from recllm.retrieval.profiles import InSpace

RIDGE = 10.0
"""ρ; between 1 and 10 nothing changes (scripts/bench/NOTES.md)."""


@final
@dataclass(frozen=True)
class TextCooccurrence(Channel):
    """Item-item weights as far as text predicts them.

    Ridge regression of the columns of W [items, items] on the text vectors E [items, dim] of items with events gives
    `W ≈ A Eᵀ` with `A = W E (EᵀE + ρI)⁻¹`. A user is the sum of the rows of A of their items, a vector in the space of
    texts, and any item's score is the product with its text. Two items of which nobody took both can be close: it is
    enough that items of such words are taken together.

    Attributes:
        given: `sources` and `text_to_sources`, or what computes them.
    """

    given: tuple[np.ndarray, np.ndarray] | Later[tuple[np.ndarray, np.ndarray]]

    name = "text_cooccurrence"
    words = "what such texts are usually taken with"
    knows_new_items = True
    counted = True

    @property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        return self.given.get() if isinstance(self.given, Later) else self.given

    @property
    def sources(self) -> np.ndarray:
        """A, float32 [items, dim]; of an item without events as its text predicts it."""
        return self._matrices[0]

    @property
    def text_to_sources(self) -> np.ndarray:
        """From an item's text to its row of A, float32 [dim, dim]."""
        return self._matrices[1]

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """From what is taken together; None without that."""
        together = lesson.fitted(TakenTogether)
        if together is None:
            return None
        return cls.of(together.model, lesson.text.numpy(), lesson.counts.items.taken > 0)

    @classmethod
    def of(cls, model: Cooccurrence, text: np.ndarray, warm: np.ndarray, ridge: float = RIDGE) -> Self:
        """From weights between items, their whitened unit vectors [items, dim], and who has events, bool [items]."""
        return cls(Later(partial(_fitted, model, text, warm, ridge)))

    def profile(self, visits: Visits) -> InSpace:
        """Users in the space of texts."""
        known = visits.matrix(liked_only=False)
        return InSpace(torch.from_numpy(np.asarray(known @ self.sources, dtype=np.float32)), visits.text)

    def extended(self, text: Float[Tensor, "items dim"]) -> Self:
        """New items are what their texts predict."""
        fresh = text.numpy()[len(self.sources) :] @ self.text_to_sources
        return type(self)((np.concatenate([self.sources, fresh]), self.text_to_sources))

    def tensors(self) -> Mapping[str, np.ndarray]:
        """Both matrices."""
        return {"sources": self.sources, "text_to_sources": self.text_to_sources}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`."""
        return cls((saved.floats("sources", items, dim), saved.floats("text_to_sources", dim, dim)))


def _fitted(model: Cooccurrence, text: np.ndarray, warm: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    moments = np.asarray(model.weights @ (text * warm[:, None]), dtype=np.float32)
    return predicted_sources(moments, text, warm, ridge)


def predicted_sources(
    moments: np.ndarray, text: np.ndarray, warm: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """A [items, dim] and what predicts its rows [dim, dim]; `moments` is W E [items, dim]."""
    seen = text[warm].astype(np.float64)
    inverse = np.linalg.inv(seen.T @ seen + ridge * np.eye(text.shape[1]))
    sources = (moments @ inverse).astype(np.float32)
    text_to_sources = (inverse @ (seen.T @ sources[warm])).astype(np.float32)
    return np.where(warm[:, None], sources, text @ text_to_sources), text_to_sources
