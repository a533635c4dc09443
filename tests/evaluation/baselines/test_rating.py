"""Baselines that predict ratings: by hand, and in a world with neighbours."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.evaluation.baselines.rating import RatingKNN, UserItemBias
from recllm.testing import ScorerContract

ITEMS = [f"i{row}" for row in range(8)]
CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": ITEMS, "title": [f"thing {row}" for row in range(8)]}))


def log(rows: list[tuple[str, str, int, float]]) -> Interactions:
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "rating"], orient="row")
    )


class TestUserItemBias(ScorerContract):
    make = staticmethod(lambda: UserItemBias())


class TestRatingKNN(ScorerContract):
    make = staticmethod(lambda: RatingKNN())


def test_biases_by_hand() -> None:
    """With endless shrinkage of users, an item's bias is its mean above that of all, shrunken."""
    events = log([("u", "i0", 1, 5), ("v", "i0", 1, 4), ("w", "i1", 1, 2), ("x", "i1", 1, 1)])
    fitted = UserItemBias(item_shrinkage=2.0, user_shrinkage=1e12).fit(CATALOG, events)
    found = fitted.rate(Interactions.from_mapping({"new": []}), ["i0", "i1", "i2", "?"])
    assert_allclose(found, [[3 + 3 / 4, 3 - 3 / 4, 3, np.nan]], rtol=1e-6)


def test_a_users_bias_is_shrunken() -> None:
    events = log([(f"u{user}", "i0", 1, 3) for user in range(50)])
    fitted = UserItemBias(user_shrinkage=4.0).fit(
        CATALOG, log([*events.frame.select("user_id", "item_id", "timestamp", "rating").rows(), ("z", "i1", 1, 5)])
    )
    asked = log([("new", "i0", 1, 5.0)])
    above = 5 - fitted.rate(Interactions.from_mapping({"new": []}), ["i0"])[0, 0]
    assert fitted.rate(asked, ["i0"])[0, 0] == pytest.approx(5 - above + above / 5, abs=1e-4)


def test_what_is_rated_alike_is_predicted_alike() -> None:
    """Items 0 and 1 are rated alike, 2 and 3 the other way round: what is said of 0 is said of 1, not of 3."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(200):
        taste = rng.choice([-1.5, 1.5])
        rows += [(f"u{user}", f"i{item}", 1, 3.5 + taste * (1 if item < 2 else -1)) for item in range(4)]
    fitted = RatingKNN(shrinkage=10.0, damping=0.1).fit(CATALOG, log(rows))
    found = fitted.rate(log([("new", "i0", 1, 5.0)]), ITEMS)[0]
    assert found[1] > 4
    assert found[3] < 3
    assert found[5] == pytest.approx(found[6])


def test_the_log_without_ratings_is_listed_by_what_is_popular() -> None:
    events = Interactions.from_mapping({"u": ["i0", "i1"], "v": ["i1"]})
    for kind in (UserItemBias, RatingKNN):
        assert kind().fit(CATALOG, events).score(events, ITEMS)[0].argmax() == 1
