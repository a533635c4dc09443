"""Base training in workers: what each is sent, what comes back, and going on after one has died."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

from recllm.artifact.arrays import SavedArrays
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder
from recllm.encoders.saved import block_settings, load_history_encoder
from recllm.encoders.threads import reproducible
from recllm.encoders.together import Peers, Together
from recllm.encoders.train import BaseTrainer, TrainingLog
from recllm.errors import WorkerError
from recllm.options import TrainOptions

AGAIN = 2
"""Times that training goes on from its last look after a process has died."""


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What is trained, in arrays: tensors that are sent to processes of one machine are in all of them the same memory.

    Attributes:
        blocks: Settings of the encoder's blocks.
        config: The encoder's.
        n_tokens: See `Feedback.n_tokens`.
        encoder: Its weights.
        frozen: Those that do not learn.
        items: Weights of the item encoder.
        text: What it makes vectors of.
        warm: Which items have training events.
        bound: Of deltas.
    """

    blocks: dict[str, Any]
    config: HistoryEncoderConfig
    n_tokens: int
    encoder: dict[str, np.ndarray]
    frozen: frozenset[str]
    items: dict[str, np.ndarray]
    text: np.ndarray
    warm: np.ndarray
    bound: float

    @classmethod
    def of(cls, encoder: HistoryEncoder, items: ItemEncoder) -> "Model":
        """Of modules."""
        frozen = frozenset(name for name, weight in encoder.named_parameters() if not weight.requires_grad)
        return cls(
            block_settings(encoder),
            encoder.config,
            encoder.feedback.num_embeddings,
            _arrays(encoder),
            frozen,
            _arrays(items),
            items.text.numpy(),
            items.warm.numpy(),
            items.bound,
        )

    def made(self) -> tuple[HistoryEncoder, ItemEncoder]:
        """The modules."""
        saved = SavedArrays("the history encoder", self.encoder)
        encoder = load_history_encoder(self.blocks, saved, self.n_tokens, self.config)
        for name, weight in encoder.named_parameters():
            weight.requires_grad_(name not in self.frozen)
        items = ItemEncoder(torch.from_numpy(self.text), torch.from_numpy(self.warm), encoder.width, self.bound)
        _take(items, self.items)
        return encoder, items


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """What came of training, in arrays."""

    encoder: dict[str, np.ndarray]
    items: dict[str, np.ndarray]
    log: TrainingLog


@final
@dataclass(frozen=True, eq=False)
class Trainee:
    """Trains in a worker, beside others."""

    model: Model
    histories: Histories
    validation: Tasks
    config: BaseTrainingConfig
    options: TrainOptions
    seconds: float | None
    count: int
    meeting: Path

    def __call__(self, rank: int) -> Trained | None:
        """Train as the process of this number; the first says what came of it.

        Raises:
            WorkerError: Another one is gone, or this one is here for the second time.
        """
        try:
            (self.meeting / f"rank-{rank}").mkdir()
        except FileExistsError:
            raise WorkerError("a process that trained died, and those beside it cannot go on alone.") from None
        try:
            peers = Together(rank, self.count, self.meeting / "store")
            with reproducible():
                trainer = self._trainer(peers)
                log = trainer.run(self.seconds)
            peers.part()
        except (RuntimeError, torch.distributed.DistError) as error:
            raise WorkerError(f"processes that train together lost each other ({error}).") from error
        return Trained(_arrays(trainer.encoder), _arrays(trainer.items), log) if rank == 0 else None

    def _trainer(self, peers: Peers) -> BaseTrainer:
        return BaseTrainer(*self.model.made(), self.histories, self.validation, self.config, self.options, peers)


def train_together(trainer: BaseTrainer, seconds: float | None) -> TrainingLog:
    """`trainer.run`, by as many workers as the options say; the model ends as if one process had made all batches.

    Sums are made in another order, and each process draws its own dropout. If a process dies, all begin again where the
    last look at the validation users left them.

    Raises:
        WorkerError: That happened time and again.
    """
    options = trainer.options
    workers, count = options.executor, options.trainers
    assert workers is not None, "checked by the options"
    given = (Model.of(trainer.encoder, trainer.items), trainer.sampler.histories, trainer.validation, trainer.config)
    with tempfile.TemporaryDirectory(prefix="recllm-training-") as folder:
        kept = Path(folder) / "checkpoint" if options.checkpoint is None else Path(options.checkpoint)
        theirs = replace(options, progress=None, executor=None, trainers=1, checkpoint=kept)
        for attempt in range(AGAIN + 1):
            meeting = Path(folder) / f"meeting-{attempt}"
            meeting.mkdir()
            try:
                made = list(workers.map(Trainee(*given, theirs, seconds, count, meeting), range(count)))
            except WorkerError:
                if attempt == AGAIN:
                    raise
            else:
                break
    trained = made[0]
    assert trained is not None, "the first process tells"
    _take(trainer.encoder, trained.encoder)
    _take(trainer.items, trained.items)
    trainer.encoder.eval()
    return trained.log


def _arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def _take(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
