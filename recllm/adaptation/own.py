"""What a shop adds to its prior: a step of its own, and a head that knows this shop only.

The step moves the head's linear weights, as the shop's adapter in time does; as a LoRA it has as many ranks as that
layer has inputs, so nothing is lost. It is pulled back to the prior, and beside it stands a head that was fitted to the
shop's users alone, in the share that they have among all who say something: the prior says as much as `PULL` users.
"""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from recllm.adaptation.proximal import PLACES, HeadLoss, nearest_best
from recllm.artifact.arrays import SavedArrays
from recllm.errors import ArtifactError
from recllm.ranking.head import RankingHead
from recllm.ranking.objective import RankingTasks

PULL = 30.0
"""Moving by d costs PULL / 2 · |d|², in units of the loss of one user's tasks: as much as 30 users say."""

REACH = 5.0
"""Longest step."""

SURE = 1.96
"""Standard errors either way in which the truth lies 19 times of 20."""

MOST_TASKS = 3_000
"""More of them say nothing new about so few numbers."""


@final
@dataclass(frozen=True, eq=False)
class OwnStep:
    """What a shop adds to its prior.

    Attributes:
        added: float64 [channels, 3]: to the weights of the two features of a user, and to the bias.
        tasks: Learned from.
        users: Whose they were.
        gain: What it adds to the prior's NDCG@10 for users whom it was not learned from, as a share; None: not known.
        error: Its standard error.
        alone: Share of the ranking that is a head fitted to this shop alone, beside the prior with its step.
        start: The linear weights of the prior's head, float64 [channels, 3].
        hidden: Width of the prior's hidden layer; 0: that of the head.
    """

    added: np.ndarray
    tasks: int = 0
    users: int = 0
    gain: float | None = None
    error: float | None = None
    alone: float = 0.0
    start: np.ndarray | None = None
    hidden: int = 0

    @classmethod
    def none(cls, channels: int) -> "OwnStep":
        """The prior alone."""
        return cls(np.zeros((channels, PLACES)))

    @classmethod
    def learn(cls, prior: RankingHead, tasks: RankingTasks, pull: float = PULL) -> "OwnStep":
        """The step after which the shop's tasks are answered best, without going far.

        Args:
            prior: The head that the prior makes.
            tasks: Of users whom the channels have not counted.
            pull: See `PULL`.
        """
        channels = prior.channels
        if len(tasks) > MOST_TASKS:
            chosen = torch.randperm(len(tasks), generator=torch.Generator().manual_seed(0))[:MOST_TASKS]
            tasks = tasks.of(chosen.sort().values)
        loss = HeadLoss(prior, tasks)
        if not len(loss):
            return cls.none(channels)
        users = len(loss.tasks.users.unique())
        # Tasks of one user say much the same: all of them count as one.
        firmness = pull * max(len(loss) / users, 1.0) * torch.eye(channels * PLACES).double()
        point = nearest_best(loss, torch.zeros(channels * PLACES).double(), firmness, REACH)
        return cls(point[:-1].reshape(channels, PLACES).numpy(), len(loss), users)

    def __str__(self) -> str:
        if not self.users:
            return "the shop prior alone"
        said = f"the shop prior and a step of length {self.size:.2f} of the shop's own, from {self.users:,} users"
        if self.alone:
            said = f"{said}, and for {self.alone:.0%} a head that knows this shop only"
        if self.gain is None or self.error is None:
            return said
        low, high = self.gain - SURE * self.error, self.gain + SURE * self.error
        worth = f"{self.gain:+.1%} [{low:+.1%}, {high:+.1%}]"
        return f"{said}; worth {worth} over the prior alone, for users it was not learned from"

    @property
    def size(self) -> float:
        """Length of the step."""
        return float(np.linalg.norm(self.added))

    def beside(self) -> "OwnStep":
        """The same with a head beside it that was fitted to its users alone."""
        return replace(self, alone=self.users / (self.users + PULL))

    def mixed(self, prior: RankingHead, alone: RankingHead) -> RankingHead:
        """The prior with the step, and the other head in its share."""
        return RankingHead.mixed(self.applied(prior), alone, self.alone)

    def applied(self, prior: RankingHead) -> RankingHead:
        """Another head, with what is added."""
        return prior.moved(self.added[:, :-1], self.added[:, -1])

    def prior_of(self, head: RankingHead) -> RankingHead:
        """The prior's head, from the one that was made of it: its hidden units are the first, in their share."""
        assert self.start is not None, "what was taken has a start"
        width = self.hidden or head.config.hidden
        prior = RankingHead(head.channels, replace(head.config, hidden=width))
        made = {name: part.clone() for name, part in head.state_dict().items()}
        made["weights.weight"], made["weights.bias"] = _float(self.start[:, :-1]), _float(self.start[:, -1])
        made["hidden.weight"], made["hidden.bias"] = made["hidden.weight"][:width], made["hidden.bias"][:width]
        made["output.weight"] = made["output.weight"][:, :width] / (1 - self.alone)
        prior.load_state_dict(made)
        return prior.requires_grad_(False)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        worth = [np.nan if value is None else value for value in (self.gain, self.error)]
        known = np.array([self.tasks, self.users, self.hidden], dtype=np.int64)
        saved = {"added": self.added, "learned_from": known, "alone": np.array(self.alone)}
        if not np.isnan(worth).any():
            saved["worth"] = np.array(worth)
        return saved if self.start is None else saved | {"start": self.start}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, channels: int, width: int) -> "OwnStep":
        """The inverse of `tensors`, for a head of so many channels and hidden units.

        Raises:
            ArtifactError: An array is missing, too much, of another shape or out of range.
        """
        added = saved.floats("added", channels, PLACES, dtype=np.float64)
        tasks, users, hidden = saved.integers("learned_from", 3, least=0, below=1 << 31).tolist()
        gain = error = None
        if "worth" in saved:
            gain, error = saved.floats("worth", 2, dtype=np.float64).tolist()
        alone = saved.number("alone", 0.0, 1 - 1e-6)
        start = saved.floats("start", channels, PLACES, dtype=np.float64) if "start" in saved else None
        saved.all_taken()
        if hidden > width:
            raise ArtifactError(f"the shop prior's head has {hidden} hidden units, and the whole ranking head {width}")
        return cls(added, tasks, users, gain, error, alone, start, hidden)


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
