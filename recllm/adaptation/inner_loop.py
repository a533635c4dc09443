"""The inner loop: a few gradient steps on one user's own events, for a whole batch of users at once, as a function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.adaptation.lora import applied, for_each_user
from recllm.data.histories import Histories
from recllm.encoders.history import EventBatch, HistoryEncoder


@final
@dataclass(frozen=True)
class Support:
    """A batch of users' known events and what each of them says.

    Attributes:
        batch: The padded events.
        signals: +1 liked, 0 neutral or padding, −1 disliked [users, T].
        known_before: Events with an earlier timestamp, an index into the encoder's states [users, T].
    """

    batch: EventBatch
    signals: Float[Tensor, "users T"]
    known_before: Int[Tensor, "users T"]

    @classmethod
    def collate(cls, histories: Histories, max_events: int) -> "Support":
        """Pad the newest `max_events` of each history."""
        histories = histories.last(max_events)
        batch = EventBatch.collate(histories, max_events)
        signals = torch.zeros(batch.real.shape)
        signals[batch.real] = torch.from_numpy(histories.signals.astype(np.float32))
        earlier = (batch.blocks.unsqueeze(1) < batch.blocks.unsqueeze(2)) & batch.real.unsqueeze(1)
        return cls(batch, signals, earlier.sum(dim=2))


def support_loss(
    encoder: HistoryEncoder,
    lora: Mapping[str, Tensor],
    support: Support,
    vectors: Float[Tensor, "items width"],
    contrast: Int[Tensor, "contrast"],
) -> Float[Tensor, "users"]:
    """How badly each user's own events are predicted, each from the ones with an earlier timestamp.

    A liked item should win against the contrast items (cross-entropy); a disliked one should lose against the average
    of them. Users without a liked or disliked event have loss 0, and so keep the start.
    """
    with applied(encoder.last_block_inputs(), lora):
        states = encoder(support.batch, vectors)
    users = torch.arange(len(states)).unsqueeze(1)
    states = states[users, support.known_before]
    own = (states * vectors[support.batch.item_rows]).sum(dim=2)
    others = states @ vectors[contrast].T
    # The own item is not a rival of itself, should it be in the contrast set.
    itself = support.batch.item_rows.unsqueeze(2) == contrast
    others = others.masked_fill(itself, torch.finfo(others.dtype).min)
    normaliser = others.logsumexp(dim=2)
    liked = torch.nn.functional.softplus(normaliser - own)
    disliked = torch.nn.functional.softplus(own - normaliser + float(np.log(len(contrast))))
    loss = torch.where(support.signals > 0, liked, disliked) * support.signals.abs()
    return loss.sum(dim=1) / support.signals.abs().sum(dim=1).clamp(min=1)


def adapt(
    encoder: HistoryEncoder,
    start: Mapping[str, Tensor],
    step_sizes: Mapping[str, Float[Tensor, "steps"]],
    support: Support,
    vectors: Float[Tensor, "items width"],
    contrast: Int[Tensor, "contrast"],
    *,
    steps: int,
    second_order: bool = False,
) -> dict[str, Tensor]:
    """Each user's adapter after `steps` gradient steps from the shared start (MAML, arXiv 1703.03400).

    Nothing passed in is changed. Users do not influence each other: the loss is a sum over users, so the gradient of a
    user's matrices is that of their own loss. Step sizes are learned per matrix and step (Meta-SGD, MAML++); beyond the
    learned ones the last is repeated.

    Args:
        encoder: The base; its weights are constants here.
        start: The meta-learned adapter, without a user axis.
        step_sizes: Positive step size of each matrix at each step.
        support: The users' known events.
        vectors: Item vectors.
        contrast: Item rows a liked item must win against.
        steps: Gradient steps; 0 returns the start.
        second_order: Differentiate through the gradient steps as well.

    Returns:
        Matrices with a leading user axis. They depend on `start` and `step_sizes` for autograd.
    """
    lora = for_each_user(start, len(support.signals))
    for step in range(steps):
        with torch.enable_grad():
            leaves = {
                n: t if second_order and t.requires_grad else t.detach().requires_grad_() for n, t in lora.items()
            }
            loss = support_loss(encoder, leaves, support, vectors, contrast).sum()
            gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=second_order)
        lora = {
            name: lora[name] - step_sizes[name][min(step, len(step_sizes[name]) - 1)] * gradient
            for name, gradient in zip(leaves, gradients, strict=True)
        }
    return lora
