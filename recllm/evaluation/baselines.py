"""Baselines: what any recommender has to beat. Each is small and complete; `recllm.evaluation.tuning` tunes them.

Here: what they share, and those that count. The others: `factorisation.py`, `text_baselines.py`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, NotFittedError
from recllm.retrieval.cooccurrence import EXACT_ITEMS, HUBS, Cooccurrence
from recllm.retrieval.matrices import binary_matrix

Events = Literal["all", "liked"]
Scores = NDArray[np.float32]

EVENTS: tuple[Events, ...] = ("all", "liked")
WINDOWS = (None, 5, 10, 20)
BLOCK_ENTRIES = 1 << 25
"""Entries of a dense block of an items × items matrix: 128 MB."""

ALL_WEIGHTS, MOST_WEIGHTS = 8_000, 1_000
"""EASE keeps all weights up to so many items, and so many of each item above."""


@final
@dataclass(frozen=True, eq=False)
class Known:
    """What is known of users.

    Attributes:
        histories: Their events with items of the catalog.
        log_ratings: float32 [rows of the log], NaN where there is none; `Histories.event_rows` points into it.
        timed: Whether the timestamps are times.
    """

    histories: Histories
    log_ratings: NDArray[np.float32]
    timed: bool

    @classmethod
    def from_log(cls, events: Interactions, catalog: Catalog, feedback: Feedback, seed: int = 0) -> "Known":
        """Histories of a log, a user's repeats of an item left out."""
        ratings = np.full(len(events), np.nan, dtype=np.float32)
        if "rating" in events.frame.columns:
            ratings = events.frame["rating"].cast(float).fill_null(np.nan).to_numpy().astype(np.float32)
        return cls(make_histories(events, catalog, feedback, seed=seed), ratings, events.timed)

    @property
    def ratings(self) -> NDArray[np.float32]:
        """float32 [events of the histories], NaN where there is none."""
        return self.log_ratings[self.histories.event_rows]

    def of_users(self, rows: NDArray[np.int64]) -> "Known":
        """What is known of some users."""
        return Known(self.histories.of(rows), self.log_ratings, self.timed)

    def read(self, events: Events, window: int | None) -> "Known":
        """Only liked events, if so wanted, and of these the newest of every user."""
        histories = self.histories
        if events == "liked":
            histories = histories.drop_events(histories.signals > 0)
        if window is not None:
            histories = histories.last(window)
        return Known(histories, self.log_ratings, self.timed)

    def counts(self, items: int) -> NDArray[np.int64]:
        """int64 [items]: distinct users of each item."""
        return np.bincount(self.histories.item_rows, minlength=items)

    def matrix(self, items: int) -> sparse.csr_array:
        """float32 CSR [users, items], 1 where the user has the item."""
        return binary_matrix(self.histories, items, liked_only=False)


@dataclass(eq=False, kw_only=True)
class Baseline(ABC):
    """A scorer with hyper-parameters as fields; a subclass says how to fit and how to score whole catalogs.

    A user of whom it can tell nothing (no events, or only such as it does not read or did not see when fitting) gets
    the items in order of popularity, and nothing else. Seen items are scored like all others.

    Attributes:
        events: What it learns from and reads of a history: every event, or liked ones.
        window: Only that many of a history's newest events (of those it reads) are read when scoring; None: all.
        seed: Of ties in time, and of whatever is random.
    """

    name: ClassVar[str]
    at_scoring: ClassVar[frozenset[str]] = frozenset({"window"})
    """Fields that only scoring looks at; they can be changed without fitting again."""
    tells_new_items_apart: ClassVar[bool] = False
    """Whether it can rank items without events; where these are asked for, its settings are chosen on such items."""

    events: Events = "all"
    window: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.events not in EVENTS:
            raise ConfigError(f"events must be 'all' or 'liked', got {self.events!r}.")
        if self.window is not None and self.window < 1:
            raise ConfigError(f"window must be at least 1, or None for all events, got {self.window}.")
        self.note = ""
        self._catalog: Catalog | None = None

    @classmethod
    @abstractmethod
    def choices(cls) -> list[dict[str, Any]]:
        """The settings worth trying, in an order in which the first of equals is the simplest."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every hyper-parameter by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def reading(self, **settings: Any) -> Self:
        """The same fitted baseline with other settings for scoring (those in `at_scoring`).

        Raises:
            ConfigError: A setting that would need another fit.
        """
        if fixed := set(settings) - self.at_scoring:
            raise ConfigError(f"{', '.join(sorted(fixed))} cannot be changed after fitting; make another {self.name}.")
        other = copy.copy(self)
        for name, value in settings.items():
            setattr(other, name, value)
        return other

    def fit(self, catalog: Catalog, events: Interactions) -> Self:
        """Learn from a log; events about unknown items are left out."""
        feedback = Feedback.infer(events)
        return self.fit_known(catalog, feedback, Known.from_log(events, catalog, feedback, self.seed))

    def fit_known(self, catalog: Catalog, feedback: Feedback, known: Known) -> Self:
        """`fit` for a log that has been read already."""
        self._catalog, self._feedback = catalog, feedback
        self._popularity = {kind: known.read(kind, None).counts(len(catalog)).astype(np.float32) for kind in EVENTS}
        self._fit(catalog, known.read(self.events, None))
        return self

    def score(self, users: Interactions, item_ids: Sequence[str]) -> Scores:
        """float32 [users, items], rows in the order of `users.user_ids`; NaN for an item the catalog does not have."""
        return self.columns(self.scores_of(self.known(users)), item_ids)

    def known(self, users: Interactions) -> Known:
        """What a log says of its users, in terms of the catalog and of what was liked when fitting."""
        return Known.from_log(users, self._fitted(), self._feedback, self.seed)

    def scores_of(self, known: Known) -> Scores:
        """float32 [users, items of the catalog], finite."""
        self._fitted()
        known = known.read(self.events, self.window)
        scores = np.ascontiguousarray(self._scores(known), dtype=np.float32)
        if scores.shape[1]:
            scores[scores.max(axis=1) == scores.min(axis=1)] = self._popularity[self.events]
        return scores

    def columns(self, scores: Scores, item_ids: Sequence[str]) -> Scores:
        """The columns of these items out of one per catalog item; NaN for unknown ones."""
        rows = self._fitted().rows(item_ids)
        result = np.full((len(scores), len(rows)), np.nan, dtype=np.float32)
        result[:, rows >= 0] = scores[:, rows[rows >= 0]]
        return result

    def _fitted(self) -> Catalog:
        if self._catalog is None:
            raise NotFittedError(f"this {self.name} has not been fitted; call fit(catalog, events).")
        return self._catalog

    @property
    def _items(self) -> int:
        return len(self._fitted())

    @abstractmethod
    def _fit(self, catalog: Catalog, known: Known) -> None:
        """Learn from the events that `events` names."""

    @abstractmethod
    def _scores(self, known: Known) -> Scores:
        """float32 [users, items] from the events that `events` and `window` name, which may be none.

        A row that tells no two items apart becomes the order of popularity.
        """


@final
@dataclass(eq=False, kw_only=True)
class Popularity(Baseline):
    """Distinct users of each item, the same for everybody."""

    name = "popularity"

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(events=EVENTS)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        pass

    def _scores(self, known: Known) -> Scores:
        return np.tile(self._popularity[self.events], (len(known.histories), 1))


@final
@dataclass(eq=False, kw_only=True)
class RecentPopularity(Baseline):
    """Distinct users of each item, recent ones counting more; plain popularity for a log without times.

    Age is measured in events, not in seconds: the share of the log that is newer. So it does not matter how a log
    spreads over time, nor in which unit time is given.

    Attributes:
        half_life: Share of the log after which an event counts half.
    """

    name = "recent popularity"
    half_life: float = 0.1

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(events=EVENTS, half_life=(0.5, 0.2, 0.1, 0.05, 0.02))

    def _fit(self, catalog: Catalog, known: Known) -> None:
        times = known.histories.timestamps if known.timed else np.zeros(known.histories.n_events)
        newer = 1 - np.searchsorted(np.sort(times), times, side="right") / max(len(times), 1)
        self._counts = np.bincount(
            known.histories.item_rows, weights=0.5 ** (newer / self.half_life), minlength=len(catalog)
        ).astype(np.float32)

    def _scores(self, known: Known) -> Scores:
        return np.tile(self._counts, (len(known.histories), 1))


@final
@dataclass(eq=False, kw_only=True)
class ItemKNN(Baseline):
    """Sum of the cosines between an item and the items of the history (Deshpande & Karypis 2004).

    Attributes:
        shrinkage: Added to the denominator, so that two items shared by few users are not taken for alike.
        neighbours: Most similar items remembered of each item.
    """

    name = "item-kNN"
    shrinkage: float = 10.0
    neighbours: int = 200

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(events=EVENTS, shrinkage=(0.0, 10.0, 100.0), neighbours=(50, 200, 800), window=WINDOWS)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        matrix = known.matrix(len(catalog))
        norms = np.sqrt(known.counts(len(catalog))).astype(np.float32)
        rows = max(1, BLOCK_ENTRIES // max(len(catalog), 1))
        blocks = [
            self._block(matrix, norms, np.arange(start, min(start + rows, len(catalog))))
            for start in range(0, len(catalog), rows)
        ]
        weights = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, 0))
        self._weights = sparse.csr_array(weights).astype(np.float64)

    def _block(self, matrix: sparse.csr_array, norms: Scores, rows: NDArray[np.int64]) -> sparse.csr_array:
        """The nearest items of some: CSR [rows, items]."""
        cosines = np.asarray((matrix[:, rows].T @ matrix).todense(), dtype=np.float32)
        cosines /= np.maximum(norms[rows, None] * norms + np.float32(self.shrinkage), 1e-9)
        cosines[np.arange(len(rows)), rows] = 0.0
        if (kept := self.neighbours) < cosines.shape[1]:
            bar = np.partition(cosines, -kept, axis=1)[:, -kept, None]
            cosines[cosines < bar] = 0.0  # at the bar all stay: which of them is dropped would be up to row order
        return sparse.csr_array(cosines)

    def _scores(self, known: Known) -> Scores:
        # In float32 the order of items would decide how ties are rounded apart.
        sums: NDArray[np.float64] = (known.matrix(self._items).astype(np.float64) @ self._weights).toarray()
        return sums.astype(np.float32)


@final
@dataclass(eq=False, kw_only=True)
class EASE(Baseline):
    """EASE (Steck, arXiv 1905.03375) with all its weights; `note` says what is left out where the catalog is large.

    Attributes:
        regularisation: λ.
    """

    name = "EASE"
    regularisation: float = 200.0

    @classmethod
    def choices(cls) -> list[dict[str, Any]]:  # noqa: D102
        return grid(events=EVENTS, regularisation=(50.0, 200.0, 800.0, 3200.0), window=WINDOWS)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._weights, self.note = ease_weights(known.matrix(len(catalog)), self.regularisation)

    def _scores(self, known: Known) -> Scores:
        scores = known.matrix(self._items) @ self._weights
        return scores.toarray() if sparse.issparse(scores) else scores


def ease_weights(matrix: sparse.csr_array, regularisation: float) -> tuple[Scores | sparse.csr_array, str]:
    """EASE's weights [items, items], dense with all of them where that is affordable, and what was left out else."""
    items = matrix.shape[1]
    warm = int((matrix.sum(axis=0) > 0).sum())
    dense = warm <= ALL_WEIGHTS
    neighbours = max(items, 1) if dense else MOST_WEIGHTS
    weights = Cooccurrence.fit(matrix, regularisation=regularisation, neighbours=neighbours).weights
    if dense:
        return weights.toarray(), ""
    note = f"of EASE's weights towards {warm:,} items with events the {neighbours} strongest of each are kept"
    if warm > EXACT_ITEMS:
        note += (
            f"; an items × items matrix is inverted for the {HUBS:,} most popular items only, what is left is "
            "regressed on each item alone"
        )
    return weights, note


def grid(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination, the last name varying fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
