"""Where training and reading happen: on the device that is asked for, and every tensor with them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.data.tasks import make_tasks
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.devices import mixed_precision
from recllm.encoders.history import (
    EventBatch,
    HistoryEncoder,
    HistoryEncoderConfig,
    ItemEncoder,
    encode_users,
    scratch_blocks,
)
from recllm.encoders.train import BaseTrainer, TrainingLog
from recllm.options import TrainOptions
from recllm.testing import opposite_tastes
from tests.encoders.elsewhere import THERE, elsewhere, is_there

ITEMS = 24


def parts() -> tuple[HistoryEncoder, ItemEncoder]:
    torch.manual_seed(0)
    config = HistoryEncoderConfig(blocks="scratch", width=32, max_events=8)
    text = torch.nn.functional.normalize(torch.randn(ITEMS, 12), dim=1)
    items = ItemEncoder(text, torch.ones(ITEMS, dtype=torch.bool), 32, 0.5)
    return HistoryEncoder(scratch_blocks(config), 6, config), items


def test_the_stand_in_refuses_what_a_gpu_would(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch):
        moved, stayed = torch.ones(3).to(THERE), torch.ones(3)
        assert (moved.device.type, stayed.device.type) == ("cuda", "cpu")
        assert is_there(moved * 2)
        assert is_there(torch.zeros(3, device=moved.device) + moved)
        for call in (lambda: moved + stayed, lambda: torch.cat([moved, stayed]), lambda: stayed[moved.long()]):
            with pytest.raises(AssertionError, match="two devices"):
                call()
        with pytest.raises(AssertionError, match=r"call \.cpu\(\) first"):
            moved.numpy()
        assert moved.cpu().numpy().sum() == 3
        layer = torch.nn.Linear(3, 3).to("cuda")
        with pytest.raises(AssertionError, match="two devices"):
            layer(stayed)
        assert is_there(layer(moved))


@pytest.mark.parametrize("training", [False, True])
def test_users_are_read_where_the_vectors_are(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    histories, _ = opposite_tastes(6, ITEMS, 5)
    encoder, items = parts()
    encoder.train(training)
    torch.manual_seed(1)
    with torch.no_grad():
        here = encode_users(encoder, histories, items())
    with elsewhere(monkeypatch) as mode, torch.no_grad():
        encoder.to(THERE)
        items.to(THERE)
        torch.manual_seed(1)
        found = encode_users(encoder, histories, items())
        assert found.device.type == "cuda"
        assert mode.calls > 20
    assert np.array_equal(found.numpy(), here.numpy())


def test_what_was_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with one part left behind."""
    histories, _ = opposite_tastes(6, ITEMS, 5)
    encoder, items = parts()
    batch = EventBatch.collate(histories, 8)
    with elsewhere(monkeypatch), torch.no_grad():
        encoder.to(THERE)
        items.to(THERE)
        with pytest.raises(AssertionError, match="two devices"):
            encoder(batch, items())


def trained(device: str, checkpoint: Path | None = None) -> tuple[BaseTrainer, TrainingLog]:
    """A short run; softmax over a sample of the items."""
    histories, _ = opposite_tastes(40, ITEMS, 8)
    encoder, items = parts()
    config = BaseTrainingConfig(steps=6, batch_users=16, validate_every=3, softmax_items=12, epochs=100)
    options = TrainOptions(device=device, checkpoint=checkpoint)
    trainer = BaseTrainer(encoder, items, histories, make_tasks(histories, 3), config, options)
    return trainer, trainer.run()


def test_training_is_there_and_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the same numbers, as all of it is computed on the CPU."""
    _, here = trained("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with elsewhere(monkeypatch) as mode:
        trainer, there = trained("cuda", tmp_path / "state")
        assert trainer.device == THERE
        assert mode.calls > 500
        assert not any(is_there(part) for part in [*trainer.encoder.parameters(), *trainer.items.buffers()])
        _, resumed = trained("cuda", tmp_path / "state")
    assert there.points == here.points == resumed.points
    assert len(here.points) == 2


def test_a_gpu_that_knows_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "autocast", lambda *given: asked.append(given) or mixed_precision(torch.device("cpu")))
    for known in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda known=known: known)
        with mixed_precision(torch.device("cuda")), mixed_precision(torch.device("cpu")):
            pass
    assert asked == [("cuda", torch.bfloat16)]
