"""Matrix factorisations: iALS for events, and the textbook one for ratings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import require
from recllm.evaluation.baselines import EVENTS, WINDOWS, Baseline, Known, Scores, grid

Floats = NDArray[Any]

SOLVED_TOGETHER = 1 << 22
"""Entries of the stack of small systems that are solved in one call: 16 MB in float32."""


@final
@dataclass(eq=False, kw_only=True)
class IALS(Baseline):
    """Implicit alternating least squares (Hu et al. 2008) as tuned by Rendle et al. (arXiv 2110.14037).

    Minimises `Σ_seen (w_u·h_i − 1)² + α Σ_all (w_u·h_i)² + λ (Σ_u (n_u + α·items)|w_u|² + Σ_i (n_i + α·users)|h_i|²)`
    with n the number of events. A user's vector is the closed-form solution for their history, known or new.

    Attributes:
        factors: Width of the vectors.
        regularisation: λ.
        unobserved: α, the weight of every pair, seen or not.
        sweeps: Times that users and items are solved in turn.
    """

    name = "iALS"
    factors: int = 64
    regularisation: float = 0.01
    unobserved: float = 0.1
    sweeps: int = 10

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(
            events=EVENTS, factors=(64, 128), regularisation=(0.003, 0.015), unobserved=(0.1, 0.5), window=WINDOWS
        )

    def _fit(self, catalog: Catalog, known: Known) -> None:
        matrix = known.matrix(len(catalog))
        transposed = sparse.csr_array(matrix.T)
        start = np.random.default_rng(self.seed).normal(0, 0.1 / np.sqrt(self.factors), (len(catalog), self.factors))
        self._vectors = np.where(known.counts(len(catalog))[:, None] > 0, start, 0).astype(np.float32)
        for _ in range(self.sweeps):
            users = solve_ials(matrix, self._vectors, self.regularisation, self.unobserved)
            self._vectors = solve_ials(transposed, users, self.regularisation, self.unobserved)

    def _scores(self, known: Known) -> Scores:
        matrix = known.matrix(self._items)
        return solve_ials(matrix, self._vectors, self.regularisation, self.unobserved) @ self._vectors.T


def solve_ials(matrix: sparse.csr_array, others: Floats, regularisation: float, unobserved: float) -> Floats:
    """The vectors [rows, factors] that minimise the loss of `IALS`, given those of the columns [columns, factors]."""
    penalties = regularisation * (np.diff(matrix.indptr) + unobserved * len(others))
    penalties = np.maximum(penalties, 1e-6)  # with an empty log nothing else would be in the equations
    return ridge(matrix, others, penalties, unobserved * (others.T @ others))


def ridge(targets: sparse.csr_array, others: Floats, penalties: Floats, everyone: Floats | None = None) -> Floats:
    """Least squares of each row on the vectors of its columns.

    Args:
        targets: CSR [rows, columns]; what `x_row · others[column]` should be. A stored 0 is a target, too.
        others: [columns, factors].
        penalties: [rows], on |x|².
        everyone: [factors, factors], added to the normal equations of every row.

    Returns:
        [rows, factors], of the type of `others`.
    """
    factors = others.shape[1]
    result = np.zeros((targets.shape[0], factors), dtype=others.dtype)
    threads = require("threadpoolctl", extra="eval")
    size = max(1, SOLVED_TOGETHER // factors**2)
    for start in range(0, len(result), size):
        stop = min(start + size, len(result))
        left = np.eye(factors, dtype=others.dtype) * penalties[start:stop, None, None].astype(others.dtype)
        if everyone is not None:
            left += everyone
        right = (targets[start:stop] @ others).astype(others.dtype)
        # Systems this small are slower on several threads, and many times so where another program wants the cores.
        with threads.threadpool_limits(limits=1, user_api="blas"):
            for row in range(start, stop):
                theirs = others[targets.indices[targets.indptr[row] : targets.indptr[row + 1]]]
                left[row - start] += theirs.T @ theirs
            result[start:stop] = np.linalg.solve(left, right[..., None])[..., 0]
    return result


@final
@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings as three columns, ordered by user, then item.

    Attributes:
        owners: int64 [ratings], users' rows.
        items: int64 [ratings].
        values: float64 [ratings], μ taken off.
        shape: (users, items).
    """

    owners: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    shape: tuple[int, int]

    def matrix(self, values: NDArray[np.float64]) -> sparse.csr_array:
        """CSR [users, items] with these values in the ratings' places."""
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.owners, minlength=self.shape[0]))])
        return sparse.csr_array((values, self.items, offsets), shape=self.shape)


def loss_and_gradient(
    parameters: NDArray[np.float64], ratings: Ratings, regularisation: float
) -> tuple[float, NDArray[np.float64]]:
    """The loss of `Factorisation` and its gradient.

    With the errors `E_ij = U_i·V_j + b_i + c_j + μ − Y_ij` (0 where there is no rating), the gradient is
    `∂U = 2(E V + λU)`, `∂b = 2(E 1 + λb)`, `∂V = 2(Eᵀ U + λV)`, `∂c = 2(Eᵀ 1 + λc)`.

    Args:
        parameters: float64 [(users + items) · (factors + 1)]: the rows of [U b], then those of [V c].
        ratings: Y without μ.
        regularisation: λ.
    """
    users, items = split_parameters(parameters, ratings.shape[0], sum(ratings.shape))
    estimates = np.einsum("rf,rf->r", users[ratings.owners, :-1], items[ratings.items, :-1])
    estimates += users[ratings.owners, -1] + items[ratings.items, -1]
    errors = estimates - ratings.values
    matrix = ratings.matrix(errors)
    by_user, by_item = matrix @ _with_ones(items), matrix.T @ _with_ones(users)
    loss = errors @ errors + regularisation * (parameters @ parameters)
    slope = 2 * (np.concatenate([by_user, by_item]).ravel() + regularisation * parameters)
    return float(loss), slope


def split_parameters(parameters: NDArray[np.float64], users: int, both: int) -> tuple[Floats, Floats]:
    """[U b] as [users, factors + 1] and [V c] as [items, factors + 1], views of the flat parameters."""
    table = parameters.reshape(both, -1)
    return table[:users], table[users:]


def _with_ones(vectors: Floats) -> Floats:
    """The vectors with 1 in place of their bias: what the other side's bias is multiplied by."""
    return np.concatenate([vectors[:, :-1], np.ones_like(vectors[:, :1])], axis=1)


@final
@dataclass(eq=False, kw_only=True)
class Factorisation(Baseline):
    """The textbook factorisation of ratings: `Σ (U_i·V_j + I_ij − Y_ij)² + λ(|U|² + |V|²)` over the ratings in the log.

    I_ij is read as the part of a rating that needs no interaction of user and item, `I_ij = μ + b_i + c_j`: the mean of
    all ratings, how generous the user is, how well the item is liked. b and c are learned along, under the same λ
    (without it an item with one rating would be that rating), by L-BFGS on the gradient written in
    `loss_and_gradient`. New users get U_i and b_i by ridge regression of their ratings on V, given c.

    Y is the rating where the log has ratings (events without one are left out). Otherwise it is 1 for an event, 0 for
    a disliked one and for `zeros` items per event drawn from those the user does not have.

    It ranks by predicted rating, which is what it is made for; `IALS` is the factorisation that is made for lists.

    Attributes:
        factors: Width of U and V.
        regularisation: λ.
        iterations: L-BFGS iterations at most.
        zeros: Sampled per event, in logs without ratings.
    """

    name = "factorisation"
    factors: int = 16
    regularisation: float = 8.0
    iterations: int = 60
    zeros: int = 3

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:
        """Always on all events: the ratings say what is liked, and without low ones nothing is learned from them."""
        return grid(factors=(8, 32), regularisation=(2.0, 8.0, 32.0), window=WINDOWS)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._rated = bool(np.isfinite(known.ratings).any())
        owners, items, values = self._judged(known)
        users = len(known.histories)
        if not self._rated:
            owners, items, values = self._with_zeros(owners, items, values, (users, len(catalog)))
        self._range = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        self._mean = float(values.mean()) if len(values) else 0.0
        order = np.lexsort((items, owners))
        ratings = Ratings(owners[order], items[order], values[order] - self._mean, (users, len(catalog)))
        start = np.random.default_rng(self.seed).normal(0, 0.1, (users + len(catalog), self.factors + 1))
        start[:, -1] = 0.0
        found = scipy.optimize.minimize(
            loss_and_gradient,
            start.ravel(),
            args=(ratings, self.regularisation),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.iterations},
        )
        self._vectors = split_parameters(found.x, users, users + len(catalog))[1]

    def _judged(self, known: Known) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Users' rows, item rows and Y of the events that have one."""
        histories = known.histories
        values = known.ratings.astype(np.float64) if self._rated else (histories.signals >= 0).astype(np.float64)
        have = np.isfinite(values)
        return histories.user_rows[have], histories.item_rows[have], values[have]

    def _with_zeros(
        self,
        owners: NDArray[np.int64],
        items: NDArray[np.int64],
        values: NDArray[np.float64],
        shape: tuple[int, int],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        drawn = np.random.default_rng(self.seed).integers(0, max(shape[1], 1), self.zeros * len(owners))
        pairs = np.repeat(owners, self.zeros) * shape[1] + drawn
        pairs = np.setdiff1d(pairs, owners * shape[1] + items)
        more_owners, more_items = np.divmod(pairs, max(shape[1], 1))
        return (
            np.concatenate([owners, more_owners]),
            np.concatenate([items, more_items]),
            np.concatenate([values, np.zeros(len(pairs))]),
        )

    def rate(self, users: Interactions, item_ids: Sequence[str]) -> Scores:
        """Predicted ratings within the range of the log's own, float32 [users, items]; NaN for unknown items.

        A user without events gets `μ + c_j`.
        """
        known = self.known(users).read(self.events, self.window)
        return self.columns(np.clip(self._estimates(known), *self._range), item_ids)

    def _estimates(self, known: Known) -> Scores:
        estimates = self._folded_in(known) @ _with_ones(self._vectors).T + self._vectors[:, -1] + self._mean
        return estimates.astype(np.float32)

    def _folded_in(self, known: Known) -> Floats:
        """[U b] of these users, given [V c]: float64 [users, factors + 1]."""
        owners, items, values = self._judged(known)
        order = np.lexsort((items, owners))
        left = values - self._mean - self._vectors[items, -1]
        theirs = Ratings(owners[order], items[order], left[order], (len(known.histories), self._items))
        penalties = np.full(len(known.histories), self.regularisation)
        return ridge(theirs.matrix(theirs.values), _with_ones(self._vectors), penalties)

    def _scores(self, known: Known) -> Scores:
        scores = self._estimates(known)
        judged = np.bincount(self._judged(known)[0], minlength=len(scores))
        scores[judged == 0] = 0.0  # popularity makes better lists than the items' mean ratings
        return scores
