"""A Bayesian factorisation of ratings: what is not known of a user or an item stays uncertain, and counts for less.

A rating is `r = μ + c_i + b_u + U_u·V_i + noise`: I is the part that needs no interaction (the mean of all, how well
the item is liked, how generous the user is), U·V the part that does. Users' numbers are normal around 0, items' around
what their texts say. Both are learned in turns as normal distributions, by variational Bayes (Lim & Teh, Variational
Bayesian approach to movie rating prediction, 2007). The uncertainty of V is part of a user's own
step, so that five ratings of films that few have seen move less than five of films that everybody knows; a plain
factorisation, which takes V for certain, overfits where a user has rated little.

The distribution of users' numbers is what was learned from all users; a user's own are that distribution given their
ratings, in closed form and without any step size.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.artifact.arrays import SavedArrays

Floats = NDArray[np.float64]

START = 0.3
"""Spread of V at the start, of the spread 1 that it is thought to have."""

SETTLED = 10.0
"""Ratings after which an item's own numbers are known well enough to say what texts are worth."""

PENALTIES = tuple(10.0**power for power in np.arange(-1, 5, 0.5))
"""Of the ridge regression from texts, to choose from."""

CHUNK = 512
"""Users whose covariances are held at once."""


@final
@dataclass(frozen=True, eq=False)
class Rated:
    """Ratings as pairs of a user and an item.

    Attributes:
        users: int64 [ratings], rows of users.
        items: int64 [ratings], rows of items.
        values: float64 [ratings].
        n_users: Number of users; some may have rated nothing.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: Floats
    n_users: int

    def __len__(self) -> int:
        return len(self.values)

    def matrix(self, values: Floats, n_items: int) -> sparse.csr_array:
        """float64 CSR [users, items] with these values in the places of the ratings; repeats are summed."""
        return sparse.csr_array((values, (self.users, self.items)), shape=(self.n_users, n_items))

    def counts(self, n_items: int) -> NDArray[np.int64]:
        """int64 [items]: ratings of each item."""
        return np.bincount(self.items, minlength=n_items)


@final
@dataclass(frozen=True, eq=False)
class Factors:
    """What is known of all items, and of users in general.

    Rows of an item are `[c, V]`, of a user `[b, U]`.

    Attributes:
        mean: μ.
        items: Mean of each item's numbers, float64 [items, factors + 1].
        spreads: Their covariances, float64 [items, factors + 1, factors + 1].
        generosity: Variance of b and of each of U's numbers among users, float64 [factors + 1].
        noise: Variance of what is left.
        item_variance: Variance of c among items, around what texts say.
        from_text: What a text says of an item's numbers, float64 [dim, factors + 1].
    """

    mean: float
    items: Floats
    spreads: Floats
    generosity: Floats
    noise: float
    item_variance: float
    from_text: Floats

    @classmethod
    def learn(cls, rated: Rated, text: Floats, factors: int, rounds: int, seed: int) -> "Factors":
        """From ratings of training users.

        Args:
            rated: The ratings, at least one.
            text: Unit text vectors, float [items, dim].
            factors: Width of U and V.
            rounds: Turns of users and items.
            seed: Of the start.
        """
        items, width = len(text), factors + 1
        mean = float(rated.values.mean())
        counts = rated.counts(items)
        start = np.random.default_rng(seed).normal(0, START, (items, width))
        start[:, 0] = np.bincount(rated.items, rated.values - mean, minlength=items) / (counts + 5.0)
        spread = float(rated.values.var()) or 1.0
        generosity = np.concatenate([[0.2 * spread], np.full(factors, 0.05 * spread)])
        spreads = np.tile(0.1 * np.eye(width), (items, 1, 1))
        nothing = np.zeros((text.shape[1], width))
        found = cls(mean, start, spreads, generosity, 0.8 * spread, 0.3 * spread, nothing)
        for turn in range(rounds):
            if turn == 2 * rounds // 3:
                found = replace(found, from_text=found._read(text, counts))
            found = found._turn(rated, text)
        return found

    def _turn(self, rated: Rated, text: Floats) -> "Factors":
        """Users given the items, then items given the users."""
        users, theirs = self.users(rated)
        expected = np.einsum("uff->uf", theirs) + users**2
        generosity = np.maximum(expected.mean(axis=0), 1e-9)
        prior = text @ self.from_text
        transposed = Rated(rated.items, rated.users, rated.values - self.mean, len(text))
        precision = np.diag(np.concatenate([[1 / self.item_variance], np.ones(len(generosity) - 1)]))
        items, spreads = _given(transposed, users, theirs, precision, self.noise, prior)
        noise = _left(rated, self.mean, users, theirs, items, spreads)
        seen = rated.counts(len(text)) > 0
        variance = float(np.mean((items[seen, 0] - prior[seen, 0]) ** 2 + spreads[seen, 0, 0]))
        return replace(
            self,
            items=items,
            spreads=spreads,
            generosity=generosity,
            noise=max(noise, 1e-9),
            item_variance=max(variance, 1e-9),
        )

    def _read(self, text: Floats, counts: NDArray[np.int64]) -> Floats:
        """Ridge regression from texts to items' numbers; its penalty by leaving one item out at a time."""
        weights = counts / (counts + SETTLED)
        known = weights > 0
        rows, root = text[known] * np.sqrt(weights[known, None]), np.sqrt(weights[known, None])
        wanted = self.items[known] * root
        left, values, right = np.linalg.svd(rows, full_matrices=False)
        turned = left.T @ wanted
        best, kept = np.inf, np.zeros((text.shape[1], self.items.shape[1]))
        for penalty in PENALTIES:
            share = values**2 / (values**2 + penalty)
            leverage = np.minimum((left**2) @ share, 1 - 1e-9)
            error = float((((wanted - left @ (share[:, None] * turned)) / (1 - leverage[:, None])) ** 2).sum())
            if error < best:
                best, kept = error, right.T @ ((values / (values**2 + penalty))[:, None] * turned)
        # Nothing is said by texts that tell an item left out no better than the mean does.
        return kept if best < float((wanted**2).sum()) else np.zeros_like(kept)

    def users(self, rated: Rated, doubt: float = 1.0) -> tuple[Floats, Floats]:
        """What ratings say of their users: means float64 [users, factors + 1], and covariances.

        Args:
            rated: What they have rated.
            doubt: Times the noise that a rating is thought to have.
        """
        left = replace(rated, values=rated.values - self.mean)
        nothing = np.zeros((rated.n_users, len(self.generosity)))
        return _given(left, self.items, self.spreads, np.diag(1 / self.generosity), self.noise * doubt, nothing)

    @cached_property
    def vectors(self) -> Floats:
        """What a user's numbers are multiplied by, [1, V]: float64 [items, factors + 1]."""
        return np.concatenate([np.ones((len(self.items), 1)), self.items[:, 1:]], axis=1)

    @cached_property
    def alone(self) -> Floats:
        """μ + c: what is said of items to somebody of whom nothing is known, float64 [items]."""
        alone: Floats = self.mean + self.items[:, 0]
        return alone

    def extended(self, text: Floats) -> "Factors":
        """The same over a catalog that has grown to these texts; new items are what their texts say."""
        known, width = len(self.items), len(self.generosity)
        unknown = np.diag(np.concatenate([[self.item_variance], np.ones(width - 1)]))
        spreads = np.concatenate([self.spreads, np.tile(unknown, (len(text) - known, 1, 1))])
        return replace(self, items=np.concatenate([self.items, text[known:] @ self.from_text]), spreads=spreads)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save."""
        numbers = np.concatenate([[self.mean, self.noise, self.item_variance], self.generosity])
        return {"numbers": numbers, "items": self.items, "spreads": self.spreads, "from_text": self.from_text}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> "Factors":
        """The inverse of `tensors`.

        Raises:
            ArtifactError: Something is missing, of another shape or out of range.
        """
        numbers = saved.floats("numbers", None, dtype=np.float64)
        width = len(numbers) - 3
        return cls(
            float(numbers[0]),
            saved.floats("items", items, width, dtype=np.float64),
            saved.floats("spreads", items, width, width, dtype=np.float64),
            np.maximum(numbers[3:], 1e-9),
            max(float(numbers[1]), 1e-9),
            max(float(numbers[2]), 1e-9),
            saved.floats("from_text", dim, width, dtype=np.float64),
        )


def _given(
    rated: Rated, others: Floats, spreads: Floats, precision: Floats, noise: float, prior: Floats
) -> tuple[Floats, Floats]:
    """One side's numbers given the other side's: means [rows, width], and covariances [rows, width, width].

    A side's own number 0 is what it adds alone (b or c), whose partner on the other side is 1; the other side's number
    0 is taken off the ratings.

    Args:
        rated: Ratings, less their mean; `users` are the rows asked for and `items` those of the other side.
        others: Means of the other side.
        spreads: Covariances of the other side.
        precision: Of the prior.
        noise: Variance of a rating.
        prior: Means of the prior.
    """
    count, width = others.shape
    there, values = rated.matrix(np.ones(len(rated)), count), rated.matrix(rated.values, count)
    partners = np.concatenate([np.ones((count, 1)), others[:, 1:]], axis=1)
    products = partners[:, :, None] * partners[:, None, :]
    products[:, 1:, 1:] += spreads[:, 1:, 1:]
    # The other side's own number times its others: what E[c V] is, instead of E[c] E[V].
    taken = others[:, :1] * partners
    taken[:, 1:] += spreads[:, 0, 1:]
    wanted = values @ partners - there @ taken
    means, covariances = np.empty((rated.n_users, width)), np.empty((rated.n_users, width, width))
    for start in range(0, rated.n_users, CHUNK):
        some = slice(start, start + CHUNK)
        sums = (there[some] @ products.reshape(count, -1)).reshape(-1, width, width)
        covariances[some] = np.linalg.inv(precision + sums / noise)
        right = prior[some] @ precision + wanted[some] / noise
        means[some] = np.einsum("ufg,ug->uf", covariances[some], right)
    return means, covariances


def _left(rated: Rated, mean: float, users: Floats, theirs: Floats, items: Floats, spreads: Floats) -> float:
    """Expected squared error of a rating, over what is known of its user and its item."""
    total = 0.0
    for start in range(0, len(rated), 100 * CHUNK):
        some = slice(start, start + 100 * CHUNK)
        u, i = rated.users[some], rated.items[some]
        mine, its = users[u, 1:], items[i, 1:]
        error = rated.values[some] - mean - items[i, 0] - users[u, 0] - np.einsum("rf,rf->r", mine, its)
        total += float((error**2).sum())
        total += float(spreads[i, 0, 0].sum() + theirs[u, 0, 0].sum())
        total += 2 * float(np.einsum("rf,rf->", its, theirs[u, 0, 1:]) + np.einsum("rf,rf->", mine, spreads[i, 0, 1:]))
        total += float(np.einsum("rfg,rfg->", spreads[i, 1:, 1:], theirs[u, 1:, 1:]))
        total += float(np.einsum("rf,rfg,rg->", mine, spreads[i, 1:, 1:], mine))
        total += float(np.einsum("rf,rfg,rg->", its, theirs[u, 1:, 1:], its))
    return total / max(len(rated), 1)
