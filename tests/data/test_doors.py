"""The doors: whatever people write for ids, users, items, events and catalogs means one thing, or is refused."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id, as_ids
from recllm.data.doors import (
    known_among,
    read_catalog,
    read_events,
    read_items,
    read_path,
    read_user_ids,
    read_users,
    real_number,
    truth,
    whole_number,
)
from recllm.data.ids import read_ids
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError

SEVERAL: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda ids: (one for one in ids),
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "values": lambda ids: dict(enumerate(ids)).values(),
    "numpy": lambda ids: np.array(ids, dtype=object),
    "pandas series": lambda ids: pd.Series(ids),
    "pandas index": lambda ids: pd.Index(ids),
    "pandas categories": lambda ids: pd.Categorical(ids),
    "polars series": lambda ids: pl.Series(ids),
    "arrow array": lambda ids: pa.array(ids),
    "arrow chunks": lambda ids: pa.chunked_array([ids]),
}
IDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


@pytest.mark.parametrize("form", SEVERAL)
@given(ids=IDS)
def test_several_ids_are_the_same_in_every_form(form: str, ids: list[str]) -> None:
    assert read_ids(SEVERAL[form](ids), "items") == ids
    assert read_users(SEVERAL[form](ids)) == ids
    assert read_items(SEVERAL[form](ids), "items") == ids
    assert read_items({"m": SEVERAL[form](ids)}, "items") == {"m": ids}
    events = Interactions.from_mapping({"m": SEVERAL[form](ids)})
    assert events.frame["item_id"].to_list() == ids


@pytest.mark.parametrize(
    "three",
    [3, 3.0, np.int64(3), np.uint8(3), np.float32(3), Decimal(3), Decimal("3.0"), "3", b"3", np.str_("3")],
    ids=repr,
)
def test_one_id_is_one_id(three: Any) -> None:
    assert read_ids(three, "items") == read_users(three) == read_items(three, "items") == ["3"]
    assert read_ids([three], "items") == read_user_ids([three]) == ["3"]


@given(st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-(2.0**53), 2.0**53, exclude_max=True)))
def test_one_number_and_a_column_follow_one_rule(number: float) -> None:
    column = as_ids(pl.Series([number]))[0]
    assert as_id(number) == column or float(as_id(number)) == float(column)  # written out differently below 1e-4
    if float(number).is_integer():
        assert as_id(number) == column


def test_more_that_names_one_thing() -> None:
    number = UUID(int=5)
    assert read_ids(number, "items") == [str(number)]
    assert read_ids(np.array(3), "items") == read_ids(torch.tensor(3), "items") == ["3"]
    assert read_ids(torch.tensor([3, 4]), "items") == ["3", "4"]
    assert read_ids("letters", "items") == ["letters"]
    assert read_ids([], "items") == []
    assert read_ids({"b", "a", "c"}, "items") == ["a", "b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        True,
        [True],
        np.array([True]),
        float("nan"),
        float("inf"),
        3j,
        [None],
        [pd.NA],
        [pd.NaT],
        pd.Series([1.0, None]),
        pl.Series(["a", None]),
        "",
        b"\xff",
        object(),
        [["a"]],
        [("a", "b")],
        [{"item_id": "a"}],
        np.array([["a"]]),
        torch.zeros(2, 2),
        pd.DataFrame({"user_id": ["a"]}),
        pl.DataFrame({"x": ["a"]}),
        pd.Series({"u": ["a"]}),
        lambda: 3,
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:30],
)
@pytest.mark.parametrize("door", [read_users, lambda given: read_ids(given, "ids"), read_user_ids])
def test_what_is_no_id_gives_one_sentence(door: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(DataError) as caught:
        door(wrong)
    assert "\n" not in str(caught.value)


EVENTS = {"user_id": ["b", "a", "b"], "item_id": ["x", "x", "y"], "timestamp": [10, 20, 30]}


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table])
def test_tables_are_tables(table: Callable[[Any], Any]) -> None:
    for door in (read_users, read_events):
        events = door(table(EVENTS))
        assert events.frame.select("user_id", "item_id").rows() == [("b", "x"), ("a", "x"), ("b", "y")]
    assert read_user_ids(table(EVENTS)) == ["b", "a"]
    records = pl.DataFrame(EVENTS).to_dicts()
    assert read_users(records).frame.equals(read_users(table(EVENTS)).frame)  # type: ignore[union-attr]
    assert read_items(records, "items") == {"b": ["x", "y"], "a": ["x"]}
    assert read_items(table(EVENTS), "items") == {"b": ["x", "y"], "a": ["x"]}
    assert read_items(table({"sku": ["x"], "item_id": [1.0]}), "items") == ["1"]
    assert read_catalog(table({"item_id": ["x"]})).item_ids == ("x",)
    assert Interactions.from_mapping({"m": table(EVENTS)}).frame["item_id"].to_list() == ["x", "x", "y"]


def test_other_forms_of_items() -> None:
    events = Interactions.from_mapping({"b": ["x", "y"], "nobody": []})
    assert read_items(events, "items") == {"b": ["x", "y"], "nobody": []}
    assert read_items(Catalog.from_frame(pl.DataFrame({"item_id": ["x", "y"]})), "items") == ["x", "y"]
    assert read_items({1.0: "i12", "b": 3}, "items") == {"1": ["i12"], "b": ["3"]}
    with pytest.raises(DataError, match="'1' is there twice"):
        read_items({1: ["x"], "1": ["y"]}, "items")
    with pytest.raises(DataError, match="items: the table has no column for item_id: found 'title'"):
        read_items(pl.DataFrame({"title": ["x"]}), "items")


def test_one_iterator_for_several_users_is_read_once() -> None:
    items = iter(["x", "y"])
    assert read_items({"a": items, "b": items}, "items") == {"a": ["x", "y"], "b": ["x", "y"]}
    items = iter(["x", "y"])
    events = Interactions.from_mapping({"a": items, "b": items})
    assert events.frame.select("user_id", "item_id").rows() == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def test_a_set_has_no_order() -> None:
    """It is read in the order of its ids; as a history it is one moment; where order matters, it is refused."""
    assert read_users({"b", "a"}) == ["a", "b"]
    events = Interactions.from_mapping({"m": {"y", "x", "z"}})
    assert events.frame.select("item_id", "timestamp").rows() == [("x", 0), ("y", 0), ("z", 0)]
    for door in (lambda: read_items({"a"}, "items", ordered=True), lambda: read_users({"a"}, ordered=True)):
        with pytest.raises(DataError, match="a set has no order"):
            door()


def test_users_are_written_once() -> None:
    with pytest.raises(DataError, match="users 1 and '1' are one id"):
        Interactions.from_mapping({1: ["x"], "1": ["y"]})


def test_files_are_read(tmp_path: Path) -> None:
    pl.DataFrame(EVENTS).write_csv(tmp_path / "events.csv")
    assert read_events(tmp_path / "events.csv").user_ids == read_events(str(tmp_path / "events.csv")).user_ids
    assert read_catalog(tmp_path / "events.csv").item_ids == ("x", "y")
    with (tmp_path / "events.csv").open("rb") as file:
        assert read_events(file).user_ids == ("b", "a")


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["a"], object(), True])
@pytest.mark.parametrize("door", [read_events, read_catalog])
def test_what_is_no_table_gives_one_sentence(door: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(DataError) as caught:
        door(wrong)
    assert "\n" not in str(caught.value)


def test_a_catalog_is_no_log_and_a_log_no_catalog() -> None:
    catalog, events = (
        Catalog.from_frame(pl.DataFrame({"item_id": ["x"]})),
        Interactions.from_frame(pl.DataFrame(EVENTS)),
    )
    for door in (lambda: read_events(catalog), lambda: read_users(catalog), lambda: read_catalog(events)):
        with pytest.raises(DataError):
            door()


@pytest.mark.parametrize("number", [2, np.int64(2), np.uint8(2)])
def test_whole_numbers(number: Any) -> None:
    assert type(whole_number(number, "n", 1)) is int


@pytest.mark.parametrize("wrong", [0, -1, 2.5, 2.0, "3", True, None, float("nan"), np.array([2, 3]), [2]])
def test_what_is_no_whole_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="n is a whole number and must be at least 1"):
        whole_number(wrong, "n", 1)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, "high", None, True, float("nan"), float("inf"), 1j])
def test_what_is_no_share_is_refused(wrong: Any) -> None:
    assert real_number(np.float32(0.5), "diversity", 0, 1) == 0.5
    with pytest.raises(ConfigError, match="diversity lies between 0 and 1"):
        real_number(wrong, "diversity", 0, 1)


def test_switches() -> None:
    assert truth(np.bool_(True), "adapt") is True
    for wrong in (None, "no", 1, 0.0):
        with pytest.raises(ConfigError, match="adapt is True or False"):
            truth(wrong, "adapt")


def test_who_is_to_be_forgotten_is_here() -> None:
    assert known_among(["a", "a"], {"a", "b"}, "is remembered") == ["a"]
    assert known_among([], {"a"}, "is remembered") == []
    with pytest.warns(UserWarning, match="nobody named 'x' is remembered; only the others"):
        assert known_among(["x", "a"], {"a"}, "is remembered") == ["a"]
    with pytest.raises(DataError, match="'x', 'y' is remembered, so nothing was deleted"):
        known_among(["x", "y"], {"a"}, "is remembered")


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["x"], "", True])
def test_paths(wrong: Any, tmp_path: Path) -> None:
    assert read_path(str(tmp_path), "it") == read_path(tmp_path, "it") == tmp_path
    with pytest.raises(ConfigError, match="it is a path"):
        read_path(wrong, "it")
