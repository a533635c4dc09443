"""Implicit alternating least squares, and the least squares that it alternates."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.errors import require
from recllm.evaluation.baselines.baseline import EVENTS, WINDOWS, Baseline, Known, Scores, grid

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
    choices = grid(
        events=EVENTS, factors=(64, 128), regularisation=(0.003, 0.015), unobserved=(0.1, 0.5), window=WINDOWS
    )
    factors: int = 64
    regularisation: float = 0.01
    unobserved: float = 0.1
    sweeps: int = 10

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
