"""The company that an item's words keep: co-occurrence for items that nobody has taken yet."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.retrieval.cooccurrence import Cooccurrence

RIDGE = 10.0
"""ρ; between 1 and 10 nothing changes (scripts/bench/NOTES.md)."""


@final
@dataclass(frozen=True)
class Company:
    """Item-item weights as far as text predicts them.

    Ridge regression of the columns of W [items, items] on the text vectors E [items, dim] of items with events gives
    `W ≈ A Eᵀ` with `A = W E (EᵀE + ρI)⁻¹`. A user is the sum of the rows of A of their items, a vector in the space of
    texts, and any item's score is the product with its text. Two items of which nobody took both can be close: it is
    enough that items of such words are taken together.

    Attributes:
        sources: A, float32 [items, dim]; of an item without events as its text predicts it.
        of_text: From an item's text to its row of A, float32 [dim, dim].
    """

    sources: np.ndarray
    of_text: np.ndarray

    @classmethod
    def fit(cls, model: Cooccurrence, text: np.ndarray, warm: np.ndarray, ridge: float = RIDGE) -> "Company":
        """From weights between items, their whitened unit vectors [items, dim], and who has events, bool [items]."""
        moments = np.asarray(model.weights @ (text * warm[:, None]), dtype=np.float32)
        return cls(*predicted_sources(moments, text, warm, ridge))

    def scores(self, known: sparse.csr_array, text: Float[Tensor, "items dim"]) -> Float[Tensor, "users items"]:
        """From a user × item matrix of what is known."""
        return self.users(known) @ text.T

    def users(self, known: sparse.csr_array) -> Float[Tensor, "users dim"]:
        """Users in the space of texts."""
        return torch.from_numpy(np.asarray(known @ self.sources, dtype=np.float32))

    def extended(self, text: np.ndarray) -> "Company":
        """The same over a catalog that has grown to the items of `text`."""
        return Company(np.concatenate([self.sources, text[len(self.sources) :] @ self.of_text]), self.of_text)


def predicted_sources(
    moments: np.ndarray, text: np.ndarray, warm: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """A [items, dim] and what predicts its rows [dim, dim]; `moments` is W E [items, dim]."""
    seen = text[warm].astype(np.float64)
    inverse = np.linalg.inv(seen.T @ seen + ridge * np.eye(text.shape[1]))
    sources = (moments @ inverse).astype(np.float32)
    of_text = (inverse @ (seen.T @ sources[warm])).astype(np.float32)
    return np.where(warm[:, None], sources, text @ of_text), of_text
