"""What a user's own events say of a model: each event is a question that the model was asked just before it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recllm.data.histories import Histories
from recllm.encoders.history import EventBatch, HistoryEncoder
from recllm.encoders.lora import low_rank
from recllm.ranking.head import RankingHead, history_features
from recllm.retrieval.profiles import InSpace
from recllm.retrieval.scoring import Channels
from recllm.retrieval.space import Space

HEAD = "head.weights"
"""Name of the ranking head's adapted layer; those of the history encoder have its own names."""


@final
@dataclass(frozen=True)
class Base:
    """The parts of a fitted model that users' adapters bend or read; all of them are constants here.

    Attributes:
        encoder: Reads histories.
        space: Item vectors.
        channels: What else scores items.
        head: Weighs the channels.
    """

    encoder: HistoryEncoder
    space: Space
    channels: Channels
    head: RankingHead

    def linears(self) -> dict[str, nn.Linear]:
        """Every layer that a user may have LoRA on: query and value of the last block, and the head's weights."""
        return {**self.encoder.last_block_inputs(), HEAD: self.head.weights}


@final
@dataclass(frozen=True)
class Contrast:
    """The items that a liked one must win against: the most popular, and a sample of the others that stands for all.

    Attributes:
        rows: Catalog rows [contrast].
        log_counts: Logarithm of how many items each stands for [contrast].
    """

    rows: Int[Tensor, "contrast"]
    log_counts: Float[Tensor, "contrast"]

    @classmethod
    def draw(cls, popularity: np.ndarray, warm: np.ndarray, size: int, rng: np.random.Generator) -> "Contrast":
        """Half of `size` by popularity [items], the rest by chance from the other `warm` rows."""
        order = warm[np.argsort(-popularity[warm], kind="stable")]
        first, others = order[: size // 2], order[size // 2 :]
        sample = rng.permutation(others)[: max(size - len(first), 0)]
        log_counts = np.zeros(len(first) + len(sample), dtype=np.float32)
        log_counts[len(first) :] = np.log(len(others) / max(len(sample), 1)) if len(sample) else 0.0
        return cls(torch.from_numpy(np.concatenate([first, sample])), torch.from_numpy(log_counts))


@final
@dataclass(frozen=True)
class Support:
    """A batch of users' known events as questions: which item came next, after the events before it?

    Events are asked in the order of their timestamps, ties by the hash that histories are sorted with; so the order of
    arrival does not matter.

    Attributes:
        batch: The padded events; every event has a place of its own.
        users: Whose event it is, a row of `batch` [events].
        time: Events before it, an index into the encoder's states [events].
        signals: +1 liked, 0 neutral, −1 disliked [events].
        own: Its item, a catalog row [events].
        scores: Standardised channel scores of its item, which comes first, and of the contrast items.
        served: What the base's head makes of them.
        rivals: Contrast items that the user does not have by then [events, contrast].
    """

    batch: EventBatch
    users: Int[Tensor, "events"]
    time: Int[Tensor, "events"]
    signals: Float[Tensor, "events"]
    own: Int[Tensor, "events"]
    scores: Float[Tensor, "events channels own_and_contrast"]
    served: Float[Tensor, "events own_and_contrast"]
    rivals: Bool[Tensor, "events contrast"]

    def __len__(self) -> int:
        """Users of the batch."""
        return len(self.batch.real)

    @classmethod
    def collate(cls, base: Base, histories: Histories, contrast: Contrast) -> "Support":
        """Ask the base about the newest events of each history that the encoder can read."""
        histories = histories.last(base.encoder.config.max_events)
        batch = one_at_a_time(EventBatch.collate(histories, base.encoder.config.max_events))
        users, time = torch.from_numpy(histories.user_rows), torch.from_numpy(histories.positions)
        own = torch.from_numpy(histories.item_rows)
        with torch.no_grad():
            states = base.encoder(batch, base.space.vectors)[users, time]
            asked_at = np.minimum(histories.timestamps, base.channels.trend.end)
            scores = base.channels.scores_at(histories.prefixes(), states, base.space, asked_at, contrast.rows, own)
            served = base.head(scores, time.float())
        signals = torch.from_numpy(histories.signals.astype(np.float32))
        rivals = _rivals(histories, contrast.rows, len(base.space.vectors))
        return cls(batch, users, time, signals, own, scores, served, rivals)

    def of(self, rows: Int[Tensor, "chosen"]) -> "Support":
        """Some of its users, in this order."""
        counts = torch.bincount(self.users, minlength=len(self))
        first = counts.cumsum(0) - counts  # events stand user by user
        length = counts[rows]
        owner = torch.repeat_interleave(torch.arange(len(rows)), length)
        events = torch.arange(len(owner)) - (length.cumsum(0) - length)[owner] + first[rows][owner]
        batch = EventBatch(*(getattr(self.batch, name)[rows] for name in ("item_rows", "tokens", "blocks", "real")))
        return Support(
            batch,
            owner,
            *(getattr(self, name)[events] for name in ("time", "signals", "own", "scores", "served", "rivals")),
        )

    @property
    def known(self) -> Float[Tensor, "events"]:
        """Events known when each question was asked."""
        return self.time.float()

    @property
    def counted(self) -> Float[Tensor, "users"]:
        """Liked and disliked events of each user."""
        return torch.zeros(len(self)).index_add(0, self.users, self.signals.abs())

    def mean(self, values: Float[Tensor, "events *more"]) -> Float[Tensor, "users *more"]:
        """Mean over each user's liked and disliked events; 0 for a user without."""
        shape = (-1,) + (1,) * (values.dim() - 1)
        sums = torch.zeros(len(self), *values.shape[1:]).index_add(
            0, self.users, values * self.signals.abs().view(shape)
        )
        result: Tensor = sums / self.counted.clamp(min=1).view(shape)
        return result

    def with_states(self, base: Base, contrast: Contrast, states: Float[Tensor, "users T width"]) -> "Support":
        """The same questions, with the history channel's scores as these states give them."""
        place = base.channels.names.index("history")
        users = states[self.users, self.time] * (self.time > 0).unsqueeze(1)
        fresh = InSpace(users, base.space).standardised_at(contrast.rows, self.own)
        scores = torch.cat([self.scores[:, :place], fresh.unsqueeze(1), self.scores[:, place + 1 :]], dim=1)
        return replace(self, scores=scores, served=base.head(scores, self.known))


def one_at_a_time(batch: EventBatch) -> EventBatch:
    """Every event after the one before it, also within a timestamp: else a basket could not ask for its own items."""
    count = torch.arange(1, batch.real.shape[1] + 1).expand_as(batch.blocks)
    return replace(batch, blocks=torch.where(batch.real, count, torch.zeros_like(count)))


def _rivals(histories: Histories, contrast: Tensor, items: int) -> Bool[Tensor, "events contrast"]:
    place = np.full(items, -1, dtype=np.int64)
    place[contrast.numpy()] = np.arange(len(contrast))
    taken_at = np.full((len(histories), len(contrast)), np.iinfo(np.int64).max)
    column = place[histories.item_rows]
    some = column >= 0
    np.minimum.at(taken_at, (histories.user_rows[some], column[some]), histories.positions[some])
    free = taken_at[histories.user_rows] > histories.positions[:, None]
    return torch.from_numpy(free)


def logits(
    base: Base, support: Support, contrast: Contrast, lora: Mapping[str, Tensor]
) -> Float[Tensor, "events own_and_contrast"]:
    """What each user's adapter makes of their questions; an item that is no rival gets the lowest number.

    Only the adapted parts are computed anew: the head's weights act on the channels' scores alone, so a change of them
    is added to what the base served.
    """
    if bends_encoder(lora):
        support = support.with_states(base, contrast, base.encoder(support.batch, base.space.vectors, lora))
    scores = through_adapters(support.served, support.scores, lora, support.users, support.known)
    counts = contrast.log_counts.masked_fill(~support.rivals, torch.finfo(torch.float32).min / 2)
    return torch.cat([scores[:, :1], scores[:, 1:] + counts], dim=1)


def bends_encoder(lora: Mapping[str, Tensor]) -> bool:
    """Whether adapters change how histories are read, and not the ranking head alone."""
    return any(not name.startswith(f"{HEAD}.") for name in lora)


def through_adapters(
    served: Float[Tensor, "rows items"],
    scores: Float[Tensor, "rows channels items"],
    lora: Mapping[str, Tensor],
    users: Int[Tensor, "rows"],
    known: Float[Tensor, "rows"],
) -> Float[Tensor, "rows items"]:
    """What users' adapters of the head make of its scores; training and serving know no other form.

    The weights that an adapter changes act on the channels' scores alone, so what they change is added to the head's
    output; the head itself stays as it is.

    Args:
        served: The head's own scores.
        scores: Channel scores that it read.
        lora: Matrices with a user axis.
        users: Whose row it is.
        known: Events known of them.
    """
    if f"{HEAD}.A" not in lora:
        return served
    a, b = (lora[f"{HEAD}.{side}"][users] for side in "AB")
    added = low_rank(history_features(known).unsqueeze(1), a, b)
    return served + torch.bmm(added, scores).squeeze(1)
