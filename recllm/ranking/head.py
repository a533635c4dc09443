"""The ranking head: a small network over the channels' scores that learns whom to believe, and when."""

import copy
from dataclasses import dataclass, replace
from typing import Annotated, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.config import Count, NotNegative, Positive, Within, checked

HELD = 1_000_000
"""Hidden values of a few users held at once while serving: 4 MB, written again and again, which stay in a cache."""

SIDE_BY_SIDE = 4
"""Users at a time at least: threads that have one each need not share out a product too small for that."""

UNITS = 16
"""Hidden units whose values for all items are held at once."""


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
        if not torch.is_grad_enabled():
            return self._corrected(summed, scores, user)
        offsets = (user @ self.hidden.weight[:, channels:].T + self.hidden.bias).unsqueeze(2)
        inward = self.hidden.weight[:, :channels].expand(users, -1, -1)
        outward = self.output.weight.expand(users, 1, -1)
        # Products over whole users' scores, where they lie: einsum would copy them for every few units.
        for units in (slice(first, first + UNITS) for first in range(0, len(self.hidden.weight), UNITS)):
            hidden = torch.baddbmm(offsets[:, units], inward[:, units], scores).relu()
            summed = summed + torch.bmm(outward[:, :, units], hidden).squeeze(1)
        return summed

    def _corrected(
        self, summed: Float[Tensor, "users items"], scores: Float[Tensor, "users channels items"], user: Tensor
    ) -> Float[Tensor, "users items"]:
        """In place: `summed` with the correction, a few users at a time, so that hidden values stay in the cache."""
        channels, width = scores.shape[1], len(self.hidden.weight)
        offsets = (user @ self.hidden.weight[:, channels:].T + self.hidden.bias).unsqueeze(2)
        inward, outward = self.hidden.weight[:, :channels], self.output.weight
        items = min(max(scores.shape[2], 1), max(HELD // width, 1))
        users = max(HELD // (width * items), SIDE_BY_SIDE)
        held = scores.new_empty(min(users, len(scores)), width, items)
        for some in (slice(start, start + users) for start in range(0, len(scores), users)):
            for few in (slice(start, start + items) for start in range(0, scores.shape[2], items)):
                part = scores[some, :, few]
                hidden = held[: len(part), :, : part.shape[2]]
                torch.baddbmm(offsets[some], inward.expand(len(part), -1, -1), part, out=hidden).relu_()
                summed[some, few] += torch.bmm(outward.expand(len(part), -1, -1), hidden).squeeze(1)
        return summed

    def moved(self, weight: Float[np.ndarray, "channels 2"], bias: Float[np.ndarray, "channels"]) -> "RankingHead":
        """Another head, with something added to the linear weights."""
        other = copy.deepcopy(self)
        with torch.no_grad():
            other.weights.weight.add_(torch.from_numpy(weight.astype(np.float32)))
            other.weights.bias.add_(torch.from_numpy(bias.astype(np.float32)))
        return other

    @classmethod
    def mixed(cls, first: "RankingHead", second: "RankingHead", share: float) -> "RankingHead":
        """A head that scores as `first` and, to a `share`, as `second`; as wide as both together."""
        config = replace(first.config, hidden=first.config.hidden + second.config.hidden)
        both = cls(first.channels, config)
        parts = [{name: part.detach() for name, part in head.state_dict().items()} for head in (first, second)]
        one, other = parts

        def mean(name: str) -> Tensor:
            return (1 - share) * one[name] + share * other[name]

        both.load_state_dict(
            {
                "weights.weight": mean("weights.weight"),
                "weights.bias": mean("weights.bias"),
                "hidden.weight": torch.cat([one["hidden.weight"], other["hidden.weight"]]),
                "hidden.bias": torch.cat([one["hidden.bias"], other["hidden.bias"]]),
                "output.weight": torch.cat([(1 - share) * one["output.weight"], share * other["output.weight"]], dim=1),
            }
        )
        return both


def history_features(known: Float[Tensor, "users"]) -> Float[Tensor, "users 2"]:
    """How much is known of a user: the length on a log scale, and whether it is nothing at all."""
    return torch.stack([torch.log1p(known) / 3, (known == 0).float()], dim=1)
