"""The event log: formats, aliases, selections."""

import gzip
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data import Catalog, Interactions
from recllm.data import events as cleaning_of_events
from recllm.data.events import clean_mapping
from recllm.errors import DataError

EVENTS = {
    "user_id": ["b", "a", "b", "b"],
    "item_id": ["1", "2", "2", "1"],
    "timestamp": [1_600_000_000, 1_600_000_100, 1_600_000_200, 1_600_086_400],
    "rating": [5.0, 3.5, 1.0, 4.0],
    "event": ["watch", "watch", "skip", "watch"],
    "weight": [1.0, 2.0, 0.5, 3.0],
    "review_text": ["good", "so, so", "bad", "better"],
    "country": ["DE", "FR", "DE", "DE"],
}
CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": ["2", "1", "0"], "title": ["two", "one", "none"]}))


def expected() -> Interactions:
    return Interactions.from_frame(pl.DataFrame(EVENTS))


def test_the_frame_has_the_promised_types_and_order() -> None:
    events = expected()
    assert events.frame.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "timestamp": pl.Float64,
        "rating": pl.Float32,
        "event": pl.String,
        "weight": pl.Float32,
        "review_text": pl.String,
        "country": pl.String,
    }
    assert events.user_ids == ("b", "a")
    assert events.frame["item_id"].to_list() == EVENTS["item_id"]
    assert len(events) == 4
    assert events.timed
    assert "4 events of 2 users" in repr(events)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_all_formats_give_the_same_log(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.{kind}"
    frame = pl.DataFrame(EVENTS)
    text = frame.write_csv() if kind.startswith("csv") else "\n".join(json.dumps(row) for row in frame.to_dicts())
    if kind == "parquet":
        frame.write_parquet(path)
    else:
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    events = Interactions.read(path)
    assert events.frame.equals(expected().frame)
    assert events.fingerprint == expected().fingerprint


@pytest.mark.parametrize("make", [pd.DataFrame, lambda d: pl.DataFrame(d).to_arrow(), pl.LazyFrame])
def test_all_frames_give_the_same_log(make: object) -> None:
    assert Interactions.from_frame(make(EVENTS)).frame.equals(expected().frame)  # type: ignore[operator]


def test_pandas_with_gaps_dates_and_categories() -> None:
    frame = pd.DataFrame(
        {
            "user_id": pd.Categorical(["a", "a", None]),
            "item_id": pd.array([1, 2, 3], dtype="Int64"),
            "datetime": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]).tz_localize("Europe/Berlin"),
            "rating": [4.0, np.nan, 1.0],
        },
        index=[7, 7, 7],
    )
    copy = frame.copy(deep=True)
    events = Interactions.from_frame(frame)
    assert events.frame.rows() == [("a", "1", 1_577_833_200, 4.0), ("a", "2", 1_577_919_600, None)]
    assert events.report.dropped == {"missing_user_id": 1}
    assert events.report.noticed == {"missing_rating": 1}
    pd.testing.assert_frame_equal(frame, copy)


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        (
            "gorse.csv",
            "FeedbackType,UserId,ItemId,Timestamp,Comment\nread,u,i,2020-01-01T00:00:00Z,nice\n",
            ["user_id", "item_id", "timestamp", "event", "review_text"],
        ),
        (
            "gorse_export.csv",
            "feedback_type,user_id,item_id,time_stamp\nread,u,i,2020-01-01 00:00:00 UTC\n",
            ["user_id", "item_id", "timestamp", "event"],
        ),
        (
            "personalize.csv",
            "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\nu,i,1577836800,click,1\n",
            ["user_id", "item_id", "timestamp", "event", "weight"],
        ),
        (
            "recommenders.csv",
            "userID,itemID,rating,timestamp\nu,i,4,1577836800\n",
            ["user_id", "item_id", "timestamp", "rating"],
        ),
        (
            "rectools.csv",
            "user_id,item_id,weight,datetime\nu,i,3,2020-01-01\n",
            ["user_id", "item_id", "timestamp", "weight"],
        ),
        (
            "ml.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ti\t4\t1577836800\n",
            ["user_id", "item_id", "timestamp", "rating"],
        ),
        (
            "retail.csv",
            "Customer ID,StockCode,InvoiceDate\nu,i,2020-01-01 00:00\n",
            ["user_id", "item_id", "timestamp"],
        ),
    ],
)
def test_names_of_other_libraries(tmp_path: Path, name: str, text: str, columns: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text)
    events = Interactions.read(path)
    assert events.frame.columns == columns
    assert events.frame.select("user_id", "item_id", "timestamp").row(0) == ("u", "i", 1_577_836_800)
    header = text.splitlines()[0].replace("\t", ",").split(",")
    assert set(events.report.columns.values()) <= set(header)
    for ours, found in events.report.columns.items():
        assert f"{ours} <- {found!r}" in str(events.report)


def test_a_missing_column_is_named_with_what_was_found_and_what_would_do(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("who,item_id,when\nu,i,1\n")
    with pytest.raises(DataError) as caught:
        Interactions.read(path)
    for word in ("log.csv", "user_id", "'who'", "'when'", "customer_id", "columns="):
        assert word in str(caught.value)
    events = Interactions.read(path, columns={"user_id": "who", "timestamp": "when"})
    assert events.frame.rows() == [("u", "i", 1)]


def test_extra_columns_keep_their_names_and_get_types() -> None:
    frame = pl.DataFrame(
        {"user": ["u"], "item": ["i"], "Quantity": ["12"], "unit price": ["2.5"], "zip": ["01067"], "": ["x"]}
    )
    extras = Interactions.from_frame(frame).frame.drop("user_id", "item_id", "timestamp")
    assert extras.row(0, named=True) == {"Quantity": 12, "unit price": 2.5, "zip": "01067", "column_4": "x"}


# --- copies and repeats ----------------------------------------------------------------------------------------------


def test_copies_go_and_repeats_stay() -> None:
    frame = pl.DataFrame(
        {"user": ["u"] * 4, "item": ["i"] * 4, "ts": [1, 1, 2, 1], "event": ["buy", "buy", "buy", "view"]}
    )
    events = Interactions.from_frame(frame)
    assert events.report.dropped == {"duplicate_event": 1}
    assert events.frame["timestamp"].to_list() == [1, 2, 1]


def test_without_times_the_order_of_rows_is_the_order_of_time() -> None:
    events = Interactions.from_frame(pl.DataFrame({"user": ["a", "b", "a", "a"], "item": ["x", "x", "y", "x"]}))
    assert events.frame["timestamp"].to_list() == [0, 0, 1, 2]
    assert not events.timed
    assert events.report.dropped == {}
    assert any("order of time" in note for note in events.report.notes)


# --- mappings --------------------------------------------------------------------------------------------------------


def test_a_mapping_of_lists() -> None:
    events = Interactions.from_mapping({"a": ["x", 2, 2], 5: (3.0,), "nobody": []})
    assert events.user_ids == ("a", "5", "nobody")
    assert events.frame.rows() == [("a", "x", 0), ("a", "2", 1), ("a", "2", 2), ("5", "3", 0)]
    assert not events.timed
    assert Interactions.from_mapping({}).user_ids == ()


def test_a_mapping_of_events_under_any_alias() -> None:
    events = Interactions.from_mapping(
        {
            "a": [{"itemId": "x", "datetime": "2020-01-01", "rating": 5}, {"item": "y", "date": "2020-01-02"}],
            "b": ["z"],
            "c": [{"item_id": "w", "user": "somebody else", "timestamp": 1_577_836_800_123}],
        }
    )
    assert events.frame.select("user_id", "item_id", "timestamp").rows() == [
        ("a", "x", 1_577_836_800),
        ("a", "y", 1_577_923_200),
        ("b", "z", 0),
        ("c", "w", 1_577_836_800.123),
    ]
    assert events.frame["rating"].to_list() == [5.0, None, None, None]


def test_a_mapping_of_logs() -> None:
    events = Interactions.from_mapping({"new": expected().of_users(["b"])})
    assert events.user_ids == ("new",)
    assert events.frame["timestamp"].to_list() == [1_600_000_000, 1_600_000_200, 1_600_086_400]
    assert events.frame["rating"].to_list() == [5.0, 1.0, 4.0]


@pytest.mark.parametrize(
    "given",
    [
        {"a": "xyz"},
        {"a": 3},
        {"a": None},
        {"a": {"item_id": "x"}},
        {"a": ["x", {"item_id": "y"}]},
        {"a": [{"item_id": "x", "timestamp": 1}, {"item_id": "y"}]},
        {"a": [{"title": "x"}]},
        {"a": [None]},
        {"a": ["\ud800"]},
        {None: ["x"]},
        ["x"],
    ],
)
def test_a_wrong_mapping_gives_one_sentence(given: object) -> None:
    with pytest.raises(DataError) as caught:
        Interactions.from_mapping(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# --- selections ------------------------------------------------------------------------------------------------------


def test_of_users_keeps_the_order_asked_for() -> None:
    events = expected().of_users(["a", "stranger", "b", "a"])
    assert events.user_ids == ("a", "stranger", "b")
    assert events.frame["user_id"].to_list() == ["a", "b", "b", "b"]
    assert events.report.read == events.report.kept == 4
    assert expected().of_users([]).user_ids == ()
    with pytest.raises(DataError, match="list of ids"):
        expected().of_users("a")


def test_without_users_and_before() -> None:
    events = expected()
    assert events.without_users(["b", "stranger"]).user_ids == ("a",)
    early = events.before(1_600_000_100)
    assert (early.user_ids, len(early)) == (("b",), 1)
    assert len(events) == 4


def test_selections_keep_users_without_events_and_the_kind_of_time() -> None:
    events = Interactions.from_mapping({"a": ["1"], "nobody": []})
    for part in (events.known_items(CATALOG), events.of_users(["nobody", "a"]), events.without_users(["a"])):
        assert "nobody" in part.user_ids
        assert not part.timed


def test_item_rows_and_user_rows() -> None:
    events = expected().of_users(["a", "b"])
    assert events.user_rows.tolist() == [0, 1, 1, 1]
    assert events.item_rows(CATALOG).tolist() == [0, 1, 0, 1]
    strange = Interactions.from_mapping({"a": ["1", "?"]})
    assert strange.item_rows(CATALOG).tolist() == [1, -1]
    assert strange.item_rows(Catalog.from_frame(pl.DataFrame({"id": []}, schema={"id": pl.String}))).tolist() == [
        -1,
        -1,
    ]


def test_extend_joins_two_logs() -> None:
    both = expected().extend(
        Interactions.from_frame(pl.DataFrame({"user": ["c", "b"], "item": ["0", "0"], "ts": [5, 6]}))
    )
    assert both.user_ids == ("b", "a", "c")
    assert len(both) == 6
    assert both.frame["rating"].to_list()[4:] == [None, None]
    again = both.extend(expected())
    assert again.report.dropped == {"duplicate_event": 4}
    assert again.frame.equals(both.frame)


def test_further_columns_keep_their_type_when_logs_are_joined() -> None:
    def log(timestamp: int, device: object, year: object) -> Interactions:
        row = {"user": ["u"], "item": ["i"], "ts": [timestamp], "device": [device], "year": [year]}
        return Interactions.from_frame(pl.DataFrame(row))

    both = log(1, "phone", 2001).extend(log(2, ["a", "b"], "unknown")).extend(log(3, None, "2002"))
    assert both.frame["device"].to_list() == ["phone", "a, b", None]
    assert both.frame["year"].to_list() == [2001, None, 2002]
    joined = log(1, ["a"], None).join(log(2, "b", 2001))
    assert joined.frame["device"].to_list() == [["a"], ["b"]]
    assert joined.frame["year"].to_list() == [None, 2001]
    assert [note.split(" value")[0] for note in log(1, "x", 2001).extend(log(2, "x", "soon")).report.notes] == [
        "year: 1"
    ]


def test_events_without_times_come_after_what_is_known() -> None:
    both = expected().extend(Interactions.from_mapping({"b": ["0", "2"], "new": ["1"], "nobody": []}))
    assert both.user_ids == ("b", "a", "new", "nobody")
    assert both.frame["timestamp"].to_list()[4:] == [1_600_086_401, 1_600_086_402, 0]
    assert both.timed
    lists = Interactions.from_mapping({"a": ["x"]}).extend(Interactions.from_mapping({"a": ["x"]}))
    assert lists.frame["timestamp"].to_list() == [0, 1]
    assert not lists.timed


def test_fingerprints_follow_content_and_users() -> None:
    assert expected().fingerprint == expected().fingerprint
    assert expected().of_users(["a", "b"]).fingerprint != expected().fingerprint
    with_nobody = Interactions.from_mapping({"a": ["x"], "b": []})
    assert with_nobody.fingerprint != Interactions.from_mapping({"a": ["x"]}).fingerprint


LISTS, SETS = st.lists(st.sampled_from(["i1", "i2", 3, 3.0])), st.sets(st.sampled_from(["3", 3, "x"]))


@given(st.dictionaries(st.sampled_from(["mia", "tom", 7]), LISTS | SETS, min_size=1))
def test_ids_alone_are_read_as_the_long_way_reads_them(mapping: dict[Any, Any]) -> None:
    """A visitor's ids skip the cleaning that tables need; what comes out is the same."""
    fast, fast_users = clean_mapping(mapping)
    with mock.patch.object(cleaning_of_events, "_ids_alone", return_value=None):
        slow, slow_users = clean_mapping(mapping)
    assert fast_users == slow_users
    assert fast.frame.equals(slow.frame)
    assert fast.frame.schema == slow.frame.schema
    assert (fast.report, fast.timed) == (slow.report, slow.timed)
