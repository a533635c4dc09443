"""The inner loop: pure, independent between users, and the same as PEFT's, one user at a time."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recllm.adaptation.inner_loop import adapt, support_loss
from recllm.adaptation.lora import for_each_user
from recllm.adaptation.support import HEAD, Contrast, Support
from recllm.data.histories import Histories

from .conftest import ITEMS, World

BOTH = ("head", "history")


def prepared(world: World, histories: Histories, places: tuple[str, ...] = BOTH) -> tuple:
    learner = world.learner(places=places, inner_learning_rate=0.3)
    start = {name: part.detach() for name, part in learner.start().items()}
    sizes = {name: torch.full((2, 1, 1), 0.3) for name in learner.moving}
    support = Support.collate(world.base, histories, learner.contrast)
    return for_each_user(start, len(histories)), sizes, support, learner.contrast


@pytest.mark.parametrize("places", [("head",), ("history",), BOTH])
def test_steps_lower_the_loss_and_zero_steps_are_the_start(world: World, places: tuple[str, ...]) -> None:
    start, sizes, support, contrast = prepared(world, world.histories(6, 0)[0], places)
    losses = []
    for steps in (0, 1, 3):
        lora = adapt(world.base, support, contrast, start, sizes, steps=steps)
        losses.append(support_loss(world.base, support, contrast, lora).detach())
    assert (losses[1] < losses[0]).all()
    assert (losses[2] < losses[1]).all()
    untouched = adapt(world.base, support, contrast, start, sizes, steps=0)
    for name, tensor in start.items():
        torch.testing.assert_close(untouched[name], tensor, rtol=0, atol=0)


def test_nothing_passed_in_is_changed(world: World) -> None:
    start, sizes, support, contrast = prepared(world, world.histories(4, 0)[0])
    before = {name: tensor.clone() for name, tensor in start.items()}
    adapted = adapt(world.base, support, contrast, start, sizes, steps=2)
    for name, tensor in before.items():
        torch.testing.assert_close(start[name], tensor, rtol=0, atol=0)
        assert adapted[name].shape[0] == 4
    assert all(p.grad is None for p in [*world.base.encoder.parameters(), *world.base.head.parameters()])


def test_users_do_not_influence_each_other(world: World) -> None:
    histories = world.histories(5, 0)[0]
    start, sizes, support, contrast = prepared(world, histories)
    together = adapt(world.base, support, contrast, start, sizes, steps=2)
    one, _, alone, _ = prepared(world, histories.of([3]))
    alone = adapt(world.base, alone, contrast, one, sizes, steps=2)
    for name in together:
        torch.testing.assert_close(together[name][3:4], alone[name], atol=1e-5, rtol=1e-4)


def test_what_a_support_asks_is_what_the_channels_say(world: World) -> None:
    """Scores of a few columns are the columns of the scores of all, standardised alike."""
    histories = world.histories(3, 1)[0]
    prefixes, states = histories.prefixes(), torch.randn(histories.n_events, world.base.encoder.width)
    asked, own = histories.timestamps, torch.from_numpy(histories.item_rows)
    whole = world.base.channels.scores(prefixes, states, world.base.space, asked)
    columns = torch.tensor([3, 0, 59])
    some = world.base.channels.scores_at(prefixes, states, world.base.space, asked, columns, own)
    torch.testing.assert_close(some[:, :, 1:], whole[:, :, columns], atol=1e-4, rtol=1e-4)
    expected = whole[torch.arange(len(own)), :, own]
    torch.testing.assert_close(some[:, :, 0], expected, atol=1e-4, rtol=1e-4)


def test_an_item_the_user_has_is_no_rival(world: World) -> None:
    histories = world.histories(2, 1)[0]
    support = Support.collate(world.base, histories, Contrast(torch.arange(ITEMS), torch.zeros(ITEMS)))
    for event in range(histories.n_events):
        user, time = int(support.users[event]), int(support.time[event])
        had = set(histories.items_of(user)[: time + 1].tolist())
        assert set(torch.nonzero(~support.rivals[event]).ravel().tolist()) == had


def test_golden_against_peft(world: World) -> None:
    """The same step, by PEFT's layers and autograd, one user after the other."""
    histories = world.histories(3, 2)[0]
    learner = world.learner()
    support = Support.collate(world.base, histories, learner.contrast)
    start = for_each_user({name: part.detach() for name, part in learner.start().items()}, 3)
    ours = adapt(world.base, support, learner.contrast, start, {f"{HEAD}.B": torch.full((1, 1, 1), 0.5)}, steps=1)
    for user in range(3):
        import copy

        head = copy.deepcopy(world.base.head)
        config = peft.LoraConfig(r=1, lora_alpha=1, target_modules=["weights"])
        wrapped = peft.get_peft_model(head, config)  # type: ignore[arg-type]
        layer = wrapped.base_model.model.weights
        layer.lora_A["default"].weight.data = start[f"{HEAD}.A"][0].T.clone()
        part = support.of(torch.tensor([user]))
        scores = wrapped(part.scores, part.known)
        raised = torch.where(part.rivals, learner.contrast.log_counts, torch.tensor(-1e30))
        loss = -torch.cat([scores[:, :1], scores[:, 1:] + raised], dim=1).log_softmax(dim=1)[:, 0].mean()
        loss.backward()
        weight = layer.lora_B["default"].weight
        torch.testing.assert_close((weight - 0.5 * weight.grad).T, ours[f"{HEAD}.B"][user], atol=1e-5, rtol=1e-4)


def test_first_order_gradient_is_that_of_the_adapted_point(world: World) -> None:
    """FOMAML: d outer / d start is d outer / d adapted; the full gradient differs."""
    world.base.encoder.blocks.set_attn_implementation("eager")  # the fused attention has no second derivative
    _, sizes, support, contrast = prepared(world, world.histories(3, 0)[0])
    gradients = {}
    for second_order in (False, True):
        shared = {n: p.detach() for n, p in world.learner(places=BOTH).start().items()}
        generator = torch.Generator().manual_seed(5)
        shared = {n: (t + 0.1 * torch.randn(t.shape, generator=generator)).requires_grad_() for n, t in shared.items()}
        lora = adapt(world.base, support, contrast, for_each_user(shared, 3), sizes, steps=2, second_order=second_order)
        outer = support_loss(world.base, support, contrast, lora).sum()
        gradients[second_order] = torch.autograd.grad(outer, list(shared.values()), retain_graph=True)
        if not second_order:
            there = {n: t.detach().requires_grad_() for n, t in lora.items()}
            direct = torch.autograd.grad(support_loss(world.base, support, contrast, there).sum(), list(there.values()))
            for one, other in zip(gradients[False], direct, strict=True):
                torch.testing.assert_close(one, other.sum(dim=0), atol=1e-4, rtol=1e-3)
    assert any(
        not torch.allclose(one, other, atol=1e-4) for one, other in zip(gradients[False], gradients[True], strict=True)
    )


@given(
    rows=st.lists(st.integers(0, ITEMS - 1), max_size=30),
    seed=st.integers(0, 5),
    rate=st.sampled_from([0.0, 0.3, 1e4]),
)
def test_whatever_the_events_adapters_are_finite(tmp_world: World, rows: list[int], seed: int, rate: float) -> None:
    """Duplicates, contradictions, one timestamp for all, more than can be read, nothing at all."""
    rng = np.random.default_rng(seed)
    events = len(rows)
    histories = Histories(
        ("x", "nobody"),
        np.array([0, events, events]),
        np.array(rows, dtype=np.int64),
        np.sort(rng.integers(0, 3, events)).astype(np.int64),
        rng.integers(-1, 2, events).astype(np.int8),
        np.zeros(events, dtype=np.int64),
    )
    learner = tmp_world.learner(places=BOTH, inner_learning_rate=rate, inner_steps=2)
    with torch.no_grad():
        lora = learner.adapt(tmp_world.base, histories)
    for name, start in learner.start().items():
        assert torch.isfinite(lora[name]).all()
        torch.testing.assert_close(lora[name][1], start.detach(), rtol=0, atol=0)


@pytest.fixture
def tmp_world(world: World, tmp_path: Path) -> World:
    return world
