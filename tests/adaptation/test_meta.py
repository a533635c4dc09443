"""Meta-training: every method solves a world that the base cannot, and nothing is opened that does harm."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recllm.adaptation.meta import METHODS, AdaptationConfig, MetaLearner
from recllm.adaptation.support import Base, Support, through_adapters
from recllm.adaptation.train import Lesson, MetaTrainer, query_losses
from recllm.errors import ConfigError
from recllm.options import TrainOptions

from .conftest import World

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "meta_methods.py"
RATES = {"fomaml": 0.5, "maml": 0.5, "reptile": 3.0, "anil": 0.5, "lora-ml": 0.5}


@pytest.fixture
def measured_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the bench keeps add themselves to the registry; afterwards it is as it was."""
    monkeypatch.setattr("recllm.adaptation.meta.METHODS", METHODS.copy())
    spec = importlib.util.spec_from_file_location("meta_methods", BENCH)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def trained(world: World, method: str, **changes: object) -> MetaLearner:
    histories, crowd = world.histories(120, 1)
    learner = world.learner(method=method, inner_learning_rate=RATES.get(method, 0.0), epochs=12, **changes)
    tasks = world.tasks(histories, crowd, 2)
    MetaTrainer(learner, world.base, histories, tasks, TrainOptions(seed=0)).run()
    return learner.requires_grad_(False)


def right_half(world: World, learner: MetaLearner, steps: int | None) -> float:
    """Share of the ten best items that are of the half of the catalog the user takes from; users the loop never saw."""
    histories, crowd = world.histories(40, 7)
    with torch.no_grad():
        change = learner.adapt(world.base, histories, steps)
        scores = world.base.channels.scores(histories, torch.zeros(40, world.base.encoder.width), world.base.space)
        served = world.base.head(scores, torch.full((40,), 8.0))
        adapted = through_adapters(served, scores, change, torch.arange(40), torch.full((40,), 8.0))
        best = adapted.topk(10, dim=1).indices.numpy()
    popular = world.popularity[best] > np.median(world.popularity)
    return float((popular == crowd[:, None]).mean())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_out_whom_a_user_follows(world: World, method: str) -> None:
    finds_out(world, trained(world, method))


@pytest.mark.slow
@pytest.mark.parametrize("method", [*RATES, "maml++", "generated", "closed-form"])
def test_so_does_every_method_of_the_bench(world: World, method: str, measured_methods: None) -> None:
    finds_out(world, trained(world, method))


def test_a_method_from_outside_needs_a_class_and_a_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class CountsUp(MetaLearner):
        """Towards the channels that find what the user takes, by one learned number; no gradient in the inner loop."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.rate = torch.nn.Parameter(torch.tensor(0.1))

        def moved(self, base: Base, support: Support, steps: int) -> dict[str, torch.Tensor]:
            own = support.scores[:, :, 0] * support.signals.unsqueeze(1)
            return self.starts(base, support) | {"head.weights.B": self.rate * steps * support.mean(own).unsqueeze(1)}

    monkeypatch.setitem(METHODS, "counts-up", CountsUp)
    learner = trained(world, "counts-up")
    assert float(learner.rate) != pytest.approx(0.1), "it was trained"
    finds_out(world, learner)


def finds_out(world: World, learner: MetaLearner) -> None:
    assert right_half(world, learner, 0) <= 0.55, "one start for all is right for half of them"
    assert right_half(world, learner, None) > 0.75


def test_interest_switches_within_three_events(world: World) -> None:
    """Who has followed the crowd and takes three things nobody takes is shown what nobody takes more than before."""
    learner = trained(world, "meta-sgd")
    histories, _ = world.histories(2, 3)
    rare = np.argsort(world.popularity)
    fresh = np.setdiff1d(rare[:30], histories.items_of(0), assume_unique=False)[:3]
    before = histories.of([0]).last(3)
    after = before.__class__(
        before.user_ids,
        np.array([0, 6]),
        np.concatenate([before.item_rows, fresh]),
        np.arange(6, dtype=np.int64),
        np.ones(6, dtype=np.int8),
        np.zeros(6, dtype=np.int64),
    )
    place = world.base.channels.names.index("popularity")
    with torch.no_grad():
        weights = [float(learner.adapt(world.base, h)["head.weights.B"][0, 0, place]) for h in (before, after)]
    assert weights[1] < 0 < weights[0]


def test_dislikes_push_the_other_way(world: World) -> None:
    learner = trained(world, "meta-sgd")
    place = world.base.channels.names.index("popularity")
    with torch.no_grad():
        liked, disliked = (
            learner.adapt(world.base, world.histories(2, 3, signal)[0])["head.weights.B"][:, 0, place]
            for signal in (1, -1)
        )
    assert liked[0] > 0 > liked[1]
    assert disliked[0] < 0 < disliked[1]


def test_history_and_head_are_meta_trained_together(world: World) -> None:
    histories, crowd = world.histories(24, 1)
    learner = world.learner(places=("head", "history"), epochs=3)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    MetaTrainer(learner, world.base, histories, world.tasks(histories, crowd, 2), TrainOptions(seed=0)).run()
    after = dict(learner.named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("step_sizes"))


def test_a_batch_of_tasks_is_the_sum_of_its_tasks(world: World) -> None:
    """One outer step over a batch has the gradient of one task at a time."""
    histories, crowd = world.histories(6, 1)
    tasks = world.tasks(histories, crowd, 2)

    def gradient(groups: list[torch.Tensor]) -> torch.Tensor:
        learner = world.learner(inner_learning_rate=0.2)
        lesson = next(Lesson.prepare(learner, world.base, histories, tasks))
        for rows in groups:
            part = lesson.of(rows)
            query_losses(world.base, part, learner.adapt_support(world.base, part.support)).sum().backward()
        return torch.cat([p.grad.ravel() for p in learner.step_sizes])

    together = gradient([torch.arange(6)])
    torch.testing.assert_close(together, gradient(list(torch.arange(6).split(1))), atol=1e-5, rtol=1e-4)


def test_same_seed_same_learner(world: World) -> None:
    one, other = trained(world, "meta-sgd"), trained(world, "meta-sgd")
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_closed_learner_changes_nobody(world: World) -> None:
    learner = trained(world, "meta-sgd")
    histories, _ = world.histories(4, 0)
    learner.open.fill_(False)
    with torch.no_grad():
        for name, part in learner.adapt(world.base, histories).items():
            torch.testing.assert_close(part, learner.start()[name].expand_as(part), rtol=0, atol=0)


def test_the_gate_says_how_much_of_an_update_is_taken(world: World) -> None:
    """Nothing, half of it, all of it; by how much is known, and by how unsure the base is."""
    histories, _ = world.histories(4, 0)
    histories = histories.drop_events(histories.positions < np.array([0, 2, 8, 8])[histories.user_rows])
    learner = world.learner(inner_learning_rate=0.5).requires_grad_(False)

    def moved(gate: list[float]) -> torch.Tensor:
        learner.gate.copy_(torch.tensor(gate))
        return learner.adapt(world.base, histories)["head.weights.B"] - learner.start()["head.weights.B"]

    whole = moved([50.0, 0.0, 0.0])
    assert bool(whole[2:].any())
    torch.testing.assert_close(moved([0.0, 0.0, 0.0]), whole / 2)
    torch.testing.assert_close(moved([-50.0, 0.0, 0.0]), torch.zeros_like(whole))
    support = Support.collate(world.base, histories, learner.contrast)
    learner.gate.copy_(torch.tensor([0.0, 3.0, 0.0]))
    share = torch.sigmoid(torch.log1p(support.counted)) * (support.counted > 0)
    assert share.unique().numel() > 1
    torch.testing.assert_close(learner.openness(world.base, support), share)
    learner.gate.copy_(torch.tensor([0.0, 0.0, 1.0]))
    assert learner.openness(world.base, support)[support.counted > 0].gt(0.5).all(), "the base is never quite sure"


def test_users_held_out_decide_what_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    histories, crowd = world.histories(24, 1)
    learner = world.learner(epochs=3)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    losses = iter(range(100))
    monkeypatch.setattr(MetaTrainer, "_loss", lambda *_: float(next(losses)))  # worse and worse
    MetaTrainer(learner, world.base, histories, world.tasks(histories, crowd, 2), TrainOptions(seed=0)).run()
    for name, p in learner.named_parameters():
        torch.testing.assert_close(p.detach(), before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, "choose one of"),
        ({"places": ()}, "places"),
        ({"places": ("head", "head")}, "each once"),
        ({"inner_steps": 0}, "inner_steps: wanted a whole number of at least 1"),
    ],
)
def test_config_errors(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdaptationConfig(**wrong)


def test_methods_of_the_bench_refuse_what_they_cannot_do(measured_methods: None) -> None:
    with pytest.raises(ConfigError, match="head only"):
        AdaptationConfig(method="anil", places=("head", "history"), inner_learning_rate=0.1)
    with pytest.raises(ConfigError, match="inner_learning_rate above 0"):
        AdaptationConfig(method="fomaml")
