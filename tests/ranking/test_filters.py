"""Filters: values, collections, ranges, dates; what cannot match because of its type is an error."""

import datetime as dt
import json
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError, RecllmError
from recllm.ranking.filters import matching_items, plain_filters, unmet_filters

CATALOG = Catalog.from_frame(
    pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["A", "B", "C", ""],
            "genres": ["Comedy|War", "Drama", "", "War"],
            "year": [1999, 2001, 2001, None],
            "price": [1.25, 0.1 + 0.2, 20.0, float("nan")],
            "new": [True, False, None, True],
            "stock": [0, 1, 1, 0],
            "out": [dt.date(2024, 1, 1), dt.date(2024, 1, 31), None, dt.date(2025, 6, 1)],
            "seen": [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 31, 23, 59), None, dt.datetime(2024, 2, 1)],
            "sizes": [[38.0, 39.5], [], None, [40.0]],
            "zip": ["01067", "10115", "10115", None],
        }
    )
)
DAY = dt.date(2024, 1, 31)


def found(filters: Any) -> str:
    mask = matching_items(CATALOG, filters)
    assert mask.dtype == np.bool_
    return "".join(item for item, keep in zip(CATALOG.item_ids, mask, strict=True) if keep)


@pytest.mark.parametrize(
    ("column", "wanted", "items"),
    [
        ("categories", "War", "ad"),
        ("genres", "War", "ad"),
        ("categories", ["Comedy", "Drama"], "ab"),
        ("categories", ("Comedy", "Drama"), "ab"),
        ("categories", [], ""),
        ("categories", None, "c"),
        ("categories", ["Drama", None], "bc"),
        ("title", None, "d"),
        ("item_id", {"a", "d"}, "ad"),
        ("year", 2001, "bc"),
        ("year", 2001.0, "bc"),
        ("year", "2001", "bc"),
        ("year", np.int32(2001), "bc"),
        ("year", 2001.5, ""),
        ("year", 10**30, ""),
        ("year", [1999, 2001], "abc"),
        ("year", {1999, "2001"}, "abc"),
        ("year", (1999, 2000), "a"),
        ("year", (None, 2000), "a"),
        ("year", (2000, None), "bc"),
        ("year", (1999.5, float("inf")), "bc"),
        ("year", (None, None), "abc"),
        ("year", [(1998, 1999), 2001], "abc"),
        ("year", (1999, 2000, 2001), "abc"),
        ("year", range(1990, 2000), "a"),
        ("year", np.array([1999]), "a"),
        ("year", pd.Series([1999]), "a"),
        ("year", pl.Series([1999]), "a"),
        ("year", None, "d"),
        ("price", 1.25, "a"),
        ("price", "1.25", "a"),
        ("price", 0.1 + 0.2, "b"),
        ("price", (None, 20), "abc"),
        ("price", ("1", "£20"), "ac"),
        ("price", None, "d"),
        ("new", True, "ad"),
        ("new", np.True_, "ad"),
        ("new", "yes", "ad"),
        ("new", 0, "b"),
        ("new", [True, False], "abd"),
        ("new", (True, None), "acd"),
        ("stock", True, "bc"),
        ("out", DAY, "b"),
        ("out", "2024-01-31", "b"),
        ("out", ["2024-01-01", DAY], "ab"),
        ("out", ("2024-01-02", None), "bd"),
        ("out", (None, dt.datetime(2024, 12, 31, 12)), "ab"),
        ("out", np.datetime64("2024-01-31"), "b"),
        ("out", pd.Timestamp("2024-01-31"), "b"),
        ("seen", DAY, "b"),
        ("seen", "2024-01-31", "b"),
        ("seen", ("2024-01-01", "2024-01-31"), "ab"),
        ("seen", "2024-02-01T00:00:00Z", "d"),
        ("seen", dt.datetime(2024, 2, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), "d"),
        ("seen", (dt.datetime(2024, 1, 31, 23, 59), None), "bd"),
        ("sizes", 40, "d"),
        ("sizes", (39, 39.9), "a"),
        ("sizes", None, "bc"),
        ("zip", "10115", "bc"),
        ("zip", 10115, "bc"),
    ],
)
def test_what_a_filter_keeps(column: str, wanted: Any, items: str) -> None:
    assert found({column: wanted}) == items


def test_plain_filters_are_the_same_in_any_order() -> None:
    filters = {"year": {2001, 1999}, "price": (None, Decimal("1.5")), "out": DAY, "categories": "War"}
    plain = {"year": (1999, 2001), "price": ((None, 1.5),), "out": ("2024-01-31",), "categories": ("War",)}
    assert plain_filters(CATALOG, filters) == plain
    assert found({name: list(accepted) for name, accepted in plain.items()}) == found(filters)


def test_several_filters_are_met_together() -> None:
    assert found({"year": 2001, "price": (None, 1)}) == "b"
    assert found({}) == "abcd"


@pytest.mark.parametrize(
    ("column", "wanted", "words"),
    [
        ("year", "unknown", "whole numbers"),
        ("year", True, "whole numbers"),
        ("year", float("nan"), "whole numbers"),
        ("year", DAY, "whole numbers"),
        ("year", {"min": 1999}, "whole numbers"),
        ("year", [[1999, 2001]], "whole numbers"),
        ("year", slice(1, 2), "whole numbers"),
        ("year", (y for y in [1999]), "whole numbers"),
        ("year", pd.DataFrame({"year": [1999]}), "whole numbers"),
        ("year", np.array(1999), "whole numbers"),
        ("year", object(), "whole numbers"),
        ("year", (1999, "soon"), "whole numbers"),
        ("price", "cheap", "numbers"),
        ("price", ("a", "z"), "numbers"),
        ("new", "perhaps", "true or false"),
        ("new", 2, "true or false"),
        ("out", 2024, "dates"),
        ("out", "31.01.2024", "dates"),
        ("out", pd.NaT, "dates"),
        ("seen", 1_700_000_000, "dates with times"),
        ("title", True, "text"),
        ("title", DAY, "text"),
        ("title", ["A", {"b": 1}], "text"),
        ("title", [["A"]], "text"),
        ("title", float("nan"), "text"),
        ("categories", {"name": "War"}, "lists of texts"),
        ("categories", [["War"]], "lists of texts"),
        ("sizes", "big", "lists of numbers"),
    ],
)
def test_what_cannot_match_because_of_its_type_is_an_error(column: str, wanted: Any, words: str) -> None:
    with pytest.raises(DataError, match=f"filter {column}=.* cannot match: the column holds {words}; write "):
        matching_items(CATALOG, {column: wanted})


@pytest.mark.parametrize("filters", ["x", ["year"], 3, [("year", 2001)], pl.DataFrame({"year": [1]})])
def test_filters_that_are_no_mapping_are_refused(filters: Any) -> None:
    with pytest.raises(ConfigError, match="filters map columns"):
        matching_items(CATALOG, filters)


@pytest.mark.parametrize("column", ["colour", 3, None, ("year",)])
def test_a_column_that_is_not_there_is_named_with_those_that_are(column: Any) -> None:
    with pytest.raises(DataError, match=r"does not have; its columns are item_id, title"):
        matching_items(CATALOG, {column: "red"})


def test_a_range_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(DataError, match=r"ends before it begins; write \(1, 20\)"):
        matching_items(CATALOG, {"price": (20, 1)})


TIMES = st.dates() | st.datetimes()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3) | TIMES
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@given(st.sampled_from(CATALOG.frame.columns), ANYTHING)
def test_any_filter_is_applied_or_refused_in_words(column: str, wanted: Any) -> None:
    try:
        mask = matching_items(CATALOG, {column: wanted})
    except RecllmError as error:
        assert f"filter {column}" in str(error)  # noqa: PT017
        return
    plain = json.loads(json.dumps(plain_filters(CATALOG, {column: wanted}), allow_nan=False))[column]
    again = {column: [tuple(value) if isinstance(value, list) else value for value in plain]}
    assert matching_items(CATALOG, again).tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"categories": "war"}, "no item has categories='war'; nearest are 'War'"),
        ({"categories": ["Comdy", "Dramma"]}, "nearest are 'Comedy', 'Drama'"),
        ({"categories": "Zzz"}, "the commonest are 'War'"),
        ({"year": (2010, None)}, "known are values from 1999 to 2001"),
        ({"year": [2010, 2020]}, "from 1999 to 2001; a tuple of two is a range"),
        ({"year": 1999, "new": False}, "no item meets 'year' and 'new' together"),
    ],
)
def test_what_is_said_when_nothing_is_left(filters: dict[str, Any], words: str) -> None:
    assert not matching_items(CATALOG, filters).any()
    assert words in unmet_filters(CATALOG, filters)


def test_filters_are_fast_on_a_large_catalog() -> None:
    n = 50_000
    frame = pl.DataFrame({"item_id": range(n), "tags": [["a", "b"][: k % 3] for k in range(n)], "price": range(n)})
    catalog = Catalog.from_frame(frame)
    wanted = {"tags": ["a", "z"], "price": (None, n / 2)}
    matching_items(catalog, wanted)
    began = time.perf_counter()
    for _ in range(5):
        matching_items(catalog, wanted)
    assert (time.perf_counter() - began) / 5 < 0.05  # by Python's loops: above .1
