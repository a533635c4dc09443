"""A model that several processes train is the model that one process trains on the same batches, within rounding."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.tasks import rolling_tasks
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder
from recllm.encoders.together import Alone, Together, own_part
from recllm.encoders.train import BaseTrainer
from recllm.encoders.trainees import train_together
from recllm.errors import ConfigError, WorkerError
from recllm.options import TrainOptions
from recllm.scale.executor import open_executor
from recllm.testing import ToyShop
from tests.workers import Here


def trainer_for(toy: ToyShop, tiny: Path, options: TrainOptions, peers: Any = None, **training: Any) -> BaseTrainer:
    """A small transformer without dropout, of which every process would draw its own."""
    torch.manual_seed(0)
    histories = make_histories(toy.events, toy.catalog, Feedback())
    config = HistoryEncoderConfig(
        blocks="scratch", width=32, depth=1, dropout=0.0, event_dropout=0.0, delta_dropout=0.1, max_events=8
    )
    encoder = HistoryEncoder.build(resolve_backbone(str(tiny)), Feedback().n_tokens, config)
    text = torch.randn(len(toy.catalog), 16)
    items = ItemEncoder(text, torch.ones(len(text), dtype=torch.bool), encoder.width, config.delta_bound)
    train, validation = histories.of(np.arange(60)), rolling_tasks(histories.of(np.arange(60, 80)), 20)
    setting = BaseTrainingConfig(**({"steps": 30, "batch_users": 16, "validate_every": 10} | training))
    return BaseTrainer(encoder, items, train, validation, setting, options, peers)


class Part:
    """One of several processes whose sums are made by somebody else."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count
        self.gradients: list[torch.Tensor] = []

    def add_up(self, parameters: Any) -> None:
        """Keep what this one adds."""
        self.gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]

    def total(self, value: float) -> float:
        """Its own."""
        return value

    def first(self, value: float) -> float:
        """Its own."""
        return value


@pytest.mark.parametrize(("count", "users", "sampled"), [(2, 16, 6000), (3, 16, 6000), (3, 2, 6000), (2, 16, 5)])
def test_parts_of_a_batch_add_up_to_its_gradient(
    toy: ToyShop, tiny: Path, count: int, users: int, sampled: int
) -> None:
    def gradients(rank: int, of: int) -> tuple[list[torch.Tensor], float]:
        peers = Part(rank, of)
        trainer = trainer_for(toy, tiny, TrainOptions(), peers, softmax_items=sampled)
        optimiser = trainer.optimiser()
        loss = trainer.step(np.arange(users), optimiser)
        return peers.gradients, loss

    whole, loss = gradients(0, 1)
    parts = [gradients(rank, count) for rank in range(count)]
    assert sum(part for _, part in parts) == pytest.approx(loss, rel=1e-5)
    for place, expected in enumerate(whole):
        torch.testing.assert_close(sum(part[place] for part, _ in parts), expected, rtol=1e-4, atol=1e-6)
    assert any(gradient.abs().sum() > 0 for gradient in whole)


def test_alone_is_all_of_it(toy: ToyShop, tiny: Path) -> None:
    trainer = trainer_for(toy, tiny, TrainOptions())
    batch, predictions = trainer.sampler.draw(np.arange(8), trainer.rng)
    assert own_part(batch, predictions, Alone()) == (batch, predictions)


@pytest.fixture
def met(tmp_path: Path) -> Iterator[Together]:
    together = Together(0, 1, tmp_path / "store")
    yield together
    together.part()


def test_a_process_that_has_met_nobody_adds_nothing(met: Together) -> None:
    one, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    one.grad = torch.tensor([1.0, 2.0, 3.0])
    met.add_up([one, other])
    assert one.grad.tolist() == [1.0, 2.0, 3.0]
    assert other.grad is None
    assert (met.total(2.5), met.first(7.25)) == (2.5, 7.25)


def test_what_is_trained_elsewhere_comes_back(toy: ToyShop, tiny: Path) -> None:
    alone = trainer_for(toy, tiny, TrainOptions())
    log = alone.run()
    workers = Here(1)
    options = TrainOptions(executor=workers)
    object.__setattr__(options, "trainers", 1)
    elsewhere = trainer_for(toy, tiny, options)
    found = train_together(elsewhere, None)
    assert found.points == log.points
    for name, value in alone.encoder.state_dict().items():
        torch.testing.assert_close(elsewhere.encoder.state_dict()[name], value, rtol=0, atol=0)
    for name, value in alone.items.state_dict().items():
        torch.testing.assert_close(elsewhere.items.state_dict()[name], value, rtol=0, atol=0)


class Dying(Here):
    """Workers of whom the first ones die at their work."""

    def __init__(self, times: int) -> None:
        super().__init__(1)
        self.times = times

    def map(self, fn: Any, shards: Sequence[Any], progress: Any = None) -> Iterator[Any]:
        """Die, or do it."""
        if self.times:
            self.times -= 1
            raise WorkerError("its worker died.")
        return super().map(fn, shards, progress)


def test_training_goes_on_after_a_death(toy: ToyShop, tiny: Path) -> None:
    def trained(times: int) -> list[Any]:
        return train_together(trainer_for(toy, tiny, TrainOptions(executor=Dying(times))), None).points

    assert trained(2) == trained(0)
    with pytest.raises(WorkerError):
        trained(3)


def test_more_trainers_than_workers_are_refused() -> None:
    for trainers, executor in ((2, None), (3, Here(2)), (0, Here(2)), (True, Here(2))):
        with pytest.raises(ConfigError, match="cannot train together"):
            TrainOptions(executor=executor, trainers=trainers)
    assert TrainOptions(executor=Here(2), trainers=2).trainers == 2


@pytest.mark.slow
@pytest.mark.parametrize("address", ["local:2", "ray:2"])
def test_two_processes_learn_what_one_learns(toy: ToyShop, tiny: Path, address: str) -> None:
    alone = trainer_for(toy, tiny, TrainOptions())
    log = alone.run()
    with open_executor(address) as workers:
        together = trainer_for(toy, tiny, TrainOptions(executor=workers, trainers=2))
        found = train_together(together, None)
    np.testing.assert_allclose(found.points, log.points, rtol=1e-4, atol=1e-3)
    for module in ("items", "encoder"):
        state = getattr(together, module).state_dict()
        for name, value in getattr(alone, module).state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4)
    assert found.stopped == log.stopped
