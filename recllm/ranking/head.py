"""The ranking head: a small network over the channels' scores that learns whom to believe, and when."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recllm.errors import ConfigError


@final
@dataclass(frozen=True)
class RankingConfig:
    """The head and how it is fitted.

    Attributes:
        hidden: Width of its hidden layer.
        listed: Items each list is fitted on: the targets and a sample of the others.
        rounds: Windows drawn from each reserved user.
        epochs: Passes over them at most.
        learning_rate: Of AdamW.
        weight_decay: Pulls the head towards a plain sum of the channels.
        masked_items: Share of items that, while fitting, look like new ones (no co-occurrence, popularity or delta), so
            that the head does not bury new items.
        reserved: Share of training users kept from every other part, for the head.
    """

    hidden: int = 16
    listed: int = 200
    rounds: int = 6
    epochs: int = 20
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    masked_items: float = 0.15
    reserved: float = 0.1

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.rounds < 1 or self.epochs < 1:
            raise ConfigError("ranking.hidden, rounds and epochs must be at least 1.")
        if not 0 < self.reserved < 0.5 or not 0 <= self.masked_items < 1:
            raise ConfigError("ranking.reserved lies in (0, 0.5) and ranking.masked_items in [0, 1).")


@final
class RankingHead(nn.Module):
    """Score of a candidate: a weighted sum of its channel scores plus a correction by a hidden layer.

    The weights and the correction depend on how much is known of the user, since co-occurrence says little after one
    event and much after twenty.

    Args:
        channels: Number of channels.
        config: Hyper-parameters.
    """

    def __init__(self, channels: int, config: RankingConfig) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.Linear(2, channels)
        self.hidden = nn.Linear(channels + 2, config.hidden)
        self.output = nn.Linear(config.hidden, 1, bias=False)
        nn.init.zeros_(self.weights.weight)
        nn.init.constant_(self.weights.bias, 0.5)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, scores: Float[Tensor, "users channels items"], known: Float[Tensor, "users"]
    ) -> Float[Tensor, "users items"]:
        """Scores of all items.

        Args:
            scores: Standardised channel scores.
            known: Events known of each user.
        """
        user = history_features(known)
        summed = torch.einsum("uci,uc->ui", scores, self.weights(user))
        # One product for all channels and items, without a copy of the scores per hidden unit's input.
        channels = scores.shape[1]
        hidden = torch.einsum("uci,hc->uhi", scores, self.hidden.weight[:, :channels])
        hidden = hidden + (user @ self.hidden.weight[:, channels:].T + self.hidden.bias).unsqueeze(2)
        corrected: Tensor = summed + torch.einsum("uhi,h->ui", torch.relu(hidden), self.output.weight[0])
        return corrected


def history_features(known: Float[Tensor, "users"]) -> Float[Tensor, "users 2"]:
    """How much is known of a user: the length on a log scale, and whether it is nothing at all."""
    return torch.stack([torch.log1p(known) / 3, (known == 0).float()], dim=1)


@final
@dataclass(frozen=True)
class RankingTasks:
    """What the head is fitted on.

    Attributes:
        scores: Standardised channel scores of some items of each task [tasks, channels, listed].
        known: Events known [tasks].
        target: Soft targets that sum to 1 [tasks, listed].
        rest: How many items each listed item that is no target stands for, 1 if all are listed [tasks].
    """

    scores: Float[Tensor, "tasks channels listed"]
    known: Float[Tensor, "tasks"]
    target: Float[Tensor, "tasks listed"]
    rest: Float[Tensor, "tasks"]

    @classmethod
    def listing(
        cls,
        scores: Float[Tensor, "tasks channels items"],
        known: Float[Tensor, "tasks"],
        eligible: Bool[Tensor, "tasks items"],
        target: Float[Tensor, "tasks items"],
        size: int,
        generator: torch.Generator,
    ) -> "RankingTasks":
        """The targets and a random sample of the other eligible items, `size` in all."""
        size = min(size, scores.shape[2])
        order = torch.rand(eligible.shape, generator=generator).masked_fill(~eligible, -1.0) + 2 * (target > 0)
        rows = order.topk(size, dim=1).indices
        listed = eligible.gather(1, rows)
        chosen = target.gather(1, rows)
        sampled = (listed & (chosen == 0)).sum(dim=1)
        others = (eligible & (target == 0)).sum(dim=1)
        part = scores.gather(2, rows.unsqueeze(1).expand(-1, scores.shape[1], -1))
        # A seen item that fills up a short list must not count.
        part = part.masked_fill(~listed.unsqueeze(1), float("nan"))
        return cls(part, known, chosen, others / sampled.clamp(min=1))

    @classmethod
    def concatenate(cls, parts: "list[RankingTasks]") -> "RankingTasks":
        """The tasks of all parts; as many items have to be listed in each."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def fit_head(head: RankingHead, tasks: list[RankingTasks], seed: int, batch: int = 64) -> float:
    """Listwise cross-entropy over the listed items; a tenth of the tasks decides which epoch is kept.

    Returns:
        The loss of the kept state on those held-out tasks.
    """
    config = head.config
    generator = torch.Generator().manual_seed(seed)
    whole = RankingTasks.concatenate(tasks)
    scores, known, target, rest = whole.scores, whole.known, whole.target, whole.rest
    absent = scores[:, 0].isnan()
    scores = scores.nan_to_num(0.0)
    # The sampled others stand for all others, so their share of the normaliser is raised accordingly.
    raised = torch.where(target > 0, 0.0, rest.log().unsqueeze(1)).masked_fill(absent, torch.finfo(torch.float32).min)
    order = torch.randperm(len(scores), generator=generator)
    held = max(len(order) // 10, 1)
    train, check = order[held:], order[:held]
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def loss_of(rows: Tensor) -> Tensor:
        logits = head(scores[rows], known[rows]) + raised[rows]
        return -(target[rows] * logits.log_softmax(dim=1)).sum(dim=1).mean()

    best, best_loss, since = {k: v.clone() for k, v in head.state_dict().items()}, float("inf"), 0
    for _ in range(config.epochs):
        for rows in train[torch.randperm(len(train), generator=generator)].split(batch):
            optimiser.zero_grad()
            loss_of(rows).backward()
            optimiser.step()
        with torch.no_grad():
            value = float(loss_of(check))
        since += 1
        if np.isfinite(value) and value < best_loss:
            best, best_loss, since = {k: v.clone() for k, v in head.state_dict().items()}, value, 0
        if since >= 5:
            break
    head.load_state_dict(best)
    return best_loss
