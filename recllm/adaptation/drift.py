"""The shop's own adapter: what is added to the ranking head's linear weights as time goes on.

Whom to believe changes with the season and with the channels themselves, whose counts grow. After each batch of new
events (a week, say), what the model had to predict of them before it learned them are the tasks, and the adapter moves
to where they are answered better: near its last state, held the more firmly the more earlier batches have said (their
curvature, fading), and never farther than `reach` from the fitted head. One adapter that moves, never a stack of them
(as in arXiv 2510.25093); sums of a few hundred numbers are all that is kept of anybody's events.

Whether it is used at all is decided by the batches as well: each is predicted before it is learned, with the adapter
and without, and unless it has gained, beyond chance, the head is as it was fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, final

import numpy as np
import torch
from torch import Tensor

from recllm.adaptation.evidence import Evidence, gains_of
from recllm.adaptation.proximal import PLACES, HeadLoss, Scorer, certainty, nearest_best
from recllm.artifact.arrays import SavedArrays
from recllm.config import Positive, Within, checked
from recllm.data.saved import LATEST
from recllm.errors import AdapterMismatch, ArtifactError, DataError
from recllm.ranking.head import RankingHead
from recllm.ranking.objective import RankingTasks

KEPT = 10
"""Earlier versions that can be gone back to."""

MOST = 1e12
"""No count and no sum is larger."""


@final
@dataclass(frozen=True)
@checked
class DriftConfig:
    """How far the adapter may move; chosen on earlier batches by `choose`.

    Attributes:
        pull: μ: moving by d costs μ/2 |d|², in units of tasks' losses: a batch of far fewer tasks hardly moves it.
        reach: ρ: the longest vector of numbers added to the fitted weights.
        memory: What earlier batches have said counts this share from one batch to the next.
    """

    pull: Positive = 100.0
    reach: Positive = 1.0
    memory: Annotated[float, Within("[0, 1)")] = 0.8


@final
@dataclass(frozen=True, eq=False)
class Drift:
    """The adapter as it is after a number of batches. Immutable: learning and going back give another one.

    Attributes:
        added: What was learned, float64 [channels, 3]: to the weights of the two features of a user, and to the bias.
        firmness: How firmly what earlier batches said holds it, float64 [channels * 3, channels * 3].
        config: How far it may move.
        evidence: What using it has gained.
        version: Batches learned.
        tasks: Learned from, in all.
        events: Liked events among what these asked for.
        newest: When the newest of them was, unix seconds; 0 where none was learned.
        earlier: The versions before, oldest first, without their own.
    """

    added: np.ndarray
    firmness: np.ndarray
    config: DriftConfig = field(default_factory=DriftConfig)
    evidence: Evidence = field(default_factory=Evidence)
    version: int = 0
    tasks: int = 0
    events: int = 0
    newest: float = 0.0
    earlier: tuple["Drift", ...] = ()

    @classmethod
    def none(cls, channels: int, config: DriftConfig | None = None) -> "Drift":
        """Nothing learned: the head as it was fitted."""
        numbers = channels * PLACES
        return cls(np.zeros((channels, PLACES)), np.zeros((numbers, numbers)), config or DriftConfig())

    def __repr__(self) -> str:
        state = "in use" if self.in_use else "not in use"
        return (
            f"Drift(version {self.version}, {self.tasks:,} tasks, moved by {np.linalg.norm(self.added):.2f}, {state})"
        )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.added)

    @property
    def in_use(self) -> bool:
        """Whether predictions have shown that it gains; else the head is as it was fitted."""
        return self.evidence.is_gain

    @property
    def weight(self) -> np.ndarray:
        """What is added to the head's weights, float32 [channels, 2]; zeros where it is not in use."""
        return self._served[:, :-1]

    @property
    def bias(self) -> np.ndarray:
        """What is added to the head's biases, float32 [channels]; zeros where it is not in use."""
        return self._served[:, -1]

    @property
    def _served(self) -> np.ndarray:
        return (self.added if self.in_use else np.zeros_like(self.added)).astype(np.float32)

    def step(self, fitted: Scorer, tasks: RankingTasks, newest: float | None = None) -> "Drift":
        """Learn a batch. Tasks that have no finite loss are left out; if none is left, nothing changes.

        Args:
            fitted: The head as it was fitted, without this adapter.
            tasks: What the served model had to predict before it learned these events.
            newest: When the newest of the events was, unix seconds.

        Raises:
            AdapterMismatch: The tasks have other channels.
        """
        _check(self.channels, tasks.scores.shape[1])
        loss = HeadLoss(fitted, tasks)
        if not len(loss):
            return self
        memory = self.config.memory
        last, kept = torch.from_numpy(self.added).ravel(), memory * torch.from_numpy(self.firmness)
        gains = gains_of(loss, last) if self.added.any() else _held_out(fitted, loss.tasks, self.config)
        point = nearest_best(loss, last, kept + self.config.pull * torch.eye(len(kept)).double(), self.config.reach)
        return replace(
            self,
            added=point[:-1].reshape(self.channels, PLACES).numpy(),
            firmness=(kept + certainty(loss, point)).numpy(),
            evidence=self.evidence.plus(gains, loss.tasks.users, memory),
            version=self.version + 1,
            tasks=self.tasks + len(loss),
            events=self.events + int((loss.tasks.target > 0).sum()),
            newest=max(self.newest, newest or 0.0),
            earlier=(*self.earlier, replace(self, earlier=()))[-KEPT:],
        )

    def applied(self, head: RankingHead) -> RankingHead:
        """Another head, with what is added.

        Raises:
            AdapterMismatch: The head has other channels.
        """
        _check(self.channels, head.channels)
        return head.moved(self.weight, self.bias)

    def rolled_back(self) -> "Drift":
        """The version before.

        Raises:
            DataError: There is none, or it is too old to be kept.
        """
        if not self.earlier:
            raise DataError(
                "the shop's adapter has not learned anything that could be taken back."
                if self.version == 0
                else f"version {self.version} of the shop's adapter is the oldest that is kept; {KEPT} are."
            )
        *older, last = self.earlier
        return replace(last, earlier=tuple(older))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name; the versions along the first axis, the newest last."""
        versions = (*self.earlier, self)
        counts = [[one.version, one.tasks, one.events] for one in versions]
        gained = [[one.evidence.users, one.evidence.total, one.evidence.squares] for one in versions]
        return {
            "added": np.stack([one.added for one in versions]),
            "firmness": np.stack([one.firmness for one in versions]),
            "counts": np.array(counts, dtype=np.int64),
            "evidence": np.array(gained, dtype=np.float64),
            "newest": np.array([one.newest for one in versions], dtype=np.float64),
            "settings": np.array([[one.config.pull, one.config.reach, one.config.memory] for one in versions]),
        }

    @classmethod
    def from_tensors(cls, saved: SavedArrays, channels: int) -> "Drift":
        """The inverse of `tensors`, for a head of so many channels.

        Raises:
            ArtifactError: An array is missing, too much, of another shape or out of range.
        """
        versions, numbers, double = saved.shape("added")[0], channels * PLACES, np.float64
        added = saved.floats("added", versions, channels, PLACES, dtype=double)
        firmness = saved.floats("firmness", versions, numbers, numbers, least=-MOST, most=MOST, dtype=double)
        counts = saved.integers("counts", versions, 3, least=0, below=int(MOST))
        gained = saved.floats("evidence", versions, 3, least=-MOST, most=MOST, dtype=double)
        newest = saved.floats("newest", versions, least=0.0, most=LATEST, dtype=double)
        settings = saved.floats("settings", versions, 3, least=0.0, most=MOST, dtype=double)
        saved.all_taken()
        if not 1 <= versions <= KEPT + 1 or (np.diff(counts[:, 0]) <= 0).any():
            raise ArtifactError("the shop's adapter has versions that do not follow each other")
        if (
            not all(_pulls(matrix) for matrix in firmness)
            or not (settings > 0)[:, :2].all()
            or settings[:, 2].max() >= 1
        ):
            raise ArtifactError("the shop's adapter is held by a matrix or settings that are none")
        made = tuple(
            cls(
                added[row],
                firmness[row],
                DriftConfig(*settings[row].tolist()),
                Evidence(*gained[row].tolist()),
                version=int(counts[row, 0]),
                tasks=int(counts[row, 1]),
                events=int(counts[row, 2]),
                newest=float(newest[row]),
            )
            for row in range(versions)
        )
        return replace(made[-1], earlier=made[:-1])


GRID = tuple(DriftConfig(pull, reach) for pull in (300.0, 100.0, 30.0) for reach in (0.5, 1.0))
"""Settings to choose from, the most careful first."""


def choose(fitted: Scorer, batches: Sequence[RankingTasks], grid: Sequence[DriftConfig] = GRID) -> DriftConfig:
    """How far the adapter may move: each batch is predicted with what the ones before it have taught.

    Of the settings whose gain is the best or not worse beyond a standard error, the most careful.

    Args:
        fitted: The head as it was fitted.
        batches: Tasks as the model served them, oldest first; with fewer than two there is nothing to choose by.
        grid: The most careful first.
    """
    losses = [loss for loss in (HeadLoss(fitted, tasks) for tasks in batches) if len(loss)]
    if len(losses) < 2:
        return DriftConfig()
    gains = torch.stack([_progressive(losses, config) for config in grid])
    behind = gains[gains.mean(dim=1).argmax()] - gains
    error = behind.std(dim=1) / gains.shape[1] ** 0.5
    return grid[int((behind.mean(dim=1) <= error).int().argmax())]


def _progressive(losses: Sequence[HeadLoss], config: DriftConfig) -> Tensor:
    """Gains of all tasks but the first batch's."""
    numbers = losses[0].channels * PLACES
    last, kept, gains = torch.zeros(numbers).double(), torch.zeros(numbers, numbers).double(), []
    for place, loss in enumerate(losses):
        if place:
            gains.append(gains_of(loss, last))
        kept = config.memory * kept
        point = nearest_best(loss, last, kept + config.pull * torch.eye(numbers).double(), config.reach)
        last, kept = point[:-1], kept + certainty(loss, point)
    return torch.cat(gains)


def _held_out(fitted: Scorer, tasks: RankingTasks, config: DriftConfig) -> Tensor:
    """Gains of the first batch: each half of the users is predicted with what the other one has taught."""
    numbers = tasks.scores.shape[1] * PLACES
    gains, firmness = torch.zeros(len(tasks)).double(), config.pull * torch.eye(numbers).double()
    for train, held in tasks.folds(2, seed=0):
        point = nearest_best(HeadLoss(fitted, tasks.of(train)), torch.zeros(numbers).double(), firmness, config.reach)
        gains[held] = gains_of(HeadLoss(fitted, tasks.of(held)), point[:-1])
    return gains


def _pulls(matrix: np.ndarray) -> bool:
    """Whether a matrix pulls back, whichever way one goes."""
    least, most = np.linalg.eigvalsh(matrix)[[0, -1]]
    return np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-6) and bool(least >= -1e-6 * max(most, 1.0))


def _check(ours: int, theirs: int) -> None:
    if ours != theirs:
        raise AdapterMismatch(
            f"the shop's adapter is for {ours} channels, the ranking head has {theirs}; start a new one for this model."
        )
