"""The ranking head: a small network over the channels' scores that learns whom to believe, and when."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recllm.config import Count, NotNegative, Positive, Within, checked
from recllm.encoders.stopping import Best, Weights

UNITS = 16
"""Hidden units whose values for all items are held at once."""

PATIENCE = 5
"""Epochs without improvement after which a head is fitted."""


@final
@dataclass(frozen=True)
@checked
class RankingConfig:
    """The head and how it is fitted.

    Attributes:
        hidden: Width of its hidden layer.
        folds: Heads that are averaged, each fitted without one part of the reserved users, who say when it is good.
        listed: Items each list is fitted on: the targets and a sample of the others.
        rounds: Windows drawn from each reserved user, at least.
        tasks: Windows wanted in all: where the reserved users are few, each gives more.
        epochs: Passes over them at most.
        learning_rate: Of AdamW.
        weight_decay: Pulls the head towards a plain sum of the channels.
        masked_items: Share of items that, while fitting, look like new ones (no co-occurrence, popularity or delta), so
            that the head does not bury new items.
        reserved: Share of training users kept from every other part, for the head.
    """

    hidden: Count = 80
    folds: Count = 5
    listed: Count = 200
    rounds: Count = 6
    tasks: Annotated[int, Within("[0, ∞)")] = 1500
    epochs: Count = 20
    learning_rate: Positive = 4e-3
    weight_decay: NotNegative = 0.01
    masked_items: Annotated[float, Within("[0, 1)")] = 0.15
    reserved: Annotated[float, Within("(0, 0.5)")] = 0.1


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
        self.config, self.channels = config, channels
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
        user, channels = history_features(known), scores.shape[1]
        users = len(scores)
        summed = torch.bmm(self.weights(user).unsqueeze(1), scores).squeeze(1)
        offsets = (user @ self.hidden.weight[:, channels:].T + self.hidden.bias).unsqueeze(2)
        inward = self.hidden.weight[:, :channels].expand(users, -1, -1)
        outward = self.output.weight.expand(users, 1, -1)
        # Products over whole users' scores, where they lie: einsum would copy them for every few units.
        for units in (slice(first, first + UNITS) for first in range(0, len(self.hidden.weight), UNITS)):
            hidden = torch.baddbmm(offsets[:, units], inward[:, units], scores).relu()
            summed = summed + torch.bmm(outward[:, :, units], hidden).squeeze(1)
        return summed


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
        rows: The items, catalog rows [tasks, listed].
        users: Whose task it is [tasks]; tasks of one user are held out together.
    """

    scores: Float[Tensor, "tasks channels listed"]
    known: Float[Tensor, "tasks"]
    target: Float[Tensor, "tasks listed"]
    rest: Float[Tensor, "tasks"]
    rows: Int[Tensor, "tasks listed"]
    users: Int[Tensor, "tasks"]

    def __len__(self) -> int:
        return len(self.known)

    @classmethod
    def listing(
        cls,
        scores: Float[Tensor, "tasks channels items"],
        known: Float[Tensor, "tasks"],
        eligible: Bool[Tensor, "tasks items"],
        target: Float[Tensor, "tasks items"],
        users: Int[Tensor, "tasks"],
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
        return cls(part, known, chosen, others / sampled.clamp(min=1), rows, users)

    @classmethod
    def concatenate(cls, parts: "list[RankingTasks]") -> "RankingTasks":
        """The tasks of all parts; as many items have to be listed in each."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def of(self, tasks: Int[Tensor, "chosen"]) -> "RankingTasks":
        """Some of the tasks."""
        return RankingTasks(*(getattr(self, name)[tasks] for name in self.__dataclass_fields__))

    @property
    def raised(self) -> Float[Tensor, "tasks listed"]:
        """What is added to a list's scores: the sampled others stand for all others, a seen item for nothing."""
        others = torch.where(self.target > 0, 0.0, self.rest.log().unsqueeze(1))
        return others.masked_fill(self.scores[:, 0].isnan(), torch.finfo(torch.float32).min)

    def losses(self, scores: Float[Tensor, "tasks listed"]) -> Float[Tensor, "tasks"]:
        """Listwise cross-entropy of these scores of the listed items."""
        return -(self.target * (scores + self.raised).log_softmax(dim=1)).sum(dim=1)

    def folds(self, parts: int, seed: int) -> "list[tuple[Tensor, Tensor]]":
        """(train, held out) tasks for each of up to `parts` disjoint groups of users."""
        owners = self.users.unique()
        order = owners[torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))]
        groups = order.tensor_split(min(parts, len(owners))) if parts > 1 else [order[: max(len(order) // 10, 1)]]
        held = [torch.isin(self.users, group) for group in groups]
        return [(torch.nonzero(~mask).ravel(), torch.nonzero(mask).ravel()) for mask in held]


def fit_head(
    head: RankingHead,
    tasks: RankingTasks,
    seed: int,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Fit several small heads by listwise cross-entropy and put their average into `head`.

    One head follows the luck of its start and of the users that decide when it is good (by 3 % at 5 events known, on
    MovieLens); the mean of networks is a network again, whose hidden layer is those of all side by side.

    Args:
        head: Fitted in place.
        tasks: To learn from.
        seed: Of folds and starts.
        seconds: Time at most, the same for each of the heads; one that has none stays a plain sum.
        clock: Counts them.

    Returns:
        The loss on held-out users, mean over the folds.
    """
    config, begin = head.config, clock()
    folds = tasks.folds(min(config.folds, config.hidden), seed)

    def is_over(number: int) -> Callable[[], bool]:
        return lambda: seconds is not None and clock() - begin >= seconds * (number + 1) / len(folds)

    members = [
        _fit_member(
            replace(config, hidden=len(units)), head.channels, tasks, fold, seed + number, is_over=is_over(number)
        )
        for number, (fold, units) in enumerate(
            zip(folds, torch.arange(config.hidden).tensor_split(len(folds)), strict=True)
        )
    ]
    states = [member.state_dict() for member, _ in members]
    with torch.no_grad():
        head.weights.weight.copy_(torch.stack([state["weights.weight"] for state in states]).mean(dim=0))
        head.weights.bias.copy_(torch.stack([state["weights.bias"] for state in states]).mean(dim=0))
        head.hidden.weight.copy_(torch.cat([state["hidden.weight"] for state in states]))
        head.hidden.bias.copy_(torch.cat([state["hidden.bias"] for state in states]))
        head.output.weight.copy_(torch.cat([state["output.weight"] for state in states], dim=1) / len(states))
    return float(np.mean([loss for _, loss in members]))


def _fit_member(
    config: RankingConfig,
    channels: int,
    tasks: RankingTasks,
    fold: tuple[Tensor, Tensor],
    seed: int,
    batch: int = 64,
    *,
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[RankingHead, float]:
    """One head, at the epoch that was best for the users held out, and its loss on them."""
    train, check = (tasks.of(rows if len(rows) else fold[1]) for rows in fold)
    torch.manual_seed(seed)
    head = RankingHead(channels, config)
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def loss_of(part: RankingTasks) -> Tensor:
        return part.losses(head(part.scores.nan_to_num(0.0), part.known)).mean()

    weights = Weights(dict(head.named_parameters()))
    best = Best(weights.copy(), patience=PATIENCE)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(train)).split(batch):
            if is_over():
                break
            optimiser.zero_grad()
            loss_of(train.of(rows)).backward()
            optimiser.step()
        with torch.no_grad():
            best.offer(-float(loss_of(check)), weights.copy)
        if best.stale or is_over():
            break
    weights.restore(best.state)
    return head, -best.value
