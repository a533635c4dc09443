"""By what a list is ordered."""

import numpy as np
import pytest

from recllm.errors import ConfigError
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import newcomer


@pytest.fixture(scope="module")
def shop(sorted_shop: Recommender) -> Recommender:
    """Knows events, so that the ranking head weighs more than texts."""
    return sorted_shop


def test_by_similarity_is_the_cosine_to_the_mean_of_what_was_liked(shop: Recommender, toy: ToyShop) -> None:
    liked = newcomer(toy, 0)
    rows, text = shop.catalog.rows(liked), shop.model.channels.text.numpy()
    cosines = text @ text[rows].sum(axis=0)
    cosines[rows] = -np.inf
    found = [row.item_id for row in shop.recommend({"x": liked}, n=5, by="similarity")]
    best = np.argsort(-cosines, kind="stable")[:5]
    np.testing.assert_allclose(cosines[shop.catalog.rows(found)], cosines[best], atol=1e-5)
    assert found != [row.item_id for row in shop.recommend({"x": liked}, n=5)], "the head weighs more than texts"


def test_by_similarity_who_liked_nothing_gets_the_usual_list(shop: Recommender) -> None:
    usual = [row.item_id for row in shop.recommend({"x": []}, n=5)]
    assert [row.item_id for row in shop.recommend({"x": []}, n=5, by="similarity")] == usual


def test_reasons_of_a_list_by_similarity_can_be_checked(shop: Recommender, toy: ToyShop) -> None:
    recs = shop.recommend({"x": newcomer(toy, 0)}, n=3, by="similarity", explain=True)
    assert {row.evidence["channel"] for row in recs if row.evidence} == {"text"}
    for row in recs:
        assert row.proof is not None
        assert row.proof["request"]["by"] == "similarity"
        assert shop.verify_explanation(row).passed


def test_an_item_is_explained_by_the_order_that_was_asked_for(shop: Recommender, toy: ToyShop) -> None:
    user = {"x": newcomer(toy, 0)}
    items = [row.item_id for row in shop.recommend(user, n=3, by="similarity")]
    told = shop.explain(user, items, by="similarity")
    assert {row.evidence["channel"] for row in told} == {"text"}
    assert [row.evidence["place"] for row in told] == [1, 2, 3]
    assert all(shop.verify_explanation(row).passed for row in told)


@pytest.mark.parametrize("by", ["likes", None, 3])
def test_what_is_no_order_is_refused(shop: Recommender, by: object) -> None:
    with pytest.raises(ConfigError, match=r"by is one of 'history', 'similarity', 'rating'; got"):
        shop.recommend({"x": []}, by=by)  # type: ignore[arg-type]
