"""The fitted model: every part that serving needs, how they score together, and how they are kept on disk."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.adaptation.drift import Drift
from recllm.adaptation.own import OwnStep
from recllm.adaptation.support import Base, through_adapters
from recllm.artifact.rows import Rows
from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, ratings_of
from recllm.data.interactions import Interactions
from recllm.encoders.history import HistoryEncoder, ItemEncoder, encode_users
from recllm.encoders.lora import UserLora
from recllm.encoders.remembered import Remembered
from recllm.encoders.served import served_vectors
from recllm.encoders.threads import threads_for
from recllm.errors import DataError
from recllm.model.config import RecommenderConfig
from recllm.model.contents import Contents
from recllm.model.texts import ItemTexts
from recllm.ranking.head import RankingHead
from recllm.ranking.rules import tie_order
from recllm.retrieval.profiles import SMALLEST_SPREAD, Profile
from recllm.retrieval.scoring import Channels
from recllm.retrieval.space import Space

Profiles = list[Profile]
"""What each channel in use says, in the order of `Channels.names`."""

CELLS = 40_000_000
"""Scores (users × channels × items) held at once; larger requests are computed in batches of users."""

JUDGED = 10
"""Length of the lists by which a fit judges."""


@final
@dataclass(kw_only=True)
class Model(Contents):
    """What `fit` produces: its contents, and how they score together."""

    @classmethod
    def of(
        cls,
        config: RecommenderConfig,
        catalog: Catalog,
        feedback: Feedback,
        texts: ItemTexts,
        channels: Channels,
        encoder: HistoryEncoder,
        items: ItemEncoder,
        head: RankingHead,
    ) -> "Model":
        """Put together from its parts; the only place that does."""
        return cls(
            catalog=catalog,
            feedback=feedback,
            text=texts.vectors if isinstance(texts.vectors, Rows) else Rows((texts.vectors,)),
            whitening=texts.whitening,
            encoder=encoder,
            items=items,
            channels=channels,
            head=head,
            retrieval=config.retrieval,
            text_adapter=texts.adapter,
            backbone=texts.backbone,
            prompt=texts.prompt,
            senses=texts.senses,
        )

    def __post_init__(self) -> None:
        # Once and for all: the mode of a module is shared, so nobody may change it while another thread is served.
        for part in (self.encoder, self.items, self.head):
            part.eval()
        vectors = served_vectors(self.items)
        # Nothing was learned of items: they are their texts, and held once.
        text = self.channels.text
        as_text = vectors is text or (vectors.shape == text.shape and torch.equal(vectors, text))
        self.space = self.channels.space if as_text else Space(vectors)
        self._serve()

    def _serve(self) -> None:
        self.served = self.head if self.drift is None else self.drift.applied(self.head)
        self._of_strangers: tuple[Channels, RankingHead, float, float] | None = None

    def take(self, own: OwnStep, start: RankingHead, alone: RankingHead | None = None) -> None:
        """Rank by a shop prior and what the shop has added to it, from now on; where a model is made.

        Args:
            own: The step from the prior.
            start: The head that the prior makes.
            alone: One that was fitted to this shop only; it has the share that `own` says.
        """
        linear = [start.weights.weight.detach().double().numpy(), start.weights.bias.detach().double().numpy()]
        self.own = replace(own, start=np.column_stack(linear), hidden=start.config.hidden)
        self.head = own.applied(start) if alone is None else own.mixed(start, alone)
        self.head.requires_grad_(False).eval()
        self._serve()

    @property
    def prior_head(self) -> RankingHead:
        """The ranking head as the shop prior makes it, for `adapters.export(folder, since="prior")`.

        Raises:
            DataError: The ranking head was fitted without a prior.
        """
        if self.own is None or self.own.start is None:
            raise DataError("the ranking head was fitted without a shop prior, so there is none to go back to.")
        return self.own.prior_of(self.head)

    @property
    def vectors(self) -> Float[Tensor, "items width"]:
        """Item vectors."""
        return self.space.vectors

    @property
    def base(self) -> Base:
        """What users' adapters are adapters of."""
        return Base(self.encoder, self.space, self.channels, self.served)

    def adapt(self, histories: Histories, steps: int | None = None) -> dict[str, Tensor]:
        """Each user's adapter from their events; empty without adaptation in the model."""
        if self.learner is None:
            return {}
        with torch.no_grad():
            return self.learner.adapt(self.base, histories, steps)

    def user_vectors(self, histories: Histories, lora: UserLora) -> Float[Tensor, "users width"]:
        """User vectors, through each user's adapter."""
        with torch.no_grad():
            if self.remembered is None:
                return encode_users(self.encoder, histories, self.vectors, lora)
            return self.remembered.read(histories, lora, partial(encode_users, self.encoder, vectors=self.vectors))

    def make_ready(self, progress: Callable[[str, float, float], Any] | None) -> None:
        """Make now what the first question would wait for, telling (stage, done, total)."""
        tell = partial(progress or (lambda *_: None), "index items")
        for space in (self.space, self.channels.space):
            space.make_ready(tell)

    def remembering(self) -> "Model":
        """The same model, which reads a history once; for who is asked again and again."""
        other = copy(self)
        other.remembered = Remembered(self.encoder.config.max_events)
        return other

    def channel_scores(
        self, histories: Histories, lora: UserLora | None, asked_at: np.ndarray | None = None
    ) -> Float[Tensor, "users channels items"]:
        """Standardised scores of every channel over the whole catalog; see `Channels.scores`."""
        users = self.user_vectors(histories, lora or self.adapt(histories, steps=0))
        return self.channels.scores(histories, users, self.space, asked_at)

    def profiles(self, histories: Histories, lora: UserLora | None, asked_at: np.ndarray | None = None) -> Profiles:
        """What each channel says of users, from which it brings its best items and scores any others."""
        users = self.user_vectors(histories, lora or self.adapt(histories, steps=0))
        return self.channels.profiles(histories, users, self.space, asked_at)

    def rank(
        self,
        histories: Histories,
        channel_scores: Float[Tensor, "users channels width"],
        lora: UserLora | None = None,
        rows: Int[Tensor, "users width"] | None = None,
    ) -> Float[Tensor, "users width"]:
        """The head's scores, through each user's adapter or else the meta-learned start.

        Args:
            histories: What is known of the users.
            channel_scores: Standardised ones, of the same items.
            lora: The users' adapters.
            rows: Each user's items; None: the whole catalog.
        """
        scores, strangers = self._weighed(histories, channel_scores, lora), np.flatnonzero(histories.lengths == 0)
        if len(strangers):
            nobody = torch.from_numpy(strangers)
            ids = [histories.user_ids[row] for row in strangers]
            found = self.channels.for_newcomers(ids, None if rows is None else rows[nobody])
            if found is not None:
                mean, spread = self._strangers()
                scores[nobody] = mean + found * spread
        return scores

    def _strangers(self) -> tuple[float, float]:
        """Mean and spread over the catalog of the head's scores of who has no events: the scale of their own order."""
        known = self._of_strangers
        if known is None or known[0] is not self.channels or known[1] is not self.served:
            nobody = Histories.empty(1)
            scores = self._weighed(nobody, self.channel_scores(nobody, None), None)
            spread = float(scores.std(correction=0))
            known = self.channels, self.served, float(scores.mean()), spread if spread > SMALLEST_SPREAD else 1.0
            self._of_strangers = known
        return known[2:]

    def average(self, histories: Histories, lora: UserLora | None = None) -> Float[Tensor, "users"]:
        """The head's scores of an item of which every channel says what it says of the average one."""
        nothing = torch.zeros(len(histories), len(self.channels.names), 1)
        scores = self._weighed(histories, nothing, lora)[:, 0]
        nobody = torch.from_numpy(histories.lengths == 0)
        if self.channels.newcomers is not None and bool(nobody.any()):
            scores[nobody] = self._strangers()[0]
        return scores

    def _weighed(
        self, histories: Histories, channel_scores: Float[Tensor, "users channels width"], lora: UserLora | None
    ) -> Float[Tensor, "users width"]:
        lora = lora or self.adapt(histories, steps=0)
        known = torch.from_numpy(histories.lengths.astype(np.float32))
        with torch.no_grad():
            served = self.served(channel_scores, known)
            return through_adapters(served, channel_scores, lora, torch.arange(len(known)), known)

    def scores_as_fitted(
        self, channel_scores: Float[Tensor, "users channels items"], known: Float[Tensor, "users"]
    ) -> Float[Tensor, "users items"]:
        """The head's scores from the meta-learned start, without what the shop's adapter adds."""
        start = self.adapt(Histories.empty(len(known)), steps=0)
        with torch.no_grad():
            fitted = self.head(channel_scores, known)
            return through_adapters(fitted, channel_scores, start, torch.arange(len(known)), known)

    def scores(self, histories: Histories, lora: UserLora | None) -> Float[Tensor, "users items"]:
        """From histories to the head's scores over the whole catalog."""
        return self.rank(histories, self.channel_scores(histories, lora), lora)

    def scores_of(
        self, histories: Histories, lora: UserLora | None, rows: Int[Tensor, "users width"]
    ) -> Float[Tensor, "users width"]:
        """As `scores`, of each user's own items."""
        channels = self.channels.scores_of(self.profiles(histories, lora), rows)
        return self.rank(histories, channels, lora, rows)

    def best_scores(
        self, histories: Histories, lora: UserLora | None = None, asked_at: np.ndarray | None = None
    ) -> Float[Tensor, "users items"]:
        """As `scores` of what lists are made from, −inf for all else and for what a user has."""
        profiles, size = self.profiles(histories, lora, asked_at), self.retrieval.per_channel + JUDGED
        return self.channels.best_scores(
            profiles, histories, size, lambda channels, rows: self.rank(histories, channels, lora, rows)
        )

    @cached_property
    def ties(self) -> np.ndarray:
        """Each item's place among equal scores, int64 [items]."""
        return tie_order(self.catalog.item_ids)

    @cached_property
    def attributes(self) -> Attributes:
        """Values of the catalog's columns."""
        return Attributes(self.catalog)

    def threads_for(self, users: int) -> AbstractContextManager[None]:
        """Where so many users are scored; see `recllm.encoders.threads`."""
        return threads_for(users * len(self.channels.names) * len(self.catalog))

    @property
    def batch_users(self) -> int:
        """Users that fit in one batch of `channel_scores`."""
        return self.users_of(len(self.catalog))

    @property
    def listed_users(self) -> int:
        """Users whose lists are made at once: of all items a channel's score is held, or a few bits."""
        return int(np.clip(CELLS // max(len(self.catalog), 1), 1, 256))

    def users_of(self, width: int) -> int:
        """Users that fit in one batch of scores of so many items each."""
        return int(np.clip(CELLS // (max(width, 1) * len(self.channels.names)), 1, 256))

    def on_scale(self, events: Interactions) -> Interactions:
        """The same events, whose ratings are on the scale of those that were learned from.

        Raises:
            DataError: They are on another one.
        """
        if self.ratings is not None:
            self.ratings.check(ratings_of(events))
        return events

    def with_channels(self, channels: Channels) -> "Model":
        """The same model about other counts; what was looked up in it stays, for nothing of that depends on them."""
        other = copy(self)
        other.channels = channels
        return other

    def with_drift(self, drift: Drift) -> "Model":
        """The same model with another state of the shop's adapter."""
        other = copy(self)
        other.drift = drift
        other._serve()
        return other
