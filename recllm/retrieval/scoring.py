"""All channels of a catalog together: what each says of every item to every user, on one scale."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.counts import Counts
from recllm.counts.trend import MOST_EVENTS, Popularity, Trend, last_seen
from recllm.data.histories import Histories
from recllm.errors import ArtifactError
from recllm.retrieval.candidates import Candidates, union
from recllm.retrieval.channel import Channel, Lesson, PopularTables, Visits
from recllm.retrieval.channels import CHANNELS
from recllm.retrieval.channels.profile import SameProfile
from recllm.retrieval.config import RetrievalConfig
from recllm.retrieval.newcomers import order_of
from recllm.retrieval.people import People
from recllm.retrieval.profiles import Profile, Shared, all_standardised, standardised
from recllm.retrieval.saved import HALF_LIFE, LIKED_EVENTS, NEWCOMERS, checked_settings, of_today
from recllm.retrieval.space import Space

Ranker = Callable[[Tensor, Tensor | None], Tensor]
"""From the channels' scores [users, channels, width] of items, and their rows or None for all, to scores of them."""


@final
@dataclass(frozen=True)
class Channels:
    """What is remembered of the training users, and what the channels make of it.

    Attributes:
        text: Whitened unit text vectors, float32 [items, dim].
        popularity: What is popular, and was.
        fitted: The channels in use, in the order that the head reads them in.
        settings: What was chosen for them, by name; empty in a model that cannot be counted anew.
        newcomers: What orders the items for users of whom nothing is known, float32 [items]; None where the head,
            which weighs what is popular and what is so now, does that better.
        senses: Whitened vectors of what else items have vectors of, float32 [items, width]; None: of nothing.
        people: Users' profiles.
    """

    text: Tensor
    popularity: Popularity
    fitted: tuple[Channel, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    newcomers: np.ndarray | None = None
    senses: Tensor = None  # type: ignore[assignment]
    people: People = field(default_factory=People.nobody)

    def __post_init__(self) -> None:
        if self.senses is None:
            object.__setattr__(self, "senses", torch.zeros(len(self.text), 0))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the channels in use, in the order of `scores`."""
        return tuple(channel.name for channel in self.fitted)

    def __getitem__(self, name: str) -> Channel:
        return self.fitted[self.names.index(name)]

    @property
    def trend(self) -> Trend:
        """Popularity over time."""
        return self.popularity.trend

    @cached_property
    def popular_tables(self) -> PopularTables:
        """What many users' channels share."""
        return PopularTables(self.popularity)

    @cached_property
    def space(self) -> Space:
        """The space of item texts."""
        return Space(self.text)

    @cached_property
    def sense_space(self) -> Space:
        """The space of other vectors."""
        return Space(self.senses)

    def scores(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray | None = None,
    ) -> Float[Tensor, "users channels items"]:
        """Each channel's scores over the whole catalog, brought to mean 0 and spread 1 per user.

        A channel that knows nothing of a user scores 0 everywhere: without events only popularity, trend and recent
        speak.

        Args:
            histories: What is known of the users.
            users: Their vectors.
            items: Item vectors.
            asked_at: When each user asks, unix seconds [users]; None: now, which is when the training log ends or, if
                that is later, when they were last seen.
        """
        profiles = self.profiles(histories, users, items, asked_at)
        return all_standardised(profiles)

    def scores_of(
        self, profiles: Sequence[Profile], rows: Int[Tensor, "users width"] | None
    ) -> Float[Tensor, "users channels width"]:
        """As `scores`, of each user's own items; None: of all."""
        return all_standardised(profiles, rows)

    def retrieve(
        self, profiles: Sequence[Profile], histories: Histories, eligible: Bool[Tensor, "users items"], size: int
    ) -> Bool[Tensor, "users items"]:
        """The candidates: the best eligible `size` items of each channel, and of the order that newcomers get.

        Args:
            profiles: What the channels say of these users.
            histories: What is known of them.
            eligible: What may be listed.
            size: Items that each channel brings.
        """
        chosen = union(profiles, eligible, size)
        strangers = np.flatnonzero(histories.lengths == 0)
        if self.newcomers is not None and len(strangers):
            ids = [histories.user_ids[row] for row in strangers]
            own = Shared(self.likely(self.newcomers, ids), torch.arange(len(ids)))
            rows = torch.from_numpy(strangers)
            chosen[rows] |= union([own], eligible[rows], size)
        return chosen

    def best_scores(
        self, profiles: Sequence[Profile], histories: Histories, size: int, rank: Ranker
    ) -> Float[Tensor, "users items"]:
        """Scores of what the channels bring of what users have not, −inf elsewhere: what a list is made from.

        Args:
            profiles: What the channels say of these users.
            histories: What is known of them, and all they have.
            size: Items that each channel brings.
            rank: From the channels' scores of candidates, and their rows, to theirs.
        """
        eligible = torch.ones(len(histories), len(self.text), dtype=torch.bool)
        eligible[torch.from_numpy(histories.user_rows), torch.from_numpy(histories.item_rows)] = False
        found = Candidates.of(self.retrieve(profiles, histories, eligible, size))
        scores = rank(self.scores_of(profiles, found.columns), found.columns)
        return found.written_out(scores, len(self.text))

    def scores_at(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray,
        columns: Int[Tensor, "columns"],
        own: Int[Tensor, "users"],
    ) -> Float[Tensor, "users channels columns_and_own"]:
        """As `scores`, of each user's own item, which comes first, and of a few items."""
        profiles = self.profiles(histories, users, items, asked_at)
        return torch.stack([profile.standardised_at(columns, own) for profile in profiles], dim=1)

    def profiles(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray | None = None,
    ) -> list[Profile]:
        """What each channel in use says, in the order of `names`; for the arguments see `scores`."""
        now = self.now(histories) if asked_at is None else asked_at.astype(np.float64)
        spaces = (items, self.space, self.sense_space)
        moments, people = (now, last_seen(histories, now)), self.people.matrix(histories.user_ids)
        visits = Visits(histories, users, *spaces, self.popular_tables, *moments, people)
        return [channel.profile(visits) for channel in self.fitted]

    def now(self, histories: Histories) -> np.ndarray:
        """float64 [users]: the end of the training log or, if that is later, when a user was last seen."""
        return self.popularity.now(histories)

    def for_newcomers(
        self, user_ids: Sequence[str], rows: Int[Tensor, "users width"] | None = None
    ) -> Float[Tensor, "users width"] | None:
        """Scores of all items, or of these, for users of whom no event is known; None where the head knows better.

        They have mean 0 and spread 1 over the catalog; what place and spread the head's have is for who knows it. What
        people with their profile took is added to the order, in which it is as likely as it is said to be.
        """
        if self.newcomers is None:
            return None
        counts = standardised(self.likely(self.newcomers, user_ids))
        return counts if rows is None else counts.gather(1, rows)

    def likely(self, counts: Float[np.ndarray, "items"], user_ids: Sequence[str]) -> Float[Tensor, "users items"]:
        """How likely items are for users of whom no event is known: counts of all, and what their profiles add."""
        likely = np.tile(np.log1p(counts).astype(np.float32), (len(user_ids), 1))
        if SameProfile.name in self.names:
            channel = self[SameProfile.name]
            assert isinstance(channel, SameProfile)
            likely = likely + channel.of(self.people.matrix(user_ids))
        return torch.from_numpy(likely)

    def extended(self, text: Tensor, senses: Tensor | None = None) -> "Channels":
        """The same over a catalog that has grown to the items of `text` and `senses`; new items have no past."""
        fresh = len(text) - len(self.text)
        return replace(
            self,
            text=text,
            senses=torch.zeros(len(text), 0) if senses is None else senses,
            popularity=self.popularity.extended(len(text)),
            fitted=tuple(channel.extended(text) for channel in self.fitted),
            newcomers=None if self.newcomers is None else np.pad(self.newcomers, (0, fresh)),
        )

    def moved(self, before: Histories, after: Histories, people: People | None = None) -> "Channels":
        """The same where events or profiles have come, changed or gone; what is counted without profiles is `renewed`.

        Args:
            before: The users as they were counted.
            after: The same users as they are now.
            people: The profiles of now, where they are others.
        """
        now = self.people if people is None else people
        known = ((before, self.people), (after, now))
        return self.changed(people=now, fitted=tuple(channel.moved(*known) for channel in self.fitted))

    def renewed(self, counts: Counts, config: RetrievalConfig, *, weights: bool = True) -> "Channels":
        """The same channels, with the settings that were chosen, about other counts; a model without settings as it is.

        Item weights are computed where they are first asked for.

        Args:
            counts: Over the same catalog.
            config: What is not chosen but given.
            weights: Whether weights between items are fitted anew, too; else only popularity is.
        """
        if not self.settings:
            return self
        events = counts.items.clock.liked.sum()
        # The share of a longer log in which there are as many events as at the fit.
        share = float(self.settings[HALF_LIFE]) * min(self.settings.get(LIKED_EVENTS, events) / max(events, 1), 1.0)
        lesson = Lesson.again(counts, self.text, config, self.settings, self.senses)
        name = self.settings.get(NEWCOMERS)
        return self.changed(
            popularity=Popularity.of(counts.items, share),
            fitted=tuple(_renewed(one, lesson) for one in self.fitted) if weights else self.fitted,
            newcomers=self.newcomers if name is None else order_of(name, counts.items),
        )

    def changed(self, **parts: Any) -> "Channels":
        """The same items with something else of them; what was looked up in their vectors stays."""
        other = replace(self, **parts)
        vars(other).update({name: vars(self)[name] for name in ("space", "sense_space") if name in vars(self)})
        return other

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name; the names of the channels, settings and text vectors are kept elsewhere."""
        newcomers = {} if self.newcomers is None else {"newcomers": self.newcomers}
        parts = {f"{one.name}.{name}": part for one in self.fitted for name, part in one.tensors().items()}
        return {**newcomers, **self.popularity.tensors(), **parts}

    @classmethod
    def from_tensors(
        cls,
        saved: Mapping[str, np.ndarray],
        text: Tensor,
        names: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        senses: Tensor | None = None,
        people: People | None = None,
    ) -> "Channels":
        """The inverse of `tensors`.

        Args:
            saved: The arrays.
            text: The text vectors.
            names: Of the channels; None: those of version 0.1.0 for which there are arrays.
            settings: What was chosen for them.
            senses: The other vectors.
            people: Users' profiles.

        Raises:
            ArtifactError: A channel is unknown here, or an array is missing, too much, of another shape or out of
                range.
        """
        if names is None:
            saved, names = of_today(saved)
        arrays, (items, dim) = SavedArrays("what the channels remember", saved), text.shape
        unknown = [name for name in names if name not in CHANNELS]
        if unknown or len(set(names)) < len(names):
            raise ArtifactError(
                f"it has the channel {unknown[0]!r}, which is not registered here; import the module that registers it"
                if unknown
                else "it has the same channel twice"
            )
        channels = cls(
            settings={} if settings is None else checked_settings(settings),
            text=text,
            senses=torch.zeros(items, 0) if senses is None else senses,
            people=People.nobody() if people is None else people,
            popularity=Popularity.from_tensors(arrays, items),
            fitted=tuple(CHANNELS[name].from_tensors(arrays.under(name), items, dim) for name in names),
            newcomers=arrays.floats("newcomers", items, least=0, most=MOST_EVENTS) if "newcomers" in arrays else None,
        )
        arrays.all_taken()
        return channels


def _renewed(channel: Channel, lesson: Lesson) -> Channel:
    return (lesson.fitted(type(channel)) or channel) if channel.counted else channel
