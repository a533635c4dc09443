"""Every stage keeps its time, by a clock that the tests wind; newcomers and notes of a fit."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.adaptation.meta import AdaptationConfig
from recllm.model.fit.run import FitRun
from recllm.model.fit.stages import fit_stages
from recllm.model.fit.text import reading
from recllm.model.report import FitReport
from recllm.options import TrainOptions
from recllm.ranking.fit import fit_head
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for


class Clock:
    """Every look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def tasks(count: int = 100, items: int = 20) -> RankingTasks:
    scores = torch.randn(count, 2, items, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(count, items).scatter_(1, scores[:, 0].argmax(dim=1, keepdim=True), 1.0)
    rows = torch.arange(items).expand(count, items)
    return RankingTasks(scores, torch.ones(count), target, torch.ones(count), rows, torch.arange(count))


def test_the_head_keeps_its_time() -> None:
    plain, cut, whole = (RankingHead(2, RankingConfig(epochs=200, folds=2)) for _ in range(3))
    looks = Clock()
    fit_head(cut, tasks(), 0, seconds=0.0, clock=Clock())
    torch.testing.assert_close(cut.weights.weight, plain.weights.weight)
    fit_head(whole, tasks(), 0, seconds=30.0, clock=looks)
    assert looks.now < 60, "two heads of 200 epochs look far more often"
    assert not torch.equal(whole.weights.bias, plain.weights.bias)


def test_every_stage_keeps_its_time_and_the_report_says_so(tiny: Path, toy: ToyShop) -> None:
    config = config_for(tiny, adaptation=AdaptationConfig(epochs=500, folds=2, tasks=200, patience=500))
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=100_000))
    clock = Clock()
    run = FitRun(config, toy.catalog, toy.events, TrainOptions(budget=200, clock=clock))
    fit_stages(run)
    report = run.report
    assert clock.now < 300, "five hundred epochs and a hundred thousand steps take far longer"
    assert report.stopped["base"] == report.stopped["adaptation"] == "the time budget"
    assert any(note.startswith("base: cut by the time budget") for note in report.notes)
    assert np.isfinite(list(report.figures.values())).all()


@pytest.mark.parametrize(("left", "said"), [(1000.0, False), (50.0, True), (-5.0, True), (None, False)])
def test_reading_that_eats_the_budget_is_told_early_and_once(left: float | None, said: bool) -> None:
    clock, report = Clock(), FitReport()
    progress = reading(TrainOptions(clock=clock), report, left)
    for done in (256, 512, 10_000):
        progress(done, 10_000)
    assert len(report.notes) == said
    assert all("10,000 texts" in note for note in report.notes)


def test_from_catalog_tells_how_far_it_is(tiny: Path, toy: ToyShop) -> None:
    told: list[str] = []
    options = TrainOptions(progress=lambda stage, done, total, note="": told.append(stage))
    rec = Recommender.from_catalog(toy.catalog, config=config_for(tiny), options=options)
    assert set(told) == {"read the catalog"}
    assert "text" in rec.report.seconds


def test_newcomers_get_the_same_order_everywhere(tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    rec = Recommender(config_for(tiny)).fit(toy.catalog, toy.events)
    items = list(toy.catalog.item_ids)
    rec.model.channels = dataclasses.replace(rec.model.channels, newcomers=np.arange(len(items), dtype=np.float32))
    rec.save(tmp_path / "model")
    for served in (rec, Recommender.load(tmp_path / "model")):
        for adapters in (None, served.adapt({"x": []})):
            scores = served.score({"x": [], "y": items[:2]}, items)
            assert (np.diff(scores[0]) > 0).all(), "the order that newcomers get"
            assert not (np.diff(scores[1]) > 0).all(), "and nobody else"
            listed = served.recommend({"x": []}, n=5, adapters=adapters).to_pandas()
            assert listed.item_id.tolist() == items[:-6:-1]
            np.testing.assert_allclose(listed.score, scores[0][:-6:-1], rtol=1e-5)
