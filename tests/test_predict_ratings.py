"""`predict_ratings`: any user, any item, on the scale that was learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for


@pytest.fixture(scope="module")
def rec(tiny: Path, toy: ToyShop) -> Recommender:
    """Customers give 9 in their department and 4 elsewhere, on a scale of 10."""
    rng = np.random.default_rng(0)
    rows = []
    for user, favourite in toy.favourite.items():
        for place, item in enumerate(rng.permutation(len(toy.catalog))[:14]):
            value = 9.0 if toy.department[item] == favourite else 4.0
            rows.append((user, toy.catalog.item_ids[item], 1_600_000_000 + 100 * place, value))
    events = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "rating"], orient="row"))
    return Recommender(config_for(tiny, objective="rating", adaptation=None)).fit(toy.catalog, events)


def rated(toy: ToyShop, department: int, value: float = 9.0) -> list[dict[str, object]]:
    mine = np.flatnonzero(toy.department == department)[:2]
    other = np.flatnonzero(toy.department != department)[:2]
    told = [(row, value) for row in mine] + [(row, 4.0) for row in other]
    return [{"item_id": toy.catalog.item_ids[row], "rating": rating} for row, rating in told]


def test_a_newcomer_is_predicted_from_four_ratings(rec: Recommender, toy: ToyShop) -> None:
    found = rec.predict_ratings({"new": rated(toy, 1)}, list(toy.catalog.item_ids))
    assert found.dtype == np.float32
    assert found[0][toy.department == 1].min() > 7.5
    assert found[0][toy.department != 1].max() < 5.5


def test_users_who_are_remembered_and_nobody(rec: Recommender, toy: ToyShop) -> None:
    found = rec.predict_ratings(["u0", "nobody"], [toy.catalog.item_ids[0], "?"])
    assert np.isnan(found[:, 1]).all()
    assert (found[:, 0] >= 4).all()
    assert (found[:, 0] <= 9).all()


def test_each_users_own_items(rec: Recommender, toy: ToyShop) -> None:
    ids = toy.catalog.item_ids
    found = rec.predict_ratings(["u0", "u1"], {"u0": [ids[3]], "u1": [ids[4], ids[3]]})
    assert np.isnan(found[0, 1])
    assert found[1, 1] == rec.predict_ratings(["u1"], [ids[3]])[0, 0]


def test_without_own_numbers_taste_is_not_known(rec: Recommender, toy: ToyShop) -> None:
    found = rec.predict_ratings({"new": rated(toy, 1)}, list(toy.catalog.item_ids), adapt=False)
    assert np.ptp(found) < 2


def test_it_is_the_same_after_saving_and_grows(rec: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    rec.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    ids = list(toy.catalog.item_ids)
    assert (again.predict_ratings(["u0"], ids) == rec.predict_ratings(["u0"], ids)).all()
    fresh = pl.DataFrame({"item_id": ["new"], "title": [toy.catalog.titles[0]]})
    again.add_items(Catalog.from_frame(fresh))
    assert np.isfinite(again.predict_ratings(["u0"], ["new"])).all()


def test_another_scale_is_refused(rec: Recommender, toy: ToyShop) -> None:
    user = {"new": rated(toy, 1, value=90.0)}
    doors: list[Callable[[], object]] = [
        lambda: rec.predict_ratings(user, [toy.catalog.item_ids[0]]),
        lambda: rec.recommend(user, by="rating"),
        lambda: rec.explain(user, "i1", by="rating"),
        lambda: rec.update(user),
    ]
    for door in doors:
        with pytest.raises(DataError, match=r"a rating of 90 came.*from 4 to 9"):
            door()
    assert "new" not in rec.user_ids


def test_what_cannot_be_learned_is_said(tiny: Path, toy: ToyShop) -> None:
    with pytest.raises(DataError, match=r"objective=.rating. learns ratings, and none of the 800 events has one"):
        Recommender(config_for(tiny, objective="rating")).fit(toy.catalog, toy.events)
    with pytest.raises(ConfigError, match="objective: wanted one of 'ranking', 'rating'"):
        config_for(tiny, objective="stars")
    alone = Recommender.from_catalog(toy.catalog, config=config_for(tiny, adaptation=None))
    with pytest.raises(ConfigError, match=r'fit one with RecommenderConfig.objective="rating".'):
        alone.predict_ratings(["u0"], ["i0"])


def test_the_ranking_is_what_it_is_without(rec: Recommender, tiny: Path, toy: ToyShop) -> None:
    events = rec.fitted.memory.log
    plain = Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, events)
    ids = list(toy.catalog.item_ids)
    assert (plain.score(["u0", "u5"], ids) == rec.score(["u0", "u5"], ids)).all()


def test_lists_by_rating(rec: Recommender, toy: ToyShop) -> None:
    ids, told = list(toy.catalog.item_ids), rated(toy, 1)
    recs = rec.recommend({"new": told}, n=5, by="rating", explain=True)
    scores = [row.score for row in recs]
    assert scores == sorted(scores, reverse=True)
    predicted = rec.predict_ratings({"new": told}, ids)[0]
    assert [row.score for row in recs] == pytest.approx([predicted[ids.index(row.item_id)] for row in recs])
    assert {toy.department[ids.index(row.item_id)] for row in recs} == {1}
    for row in recs:
        assert rec.verify_explanation(row).passed, rec.verify_explanation(row)
    plain = Recommender.from_catalog(toy.catalog, config=rec.config)
    with pytest.raises(ConfigError, match="has not learned what ratings will be"):
        plain.recommend({"new": told}, by="rating")
