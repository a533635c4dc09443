"""The textbook factorisation, which predicts ratings."""

from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.evaluation.baselines.baseline import WINDOWS, Known, Scores, grid
from recllm.evaluation.baselines.ials import Floats, ridge
from recllm.evaluation.baselines.rating import RatingBaseline


def loss_and_gradient(
    parameters: NDArray[np.float64], ratings: sparse.csr_array, regularisation: float
) -> tuple[float, NDArray[np.float64]]:
    """The loss of `Factorisation` and its gradient.

    With the errors `E_ij = U_i·V_j + b_i + c_j + μ − Y_ij` (0 where there is no rating), the gradient is
    `∂U = 2(E V + λU)`, `∂b = 2(E 1 + λb)`, `∂V = 2(Eᵀ U + λV)`, `∂c = 2(Eᵀ 1 + λc)`.

    Args:
        parameters: float64 [(users + items) · (factors + 1)]: the rows of [U b], then those of [V c].
        ratings: Y without μ, CSR [users, items]. A stored 0 is a rating, too.
        regularisation: λ.
    """
    users, items = split_parameters(parameters, ratings.shape[0], sum(ratings.shape))
    theirs, them = users[np.repeat(np.arange(len(users)), np.diff(ratings.indptr))], items[ratings.indices]
    estimates = np.einsum("rf,rf->r", theirs[:, :-1], them[:, :-1]) + theirs[:, -1] + them[:, -1]
    errors = estimates - ratings.data
    matrix = _with_values(ratings, errors)
    by_user, by_item = matrix @ _with_ones(items), matrix.T @ _with_ones(users)
    loss = errors @ errors + regularisation * (parameters @ parameters)
    slope = 2 * (np.concatenate([by_user, by_item]).ravel() + regularisation * parameters)
    return float(loss), slope


def split_parameters(parameters: NDArray[np.float64], users: int, both: int) -> tuple[Floats, Floats]:
    """[U b] as [users, factors + 1] and [V c] as [items, factors + 1], views of the flat parameters."""
    table = parameters.reshape(both, -1)
    return table[:users], table[users:]


def _with_values(matrix: sparse.csr_array, values: Floats) -> sparse.csr_array:
    """The matrix with other values in the places that it has."""
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _with_ones(vectors: Floats) -> Floats:
    """The vectors with 1 in place of their bias: what the other side's bias is multiplied by."""
    return np.concatenate([vectors[:, :-1], np.ones_like(vectors[:, :1])], axis=1)


@final
@dataclass(eq=False, kw_only=True)
class Factorisation(RatingBaseline):
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
    # Always on all events: the ratings say what is liked, and without low ones nothing is learned from them.
    choices = grid(factors=(8, 32), regularisation=(2.0, 8.0, 32.0), window=WINDOWS)
    factors: int = 16
    regularisation: float = 8.0
    iterations: int = 60
    zeros: int = 3

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._rated = bool(np.isfinite(known.ratings).any())
        ratings = self._judged(known)
        if not self._rated:
            ratings = self._with_zeros(ratings)
        values, users = ratings.data, ratings.shape[0]
        self._set_range(values)
        self._mean = float(values.mean()) if len(values) else 0.0
        start = np.random.default_rng(self.seed).normal(0, 0.1, (users + len(catalog), self.factors + 1))
        start[:, -1] = 0.0
        found = scipy.optimize.minimize(
            loss_and_gradient,
            start.ravel(),
            args=(_with_values(ratings, values - self._mean), self.regularisation),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.iterations},
        )
        self._vectors = split_parameters(found.x, users, users + len(catalog))[1]

    def _judged(self, known: Known) -> sparse.csr_array:
        """Y of the events that have one: float64 CSR [users, items]."""
        histories = known.histories
        values = known.ratings.astype(np.float64) if self._rated else (histories.signals >= 0).astype(np.float64)
        have = np.isfinite(values)
        places = histories.user_rows[have], histories.item_rows[have]
        return sparse.csr_array((values[have], places), shape=(len(histories), self._items))

    def _with_zeros(self, ratings: sparse.csr_array) -> sparse.csr_array:
        width = max(ratings.shape[1], 1)
        owners = np.repeat(np.arange(ratings.shape[0]), np.diff(ratings.indptr))
        drawn = np.random.default_rng(self.seed).integers(0, width, self.zeros * len(owners))
        have = owners * width + ratings.indices
        pairs = np.concatenate([have, np.setdiff1d(np.repeat(owners, self.zeros) * width + drawn, have)])
        values = np.concatenate([ratings.data, np.zeros(len(pairs) - len(have))])
        return sparse.csr_array((values, np.divmod(pairs, width)), shape=ratings.shape)

    def _estimates(self, known: Known) -> Scores:
        # A user without events gets μ + c_j.
        estimates = self._folded_in(known) @ _with_ones(self._vectors).T + self._vectors[:, -1] + self._mean
        return estimates.astype(np.float32)

    def _folded_in(self, known: Known) -> Floats:
        """[U b] of these users, given [V c]: float64 [users, factors + 1]."""
        judged = self._judged(known)
        left = _with_values(judged, judged.data - self._mean - self._vectors[judged.indices, -1])
        return ridge(left, _with_ones(self._vectors), np.full(left.shape[0], self.regularisation))

    def _judged_by(self, known: Known) -> NDArray[np.int64]:
        judged: NDArray[np.int64] = np.diff(self._judged(known).indptr).astype(np.int64)
        return judged
