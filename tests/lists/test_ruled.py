"""Rules in what people call: lists keep them, reasons speak of lists that keep them, and proofs carry them."""

import json
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from recllm.errors import ConfigError
from recllm.lists.results import Recommendations
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import newcomer

N = 6


@pytest.fixture(scope="module")
def shop(sorted_shop: Recommender) -> Recommender:
    return sorted_shop


def ids(recs: Recommendations, user: str = "x") -> list[str]:
    return [row.item_id for row in recs.for_user(user)]


def column(shop: Recommender, items: list[str], name: str) -> list[Any]:
    entries = shop.catalog.frame[shop.catalog.rows(items).tolist()][name].to_list()
    return [one[0] if isinstance(one, list) else one for one in entries]


def test_rules_hold_together(shop: Recommender, toy: ToyShop) -> None:
    rules: dict[str, Any] = {
        "caps": {"categories": 2, "series": 0.2},
        "pinned": ["i5", "i42", "i0"],
        "ceilings": {"risk": 4},
    }
    for diversity, by in ((0.0, "mmr"), (0.4, "mmr"), (0.4, "dpp")):
        liked = newcomer(toy, 0)
        found = ids(shop.recommend({"x": liked}, n=N, diversity=diversity, diversity_by=by, **rules))  # type: ignore[arg-type]
        assert found[0] == "i42", "i5 has no risk, and the user has i0"
        assert len(found) == N
        assert max(Counter(column(shop, found, "categories")).values()) == 2
        assert max(Counter(column(shop, found, "series")).values()) == 1
        assert all(risk is not None and risk <= 4 for risk in column(shop, found, "risk"))
        assert not {*found} & {*liked}
    usual = ids(shop.recommend({"x": newcomer(toy, 0)}, n=N))
    assert Counter(column(shop, usual, "categories"))["garden"] > 2, "without the rules it is all one department"


def test_what_is_pinned_and_unknown_is_said(shop: Recommender) -> None:
    with pytest.warns(
        UserWarning, match="pinned is 'gone' and 1 more, which the catalog does not have; this is passed"
    ):
        assert ids(shop.recommend({"x": []}, n=1, pinned=["gone", "i7", "too"])) == ["i7"]


def test_groups_and_filters_by_bounds(shop: Recommender, toy: ToyShop) -> None:
    found = ids(shop.recommend({"x": newcomer(toy, 0)}, n=20, groups="series", filters={"max_risk": 3, "min_risk": 2}))
    assert len(set(column(shop, found, "series"))) == len(found) == 7, (
        "every other series has such a risk, and the user has those of the first"
    )
    assert set(column(shop, found, "risk")) == {2, 3}


def test_users_have_their_own_ceilings_and_pins(shop: Recommender) -> None:
    users = {"x": ["i1"], "y": ["i1"], "z": ["i1"]}
    with pytest.warns(UserWarning, match="no item is left for 'z': ceilings of risk are given by user"):
        recs = shop.recommend(users, n=40, ceilings={"risk": {"x": 1, "y": 3}}, pinned={"x": ["i42"], "y": ["i8"]})
    assert set(column(shop, ids(recs), "risk")) == {1}
    assert set(column(shop, ids(recs, "y"), "risk")) == {1, 2, 3}
    assert (ids(recs)[0], ids(recs, "y")[0], ids(recs, "z")) == ("i42", "i8", [])


def test_a_ceiling_below_everything_says_so(shop: Recommender) -> None:
    with pytest.warns(UserWarning, match="no item has a risk of at most 0; known are values from 1 to 5"):
        assert not len(shop.recommend({"x": []}, ceilings={"risk": 0}))
    with pytest.warns(UserWarning, match="no item has max_risk=0; known are values from 1 to 5"):
        assert not len(shop.recommend({"x": []}, filters={"max_risk": 0}))


def test_boosts_are_like_wishes(shop: Recommender, toy: ToyShop) -> None:
    user = {"x": newcomer(toy, 0)}
    assert ids(shop.recommend(user, boosted={"toys": 2})) == ids(shop.recommend(user, wishes=["more of toys (2)"]))
    before, after = (ids(shop.recommend(user, n=45, boosted=boosted)) for boosted in (None, {"i30": 3}))
    assert after.index("i30") < 12 < before.index("i30")
    assert [one for one in after if one != "i30"] == [one for one in before if one != "i30"]


def test_counterfactuals_speak_of_lists_that_keep_the_rules(shop: Recommender, toy: ToyShop) -> None:
    user, rules = (
        {"x": newcomer(toy, 1) + newcomer(toy, 3)},
        {"caps": {"categories": 2}, "ceilings": {"risk": {"x": 4}}},
    )
    items = ids(shop.recommend(user, n=N, **rules))  # type: ignore[arg-type]
    told = [row.evidence["counterfactual"] for row in shop.explain(user, items, n=N, **rules)]  # type: ignore[arg-type]
    assert any(told)
    for item, counterfactual in zip(items, told, strict=True):
        if counterfactual is not None:
            again = ids(shop.recommend(user, n=N, without=counterfactual["item_ids"], **rules))  # type: ignore[arg-type]
            assert item not in again
            assert counterfactual["instead_id"] in again
            assert counterfactual["instead_id"] not in items


def test_what_is_pinned_stays_whatever_is_taken_out(shop: Recommender, toy: ToyShop) -> None:
    user = {"x": newcomer(toy, 1)}
    first = ids(shop.recommend(user, n=1))
    (row,) = shop.recommend(user, n=1, pinned=first, explain=True)
    assert row.evidence is not None
    assert row.evidence["counterfactual"] is None, "without its causes it would still lead the list"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("more", [{}, {"diversity": 0.4}, {"exclude_seen": False}, {"wishes": ["more of toys"]}])
def test_what_is_promoted_is_said_to_be(shop: Recommender, toy: ToyShop, more: dict[str, Any], known: bool) -> None:
    """A pinned item is not there because of the history, nor is one that only its boost brings into the list."""
    user = {"x": newcomer(toy, 1) if known else []}
    usual = ids(shop.recommend(user, n=N, **more))
    asked: dict[str, Any] = {"pinned": ["i2", usual[0]], "boosted": {"i40": 3, usual[1]: 1, "kitchen": -0.2}} | more
    recs = list(shop.recommend(user, n=N, explain=True, **asked))
    assert [row.item_id for row in recs[:2]] == ["i2", usual[0]]
    without = ids(shop.recommend(user, n=N, **(asked | {"boosted": None})))
    brought = {*asked["pinned"], *({"i40", usual[1]} - {*without})}
    for row in recs:
        is_promoted = row.item_id in brought
        assert (row.reason_code == "promoted") == is_promoted, row
        assert ("Promoted by the people who run this list." in str(row.explanation)) == is_promoted
        assert not is_promoted or (row.evidence is not None and not row.evidence["causes"])
        assert shop.verify_explanation(row).passed
    told = {row.item_id: row.reason_code for row in shop.explain(user, ["i2", "i30"], n=N, pinned=["i2"])}
    assert (told["i2"], told["i30"] == "promoted") == ("promoted", False)
    (barred,) = shop.explain(user, "i5", pinned=["i5"], ceilings={"risk": 3})
    assert barred.reason_code != "promoted", "what may not be listed is not promoted"


RULES: list[dict[str, Any]] = [
    {"caps": {"categories": 2, "series": 0.3}, "groups": "series"},
    {"pinned": {"x": ["i40", "i8"]}, "ceilings": {"risk": {"x": 4, "other": 1}}},
    {"boosted": {"toys": 1.5, "i3": -1}, "diversity": 0.3, "diversity_by": "dpp"},
    {"calibrated": 0.5, "filters": {"max_risk": 4}},
]


@pytest.mark.parametrize("rules", RULES)
def test_reasons_of_lists_with_rules_can_be_checked(shop: Recommender, toy: ToyShop, rules: dict[str, Any]) -> None:
    recs = shop.recommend({"x": newcomer(toy, 0)}, n=3, explain=True, **rules)
    for row in json.loads(recs.to_json()):
        assert str(shop.verify_explanation(row)) == f"PASS  {row['item_id']} for x"
    forged = json.loads(recs.to_json())[0]
    forged["proof"]["request"]["rules"]["pinned"] = ["i47"]
    assert not shop.verify_explanation(forged).passed


def test_calibrating_brings_the_other_half_of_a_history(shop: Recommender, toy: ToyShop) -> None:
    """Three garden things and one book, in that order: by score the list is of one department."""
    user = {"x": ["i36", *newcomer(toy, 0)]}
    shares = [
        Counter(column(shop, ids(shop.recommend(user, n=4, calibrated=amount)), "categories")) for amount in (0.0, 0.9)
    ]
    assert shares[1] == {"garden": 3, "books": 1}
    assert shares[0] != shares[1]


def test_what_is_no_rule_is_refused(shop: Recommender) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'cap'; the rules of a list are caps, pinned"):
        shop.recommend({"x": []}, cap={"categories": 2})  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="caps are a mapping"):
        shop.explain({"x": []}, ["i1"], caps=2)  # type: ignore[arg-type]


def test_nothing_changes_where_no_rule_is_given(shop: Recommender, toy: ToyShop) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = shop.recommend({"x": newcomer(toy, 2)}, n=9)
        empty = shop.recommend({"x": newcomer(toy, 2)}, n=9, caps={}, pinned=[], boosted={}, groups=[], ceilings={})
    assert [replace(row) for row in plain] == [replace(row) for row in empty]
