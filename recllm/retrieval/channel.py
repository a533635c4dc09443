"""What a channel is: it learns from the base users, says what it thinks of every item, grows, and is kept on disk.

A new channel is one class in `recllm/retrieval/channels/` and one line in its registry, or `register(MyChannel)` from
outside the package.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar, final

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.counts.matrices import liked_part, weighted_matrix
from recllm.counts.trend import Popularity
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks, make_tasks
from recllm.encoders.validation import SHOTS, DenseScores, mean_ndcg
from recllm.retrieval.config import RetrievalConfig
from recllm.retrieval.people import People
from recllm.retrieval.profiles import Profile
from recllm.retrieval.space import Space
from recllm.retrieval.table import Table

C = TypeVar("C", bound="Channel")

KEPT_NUMBERS = 2**26
"""Of what was popular at moments of the log, so many numbers are kept: 256 MB, for a million items 64 moments."""

EXACT = "items of EASE"
"""Name of the setting that says up to how many items EASE is solved for all."""


@final
@dataclass(frozen=True, eq=False)
class PopularTables:
    """Scores by popularity that nearly everybody shares, and what is looked up in them once.

    Attributes:
        popularity: Of the items.
    """

    popularity: Popularity

    @cached_property
    def always(self) -> Table:
        """The logarithm of how many users like an item."""
        return Table(torch.from_numpy(np.log1p(self.popularity.liked)).unsqueeze(0))

    def at(self, timestamps: np.ndarray) -> tuple[Table, Int[Tensor, "moments"]]:
        """The logarithm of what was popular at these moments, and which row of it is whose; see `Trend.at`.

        The moments of one bin of the log share a row, which is kept; after its end each has a row of its own.
        """
        ends = self.popularity.trend.ends
        bins = np.searchsorted(ends, timestamps, side="right").astype(np.float64)
        late = timestamps > ends[-1]
        bins[late] = len(ends) + timestamps[late] - ends[-1]
        _, first, row = np.unique(bins, return_index=True, return_inverse=True)
        moments = zip(timestamps[first].tolist(), late[first].tolist(), strict=True)
        parts = [self._of(moment, after) for moment, after in moments]
        if not parts:  # nobody asks
            return Table(torch.zeros(0, len(self.popularity.liked))), torch.from_numpy(row)
        return (parts[0] if len(parts) == 1 else Table.joined(parts)), torch.from_numpy(row)

    @cached_property
    def _bins(self) -> dict[int, Table]:
        return {}

    def _of(self, moment: float, late: bool) -> Table:
        trend = self.popularity.trend
        number = int(np.searchsorted(trend.ends, moment, side="right"))
        if not late and number in self._bins:
            return self._bins[number]
        table = Table(torch.from_numpy(np.log1p(trend.at(np.array([moment])))))
        if not late and (len(self._bins) + 1) * table.scores.numel() <= KEPT_NUMBERS:
            self._bins[number] = table
        return table


@final
@dataclass(frozen=True, eq=False)
class Visits:
    """A batch of users who ask for items, and what is known of them at that moment.

    Attributes:
        histories: Their events.
        users: Their vectors, of whom nothing is known 0, float32 [users, width].
        items: Item vectors.
        text: Whitened unit vectors of the items' texts.
        senses: Whitened vectors of what else items have vectors of; of width 0 without.
        tables: What is popular, and was.
        people: Values of their profiles, CSR [users, values]; of no values without profiles.
        now: When each user asks, unix seconds, float64 [users].
        last_seen: When each user was last there; of whom nothing is known, now.
    """

    histories: Histories
    users: Float[Tensor, "users width"]
    items: Space
    text: Space
    senses: Space
    tables: PopularTables
    now: np.ndarray
    last_seen: np.ndarray
    people: sparse.csr_array
    _matrices: dict[tuple[bool, float], sparse.csr_array] = field(default_factory=dict, repr=False)

    @property
    def popularity(self) -> Popularity:
        """Of the items, and how it changed."""
        return self.tables.popularity

    def matrix(self, *, liked_only: bool, decay: float = 1.0) -> sparse.csr_array:
        """float32 CSR [users, items]: what they have, or like; each event by `decay` less for every newer one."""
        liked_only = liked_only and self._liked is not self.histories
        if (liked_only, decay) not in self._matrices:
            histories = self._liked if liked_only else self.histories
            self._matrices[liked_only, decay] = weighted_matrix(histories, len(self.text.vectors), decay)
        return self._matrices[liked_only, decay]

    @cached_property
    def _liked(self) -> Histories:
        return liked_part(self.histories)


Known = tuple[Histories, People]
"""Users' events, and the profiles of users."""


class Channel(ABC):
    """One way to score every item for every user; what it says is brought to mean 0 and spread 1 per user.

    Subclasses are frozen values: what answers is never changed.
    """

    name: ClassVar[str]
    """In saved models, reports and evidence; letters and underscores."""
    words: ClassVar[str]
    """For people who read a reason: after "the ranking weighs"."""
    knows_new_items: ClassVar[bool] = False
    """Whether what it says of an item rests on its text, so that it knows items without events as well."""
    counted: ClassVar[bool] = False
    """Whether it is fitted to `Lesson.counts`, so that it is renewed when these move; others stay as they were."""

    @classmethod
    def fit(cls, lesson: "Lesson") -> Self | None:
        """Learn from the base users; None where there is nothing to say in this catalog. Here: nothing is learned."""
        return cls()

    @abstractmethod
    def profile(self, visits: Visits) -> Profile:
        """What it says of all items; `Shared(scores, torch.arange(users))` holds any scores [users, items]."""

    def extended(self, text: Float[Tensor, "items dim"]) -> Self:
        """The same over a catalog that has grown to the items of `text`; new ones have no events."""
        return self

    def moved(self, before: Known, after: Known) -> Self:
        """The same where events or profiles of users have come, changed or gone, where it counts them by profile."""
        return self

    def tensors(self) -> Mapping[str, np.ndarray]:
        """What has to be saved, by name."""
        return {}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`, for `items` items with text vectors of width `dim`; each array is checked.

        Raises:
            ArtifactError: Something is missing, of another shape or out of range.
        """
        return cls()


@final
@dataclass
class Lesson:
    """What channels learn from, and what comes of it.

    Attributes:
        base: Users to learn from.
        validation: Other users, on whom settings are chosen; the middle ones where there is nobody.
        text: Whitened unit text vectors, float32 [items, dim].
        senses: Whitened vectors of what else items have vectors of, float32 [items, width].
        people: Users' profiles, also of those who are not learned from.
        config: The settings to choose from.
        exact_items: Items up to which EASE is solved for all; None: as many as ever.
        progress: Called with (stage, done, total).
        chosen: The settings chosen so far, by name.
        figures: And their validation NDCG@10.
        tried: By name, what each setting was worth, and to how many tasks.
        renewing: Whether channels that were fitted are fitted to other counts, with the settings that were chosen;
            `base` and `validation` are empty then.
        counts: What is counted of the base users.
    """

    base: Histories
    validation: Tasks
    text: Tensor
    config: RetrievalConfig
    exact_items: int | None = None
    progress: Callable[[str, float, float], None] = lambda *_: None
    chosen: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    tried: dict[str, tuple[dict[Any, float], int]] = field(default_factory=dict)
    renewing: bool = False
    counts: Counts = None  # type: ignore[assignment]
    senses: Tensor = None  # type: ignore[assignment]
    people: People = field(default_factory=People.nobody)
    _fitted: dict[type["Channel"], "Channel | None"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.counts is None:
            self.counts = Counts.of(self.base, self.items, resolution_of(self.base.timestamps))
        if self.senses is None:
            self.senses = torch.zeros(self.items, 0)

    @classmethod
    def again(
        cls, counts: Counts, text: Tensor, config: RetrievalConfig, chosen: Mapping[str, Any], senses: Tensor
    ) -> "Lesson":
        """For channels that were fitted with these settings, about other counts."""
        nobody = make_tasks(Histories.empty(0))
        exact = chosen.get(EXACT)
        past: dict[str, Any] = {"chosen": dict(chosen), "renewing": True, "counts": counts}
        return cls(Histories.empty(0), nobody, text, config, exact, senses=senses, **past)

    @property
    def items(self) -> int:
        """Size of the catalog."""
        return len(self.text)

    def fitted(self, kind: type[C]) -> C | None:
        """A channel, fitted at the first call; one may rest on another."""
        if kind not in self._fitted:
            self._fitted[kind] = kind.fit(self)
        channel: C | None = self._fitted[kind]  # type: ignore[assignment]
        return channel

    def matrix(self, *, liked_only: bool) -> sparse.csr_array:
        """float32 CSR [users, items]: what the base users have, or like."""
        return weighted_matrix(liked_part(self.base) if liked_only else self.base, self.items)

    def best(
        self,
        figure: str,
        settings: Sequence[Any],
        tries: Iterable[tuple[Any, DenseScores]],
        tasks: Tasks | None = None,
        shots: Sequence[int] = SHOTS,
        *,
        noted: str | None = None,
    ) -> Any:
        """The setting whose scores rank best for the validation users; the middle one where nobody can be asked.

        Args:
            figure: Name of its validation figure.
            settings: To choose from.
            tries: Each with the scores that it gives.
            tasks: To be asked; None: all of validation.
            shots: How much is known of each.
            noted: Name under which it is chosen; None: that of the figure. What was chosen before stays.
        """
        name, tasks = figure if noted is None else noted, self.validation if tasks is None else tasks
        if name in self.chosen:
            return self.chosen[name]
        best = settings[len(settings) // 2]
        if len(tasks) and len(settings) > 1:
            values = {setting: mean_ndcg(score, tasks, shots) for setting, score in tries}
            best = max(values, key=values.__getitem__)
            self.figures[figure], self.tried[name] = values[best], (values, len(tasks))
        self.chosen[name] = best
        return best
