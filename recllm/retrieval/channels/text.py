"""Texts like those of what a user liked."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.retrieval.channel import Channel, Visits
from recllm.retrieval.profiles import InSpace


@final
@dataclass(frozen=True)
class Text(Channel):
    """The cosine between an item's whitened text and a direction of text of the user's.

    Attributes:
        ridge: None: the direction is the mean of the liked items' texts. Else the ridge regression that tells them from
            the rest of the catalog, which whitening has centred; for catalogs without events.
    """

    ridge: float | None = None

    name = "text"
    words = "texts like those of what they liked"
    knows_new_items = True

    def profile(self, visits: Visits) -> InSpace:
        """A direction of text for each user, from the liked items."""
        liked, vectors = visits.matrix(liked_only=True), visits.text.vectors
        if self.ridge is None:
            directions = torch.from_numpy(np.asarray(liked @ vectors.numpy(), dtype=np.float32))
        else:
            directions = ridge_directions(liked, vectors, self.ridge)
        return InSpace(torch.nn.functional.normalize(directions, dim=1), visits.text)

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The ridge, where there is one."""
        return {} if self.ridge is None else {"ridge": np.array(self.ridge)}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`."""
        return cls(saved.number("ridge", 1e-6, 1e6) if "ridge" in saved else None)


def ridge_directions(
    liked: sparse.csr_array, vectors: Float[Tensor, "items dim"], ridge: float
) -> Float[Tensor, "users dim"]:
    """`Pᵀ (P Pᵀ + ρI)⁻¹ 1` over each user's liked vectors P: what they share counts once, however often it occurs."""
    directions = torch.zeros(liked.shape[0], vectors.shape[1])
    for user, (start, stop) in enumerate(pairwise(liked.indptr.tolist())):
        own = vectors[torch.from_numpy(liked.indices[start:stop].astype(np.int64))]
        if len(own) <= own.shape[1]:
            weights = torch.linalg.solve(own @ own.T + ridge * torch.eye(len(own)), torch.ones(len(own)))
            directions[user] = own.T @ weights
        else:  # the same, in the smaller of the two spaces
            directions[user] = torch.linalg.solve(own.T @ own + ridge * torch.eye(own.shape[1]), own.sum(dim=0))
    return directions
