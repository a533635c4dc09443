"""Stages of fitting: who may see what, and what is kept. Whatever can be is replaced by what takes no time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm import fitting
from recllm.adaptation.meta import AdaptationConfig
from recllm.adaptation.train import MetaTrainer
from recllm.encoders.train import BaseTrainingConfig, TrainingLog
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for, newcomer

QUICK = {
    "training": BaseTrainingConfig(steps=2, batch_users=16, validate_every=2),
    "ranking": RankingConfig(hidden=8, folds=1, rounds=1, tasks=0, epochs=1),
}
HELPS, HARMS, NOISE = [0.1, 0.2, 0.1, 0.2], [-0.1, -0.2, -0.1, -0.2], [0.3, -0.3, 0.3, -0.28]


def learned_far(self: MetaTrainer, seconds: float | None = None) -> TrainingLog:
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
    monkeypatch.setattr(fitting, "few_shot_ndcg", lambda *_, **__: {1: next(figures)})
    monkeypatch.setattr(MetaTrainer, "run", learned_far)
    adaptation = AdaptationConfig(epochs=1, inner_learning_rate=0.5, tasks=50)
    config = config_for(tiny, adaptation=adaptation, **QUICK)
    rec = Recommender(config).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))
    said = "used" if used else "left alone: they did not help held-out users"
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
    monkeypatch.setattr(fitting, "few_shot_ndcg", lambda *_, **__: {1: next(figures)})
    adaptation = AdaptationConfig(epochs=3, folds=2, tasks=200)
    rec = Recommender(config_for(tiny, adaptation=adaptation, **QUICK)).fit(toy.catalog, toy.events)
    assert rec.report.seconds["adaptation"] > 0
    assert rec.report.stopped["adaptation"] == "all folds done"
    assert rec.model.learner is not None
    assert any(bool(sizes.any()) for sizes in rec.model.learner.step_sizes), "which begin at 0"
    users, items = {"x": newcomer(toy, 1)}, list(toy.catalog.item_ids)
    assert np.abs(rec.score(users, items) - rec.score(users, items, adapt=False)).max() > 1e-4
    assert rec.adapt(users).user_ids == ("x",)


def test_reserved_users_and_those_of_early_stopping_shape_no_channel(tiny: Path, toy: ToyShop) -> None:
    rec = Recommender(config_for(tiny, adaptation=None, **QUICK)).fit(toy.catalog, toy.events)
    counts = rec.report.counts
    assert counts["head users"] >= 1
    assert counts["validation tasks"] >= 1
    assert counts["base users"] + counts["head users"] < counts["users"] == 80
    learned = toy.events.frame.group_by("item_id").len()
    everybody = dict(zip(learned["item_id"], learned["len"], strict=True))
    seen = dict(zip(toy.catalog.item_ids, rec.model.channels.popularity.tolist(), strict=True))
    assert all(seen[item] <= everybody[item] for item in everybody)
    assert sum(seen.values()) == counts["base users"] * 10, "each has ten events, all of them liked"
    assert rec.model.channels.trend.total.sum() == counts["base users"] * 10


def test_liked_from_is_heard(tiny: Path, toy: ToyShop) -> None:
    import polars as pl

    from recllm.data.interactions import Interactions

    stars = pl.Series("rating", np.random.default_rng(0).integers(1, 6, len(toy.events)))
    rated = Interactions.from_frame(toy.events.frame.with_columns(stars))
    thresholds = [
        fitting.Fitter(config_for(tiny, liked_from=wanted), toy.catalog, rated, TrainOptions()).feedback.liked_from
        for wanted in (None, 2.0)
    ]
    assert thresholds == [4.0, 2.0]
