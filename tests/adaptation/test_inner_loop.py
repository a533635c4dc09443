"""The inner loop: pure, independent between users, and right where the forward pass is blind."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.adaptation.inner_loop import Support, adapt, support_loss
from recllm.adaptation.lora import for_each_user, starting_lora
from recllm.adaptation.meta import AdaptationConfig, MetaLearner, MetaTrainer, encode_adapted
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig
from recllm.encoders.train import evaluating
from recllm.options import TrainOptions
from recllm.testing import TINY_WIDTH, opposite_tastes

ITEMS = 40


@pytest.fixture
def encoder(tiny: Path) -> HistoryEncoder:
    torch.manual_seed(0)
    built = HistoryEncoder.build(resolve_backbone(str(tiny)), 1, HistoryEncoderConfig(max_events=12, dropout=0.0))
    return built.eval().requires_grad_(False)


@pytest.fixture
def vectors() -> torch.Tensor:
    """Two clusters of items: the two kinds."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, TINY_WIDTH, generator=generator)
    noise = torch.randn(ITEMS, TINY_WIDTH, generator=generator)
    kind = (torch.arange(ITEMS) >= ITEMS // 2).long()
    return torch.nn.functional.normalize(centres[kind] + 0.3 * noise, dim=1)


def parts(encoder: HistoryEncoder) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    start = starting_lora(encoder.last_block_inputs(), 4, torch.Generator().manual_seed(0))
    return start, {name: torch.full((2,), 0.5) for name in start}


def test_nothing_passed_in_is_changed(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    start, sizes = parts(encoder)
    before = {name: tensor.clone() for name, tensor in start.items()}
    weights = {name: p.clone() for name, p in encoder.named_parameters()}
    support = Support.collate(opposite_tastes(4, ITEMS, 8)[0], 12)
    adapted = adapt(encoder, start, sizes, support, vectors, torch.arange(ITEMS), steps=2)
    for name, tensor in before.items():
        torch.testing.assert_close(start[name], tensor, rtol=0, atol=0)
    for name, p in encoder.named_parameters():
        torch.testing.assert_close(p, weights[name], rtol=0, atol=0)
        assert p.grad is None
    assert all(tensor.shape[0] == 4 for tensor in adapted.values())


def test_users_do_not_influence_each_other(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    start, sizes = parts(encoder)
    histories, _ = opposite_tastes(5, ITEMS, 8)
    together = adapt(encoder, start, sizes, Support.collate(histories, 12), vectors, torch.arange(ITEMS), steps=2)
    alone = adapt(encoder, start, sizes, Support.collate(histories.of([3]), 12), vectors, torch.arange(ITEMS), steps=2)
    for name in together:
        torch.testing.assert_close(together[name][3:4], alone[name], atol=1e-5, rtol=1e-4)


def test_steps_lower_the_loss_and_zero_steps_are_the_start(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    start, sizes = parts(encoder)
    support, contrast = Support.collate(opposite_tastes(6, ITEMS, 8)[0], 12), torch.arange(ITEMS)
    losses = []
    for steps in (0, 1, 3):
        lora = adapt(encoder, start, sizes, support, vectors, contrast, steps=steps)
        losses.append(support_loss(encoder, lora, support, vectors, contrast).detach())
    assert (losses[1] < losses[0]).all()
    assert (losses[2] < losses[1]).all()
    untouched = adapt(encoder, start, sizes, support, vectors, contrast, steps=0)
    for name, tensor in for_each_user(start, 6).items():
        torch.testing.assert_close(untouched[name], tensor, rtol=0, atol=0)


def test_a_user_without_events_keeps_the_start(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    start, sizes = parts(encoder)
    histories = Histories.concatenate([Histories.empty(["nobody"]), opposite_tastes(1, ITEMS, 8)[0]])
    lora = adapt(encoder, start, sizes, Support.collate(histories, 12), vectors, torch.arange(ITEMS), steps=3)
    for name, tensor in lora.items():
        torch.testing.assert_close(tensor[0], start[name], rtol=0, atol=0)
        assert torch.isfinite(tensor).all()


def test_first_order_gradient_is_that_of_the_adapted_point(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    """FOMAML: d outer / d start is d outer / d adapted; the full gradient differs."""
    support, contrast = Support.collate(opposite_tastes(3, ITEMS, 8)[0], 12), torch.arange(ITEMS)
    gradients = {}
    encoder.blocks.set_attn_implementation("eager")  # the fused attention has no second derivative
    for second_order in (False, True):
        start, sizes = parts(encoder)
        generator = torch.Generator().manual_seed(5)
        start = {n: (t + 0.1 * torch.randn(t.shape, generator=generator)).requires_grad_() for n, t in start.items()}
        lora = adapt(encoder, start, sizes, support, vectors, contrast, steps=2, second_order=second_order)
        outer = support_loss(encoder, lora, support, vectors, contrast).sum()
        gradients[second_order] = torch.autograd.grad(outer, list(start.values()), retain_graph=True)
        if not second_order:
            at_the_point = {n: t.detach().requires_grad_() for n, t in lora.items()}
            outer = support_loss(encoder, at_the_point, support, vectors, contrast).sum()
            direct = torch.autograd.grad(outer, list(at_the_point.values()))
            for one, other in zip(gradients[False], direct, strict=True):
                torch.testing.assert_close(one, other.sum(dim=0), atol=1e-4, rtol=1e-3)
    assert any(
        not torch.allclose(one, other, atol=1e-4) for one, other in zip(gradients[False], gradients[True], strict=True)
    )


def right_kind(
    encoder: HistoryEncoder,
    lora: dict[str, torch.Tensor],
    histories: Histories,
    liked: np.ndarray,
    vectors: torch.Tensor,
) -> float:
    """Share of the ten best items that are of the kind the user likes."""
    with evaluating(encoder):
        scores = encode_adapted(encoder, lora, histories, vectors) @ vectors.T
    best = scores.topk(10, dim=1).indices.numpy()
    return float(((best >= ITEMS // 2) == liked[:, None]).mean())


def test_only_an_adapted_ranker_is_right_for_opposite_tastes(encoder: HistoryEncoder, vectors: torch.Tensor) -> None:
    """The event tokens do not tell likes from dislikes, so the forward pass cannot; the inner loop can."""
    train, _ = opposite_tastes(200, ITEMS, 24, seed=1)
    config = AdaptationConfig(
        inner_steps=3,
        inner_learning_rate=0.5,
        outer_steps=60,
        batch_users=32,
        learning_rate=3e-2,
        horizon=6,
        contrast_items=ITEMS,
    )
    learner = MetaLearner(encoder, config, torch.arange(ITEMS), seed=0)
    nobody = Tasks(Histories.empty(0), Histories.empty(0), np.zeros(0, dtype=np.int64), {})
    trainer = MetaTrainer(learner, encoder, vectors, np.arange(ITEMS), train, nobody, TrainOptions(seed=0))
    trainer.validate = lambda: 0.0  # type: ignore[method-assign]  # no early stopping here: the last state is kept
    trainer.run()
    new, liked = opposite_tastes(60, ITEMS, 8, seed=2)
    shares = [right_kind(encoder, learner.adapt(encoder, new, vectors, steps), new, liked, vectors) for steps in (0, 3)]
    assert shares[0] < 0.65, "without adapting, one list for all is right for half of them"
    assert shares[1] > 0.85
