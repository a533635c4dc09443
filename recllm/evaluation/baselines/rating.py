"""Baselines that predict ratings; lists of theirs are by predicted rating."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.evaluation.baselines.baseline import WINDOWS, Baseline, Known, Scores, grid
from recllm.evaluation.baselines.item_knn import BLOCK_ENTRIES

Floats = NDArray[np.float64]

TURNS = 10
"""Of fitting users given items, and items given users."""


@dataclass(eq=False, kw_only=True)
class RatingBaseline(Baseline):
    """Predicts ratings; a subclass says which."""

    only_ratings: ClassVar[bool] = False
    """Whether it is measured only where predicted ratings are."""

    def rate(self, users: Interactions, item_ids: Sequence[str]) -> Scores:
        """Predicted ratings within the range of the log's own, float32 [users, items]; NaN for unknown items."""
        return self.columns(self.rates_of(self.known(users)), item_ids)

    def rates_of(self, known: Known) -> Scores:
        """Predicted ratings within the range of the log's own, float32 [users, items of the catalog]."""
        return np.clip(self._estimates(known.read(self.events, self.window)), *self._range)

    def _set_range(self, values: NDArray[np.floating]) -> None:
        self._range = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)

    def _scores(self, known: Known) -> Scores:
        scores = self._estimates(known)
        # What is popular makes better lists than the items' mean ratings.
        scores[self._judged_by(known) == 0] = 0.0
        return scores

    def _judged_by(self, known: Known) -> NDArray[np.int64]:
        """int64 [users]: how many events say what a user thinks of an item."""
        return np.bincount(_rated(known)[0], minlength=len(known.histories))

    @abstractmethod
    def _estimates(self, known: Known) -> Scores:
        """float32 [users, items], from the events that `events` and `window` name."""


@final
@dataclass(eq=False, kw_only=True)
class UserItemBias(RatingBaseline):
    """The mean of all, how well an item is liked, and how generous a user is, each shrunken towards nothing.

    Attributes:
        item_shrinkage: Ratings after which an item's own mean is believed by half.
        user_shrinkage: The same for users.
    """

    name = "user and item bias"
    only_ratings = True
    choices = grid(item_shrinkage=(2.0, 5.0, 10.0, 20.0), user_shrinkage=(2.0, 5.0, 10.0, 20.0), window=WINDOWS)
    item_shrinkage: float = 5.0
    user_shrinkage: float = 10.0

    def _fit(self, catalog: Catalog, known: Known) -> None:
        users, items, values = _rated(known)
        self._set_range(values)
        self._mean = float(values.mean()) if len(values) else 0.0
        self._items_bias, theirs = np.zeros(len(catalog)), np.zeros(len(known.histories))
        for _ in range(TURNS):
            self._items_bias = _shrunken(items, values - self._mean - theirs[users], len(catalog), self.item_shrinkage)
            above = values - self._mean - self._items_bias[items]
            theirs = _shrunken(users, above, len(theirs), self.user_shrinkage)

    def users_bias(self, known: Known) -> Floats:
        """How generous users are: float64 [users]."""
        users, items, values = _rated(known)
        above = values - self._mean - self._items_bias[items]
        return _shrunken(users, above, len(known.histories), self.user_shrinkage)

    def left(self, known: Known) -> sparse.csr_array:
        """What the biases leave of ratings, float64 CSR [users, items]."""
        users, items, values = _rated(known)
        left = values - self._mean - self._items_bias[items] - self.users_bias(known)[users]
        return sparse.csr_array((left, (users, items)), shape=(len(known.histories), len(self._items_bias)))

    def _estimates(self, known: Known) -> Scores:
        whole = self._mean + self._items_bias + self.users_bias(known)[:, None]
        return whole.astype(np.float32)


@final
@dataclass(eq=False, kw_only=True)
class RatingKNN(RatingBaseline):
    """Item-kNN on what user and item bias leave of ratings (Koren, Factor in the neighbors, 2010).

    Attributes:
        shrinkage: Added to the denominator of the correlation of two items.
        damping: Added to the weights that an estimate is divided by.
        neighbours: Of each item, those that are remembered.
        user_shrinkage: Of the biases.
    """

    name = "rating kNN"
    only_ratings = True
    choices = grid(shrinkage=(10.0, 50.0, 200.0), damping=(0.1, 0.5, 2.0), user_shrinkage=(5.0, 10.0), window=WINDOWS)
    at_scoring = frozenset({"window", "damping"})
    shrinkage: float = 50.0
    damping: float = 0.5
    neighbours: int = 400
    user_shrinkage: float = 10.0

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._biases = UserItemBias(user_shrinkage=self.user_shrinkage).fit_known(catalog, self._feedback, known)
        self._range = self._biases._range
        left = self._biases.left(known)
        there = sparse.csr_array((np.ones(left.nnz), left.indices, left.indptr), shape=left.shape)
        rows = max(1, BLOCK_ENTRIES // max(len(catalog), 1))
        starts = range(0, len(catalog), rows)
        blocks = [self._block(left, there, np.arange(at, min(at + rows, len(catalog)))) for at in starts]
        self._weights = sparse.csr_array(sparse.vstack(blocks, format="csr")) if blocks else sparse.csr_array((0, 0))

    def _block(self, left: sparse.csr_array, there: sparse.csr_array, rows: NDArray[np.int64]) -> sparse.csr_array:
        squares = left.multiply(left).tocsr()
        products = (left[:, rows].T @ left).toarray()
        norms = np.sqrt((squares[:, rows].T @ there).toarray() * (there[:, rows].T @ squares).toarray())
        weights = products / (norms + self.shrinkage)
        weights[np.arange(len(rows)), rows] = 0.0
        if (kept := self.neighbours) < weights.shape[1]:
            size = np.abs(weights)
            bar = np.partition(size, -kept, axis=1)[:, -kept, None]
            weights[size < bar] = 0.0  # at the bar all stay: which of them is dropped would be up to row order
        return sparse.csr_array(weights)

    def _estimates(self, known: Known) -> Scores:
        left = self._biases.left(known)
        there = sparse.csr_array((np.ones(left.nnz), left.indices, left.indptr), shape=left.shape)
        toward = self._weights.T
        sums, sizes = (left @ toward).toarray(), (there @ abs(toward)).toarray()
        whole: Scores = self._biases._estimates(known) + (sums / (sizes + self.damping)).astype(np.float32)
        return whole


def _rated(known: Known) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """User rows, item rows and ratings of the events that have one."""
    have = np.isfinite(known.ratings)
    histories = known.histories
    return histories.user_rows[have], histories.item_rows[have], known.ratings[have].astype(np.float64)


def _shrunken(rows: NDArray[np.int64], values: Floats, length: int, shrinkage: float) -> Floats:
    sums: Floats = np.bincount(rows, values, minlength=length).astype(np.float64)
    return sums / (np.bincount(rows, minlength=length) + shrinkage)
