"""What a channel says of users before it is written out over the whole catalog.

Serving wants every item's score; an adapter wants a few items' scores for every event of a history. Both read the same
profile, and both get scores that are standardised over the whole catalog.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

COPIED_NUMBERS = 40_000_000
"""Up to this many numbers, item vectors are kept a second time the other way round: one user's product with them takes
.16 ms then instead of .40, for 3,852 items of 384."""

SMALLEST_SPREAD = 1e-6
"""A profile that says the same of all items is one that says nothing: its scores become 0."""


class Profile(ABC):
    """Scores of all items for some users, not yet computed."""

    @abstractmethod
    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""

    @abstractmethod
    def at(self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]) -> Float[Tensor, "users columns_and_own"]:
        """Raw scores of each user's own item, which comes first, and of these items."""

    @abstractmethod
    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""

    def standardised_at(
        self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]
    ) -> Float[Tensor, "users columns_and_own"]:
        """As `at`, with mean 0 and spread 1 over the whole catalog, as `standardised` makes of `all`."""
        mean, square = self.moments()
        # Clamped before the root, whose slope at 0 is infinite.
        spread = (square - mean.square()).clamp(min=SMALLEST_SPREAD**2).sqrt()
        return (self.at(items, own) - mean.unsqueeze(1)) / spread.unsqueeze(1)


@final
@dataclass(frozen=True)
class Space:
    """Item vectors and their moments, which are computed once.

    Attributes:
        vectors: [items, width].
    """

    vectors: Float[Tensor, "items width"]

    @cached_property
    def mean(self) -> Float[Tensor, "width"]:
        """Mean vector."""
        return self.vectors.mean(dim=0)

    @cached_property
    def columns(self) -> Float[Tensor, "width items"]:
        """The vectors as columns, in the order of memory that a product with few users wants."""
        columns = self.vectors.T
        return columns.contiguous() if columns.numel() <= COPIED_NUMBERS else columns

    @cached_property
    def gram(self) -> Float[Tensor, "width width"]:
        """Mean of the outer products."""
        gram: Tensor = self.vectors.T @ self.vectors / max(len(self.vectors), 1)
        return gram


@final
@dataclass(frozen=True)
class InSpace(Profile):
    """A vector per user; an item's score is the product with its vector."""

    users: Float[Tensor, "users width"]
    space: Space

    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""
        return self.users @ self.space.columns

    def at(self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]) -> Float[Tensor, "users columns_and_own"]:
        """Raw scores of each user's own item, which comes first, and of these items."""
        first = (self.users * self.space.vectors[own]).sum(dim=1, keepdim=True)
        return torch.cat([first, self.users @ self.space.vectors[items].T], dim=1)

    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""
        return self.users @ self.space.mean, ((self.users @ self.space.gram) * self.users).sum(dim=1)


@final
@dataclass(frozen=True)
class Sparse(Profile):
    """Scores that are 0 for most items.

    Attributes:
        scores: CSR [users, items].
    """

    scores: sparse.csr_array

    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""
        return torch.from_numpy(np.asarray(self.scores.todense(), dtype=np.float32))

    def at(self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]) -> Float[Tensor, "users columns_and_own"]:
        """Raw scores of each user's own item, which comes first, and of these items."""
        users, (rows, columns) = self.scores.shape[0], (self._rows, self.scores.indices)
        result = np.zeros((users, 1 + len(items)), dtype=np.float32)
        found = columns == own.numpy()[rows]
        result[rows[found], 0] = self.scores.data[found]
        place = np.zeros(self.scores.shape[1], dtype=np.int64)
        place[items.numpy()] = np.arange(1, 1 + len(items))
        found = place[columns] > 0
        result[rows[found], place[columns[found]]] = self.scores.data[found]
        return torch.from_numpy(result)

    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""
        items, sums = max(self.scores.shape[1], 1), np.ones(self.scores.shape[1], dtype=np.float64)
        squares = sparse.csr_array(
            (np.square(self.scores.data), self.scores.indices, self.scores.indptr), shape=self.scores.shape
        )
        mean, square = (torch.from_numpy((part @ sums / items).astype(np.float32)) for part in (self.scores, squares))
        return mean, square

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.repeat(np.arange(self.scores.shape[0]), np.diff(self.scores.indptr))


@final
@dataclass(frozen=True)
class Shared(Profile):
    """A few rows of scores that many users share.

    Attributes:
        table: [rows, items].
        row: Which of them is a user's [users].
    """

    table: Float[Tensor, "rows items"]
    row: Int[Tensor, "users"]

    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""
        return self.table[self.row]

    def at(self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]) -> Float[Tensor, "users columns_and_own"]:
        """Raw scores of each user's own item, which comes first, and of these items."""
        return torch.cat([self.table[self.row, own].unsqueeze(1), self.table[:, items][self.row]], dim=1)

    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""
        return self.table.mean(dim=1)[self.row], self.table.square().mean(dim=1)[self.row]


def standardised(scores: Float[Tensor, "*users items"]) -> Float[Tensor, "*users items"]:
    """Mean 0 and spread 1 over the catalog for each user; constant rows become 0."""
    centred = scores - scores.mean(dim=-1, keepdim=True)
    return centred / centred.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=SMALLEST_SPREAD)
