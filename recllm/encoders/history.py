"""Events to a user vector: the first blocks of the pretrained transformer, reading item vectors instead of words."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recllm.config import Count, NotNegative, Within, checked
from recllm.data.histories import Histories
from recllm.encoders.backbone import Backbone
from recllm.encoders.blocks import adapted_layers, pretrained_blocks
from recllm.encoders.lora import UserLora, bringing, make_ready
from recllm.encoders.newest import is_known, newest_means
from recllm.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
@dataclass(frozen=True)
@checked
class HistoryEncoderConfig:
    """The transformer over a user's events.

    Attributes:
        depth: Blocks taken from the backbone; the dial for quality against time.
        max_events: Newest events read; older ones are left out.
        blocks: `pretrained` takes the backbone's weights and trains LoRA on them; `full` trains them all; `scratch`
            is a small transformer of width `width` without pretraining, for comparison, and for backbones whose blocks
            cannot read histories.
        width: Width of `scratch` blocks; pretrained ones have the backbone's.
        lora_rank: Rank of the LoRA shared by all users.
        lora_alpha: Its scale is lora_alpha / lora_rank.
        dropout: On item vectors and inside the blocks while training.
        event_dropout: Share of events that are blank while training, drawn per window between none and twice as many: a
            history that is read from a part of it is not learned by heart.
        delta_bound: Longest id-delta, in units of an item vector's length; 0 leaves items to their text alone.
        delta_dropout: Share of items whose delta is hidden in a training step, so that text alone works for new items.
    """

    depth: Count = 1
    max_events: Count = 32
    blocks: Literal["pretrained", "full", "scratch"] = "pretrained"
    width: Annotated[int, Within("[8, ∞)")] = 128
    lora_rank: Count = 16
    lora_alpha: Count = 32
    dropout: Annotated[float, Within("[0, 1)")] = 0.1
    event_dropout: Annotated[float, Within("[0, 0.5]")] = 0.2
    delta_bound: NotNegative = 0.25
    delta_dropout: Annotated[float, Within("[0, 1)")] = 0.2


@final
@dataclass(frozen=True)
class EventBatch:
    """Padded histories, oldest event first; T is the longest in the batch.

    Attributes:
        item_rows: [users, T]; padding is 0 and masked.
        tokens: Feedback tokens [users, T].
        blocks: 1, 2, … per user: events with one timestamp share a number [users, T]; 0 is the start token's.
        real: False on padding [users, T].
    """

    item_rows: Int[Tensor, "users time"]
    tokens: Int[Tensor, "users time"]
    blocks: Int[Tensor, "users time"]
    real: Bool[Tensor, "users time"]

    @classmethod
    def collate(cls, histories: Histories, max_events: int) -> "EventBatch":
        """Pad the newest `max_events` of each history."""
        histories = histories.last(max_events)
        users, owner, column = len(histories), histories.user_rows, histories.positions
        time = max(int(histories.lengths.max(initial=0)), 1)
        padded = np.zeros((3, users, time), dtype=np.int64)
        real = np.zeros((users, time), dtype=bool)
        padded[0, owner, column] = histories.item_rows
        padded[1, owner, column] = histories.tokens
        padded[2, owner, column] = histories.blocks + 1
        real[owner, column] = True
        rows, tokens, blocks = torch.from_numpy(padded)
        return cls(rows, tokens, blocks, torch.from_numpy(real))

    def to(self, device: torch.device) -> "EventBatch":
        """The same there."""
        return EventBatch(*(part.to(device) for part in (self.item_rows, self.tokens, self.blocks, self.real)))


@final
class ItemEncoder(nn.Module):
    """Item vectors `v_i = W e_i + delta_i`: whitened text, projected, plus a bounded correction learned per item.

    A frozen content vector with a small trainable delta keeps new items alive (Let It Go, arXiv 2507.19473). Items
    without training events keep a delta of exactly zero.

    Args:
        text: Whitened text, and beside it what else items have vectors of.
        warm: Which items have training events.
        width: Of an item vector.
        bound: Length of a delta at most.
        beside: How many columns of `text` are of something else.
        learns: Whether deltas will be learned; else they are one 0, which takes no memory.
    """

    text: Tensor
    warm: Tensor

    def __init__(
        self,
        text: Float[Tensor, "items text_dim"],
        warm: Bool[Tensor, "items"],
        width: int,
        bound: float,
        beside: int = 0,
        *,
        learns: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("warm", warm, persistent=False)
        self.project = nn.Linear(text.shape[1], width, bias=False)
        with torch.no_grad():
            _start(self.project.weight[:, : text.shape[1] - beside])
            if beside:
                _start(self.project.weight[:, text.shape[1] - beside :])
        self.bound, self.learns = bound, learns
        shape = (text.shape[0], width)
        deltas = torch.zeros(shape) if learns else torch.zeros(1, 1).expand(shape)
        self.delta = nn.Parameter(deltas, requires_grad=bound > 0 and learns)

    def forward(
        self, rows: Int[Tensor, "rows"] | None = None, hidden_delta: Bool[Tensor, "items"] | None = None
    ) -> Float[Tensor, "rows width"]:
        """Vectors of these items, or of all.

        Args:
            rows: Item rows; None for the whole catalog.
            hidden_delta: Items to be read from their text alone in this pass.
        """
        vectors = self.project(self.text if rows is None else self.text[rows])
        return vectors if self.bound == 0 else vectors + self.shift(rows, hidden_delta)

    def shift(self, rows: Int[Tensor, "rows"] | None, hidden_delta: Bool[Tensor, "items"] | None = None) -> Tensor:
        """What deltas add to the vectors of these items, or of all."""
        own = self.delta if rows is None else self.delta[rows]
        # The floor keeps the gradient of a zero delta finite.
        length = own.square().sum(dim=1, keepdim=True).add(1e-12).sqrt()
        keep = self.warm if hidden_delta is None else self.warm & ~hidden_delta
        kept = keep if rows is None else keep[rows]
        return own * (self.bound / length).clamp(max=1.0) * kept.unsqueeze(1)


def _start(weight: Float[Tensor, "width columns"]) -> None:
    """In place: as it is where the columns are as many as the width, else turned without stretching."""
    if weight.shape[0] == weight.shape[1]:
        weight.copy_(torch.eye(weight.shape[0]))
    else:
        weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape)))


@final
class HistoryEncoder(nn.Module):
    """Causal transformer over `[start, event, event, …]`; its state after an event is the user's vector then.

    Attention is causal between timestamps and free within one: events with the same timestamp share a position and
    see each other, so the order inside a basket, which the data does not know, cannot matter.
    """

    def __init__(self, blocks: "PreTrainedModel", n_tokens: int, config: HistoryEncoderConfig) -> None:
        super().__init__()
        width = int(blocks.config.hidden_size)
        self.config = config
        self.blocks = blocks
        self.width = width
        self.start = nn.Parameter(torch.randn(width) / width**0.5)
        self.feedback = nn.Embedding(n_tokens, width)
        nn.init.zeros_(self.feedback.weight)
        self.readout = nn.Linear(width, width)
        nn.init.eye_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(config.dropout)
        make_ready(self.last_block_inputs())

    @classmethod
    def build(cls, backbone: Backbone, n_tokens: int, config: HistoryEncoderConfig) -> "HistoryEncoder":
        """The encoder at its starting point: the backbone's blocks, or fresh ones for `blocks="scratch"`.

        Where the backbone's blocks cannot read histories, they are fresh ones, too, and the encoder's own settings say
        so.
        """
        blocks = None if config.blocks == "scratch" else pretrained_blocks(backbone, config.depth)
        if blocks is None:
            config = replace(config, blocks="scratch")
            blocks = scratch_blocks(config)
        return cls(blocks, n_tokens, config)

    def forward(
        self, batch: EventBatch, items: Float[Tensor, "items width"], lora: UserLora | None = None
    ) -> Float[Tensor, "users time_and_start width"]:
        """User vectors: index t holds what is known after the first t events (0 = nothing yet).

        The events of a block speak with one voice, their mean: none of them is the last one.

        Args:
            batch: The events.
            items: Item vectors.
            lora: Matrices of each user's own for `last_block_inputs`; those of other layers are passed over.
        """
        return self.readout(block_mean(self.read(batch, items, lora), batch)) * self.log_scale.exp()

    def read(
        self, batch: EventBatch, items: Float[Tensor, "items width"], lora: UserLora | None = None
    ) -> Float[Tensor, "users T width"]:
        """Hidden states of the last block, before the readout."""
        embedded, positions = self._embedded(batch, items)
        with bringing(lora):
            states: Tensor = self.blocks(
                inputs_embeds=embedded, attention_mask=attention_mask(batch), position_ids=positions
            ).last_hidden_state
        return states

    def newest(
        self, batch: EventBatch, items: Float[Tensor, "items width"], lora: UserLora | None = None
    ) -> Float[Tensor, "users width"]:
        """Users' vectors after the last event, as `forward` gives them; what only earlier ones need is left out."""
        length = batch.real.sum(dim=1)
        if self.training or not is_known(self.blocks):
            found: Tensor = self(batch, items, lora)[torch.arange(len(length), device=length.device), length]
            return found
        embedded, positions = self._embedded(batch, items)
        # Blocks ascend, so a history's newest moment is its end; of nobody's it is the start token.
        newest = (batch.blocks == batch.blocks.amax(dim=1, keepdim=True)) & batch.real
        counts, mask = newest.sum(dim=1).clamp(min=1), partial(attention_mask, batch)
        with bringing(lora):
            means = newest_means(self.blocks, embedded, positions, mask, length, counts)
        return self.readout(means) * self.log_scale.exp()

    def _embedded(
        self, batch: EventBatch, items: Float[Tensor, "items width"]
    ) -> tuple[Float[Tensor, "users T width"], Int[Tensor, "users T"]]:
        """The start token and the events, and their positions."""
        events = self._blanked(self.dropout(items[batch.item_rows])) + self.feedback(batch.tokens)
        start = self.start.expand(len(events), 1, -1)
        positions = nn.functional.pad(batch.blocks, (1, 0)).clamp(max=self._last_position())
        return torch.cat([start, events], dim=1), positions

    def _blanked(self, events: Float[Tensor, "users T width"]) -> Float[Tensor, "users T width"]:
        if not self.training or self.config.event_dropout == 0:
            return events
        share = 2 * self.config.event_dropout * torch.rand(len(events), 1, 1, device=events.device)
        return events * (torch.rand(*events.shape[:2], 1, device=events.device) >= share)

    def _last_position(self) -> int:
        return int(self.blocks.config.max_position_embeddings) - 1

    def last_block_inputs(self) -> dict[str, nn.Linear]:
        """The query and value projections of the last block: where a user's own LoRA sits."""
        found = adapted_layers(self.blocks)
        if not found:
            kind = type(self.blocks).__name__
            raise ConfigError(f"no query and value projections found in {kind}; use a BERT- or Llama-type backbone.")
        return found


def attention_mask(batch: EventBatch) -> Float[Tensor, "users 1 T T"]:
    """Additive mask: 0 where the row may look at the column, else the lowest float; the start token sees itself."""
    blocks = nn.functional.pad(batch.blocks, (1, 0))
    real = nn.functional.pad(batch.real, (1, 0), value=True)
    visible = (blocks.unsqueeze(1) <= blocks.unsqueeze(2)) & real.unsqueeze(1)
    # Padding rows look at the start token only; their output is never read.
    return (
        torch.zeros(visible.shape, device=visible.device)
        .masked_fill(~visible, torch.finfo(torch.float32).min)
        .unsqueeze(1)
    )


def block_mean(states: Float[Tensor, "users T width"], batch: EventBatch) -> Float[Tensor, "users T width"]:
    """Each state replaced by the mean over the events of its block."""
    blocks = nn.functional.pad(batch.blocks, (1, 0))
    real = nn.functional.pad(batch.real, (1, 0), value=True)
    together = ((blocks.unsqueeze(1) == blocks.unsqueeze(2)) & real.unsqueeze(1)).to(states.dtype)
    return torch.bmm(together / together.sum(dim=2, keepdim=True).clamp(min=1), states)


def encode_users(
    encoder: HistoryEncoder,
    histories: Histories,
    vectors: Float[Tensor, "items width"],
    lora: UserLora | None = None,
) -> Float[Tensor, "users width"]:
    """Each user's vector after the newest events, through their own adapter where there is one; where `vectors` are."""
    batch = EventBatch.collate(histories, encoder.config.max_events).to(vectors.device)
    return encoder.newest(batch, vectors, lora)


def scratch_blocks(config: HistoryEncoderConfig) -> "PreTrainedModel":
    """A small BERT-type transformer with random weights, of `config.depth` blocks and width `config.width`."""
    from transformers import BertConfig, BertModel

    from recllm.encoders.backbone import without_unused_parts

    shape = BertConfig(
        vocab_size=1,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=max(config.width // 32, 1),
        intermediate_size=4 * config.width,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=512,
    )
    return without_unused_parts(BertModel(shape, add_pooling_layer=False))
