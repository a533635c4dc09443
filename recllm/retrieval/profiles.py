"""What a channel says of users before it is written out over the whole catalog.

Serving wants each channel's best items, and then every channel's scores of those that any of them brings; an adapter
wants a few items' scores for every event of a history. Both read the same profile, and both get scores that are
standardised over the whole catalog, by moments that no score need be computed for.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from recllm.retrieval.index import NOBODY, best_of
from recllm.retrieval.space import Space, gathered_products
from recllm.retrieval.table import Table

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
        """Mean over all items of the raw scores and of their squares; double precision where they may be alike."""

    def of(self, rows: Int[Tensor, "users width"]) -> Float[Tensor, "users width"]:
        """Raw scores of each user's own items."""
        return self.all().gather(1, rows)

    def best(self, eligible: Bool[Tensor, "users items"], size: int) -> Int[Tensor, "users some"]:
        """Rows of the best `size` eligible items, among `NOBODY` and in any order; none where nothing is said."""
        scores = self.all()
        speaks = scores.amax(dim=1) > scores.amin(dim=1)
        return best_of(scores, eligible & speaks.unsqueeze(1), size)

    def standardised_at(
        self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]
    ) -> Float[Tensor, "users columns_and_own"]:
        """As `at`, with mean 0 and spread 1 over the whole catalog, as `standardised` makes of `all`."""
        return self._standard(self.at(items, own))

    def least(self) -> Float[Tensor, "users"]:
        """The least of all items' raw scores."""
        return self.all().amin(dim=1)

    def standardised_least(self) -> Float[Tensor, "users 1"]:
        """As `least`, with mean 0 and spread 1 over the whole catalog."""
        return self._standard(self.least().unsqueeze(1))

    def _standard(self, scores: Float[Tensor, "users width"]) -> Float[Tensor, "users width"]:
        mean, spread = _mean_and_spread(*self.moments())
        standard: Tensor = (scores - mean.unsqueeze(1)) / spread.unsqueeze(1)
        return standard.float()


def all_standardised(
    profiles: Sequence[Profile], rows: Int[Tensor, "users width"] | None = None
) -> Float[Tensor, "users profiles width"]:
    """What all profiles say of each user's own items, or of all, with mean 0 and spread 1 over the whole catalog."""
    if rows is None:
        _multiply(profiles)
        return standardised(torch.stack([profile.all() for profile in profiles], dim=1))
    scores = torch.stack(_said(profiles, rows), dim=1)
    moments = [profile.moments() for profile in profiles]
    mean, spread = _mean_and_spread(*(torch.stack([one[part].double() for one in moments], dim=1) for part in (0, 1)))
    return scores.sub_(mean.float().unsqueeze(2)).div_(spread.float().unsqueeze(2))


def _multiply(profiles: Sequence[Profile]) -> None:
    """Read the vectors of each space once, for all profiles in it: from memory, that takes longer than the products."""
    inside = [one for one in profiles if isinstance(one, InSpace)]
    for space in {id(one.space): one.space for one in inside}.values():
        users = [one for one in inside if one.space is space]
        products = torch.cat([one.users for one in users]) @ space.columns
        for one, scores in zip(users, products.split([len(one.users) for one in users]), strict=True):
            vars(one)["_all"] = scores


def _said(profiles: Sequence[Profile], rows: Int[Tensor, "users width"]) -> list[Float[Tensor, "users width"]]:
    """Each profile's raw scores of each user's own items; vectors that several of them read are read once."""
    readers: dict[int, list[tuple[int, InSpace]]] = {}
    for place, profile in enumerate(profiles):
        if isinstance(profile, InSpace) and not profile.space.is_small:
            readers.setdefault(id(profile.space.vectors), []).append((place, profile))
    found: dict[int, Float[Tensor, "users width"]] = {}
    for some in readers.values():
        products = gathered_products([one.users for _, one in some], some[0][1].space.vectors, rows)
        found |= zip((place for place, _ in some), products, strict=True)
    return [found[place] if place in found else profile.of(rows) for place, profile in enumerate(profiles)]


def _mean_and_spread(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    return mean, (square - mean.square()).clamp(min=SMALLEST_SPREAD**2).sqrt()  # after the clamp: its slope at 0 is ∞


@final
@dataclass(frozen=True)
class InSpace(Profile):
    """A vector per user; an item's score is the product with its vector."""

    users: Float[Tensor, "users width"]
    space: Space

    @cached_property
    def _all(self) -> Float[Tensor, "users items"]:
        return self.users @ self.space.columns

    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""
        return self._all

    def of(self, rows: Int[Tensor, "users width"]) -> Float[Tensor, "users width"]:
        """Raw scores of each user's own items."""
        if self.space.is_small:
            return self._all.gather(1, rows)
        return gathered_products([self.users], self.space.vectors, rows)[0]

    def best(self, eligible: Bool[Tensor, "users items"], size: int) -> Int[Tensor, "users size"]:
        """Rows of the best `size` eligible items; those of an index are nearly the best."""
        speaks = self.users.any(dim=1)
        if self.space.is_small:
            return best_of(self._all, eligible & speaks.unsqueeze(1), size)
        found = torch.full((len(self.users), size), NOBODY)
        if bool(speaks.any()):
            found[speaks] = self.space.index.best(self.users[speaks], eligible[speaks], size)
        return found

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

    def of(self, rows: Int[Tensor, "users width"]) -> Float[Tensor, "users width"]:
        """Raw scores of each user's own items."""
        found, line = np.zeros(tuple(rows.shape), dtype=np.float32), np.zeros(self.scores.shape[1], dtype=np.float32)
        for user, own in enumerate(rows.numpy()):  # written out and taken back: in order they would have to be sorted
            columns, scores = self._line(user)
            line[columns] = scores
            np.take(line, own, out=found[user])
            line[columns] = 0
        return torch.from_numpy(found)

    def best(self, eligible: Bool[Tensor, "users items"], size: int) -> Int[Tensor, "users size"]:
        """Rows of the best `size` eligible items of those that have a score above 0."""
        found, allowed = np.full((self.scores.shape[0], size), NOBODY), eligible.numpy()
        for user in range(len(found)):
            columns, scores = self._line(user)
            kept = np.flatnonzero((scores > 0) & allowed[user, columns])
            if len(kept) > size:
                kept = kept[np.argpartition(-scores[kept], size - 1)[:size]]
            found[user, : len(kept)] = columns[kept]
        return torch.from_numpy(found)

    def least(self) -> Float[Tensor, "users"]:
        """The least of all items' raw scores."""
        return torch.from_numpy(np.asarray(self.scores.min(axis=1).todense(), dtype=np.float32).reshape(-1))

    def _line(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """The columns of a user's scores, each once and in any order, and the scores."""
        own = slice(self.scores.indptr[user], self.scores.indptr[user + 1])
        return self.scores.indices[own], self.scores.data[own]

    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""
        ends, items = self.scores.indptr, max(self.scores.shape[1], 1)
        found = []
        for power in (1, 2):
            so_far = np.concatenate([[0.0], np.cumsum(self.scores.data.astype(np.float64) ** power)])
            found.append(torch.from_numpy((so_far[ends[1:]] - so_far[ends[:-1]]) / items))
        return found[0], found[1]

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.repeat(np.arange(self.scores.shape[0]), np.diff(self.scores.indptr))


@final
@dataclass(frozen=True)
class Shared(Profile):
    """A few rows of scores that many users share.

    Attributes:
        table: The rows, [rows, items]; one that is kept knows what was looked up in it before.
        row: Which of them is a user's [users].
    """

    table: Table | Float[Tensor, "rows items"]
    row: Int[Tensor, "users"]

    @cached_property
    def _table(self) -> Table:
        return self.table if isinstance(self.table, Table) else Table(self.table)

    def all(self) -> Float[Tensor, "users items"]:
        """Every item's raw score."""
        return self._table.scores[self.row]

    def at(self, items: Int[Tensor, "columns"], own: Int[Tensor, "users"]) -> Float[Tensor, "users columns_and_own"]:
        """Raw scores of each user's own item, which comes first, and of these items."""
        scores = self._table.scores
        return torch.cat([scores[self.row, own].unsqueeze(1), scores[:, items][self.row]], dim=1)

    def of(self, rows: Int[Tensor, "users width"]) -> Float[Tensor, "users width"]:
        """Raw scores of each user's own items."""
        return self._table.scores[self.row.unsqueeze(1), rows]

    def least(self) -> Float[Tensor, "users"]:
        """The least of all items' raw scores."""
        return self._table.least[self.row]

    def best(self, eligible: Bool[Tensor, "users items"], size: int) -> Int[Tensor, "users size"]:
        """Rows of the best `size` eligible items; looked for once for all who share a row, if that is enough."""
        leading = self._table.leading(2 * size)[self.row]
        allowed = eligible.gather(1, leading)
        allowed &= self._table.speaks[self.row].unsqueeze(1)
        # The first `size` of the allowed ones, which stand best first.
        found = torch.where(allowed & (allowed.cumsum(dim=1) <= size), leading, NOBODY)
        few = (found != NOBODY).sum(dim=1) < size
        if leading.shape[1] < eligible.shape[1] and bool((few := few & self._table.speaks[self.row]).any()):
            found[few] = NOBODY
            found[few, :size] = best_of(self._table.scores[self.row[few]], eligible[few], size)
        return found

    def moments(self) -> tuple[Float[Tensor, "users"], Float[Tensor, "users"]]:
        """Mean over all items of the raw scores and of their squares."""
        mean, square = self._table.moments
        return mean[self.row], square[self.row]


def standardised(scores: Float[Tensor, "*users items"]) -> Float[Tensor, "*users items"]:
    """Mean 0 and spread 1 over the catalog for each user; constant rows become 0."""
    standard, _, scale = torch.native_layer_norm(scores, scores.shape[-1:], None, None, SMALLEST_SPREAD**4)
    too_much = scale * SMALLEST_SPREAD
    return standard / too_much.clamp(min=1) if bool((too_much > 1).any()) else standard
