"""Catalogs, events and results leave as tables of other libraries, and come back the same."""

from collections.abc import Callable
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recllm.data.catalog import Catalog
from recllm.data.doors import read_catalog, read_events, read_items, read_users
from recllm.data.interactions import Interactions
from recllm.lists.results import Explanations, Recommendations

ITEMS = pl.DataFrame(
    {"item_id": ["1", "2"], "title": ["Tin", "Cup"], "categories": [["a", "b"], []], "price": [1.5, None]}
)
EVENTS = pl.DataFrame(
    {"user_id": ["u", "v", "u"], "item_id": ["1", "2", "2"], "timestamp": [10.0, 20.0, 30.5], "rating": [5.0, 1.0, 4.0]}
)
WAYS = [
    pytest.param(lambda one: one.to_polars(), pl.DataFrame, id="polars"),
    pytest.param(lambda one: one.to_pandas(), pd.DataFrame, id="pandas"),
    pytest.param(lambda one: one.to_arrow(), pa.Table, id="arrow"),
    pytest.param(lambda one: one.to_dataset(), datasets.Dataset, id="dataset"),
]


@pytest.mark.parametrize(("way", "kind"), WAYS)
def test_there_and_back(way: Callable[[Any], Any], kind: type) -> None:
    catalog, events = Catalog.from_frame(ITEMS), Interactions.from_frame(EVENTS)
    assert isinstance(way(catalog), kind)
    assert Catalog.from_frame(way(catalog)).fingerprint == catalog.fingerprint
    assert Interactions.from_frame(way(events)).fingerprint == events.fingerprint


def test_a_table_handed_out_is_not_the_catalog() -> None:
    catalog = Catalog.from_frame(ITEMS)
    catalog.to_polars()[0, "title"] = "gone"
    assert catalog.titles == ["Tin", "Cup"]


def test_a_streamed_data_set_is_read_too() -> None:
    stream = Interactions.from_frame(EVENTS).to_dataset().to_iterable_dataset()
    assert Interactions.from_frame(stream).frame.rows() == Interactions.from_frame(EVENTS).frame.rows()


def test_results_as_arrow_and_data_sets() -> None:
    evidence = [{"causes": []}, {"causes": [{"item_id": "9"}]}]
    made = Recommendations(["a", "b"], ["1", "2"], [1, 1], [0.5, 0.25], title=["x", "y"])
    told = Explanations(["a", "b"], ["1", "2"], ["because", "popular"], ["history", "popular"], evidence)
    for result in (made, told):
        table = result.to_arrow()
        assert table.column_names == result.to_polars().columns
        assert pl.from_arrow(table).equals(result.to_polars())  # type: ignore[union-attr]
        rows = result.to_dataset()
        assert list(rows) == result.to_polars().to_dicts()
    assert made.to_arrow().schema.field("score").type == pa.float32()
    assert made.to_arrow().schema.field("rank").type == pa.int64()
    assert Recommendations([], [], [], []).to_dataset().num_rows == 0


def test_events_as_items_still_know_who_has_none() -> None:
    """They have a `to_polars`, as results do, and are not taken for one."""
    assert read_items(Interactions.from_mapping({"u": ["1"], "w": []}), "candidates") == {"u": ["1"], "w": []}
    assert read_items(Catalog.from_frame(ITEMS), "candidates") == ["1", "2"]


def test_every_door_takes_a_data_set() -> None:
    items, events = Catalog.from_frame(ITEMS).to_dataset(), Interactions.from_frame(EVENTS).to_dataset()
    assert read_catalog(items).item_ids == ("1", "2")
    for log in (events, events.to_iterable_dataset()):
        assert len(read_events(log)) == len(read_users(log)) == 3
    assert read_items(items, "candidates") == ["1", "2"]
