"""Ratings in an evaluation: who is asked, what is measured, and against whom."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.ratings import errors_of
from recllm.evaluation.tuning import tune
from recllm.testing import ToyShop
from tests.small import config_for


@pytest.fixture(scope="module")
def world(toy: ToyShop) -> tuple[Catalog, Interactions]:
    """The toy shop, whose customers give 5 in their department, 2 elsewhere; one in four gives a star less, always."""
    rng = np.random.default_rng(0)
    users = list(toy.favourite)
    rows = []
    for user in users:
        for place, item in enumerate(rng.permutation(len(toy.catalog))[:16]):
            value = 5.0 if toy.department[item] == toy.favourite[user] else 2.0
            rows.append((user, toy.catalog.item_ids[item], 1_600_000_000 + 100 * place, value - (hash_of(user) == 0)))
    frame = pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "rating"], orient="row")
    return toy.catalog, Interactions.from_frame(frame)


def hash_of(user: str) -> int:
    return int(user.removeprefix("u")) % 4


def test_who_likes_nothing_is_asked_what_they_would_rate(world: tuple[Catalog, Interactions]) -> None:
    catalog, events = world
    sour = events.frame.with_columns(
        pl.when(pl.col("user_id").is_in(["u0", "u1", "u2"])).then(1.0).otherwise(pl.col("rating")).alias("rating")
    )
    events, asked = Interactions.from_frame(sour), [f"u{row}" for row in range(12)]
    lists, ratings = (make_splits(catalog, events, test_users=asked, ratings=which)[0] for which in (False, True))
    assert {"u0", "u1", "u2"}.isdisjoint(lists.arms[0].user_ids)
    assert {"u0", "u1", "u2"} <= set(ratings.arms[0].user_ids)
    assert len(ratings.arms[0]) == 12


class Knows:
    """Rates everything as a table says."""

    def __init__(self, truth: dict[tuple[str, str], float]) -> None:
        self.truth = truth

    def rate(self, users: Interactions, item_ids: list[str]) -> np.ndarray:
        return np.array([[self.truth.get((user, item), np.nan) for item in item_ids] for user in users.user_ids])

    def score(self, users: Interactions, item_ids: list[str]) -> np.ndarray:
        return np.nan_to_num(self.rate(users, item_ids))


def test_a_rater_is_measured_on_what_was_rated(world: tuple[Catalog, Interactions]) -> None:
    catalog, events = world
    split = make_splits(catalog, events, test_users=["u1", "u2", "u3"], ratings=True)[0]
    rows = events.frame.select("user_id", "item_id", "rating").rows()
    right = errors_of(Knows({(user, item): value for user, item, value in rows}), split)
    high = errors_of(Knows({(user, item): value + 1 for user, item, value in rows}), split)
    assert set(right) == {arm.name for arm in split.arms}
    for name in right:
        assert np.allclose(right[name]["MSE"], 0)
        assert np.allclose(high[name]["MSE"], 1)
        assert np.allclose(high[name]["Accuracy"], 0)
        assert np.allclose(np.nan_to_num(right[name]["Liked F1"], nan=1), 1)
    assert errors_of(object(), split) == {}


def test_the_report_has_ratings_beside_tuned_rivals(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    catalog, events = world
    config = config_for(tiny, objective="rating", adaptation=None)
    report = recllm.evaluate(config, catalog, events, shots=(0, 5), baselines=["user and item bias", "factorisation"])
    frame = report.to_polars().filter(pl.col("metric") == "RMSE")
    assert set(frame["method"]) == {"recllm", "user and item bias", "factorisation"}
    five = {method: value for method, shots, value in frame.select("method", "shots", "value").rows() if shots == 5}
    assert five["recllm"] < 0.8 * five["user and item bias"]
    metrics = set(report.to_polars().filter(pl.col("method") == "recllm")["metric"])
    assert {"MAE", "Accuracy", "Liked precision", "Liked recall", "Liked F1"} <= metrics
    told = report.about["methods"]["factorisation"][0]["for ratings"]
    assert told["validation"]["RMSE"] > 0
    assert "RMSE" in report.to_html()


def test_what_predicts_ratings_is_tuned_to_the_smallest_error(world: tuple[Catalog, Interactions]) -> None:
    catalog, events = world
    split = make_splits(catalog, events, test_users=["u1", "u2", "u3"], ratings=True)[0]
    tuned = tune("factorisation", catalog, split.fitting, split.validation, figure="RMSE")
    values = [value for _, value in tuned.tried]
    assert tuned.value == min(values) < max(values)
    assert tune("factorisation", catalog, split.fitting, split.validation).value <= 1, "NDCG@10, if nothing is said"
