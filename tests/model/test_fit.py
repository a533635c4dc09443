"""Stages of fitting: who may see what, and what is kept. Whatever can be is replaced by what takes no time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recllm.adaptation.meta import AdaptationConfig
from recllm.adaptation.train import MetaTrainer
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import ItemEncoder
from recllm.encoders.text import Whitening
from recllm.encoders.train import TrainingLog
from recllm.model.fit import adapt, head, stages
from recllm.model.fit.run import FitRun
from recllm.model.model import Model
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig
from recllm.ranking.objective import RankingTasks
from recllm.recommender import Recommender
from recllm.retrieval.scoring import Channels
from recllm.testing import ToyShop
from tests.small import config_for, newcomer

QUICK = {
    "training": BaseTrainingConfig(steps=2, batch_users=16, validate_every=2),
    "ranking": RankingConfig(hidden=8, folds=1, rounds=1, tasks=0, epochs=1),
}
HELPS, HARMS, NOISE = [0.1, 0.2, 0.1, 0.2], [-0.1, -0.2, -0.1, -0.2], [0.3, -0.3, 0.3, -0.28]


def learned_far(self: MetaTrainer, *_: object) -> TrainingLog:
    """An outer loop that moves everything it may move, adapters and head."""
    with torch.no_grad():
        for part in (*self.learner.step_sizes, *self.learner.start_matrices, *self.base.head.parameters()):
            part += 1.0
    return TrainingLog(stopped="far")


@pytest.mark.parametrize(("gain", "used"), [(HELPS, True), (HARMS, False), (NOISE, False)])
def test_adapters_are_used_where_they_help_users_nobody_has_trained_on(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch, gain: list[float], used: bool
) -> None:
    """The gate opens on a gain above its standard error; closed, head and learner are as before the outer loop."""
    figures = iter([np.full(4, 0.5), np.full(4, 0.5) + gain])
    monkeypatch.setattr(adapt, "validated", lambda *_: next(figures))
    monkeypatch.setattr(MetaTrainer, "run", learned_far)
    adaptation = AdaptationConfig(epochs=1, inner_learning_rate=0.5, tasks=50)
    config = config_for(tiny, adaptation=adaptation, **QUICK)
    rec = Recommender(config).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))
    said = "used" if used else "not used: they did not help held-out users"
    assert rec.report.chosen["adapters"] == said
    assert rec.report.figures["adapters' gain"] == pytest.approx(np.mean(gain))
    learner = rec.model.learner
    assert learner is not None
    assert bool(learner.open) is used
    sizes = {float(size) for part in learner.step_sizes for size in part.detach().unique()}
    assert sizes == ({1.5} if used else {0.5})
    users, items = {"x": newcomer(toy, 1)}, list(toy.catalog.item_ids)
    moved = np.abs(rec.score(users, items) - rec.score(users, items, adapt=False)).max()
    assert (moved > 1e-3) == used
    untouched = Recommender(config_for(tiny, adaptation=None, **QUICK)).fit(toy.catalog, toy.events)
    same = torch.equal(rec.model.head.weights.bias, untouched.model.head.weights.bias)
    assert same != used


def test_what_meta_training_learns_is_served_once_the_gate_is_open(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([np.full(4, 0.5), np.full(4, 0.5) + HELPS])
    monkeypatch.setattr(adapt, "validated", lambda *_: next(figures))
    adaptation = AdaptationConfig(epochs=3, folds=2, tasks=200)
    rec = Recommender(config_for(tiny, adaptation=adaptation, **QUICK)).fit(toy.catalog, toy.events)
    assert rec.report.seconds["adaptation"] > 0
    assert rec.report.stopped["adaptation"] == "all folds done"
    assert rec.model.learner is not None
    assert any(bool(sizes.any()) for sizes in rec.model.learner.step_sizes), "which begin at 0"
    users, items = {"x": newcomer(toy, 1)}, list(toy.catalog.item_ids)
    assert np.abs(rec.score(users, items) - rec.score(users, items, adapt=False)).max() > 1e-4
    assert rec.adapt(users).user_ids == ("x",)


def test_reserved_users_and_those_of_early_stopping_shape_no_channel_until_all_is_learned(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_on: list[Channels] = []
    serve = stages.serve_everybody

    def remembered(run: FitRun, model: Model) -> None:
        learned_on.append(model.channels)
        serve(run, model)

    monkeypatch.setattr(stages, "serve_everybody", remembered)
    rec = Recommender(config_for(tiny, adaptation=None, **QUICK)).fit(toy.catalog, toy.events)
    counts, (before,) = rec.report.counts, learned_on
    assert counts["head users"] >= 1
    assert counts["validation tasks"] >= 1
    assert counts["base users"] + counts["head users"] < counts["users"] == 80
    served = rec.model.channels
    assert (before.popularity.liked <= served.popularity.liked).all()
    for channels, users in ((before, counts["base users"]), (served, counts["users"])):
        assert channels.popularity.liked.sum() == users * 10, "each has ten events, all of them liked"
        assert channels.trend.total.sum() == users * 10
    weights = [channels["cooccurrence"].tensors()["data"] for channels in (before, served)]
    assert weights[0].shape != weights[1].shape or (weights[0] != weights[1]).any()


def with_unsold_items(toy: ToyShop) -> Catalog:
    fresh = pl.DataFrame({"item_id": [f"new {row}" for row in range(6)], "title": ["toys thing"] * 6})
    return toy.catalog.extend(Catalog.from_frame(fresh))


def test_whitening_knows_items_with_events_only(tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, given, fit = with_unsold_items(toy), [], Whitening.fit

    def remembered(vectors: np.ndarray, shrinkage: float) -> Whitening:
        given.append(len(vectors))
        return fit(vectors, shrinkage)

    monkeypatch.setattr(Whitening, "fit", remembered)
    model = Recommender(config_for(tiny, adaptation=None, **QUICK)).fit(catalog, toy.events).model
    warm = model.items.warm.numpy()
    assert given == [warm.sum()]
    assert not warm[-6:].any()
    np.testing.assert_array_equal(warm, model.channels.popularity.liked > 0)


def head_tasks(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch, masked_items: float
) -> tuple[RankingTasks, tuple[str, ...], list[float]]:
    """What the head is fitted on, the names of its channels, and shares of items read without their delta."""
    tasks, hidden, forward = [], [], ItemEncoder.forward

    def reading(self: ItemEncoder, rows: object = None, hidden_delta: torch.Tensor | None = None) -> torch.Tensor:
        if hidden_delta is not None and rows is None:
            hidden.append(float(hidden_delta.float().mean()))
        return forward(self, rows, hidden_delta)  # type: ignore[arg-type]

    monkeypatch.setattr(head, "fit_head", lambda head, given, *_, **__: tasks.append(given))
    monkeypatch.setattr(ItemEncoder, "forward", reading)
    ranking = RankingConfig(hidden=8, folds=1, rounds=25, tasks=0, masked_items=masked_items)
    config = config_for(tiny, adaptation=None, training=QUICK["training"], ranking=ranking)
    rec = Recommender(config).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))
    return tasks[0], rec.model.channels.names, hidden


def test_masked_items_look_new_while_the_head_is_fitted(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowest = {}
    for share in (0.0, 0.8):
        tasks, names, hidden = head_tasks(tiny, toy, monkeypatch, share)
        scores = torch.where(tasks.scores.isnan(), torch.inf, tasks.scores)
        at_the_bottom = (scores <= scores.amin(dim=2, keepdim=True)).float().mean(dim=(0, 2))
        lowest[share] = dict(zip(names, at_the_bottom.tolist(), strict=True))
        assert np.mean(hidden) == pytest.approx(share, abs=0.05), "nor do they have a delta"
    for name in ("popularity", "trend", "recent"):
        assert lowest[0.0][name] < 0.3
        assert lowest[0.8][name] > 0.6
    assert lowest[0.8]["text"] < 0.3, "what a text says stays"


def test_the_head_meets_newcomers(tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, _, _ = head_tasks(tiny, toy, monkeypatch, 0.0)
    assert float((tasks.known == 0).float().mean()) == pytest.approx(0.1, abs=0.06)


def test_the_head_is_asked_as_of_the_time(tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was popular at the moment of a task, not what was so in the end."""
    moments, profiles = [], Channels.profiles

    def asked(self: Channels, histories: object, users: object, items: object, asked_at: object = None) -> object:
        moments.append(asked_at)
        return profiles(self, histories, users, items, asked_at)  # type: ignore[arg-type]

    monkeypatch.setattr(Channels, "profiles", asked)
    head_tasks(tiny, toy, monkeypatch, 0.0)
    known = np.concatenate([moment for moment in moments if moment is not None])
    assert len(np.unique(known)) > 3
    assert (known < toy.events.frame["timestamp"].max()).mean() > 0.5


def test_liked_from_is_heard(tiny: Path, toy: ToyShop) -> None:
    stars = pl.Series("rating", np.random.default_rng(0).integers(1, 6, len(toy.events)))
    rated = Interactions.from_frame(toy.events.frame.with_columns(stars))
    thresholds = [
        FitRun(config_for(tiny, liked_from=wanted), toy.catalog, rated, TrainOptions()).feedback.liked_from
        for wanted in (None, 2.0)
    ]
    assert thresholds == [4.0, 2.0]
