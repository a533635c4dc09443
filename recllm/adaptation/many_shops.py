"""Meta-training the shop prior: one network for the users of many shops, none of whom their channels have counted.

A task is a user of a shop: what is known of them, and what they like next. All tasks of all shops are answered by heads
that one `ShopPrior` makes from the shops' statistics, and it is moved to where that is done best.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.adaptation.prior import FARTHEST, PLACES, ShopPrior
from recllm.adaptation.statistics import STATISTICS
from recllm.config import Count, NotNegative, Positive, Within, checked
from recllm.ranking.head import history_features
from recllm.ranking.objective import RankingTasks

LEAST_SPREAD = 0.05
"""Of a statistic that is much the same in all training shops."""

START = 0.3
"""Of the linear weights: a plain sum of the channels."""


@final
@dataclass(frozen=True)
@checked
class PriorConfig:
    """How a shop prior is trained.

    Attributes:
        members: Priors that are averaged into one: one alone follows the luck of its start where a shop is unlike those
            that it has seen.
        directions: Of each, in which shops differ.
        hidden: Of each, width of the heads' hidden layer.
        steps: Gradient steps of each.
        batch_tasks: Tasks per step.
        tasks_per_shop: At most.
        learning_rate: At its peak; it rises over the first part of the steps and falls to nothing.
        weight_decay: On everything.
        hidden_statistics: Share of a shop's statistics that a task does not see.
        noise: Added to those that it sees, in spreads.
    """

    members: Count = 4
    directions: Count = 3
    hidden: Count = 16
    steps: Count = 1000
    batch_tasks: Count = 256
    tasks_per_shop: Count = 600
    learning_rate: Positive = 1e-2
    weight_decay: NotNegative = 0.01
    hidden_statistics: Annotated[float, Within("[0, 1)")] = 0.3
    noise: NotNegative = 0.3


@final
@dataclass(frozen=True, eq=False)
class TrainingShop:
    """A shop to learn from.

    Attributes:
        catalog: Whose part it is; shops of catalogs that gave many count less.
        channels: In the order of the tasks' scores.
        statistics: float32 [statistics].
        tasks: Of users whom the channels have not counted.
    """

    catalog: str
    channels: tuple[str, ...]
    statistics: Float[np.ndarray, "statistics"]
    tasks: RankingTasks


def train_prior(
    shops: Sequence[TrainingShop],
    channels: Sequence[str],
    config: PriorConfig | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> ShopPrior:
    """A prior that has seen these shops.

    Args:
        shops: At least one, each with tasks.
        channels: That it shall know; a channel that a shop does not have says nothing there.
        config: How.
        seed: Of all that is drawn.
        progress: Called with (steps done, steps).
    """
    config = config or PriorConfig()
    pool = _Pool(shops, channels, config.tasks_per_shop, np.random.default_rng(seed))
    done = 0

    def advanced() -> None:
        nonlocal done
        done += 1
        progress(done, config.members * config.steps)

    return averaged([_member(pool, channels, config, seed + number, advanced) for number in range(config.members)])


def _member(
    pool: "_Pool", channels: Sequence[str], config: PriorConfig, seed: int, advanced: Callable[[], None]
) -> ShopPrior:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = _Network(pool.statistics, len(channels), config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.15
    )
    for _ in range(config.steps):
        rows = torch.from_numpy(rng.integers(len(pool), size=config.batch_tasks))
        away = network.away(pool.statistics[pool.shop[rows]])
        # Few catalogs are told apart by any one statistic: none of them is to be relied on.
        away = away * (torch.rand(away.shape) >= config.hidden_statistics) + config.noise * torch.randn(away.shape)
        scores = network(away, pool.scores[rows].float(), pool.known[rows])
        optimiser.zero_grad()
        (pool.weight[rows] * pool.losses(rows, scores)).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
        advanced()
    return network.prior(channels)


def averaged(members: Sequence[ShopPrior]) -> ShopPrior:
    """One prior whose heads score as the mean of the members' heads; its hidden layer is those of all side by side."""
    count = len(members)

    def mean(name: str) -> np.ndarray:
        return np.asarray(sum(getattr(member, name) for member in members) / count, dtype=np.float32)

    def stacked(name: str, share: float = 1.0) -> np.ndarray:
        return np.concatenate([getattr(member, name) * np.float32(share) for member in members])

    def apart(name: str, share: float = 1.0) -> np.ndarray:
        """What a member's directions move is its own hidden units."""
        blocks = [torch.from_numpy(getattr(member, name) * np.float32(share)) for member in members]
        return torch.block_diag(*blocks).numpy()

    return ShopPrior(
        channels=members[0].channels,
        mean=members[0].mean,
        spread=members[0].spread,
        down=stacked("down"),
        down_bias=stacked("down_bias"),
        weights=mean("weights"),
        weights_by=stacked("weights_by", 1 / count),
        hidden=stacked("hidden"),
        hidden_bias=stacked("hidden_bias"),
        hidden_by=apart("hidden_by"),
        output=stacked("output", 1 / count),
        output_by=apart("output_by", 1 / count),
    )


class _Pool:
    """The tasks of all shops side by side."""

    def __init__(
        self, shops: Sequence[TrainingShop], channels: Sequence[str], per_shop: int, rng: np.random.Generator
    ) -> None:
        parts = [
            shop.tasks.of(torch.from_numpy(np.sort(rng.permutation(len(shop.tasks))[:per_shop]))) for shop in shops
        ]
        tasks, listed = sum(map(len, parts)), max(part.scores.shape[2] for part in parts)
        self.statistics = torch.from_numpy(np.stack([shop.statistics for shop in shops]))
        # In halves of floats: scores are of spread 1, and there are a hundred million of them.
        self.scores = torch.zeros(tasks, len(channels), listed, dtype=torch.float16)
        self.target = torch.zeros(tasks, listed)
        self.log_counts = torch.full((tasks, listed), torch.finfo(torch.float32).min)
        self.known, self.shop = torch.cat([part.known for part in parts]), torch.zeros(tasks, dtype=torch.long)
        first = 0
        for number, (shop, part) in enumerate(zip(shops, parts, strict=True)):
            rows, here = slice(first, first + len(part)), part.scores.shape[2]
            for place, name in enumerate(channels):
                if name in shop.channels:
                    found = part.scores[:, shop.channels.index(name)].nan_to_num(0.0)
                    self.scores[rows, place, :here] = found.half()
            self.target[rows, :here], self.log_counts[rows, :here] = part.target, part.log_counts
            self.shop[rows] = number
            first += len(part)
        counted = Counter(shop.catalog for shop in shops)
        weight = torch.tensor(
            [1 / math.sqrt(counted[shop.catalog]) / len(part) for shop, part in zip(shops, parts, strict=True)]
        )
        self.weight = (weight / weight[self.shop].mean())[self.shop]

    def __len__(self) -> int:
        return len(self.known)

    def losses(self, rows: Tensor, scores: Tensor) -> Tensor:
        """Listwise cross-entropy, as `RankingTasks.losses`."""
        return -(self.target[rows] * (scores + self.log_counts[rows]).log_softmax(dim=1)).sum(dim=1)


class _Network(nn.Module):
    """The arrays of a `ShopPrior`, while they move."""

    mean: Tensor
    spread: Tensor

    def __init__(self, statistics: Float[Tensor, "shops statistics"], channels: int, config: PriorConfig) -> None:
        super().__init__()
        directions, hidden = config.directions, config.hidden
        self.channels = channels
        self.register_buffer("mean", statistics.mean(dim=0))
        self.register_buffer("spread", statistics.std(dim=0, correction=0).clamp(min=LEAST_SPREAD))
        self.down = nn.Linear(len(STATISTICS), directions)
        start = torch.zeros(channels, PLACES)
        start[:, -1] = START
        self.weights = nn.Parameter(start)
        self.weights_by = nn.Parameter(torch.zeros(directions, channels, PLACES))
        self.hidden = nn.Parameter(START * torch.randn(hidden, channels + PLACES - 1))
        self.hidden_bias = nn.Parameter(START * torch.randn(hidden))
        self.hidden_by = nn.Parameter(torch.zeros(directions, hidden))
        self.output = nn.Parameter(torch.zeros(hidden))
        self.output_by = nn.Parameter(torch.zeros(directions, hidden))

    def away(self, statistics: Float[Tensor, "tasks statistics"]) -> Float[Tensor, "tasks statistics"]:
        """How far shops are from the mean of the training shops, in their spreads."""
        return ((statistics - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)

    def forward(
        self,
        away: Float[Tensor, "tasks statistics"],
        scores: Float[Tensor, "tasks channels listed"],
        known: Float[Tensor, "tasks"],
    ) -> Float[Tensor, "tasks listed"]:
        """Each task answered by the head of its shop, whose statistics are so many spreads away from the mean."""
        where = torch.tanh(self.down(away))
        user = history_features(known)
        about = torch.cat([user, torch.ones(len(user), 1)], dim=1)
        linear = self.weights + torch.einsum("td,dcf->tcf", where, self.weights_by)
        summed = torch.bmm(torch.einsum("tcf,tf->tc", linear, about).unsqueeze(1), scores).squeeze(1)
        offsets = user @ self.hidden[:, self.channels :].T + self.hidden_bias + where @ self.hidden_by
        inward = self.hidden[:, : self.channels].expand(len(scores), -1, -1)
        units = torch.baddbmm(offsets.unsqueeze(2), inward, scores).relu()
        outward = (self.output + where @ self.output_by).unsqueeze(1)
        return summed + torch.bmm(outward, units).squeeze(1)

    def prior(self, channels: Sequence[str]) -> ShopPrior:
        """What was learned."""
        arrays = {name: part.detach().numpy().copy() for name, part in self.state_dict().items()}
        down, down_bias = arrays.pop("down.weight"), arrays.pop("down.bias")
        return ShopPrior(channels=tuple(channels), down=down, down_bias=down_bias, **arrays)
