"""What is like an item, or goes with a basket."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError
from recllm.lists.results import Recommendations
from recllm.lists.similar import SHRINKAGE
from recllm.recommender import Recommender
from recllm.retrieval.channels.cooccurrence import TakenTogether
from recllm.testing import ToyShop
from tests.small import config_for

PEOPLE = 30


@pytest.fixture(scope="module")
def shop(tiny: Path) -> Recommender:
    """Lamps are taken with bulbs, whose texts are unlike, and nails with hammers; everybody takes bags.

    One customer alone has taken a lamp and a saw.
    """
    frame = pl.DataFrame(
        {
            "item_id": ["lamp", "lamp2", "bulb", "hammer", "nails", "bag", "saw", "new"],
            "title": ["floor lamp", "floor lamp tall", "bulb", "hammer", "iron nails", "bag", "saw", "floor lamp new"],
        }
    )
    log = {f"l{number}": ["lamp", "bulb", "bag"] for number in range(PEOPLE)}
    log |= {f"h{number}": ["hammer", "nails", "bag"] for number in range(PEOPLE)}
    log |= {"one": ["lamp", "saw"], "two": ["lamp2", "bulb"], "three": ["lamp2", "bulb"]}
    return Recommender.from_catalog(Catalog.from_frame(frame), config=config_for(tiny)).update(log)


def ids(recs: Recommendations, name: str) -> list[str]:
    return [row.item_id for row in recs[name]]


def test_what_reads_alike_is_not_what_is_taken_together(shop: Recommender) -> None:
    text, together = (shop.similar_items("lamp", n=2, by=by) for by in ("text", "together"))  # type: ignore[arg-type]
    assert "new" in ids(text, "lamp"), "which nobody took"
    assert ids(together, "lamp") == ["bulb", "bag"], "everybody takes bags, so they say less of a lamp"


def test_scores_are_shrunk_cosines(shop: Recommender) -> None:
    (bulb, bag, saw) = shop.similar_items(["lamp"], by="together")
    lamps, bulbs, bags, saws = PEOPLE + 1, PEOPLE + 2, 2 * PEOPLE, 1

    def cosine(both: int, one: int, other: int) -> float:
        return both / float(np.sqrt((one + SHRINKAGE) * (other + SHRINKAGE)))

    assert bulb.score == pytest.approx(cosine(PEOPLE, lamps, bulbs))
    assert bag.score == pytest.approx(cosine(PEOPLE, lamps, bags))
    assert (saw.item_id, saw.score) == ("saw", pytest.approx(cosine(1, lamps, saws)))


def test_a_basket_gets_one_list_of_what_goes_with_all_of_it(shop: Recommender) -> None:
    recs = shop.similar_items(["lamp", "hammer"], n=3, by="together", basket=True)
    assert recs.user_ids == ("basket",)
    assert ids(recs, "basket")[0] == "bag", "it goes with both"
    assert not {"lamp", "hammer"} & {*ids(recs, "basket")}


def test_a_basket_is_the_mean_of_cosines_where_there_are_no_weights(shop: Recommender) -> None:
    channels = shop.model.channels
    fewer = replace(channels, fitted=tuple(one for one in channels.fitted if one.name != "cooccurrence"))
    without = shop.with_model(replace(shop.model, channels=fewer), shop.config)
    (first, *_) = without.similar_items(["lamp", "hammer"], by="together", basket=True)
    each = [shop.similar_items([name], n=2, by="together").to_dicts() for name in ("lamp", "hammer")]
    bags = [row["score"] for rows in each for row in rows if row["item_id"] == "bag"]
    assert (first.item_id, first.score, len(bags)) == ("bag", pytest.approx(sum(bags) / 2), 2)


def test_for_users_the_best_of_what_is_alike(shop: Recommender) -> None:
    recs = shop.similar_items(["lamp"], n=2, by="together", users={"x": ["nails", "bag"], "y": []})
    assert recs.user_ids == ("x", "y")
    assert set(ids(recs, "x")) == {"bulb", "saw"}, "the bag is theirs already"
    scores = shop.score({"x": ["nails", "bag"]}, ["bulb", "saw"])[0]
    assert {row.item_id: row.score for row in recs["x"]} == pytest.approx(
        dict(zip(["bulb", "saw"], scores, strict=True))
    )
    own = shop.similar_items({"x": ["lamp"], "y": ["hammer"]}, n=1, users={"x": ["nails"], "y": ["bag"]}, by="together")
    assert (set(ids(own, "x")) <= {"bulb", "bag", "saw"}, ids(own, "y")) == (True, ["nails"])


def test_what_is_far_from_alike_is_not_listed_for_users(shop: Recommender, toy: ToyShop, tiny: Path) -> None:
    """Who likes books looks at a garden thing: five times as many as are wanted are looked at, all of the garden."""
    rec = Recommender.from_catalog(toy.catalog, config=config_for(tiny))
    books = [toy.catalog.item_ids[row] for row in np.flatnonzero(toy.department == 3)[:4]]
    found = ids(rec.similar_items(["i0"], n=2, users={"x": books}), "x")
    alike = [row.item_id for row in rec.similar_items(["i0"], n=10)]
    assert set(found) <= {*alike}
    best = np.argsort(-rec.score({"x": books}, alike)[0], kind="stable")[:2]
    assert found == [alike[place] for place in best]


@pytest.mark.parametrize("by", ["text", "together"])
@pytest.mark.parametrize("basket", [False, True])
def test_an_item_that_is_named_twice_counts_once(shop: Recommender, by: str, basket: bool) -> None:
    once, twice = (
        shop.similar_items(asked, n=3, by=by, basket=basket).to_json()  # type: ignore[arg-type]
        for asked in (["lamp", "hammer"], ["lamp", "hammer", "lamp"])
    )
    assert once == twice


@pytest.mark.parametrize("by", ["text", "together"])
def test_for_whom_no_item_is_named_nothing_is_alike(shop: Recommender, by: str) -> None:
    with pytest.warns(UserWarning, match="no item .* for 'y'"):
        recs = shop.similar_items({"x": ["lamp"], "z": ["bag"]}, n=1, users={"x": [], "y": []}, by=by)  # type: ignore[arg-type]
    assert (len(recs["x"]), len(recs["y"])) == (1, 0)


def test_what_is_forgotten_is_taken_together_no_more(shop: Recommender) -> None:
    other = Recommender.of(shop.fitted)
    other.forget(["one"])
    assert "saw" not in ids(other.similar_items(["lamp"], by="together"), "lamp")
    other.update({"four": ["saw", "new"], "five": ["saw", "new"]})
    assert ids(other.similar_items(["new"], by="together"), "new") == ["saw"]


def test_who_was_taken_with_nothing_is_said(shop: Recommender, tiny: Path) -> None:
    with pytest.warns(UserWarning, match="no item goes together with others for 'new'; by='text'"):
        recs = shop.similar_items(["new", "lamp"], by="together")
    assert (len(recs["new"]), len(recs["lamp"])) == (0, 3)
    empty = Recommender.from_catalog(shop.catalog, config=config_for(tiny))
    with pytest.raises(DataError, match="nothing was taken together yet, for there are no events; use by='text'"):
        empty.similar_items(["lamp"], by="together")
    with pytest.raises(ConfigError, match="by is 'text' or 'together'; got 'taste'"):
        shop.similar_items(["lamp"], by="taste")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="item 'gone' is not in the catalog"):
        shop.similar_items(["lamp", "gone"], users={"x": []})
    with pytest.raises(DataError, match="each user's own"):
        shop.similar_items({"x": ["lamp"]})


def test_a_basket_counts_what_its_items_have_in_common_once(sorted_shop: Recommender, toy: ToyShop) -> None:
    """A fitted model completes baskets by its weights between items."""
    rec = sorted_shop
    basket = ["i12", "i13", "i14"]
    rows = rec.catalog.rows(basket)
    channel = rec.model.channels["cooccurrence"]
    assert isinstance(channel, TakenTogether)
    weights = channel.model.weights.toarray()[rows].mean(axis=0)
    weights[rows] = -np.inf
    found = rec.similar_items(basket, n=4, by="together", basket=True)
    assert [row.score for row in found] == pytest.approx(np.sort(weights)[::-1][:4])
    assert toy.department[rec.catalog.rows(ids(found, "basket"))].tolist() == [1] * 4
