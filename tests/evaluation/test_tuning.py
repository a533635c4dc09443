"""Tuning: the figure that decides, ties, and that settings of scoring cost no fit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import make_tasks
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ConfigError, DataError
from recllm.evaluation import metrics
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.item_knn import ItemKNN
from recllm.evaluation.baselines.popularity import Popularity
from recllm.evaluation.baselines.registry import BASELINES
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.tuning import tune
from recllm.testing import ToyShop, toy_shop


def arms_of(catalog: Catalog, log: Interactions, shots: tuple[int, ...] = (0, 1, 3)) -> list[Arm]:
    tasks = make_tasks(make_histories(log, catalog, Feedback.infer(log.frame)), query_size=4)
    return [Arm("users", size, tasks.support.last(size), tasks.query, log=log) for size in shots]


@pytest.fixture(scope="module")
def halves(toy: ToyShop) -> tuple[Interactions, list[Arm]]:
    weights = np.where(np.arange(len(toy.events)) % 10 == 0, 0.0, 1.0)  # one in ten is no like
    events = Interactions.from_frame(toy.events.frame.with_columns(weight=weights))
    fitting, validation = (events.of_users(events.user_ids[part]) for part in (slice(60), slice(60, 80)))
    return fitting, arms_of(toy.catalog, validation)


def test_the_best_of_all_is_chosen_and_its_value_is_the_metric(
    toy: ToyShop, halves: tuple[Interactions, list[Arm]]
) -> None:
    fitting, arms = halves
    tuned = tune("item-kNN", toy.catalog, fitting, arms)
    assert len(tuned.tried) == len(ItemKNN.choices)
    assert tuned.value == max(value for _, value in tuned.tried)
    chosen = next(settings for settings, value in tuned.tried if value == tuned.value)
    assert tuned.settings == ItemKNN(**chosen).settings
    facts = metrics.ItemFacts.of(toy.catalog, fitting)
    for baseline in (tuned.baseline, ItemKNN(**tuned.settings).fit(toy.catalog, fitting)):
        figures = [
            metrics.measure(rank_arm("knn", baseline, arm, toy.catalog), arm, facts)[0]["NDCG@10"].mean()
            for arm in arms
            if arm.shots
        ]
        assert tuned.value == pytest.approx(np.mean(figures), rel=1e-9)


@pytest.mark.parametrize("name", list(BASELINES))
def test_each_baseline_can_be_tuned(
    name: str, tiny: Path, toy: ToyShop, halves: tuple[Interactions, list[Arm]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = BASELINES[name]
    some = kind.choices[:: max(len(kind.choices) // 4, 1)]
    monkeypatch.setattr(kind, "choices", some)
    steps: list[tuple[int, int]] = []
    tuned = tune(
        kind,
        toy.catalog,
        halves[0],
        halves[1],
        common={"text": TextEncoderConfig(backbone=str(tiny)), "seed": 3},
        progress=lambda done, of: steps.append((done, of)),
    )
    assert steps == [(done, len(some)) for done in range(1, len(some) + 1)]
    assert tuned.settings["seed"] == 3
    # What predicts ratings has none to learn from here: it lists what is popular.
    lists_what_is_popular = "popularity" in name or getattr(BASELINES[name], "only_ratings", False)
    assert tuned.value > (0.1 if lists_what_is_popular else 0.2)


def test_one_fit_serves_all_windows(
    toy: ToyShop, halves: tuple[Interactions, list[Arm]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[Any] = []
    fit = ItemKNN._fit
    monkeypatch.setattr(ItemKNN, "_fit", lambda self, *given: (fits.append(self.settings), fit(self, *given)))
    tune(ItemKNN, toy.catalog, *halves)
    assert len(fits) == len(ItemKNN.choices) / 4


def test_arms_without_shots_count_only_alone(toy: ToyShop, halves: tuple[Interactions, list[Arm]]) -> None:
    fitting, arms = halves
    assert tune("item-kNN", toy.catalog, fitting, arms).tried == tune("item-kNN", toy.catalog, fitting, arms[1:]).tried
    alone = tune("item-kNN", toy.catalog, fitting, arms[:1])
    # Without events all are popularity, over all events or liked ones: of equals the first wins.
    assert len({value for _, value in alone.tried}) <= 2
    first = next(settings for settings, value in alone.tried if value == alone.value)
    assert alone.settings == ItemKNN(**first).settings


def test_liked_events_alone_are_not_tried_where_all_are_liked(toy: ToyShop) -> None:
    fitting, rest = toy.events.of_users(toy.events.user_ids[:60]), toy.events.of_users(toy.events.user_ids[60:])
    tuned = tune("popularity", toy.catalog, fitting, arms_of(toy.catalog, rest))
    assert [settings for settings, _ in tuned.tried] == [{"events": "all"}]


def test_the_order_of_the_catalog_does_not_matter(toy: ToyShop, halves: tuple[Interactions, list[Arm]]) -> None:
    fitting, arms = halves
    log = arms[0].log
    assert log is not None
    mixed = Catalog.from_frame(toy.catalog.frame.sample(fraction=1, shuffle=True, seed=1))
    for name in ("popularity", "recent popularity", "item-kNN", "EASE"):
        first, second = (tune(name, catalog, fitting, arms_of(catalog, log)) for catalog in (toy.catalog, mixed))
        np.testing.assert_allclose([v for _, v in first.tried], [v for _, v in second.tried], atol=1e-9)


def test_candidates_and_seen_items_are_as_in_the_evaluation(
    toy: ToyShop, halves: tuple[Interactions, list[Arm]]
) -> None:
    fitting, arms = halves
    half = np.arange(len(toy.catalog)) % 2 == 0
    arm = dataclasses.replace(arms[2], candidates=half, exclude_seen=False)
    tuned = tune(Popularity, toy.catalog, fitting, [arm])
    ranked = rank_arm("popularity", tuned.baseline, arm, toy.catalog)
    figures = metrics.measure(ranked, arm, metrics.ItemFacts.of(toy.catalog, fitting))[0]["NDCG@10"]
    assert tuned.value == pytest.approx(np.nanmean(figures))


def test_what_cannot_be_tuned(toy: ToyShop, halves: tuple[Interactions, list[Arm]]) -> None:
    fitting, arms = halves
    with pytest.raises(ConfigError, match="there is no baseline 'magic'; choose from popularity, recent popularity"):
        tune("magic", toy.catalog, fitting, arms)
    empty = [Arm("users", 1, arm.support.of([]), arm.query.of([]), log=arm.log) for arm in arms[1:2]]
    with pytest.raises(DataError, match="1 arms with 0 users have none"):
        tune("popularity", toy.catalog, fitting, empty)


def test_a_small_shop_with_odd_events_can_be_tuned() -> None:
    shop = toy_shop(users=12, items_per_department=4, purchases=4)
    frame = shop.events.frame.with_columns(rating=pl.Series(np.tile([5.0, 1.0, 3.0], 16)))
    events = Interactions.from_frame(frame)
    fitting, rest = events.of_users(events.user_ids[:6]), events.of_users(events.user_ids[6:])
    for name in ("item-kNN", "EASE", "factorisation"):
        tuned = tune(name, shop.catalog, fitting, arms_of(shop.catalog, rest, (1,)))
        assert 0 <= tuned.value <= 1
