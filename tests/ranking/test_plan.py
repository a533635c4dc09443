"""Rules hold together: none of them is ever violated, and a list is as long as they allow."""

from collections import Counter
from datetime import date
from math import floor
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError
from recllm.ranking.asked import Rules
from recllm.ranking.filters import matching_items
from recllm.ranking.plan import Plan
from recllm.ranking.rules import tie_order
from recllm.ranking.wishes import moved

ITEMS = 30


def world(seed: int) -> tuple[Catalog, NDArray[np.float32], NDArray[np.float32]]:
    """A catalog of all kinds of columns, with gaps; scores with ties; vectors."""
    rng = np.random.default_rng(seed)
    columns = {
        "item_id": [f"i{row}" for row in range(ITEMS)],
        "author": rng.choice(["ann", "Ann", "bob", "cyd", ""], ITEMS).tolist(),
        "categories": [rng.choice(["a", "b", "c", "d"], rng.integers(0, 4)).tolist() for _ in range(ITEMS)],
        "series": rng.choice(["s", "t", "u", None], ITEMS).tolist(),
        "risk": [None if rng.random() < 0.2 else int(rng.integers(1, 6)) for _ in range(ITEMS)],
        "price": [None if rng.random() < 0.2 else float(rng.integers(0, 20)) / 2 for _ in range(ITEMS)],
        "released": [None if rng.random() < 0.2 else date(2020, 1, int(rng.integers(1, 29))) for _ in range(ITEMS)],
    }
    schema = {"risk": pl.Int64, "price": pl.Float64, "released": pl.Date, "categories": pl.List(pl.String)}
    catalog = Catalog.from_frame(pl.DataFrame(columns, schema_overrides=schema))
    vectors = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    return catalog, rng.integers(0, 9, ITEMS).astype(np.float32), vectors / np.linalg.norm(vectors, axis=1)[:, None]


CAP = st.one_of(st.integers(1, 3), st.floats(0.05, 0.95))
RULES = st.fixed_dictionaries(
    {},
    optional={
        "caps": st.dictionaries(st.sampled_from(["author", "categories", "risk"]), CAP),
        "pinned": st.lists(st.integers(-2, ITEMS + 1).map(lambda row: f"i{row}"), max_size=6),
        "boosted": st.dictionaries(st.sampled_from(["i3", "i7", "a", "ann"]), st.floats(-3, 3)),
        "groups": st.sampled_from(["series", ["series", "author"], "risk"]),
        "ceilings": st.fixed_dictionaries(
            {},
            optional={
                "risk": st.one_of(st.integers(0, 5), st.dictionaries(st.sampled_from(["u", "v"]), st.integers(0, 5))),
                "price": st.floats(0, 10),
                "released": st.dates(date(2020, 1, 1), date(2020, 1, 31)),
            },
        ),
        "diversity_by": st.sampled_from(["mmr", "dpp"]),
        "calibrated": st.sampled_from([0.0, 0.5, 1.0]),
    },
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "risk": st.tuples(st.integers(1, 3), st.integers(3, 5)),
        "price": st.tuples(st.none(), st.floats(0, 10)),
        "max_price": st.floats(0, 10),
        "min_risk": st.integers(0, 5),
        "released": st.tuples(st.dates(date(2020, 1, 1), date(2020, 1, 14)), st.none()),
    },
)


def values(frame: pl.DataFrame, row: int, column: str) -> set[str]:
    value = frame[column][row]
    entries = value.to_list() if isinstance(value, pl.Series) else [value]
    return {str(entry).lower() for entry in entries if entry not in (None, "")}


def violations(frame: pl.DataFrame, rows: list[int], rules: dict[str, Any], length: int) -> list[str]:
    """What is wrong with a list, written down a second time and simply."""
    found = []
    caps = dict.items(rules.get("caps") or {})
    groups = rules.get("groups") or []
    groups = [groups] if isinstance(groups, str) else groups
    for column, cap in [*caps, *((name, 1) for name in groups)]:
        most = cap if cap >= 1 else max(1, floor(cap * length + 1e-9))
        counts = Counter(value for row in rows for value in values(frame, row, column))
        found += [f"{column}: {count} of {value}" for value, count in counts.items() if count > most]
    for column, bound in (rules.get("ceilings") or {}).items():
        own = bound.get("u", "nothing") if isinstance(bound, dict) else bound
        for row in rows:
            value = frame[column][row]
            if own == "nothing" or value is None or value > own:
                found.append(f"{column} of {value} above {own}")
    return found


def within(frame: pl.DataFrame, row: int, filters: dict[str, Any]) -> bool:
    for name, wanted in filters.items():
        value = frame[name.removeprefix("max_").removeprefix("min_")][row]
        low, high = wanted if isinstance(wanted, tuple) else (None, wanted) if name[:3] == "max" else (wanted, None)
        if value is None or (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


@given(st.integers(0, 10_000), RULES, FILTERS, st.integers(1, ITEMS + 3), st.sampled_from([0.0, 0.4, 1.0]))
def test_no_rule_is_ever_violated(
    seed: int, rules: dict[str, Any], filters: dict[str, Any], n: int, diversity: float
) -> None:
    catalog, scores, vectors = world(seed)
    rng, frame = np.random.default_rng(seed), catalog.frame
    attributes, ties = Attributes(catalog), tie_order(catalog.item_ids)
    try:
        plan = Plan(Rules(**rules), attributes, vectors, ties, diversity)
    except DataError as error:
        if "no item has" in str(error):
            return  # a boost that means nothing here
        raise
    seen = rng.random(ITEMS) < 0.2
    eligible = matching_items(catalog, filters) & ~seen & plan.below_ceilings("u")
    line = boosted(plan, torch.from_numpy(scores).unsqueeze(0))[0].numpy()
    rows = plan.rows("u", line, eligible, n, np.flatnonzero(seen)).tolist()

    assert len(rows) == len(set(rows)) <= n
    assert violations(frame, rows, rules, len(rows)) == []
    assert all(within(frame, row, filters) and not seen[row] for row in rows)
    if len(rows) < n:  # no longer list keeps the rules: whatever could follow breaks one
        for more in set(np.flatnonzero(eligible).tolist()) - set(rows):
            assert violations(frame, [*rows, more], rules, len(rows) + 1) != []
    leading = [row for row in catalog.rows(rules.get("pinned", [])).tolist() if row >= 0]
    placed = [row for row in dict.fromkeys(leading) if row in rows]
    assert [row for row in rows if row in placed] == placed or diversity or rules.get("calibrated")
    kept = list[int]()
    for row in dict.fromkeys(leading):  # as many of the pinned ones lead as keep the other rules
        if eligible[row] and len(kept) < n and not violations(frame, [*kept, row], rules, len(rows)):
            kept.append(row)
    assert rows[: len(kept)] == kept
    if not (diversity or rules.get("calibrated")):
        rest = line[rows[len(kept) :]]
        assert (np.diff(rest) <= 0).all()


def boosted(plan: Plan, scores: torch.Tensor) -> torch.Tensor:
    return scores if plan.term is None else moved(scores, plan.term.expand(len(scores), -1), scores.mean(dim=1))


def plan_of(frame: dict[str, list[Any]], **rules: Any) -> Plan:
    catalog = Catalog.from_frame(pl.DataFrame(frame))
    count = len(catalog)
    return Plan(Rules(**rules), Attributes(catalog), np.eye(count, dtype=np.float32), np.arange(count))


def best(plan: Plan, n: int, count: int) -> list[int]:
    scores = np.linspace(1, 0, count, dtype=np.float32)
    return plan.rows("u", scores, np.ones(count, dtype=bool), n).tolist()


def test_a_share_is_one_of_the_list_as_it_is() -> None:
    """Four of seven items are one author's: a list of six may have three of them, one of seven no fourth."""
    plan = plan_of({"item_id": list("abcdefg"), "author": list("xxxxyzw")}, caps={"author": 0.5})
    assert best(plan, 7, 7) == [0, 1, 2, 4, 5, 6]
    few = plan_of({"item_id": list("abcde"), "author": list("xxxxy")}, caps={"author": 0.5})
    assert best(few, 4, 5) == [0, 4], "two of four would be three of the list"


def test_a_thousand_items_above_the_cap_do_not_end_the_list() -> None:
    authors = ["x"] * 1000 + ["y", "z"]
    plan = plan_of({"item_id": [f"i{row}" for row in range(1002)], "author": authors}, caps={"author": 1})
    assert best(plan, 5, 1002) == [0, 1000, 1001]


def test_groups_show_one_edition_and_count_no_item_without_a_group() -> None:
    plan = plan_of({"item_id": list("abcde"), "series": ["s", "S ", None, "", "t"]}, groups="series")
    assert best(plan, 5, 5) == [0, 2, 3, 4]


def test_boosts_move_scores_by_a_bounded_part_of_the_way_to_the_best() -> None:
    plan = plan_of({"item_id": ["a", "b", "c"], "title": ["red hat", "blue hat", "cup"]}, boosted={"c": 3, "hat": -1})
    scores = boosted(plan, torch.tensor([[0.0, 3.0, 1.5], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(scores, torch.tensor([[-0.5, 2.5, 3.0], [1.0, 1.0, 1.0]]))
    twice = plan_of({"item_id": ["a", "b"], "author": ["x", "y"]}, boosted={"a": 3, "x": 3, "y": -2})
    torch.testing.assert_close(boosted(twice, torch.tensor([[0.0, 2.0]])), torch.tensor([[1.0, 2 - 2 / 3]]))


def test_ceilings_of_users() -> None:
    frame = {"item_id": list("abc"), "risk": [1, 2, None]}
    plan = plan_of(frame, ceilings={"risk": {"u": 1, 2: 9, "free": None}})
    assert plan.below_ceilings("u").tolist() == [True, False, False]
    assert plan.below_ceilings("2").tolist() == [True, True, False]
    assert plan.below_ceilings("free").tolist() == [True, True, True]
    assert not plan.below_ceilings("stranger").any(), "who has no ceiling where users have theirs gets nothing"
    assert plan.why_none("stranger") == "ceilings of risk are given by user, and not for this one"
    assert plan.why_none("u") is None
    low = plan_of(frame, ceilings={"risk": 0})
    assert low.why_none("u") == "no item has a risk of at most 0; known are values from 1 to 2"


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"caps": ["author"]}, r"caps are a mapping, such as caps=\{'categories': 2\}; got"),
        ({"caps": {"author": 1.5}}, "a whole number of items, or a share of the list below 1; got 1.5"),
        ({"caps": {"author": 0}}, "a whole number of items, or a share"),
        ({"caps": {"author": True}}, "lies between"),
        ({"boosted": {"a": 4}}, r"boosted\['a'\] lies between -3 and 3; got 4"),
        ({"calibrated": 2}, "calibrated lies between 0 and 1"),
        ({"ceilings": {"risk": [1, 2]}}, r"ceilings\['risk'\] is a finite number or a date"),
        *(({"ceilings": {"risk": end}}, "is a finite number or a date, None where") for end in (INFINITE, -INFINITE)),
        ({"ceilings": {"risk": {"u": True}}}, r"of user 'u' is a finite number or a date"),
        ({"diversity_by": ["mmr", "dpp"]}, "diversity_by is 'mmr' or 'dpp'"),
    ],
)
def test_what_is_no_rule_is_refused(rules: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Rules(**rules)


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"caps": {"colour": 1}}, "caps and groups name the column 'colour', which the catalog does not have"),
        ({"groups": "colour"}, "'colour', which the catalog does not have; its columns are item_id"),
        ({"ceilings": {"colour": 1}}, "'colour', which the catalog does not have"),
        ({"ceilings": {"title": 1}}, "ceiling of title: the column title holds text, which has no order"),
        ({"ceilings": {"risk": "low"}}, "cannot match: the column holds"),
        ({"boosted": {"nonsense": 1}}, "no item has 'nonsense'"),
    ],
)
def test_rules_about_what_is_not_there_are_refused(rules: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        plan_of({"item_id": list("ab"), "risk": [1, 2]}, **rules)
