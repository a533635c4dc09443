"""What baselines share: how a log is read, what popularity says, settings that can be changed when scoring."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.counts.matrices import binary_matrix, liked_part
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, NotFittedError

Events = Literal["all", "liked"]
Scores = NDArray[np.float32]

EVENTS: tuple[Events, ...] = ("all", "liked")
WINDOWS = (None, 5, 10, 20)


@final
@dataclass(frozen=True, eq=False)
class Known:
    """What is known of users.

    Attributes:
        histories: Their events with items of the catalog.
        timed: Whether the timestamps are times.
    """

    histories: Histories
    timed: bool

    @classmethod
    def from_log(cls, events: Interactions, catalog: Catalog, feedback: Feedback, seed: int = 0) -> "Known":
        """Histories of a log, a user's repeats of an item left out."""
        return cls(make_histories(events, catalog, feedback, seed=seed), events.timed)

    @property
    def ratings(self) -> NDArray[np.float32]:
        """float32 [events of the histories], NaN where there is none."""
        return self.histories.ratings

    def of_users(self, rows: NDArray[np.int64]) -> "Known":
        """What is known of some users."""
        return replace(self, histories=self.histories.of(rows))

    def read(self, events: Events, window: int | None) -> "Known":
        """Only liked events, if so wanted, and of these the newest of every user."""
        histories = self.histories
        if events == "liked":
            histories = liked_part(histories)
        return replace(self, histories=histories if window is None else histories.last(window))

    def counts(self, items: int) -> NDArray[np.int64]:
        """int64 [items]: distinct users of each item."""
        return np.bincount(self.histories.item_rows, minlength=items)

    def matrix(self, items: int) -> sparse.csr_array:
        """float32 CSR [users, items], 1 where the user has the item."""
        return binary_matrix(self.histories, items, liked_only=False)


def grid(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination, the last name varying fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


@dataclass(eq=False, kw_only=True)
class Baseline(ABC):
    """A scorer with hyper-parameters as fields; a subclass says how to fit and how to score whole catalogs.

    ::

        @register  # of recllm.evaluation.baselines.registry
        @dataclass(eq=False, kw_only=True)
        class FewestWords(Baseline):
            name = "fewest words"
            choices = grid(power=(1.0, 2.0))  # tuned over these
            power: float = 1.0

            def _fit(self, catalog, known):
                self._lengths = catalog.frame["text"].str.len_chars().to_numpy()

            def _scores(self, known):
                return np.tile(-(self._lengths**self.power), (len(known.histories), 1))

        recllm.evaluate(config, catalog, events, baselines=["fewest words", "EASE"])

    A user of whom it can tell nothing (no events, or only such as it does not read or did not see when fitting) gets
    the items in order of popularity, and nothing else. Seen items are scored like all others.

    Attributes:
        events: What it learns from and reads of a history: every event, or liked ones.
        window: Only that many of a history's newest events (of those it reads) are read when scoring; None: all.
        seed: Of ties in time, and of whatever is random.
    """

    name: ClassVar[str]
    choices: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """The settings worth trying, in an order in which the first of equals is the simplest; see `grid`."""
    at_scoring: ClassVar[frozenset[str]] = frozenset({"window"})
    """Fields that only scoring looks at; they can be changed without fitting again."""
    tells_new_items_apart: ClassVar[bool] = False
    """Whether it can rank items without events; where these are asked for, its settings are chosen on such items."""
    costly: ClassVar[bool] = False
    """Whether tuning it takes many times as long as the others; it is then measured where it is named, only."""

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
        feedback = Feedback.infer(events.frame)
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
