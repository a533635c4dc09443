"""Dirty input: every kind of dirt is counted under its own name, and nothing else is lost."""

import csv
import gzip
import io
import json
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data import Catalog, CleaningReport, Interactions
from recllm.data.cleaning import REASONS, as_id, as_ids, as_numbers
from recllm.data.delimited import SPACES, read_csv, read_irregular
from recllm.data.raw import RawTable
from recllm.data.timestamps import parse_timestamps
from recllm.errors import DataError

IN_TWO_DAYS = int(time.time()) + 2 * 86_400

DIRTY_EVENTS = f"""user_id,item_id,timestamp,rating,weight,event,country
u1,a,1000,5,1,buy,DE
u1,a,1000,5,1,buy,FR
u1,a,2000,5,1,buy,DE
u1,b
u1,b,1000,5,1,buy,DE,more
,a,1000,5,1,buy,DE
u2,,1000,5,1,buy,DE
u2,a,,5,1,buy,DE
u2,a,yesterday,5,1,buy,DE
u2,a,-5,5,1,buy,DE
u2,a,{IN_TWO_DAYS},5,1,buy,DE
u2,a,1000,good,1,buy,DE
u2,b,1000,inf,1,buy,DE
u2,c,1000,5,nan,buy,DE
u2,d,1000,5,1e400,buy,DE

u2,e,1000,,1,buy,DE
u3,unheard,2021-03-04T05:06:07Z,3.5,,,DE
u3,"a ""quoted"", id
on two lines",1000,3,1,buy,"D,E"
"""

DIRTY_ITEMS = """item_id,title,text,categories,price
a,Apple,A fruit,fruit|red,1.5
a,Apple again,,,2
,Nobody,,,1
b,,"A long
text",,2
c,,,,
d,Date,  ,,3
too,short
"""


@pytest.fixture
def dirty_events(tmp_path: Path) -> Path:
    path = tmp_path / "interactions.csv"
    path.write_text(DIRTY_EVENTS, encoding="utf-8")
    return path


def test_a_dirty_log_is_counted_reason_by_reason(dirty_events: Path) -> None:
    events = Interactions.read(dirty_events)
    report = events.report
    assert report.dropped == {
        "ragged_row": 2,
        "missing_user_id": 1,
        "missing_item_id": 1,
        "missing_timestamp": 1,
        "bad_timestamp": 1,
        "negative_timestamp": 1,
        "future_timestamp": 1,
        "bad_rating": 2,
        "bad_weight": 2,
        "duplicate_event": 1,
    }
    assert report.noticed == {"missing_rating": 1, "missing_weight": 1, "missing_event": 1, "early_timestamp": 4}
    assert (report.read, report.kept) == (18, 5)
    assert report.read == report.kept + sum(report.dropped.values())
    assert events.frame["item_id"].to_list() == ["a", "a", "e", "unheard", 'a "quoted", id\non two lines']
    assert events.frame["timestamp"].to_list() == [1000, 2000, 1000, 1614834367, 1000]
    assert events.frame["country"].to_list() == ["DE", "DE", "DE", "DE", "D,E"]
    assert any("line 5" in note for note in report.notes)


def test_unknown_items_are_counted_when_the_catalog_is_known(dirty_events: Path) -> None:
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": ["a", "e", 'a "quoted", id\non two lines']}))
    before = Interactions.read(dirty_events)
    events = before.known_items(catalog)
    assert events.report.dropped["unknown_item"] == 1
    assert events.report.read == events.report.kept + sum(events.report.dropped.values())
    assert any("'unheard'" in note and "'a'" in note for note in events.report.notes)
    assert events.user_ids == ("u1", "u2", "u3")
    assert len(before) == 5, "the input stays as it was"


def test_a_dirty_catalog_is_counted_reason_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "items.csv.gz"
    path.write_bytes(gzip.compress(DIRTY_ITEMS.encode()))
    catalog = Catalog.read(path)
    assert catalog.report.dropped == {"ragged_row": 1, "missing_item_id": 1, "duplicate_item": 1}
    assert catalog.report.noticed == {"empty_title": 2, "empty_text": 2}
    assert (catalog.report.read, catalog.report.kept) == (7, 4)
    assert catalog.item_ids == ("a", "b", "c", "d")
    assert catalog.titles == ["Apple", "A long text", "c", "Date"]
    assert catalog.texts == ["A fruit", "A long\ntext", "c", "Date"]


def test_the_report_reads_well_and_is_json_able(dirty_events: Path) -> None:
    report = Interactions.read(dirty_events).report
    text = str(report)
    assert "interactions.csv: 18 rows read, 5 kept, 13 dropped" in text
    assert "dropped 2: rating that is not a finite number" in text
    assert "kept 1: event without rating in a rated log" in text
    assert "user_id <- 'user_id'" in text
    assert json.loads(json.dumps(report.to_dict()))["dropped"]["bad_rating"] == 2
    assert set(report.dropped) | set(report.noticed) <= set(REASONS)


def test_a_report_of_many_rows_uses_separators_and_keeps_the_sum() -> None:
    report = CleaningReport("log", 12_345, 12_345).drop("bad_rating", 1_000).drop("bad_rating", 1).drop("x", 0)
    assert report.dropped == {"bad_rating": 1_001}
    assert "12,345 rows read, 11,344 kept, 1,001 dropped" in str(report)


# --- whole files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", ["empty"]),
        ("a.csv", b" \n \n", ["empty"]),
        ("a.csv", b"\xef\xbb\xbf", ["empty"]),
        ("a.csv.gz", b"", ["empty"]),
        ("a.csv", b"user_id,item_id\n", ["only a header", "data row"]),
        ("a.csv.gz", b"user_id,item_id\nu,i\n", ["gzip", "a.csv.gz"]),
        ("a.csv.gz", gzip.compress(b"user_id,item_id\nu,i\n", mtime=0)[:-9], ["gzip"]),
        ("a.jsonl", b"not json\n", ["JSON"]),
        ("a.jsonl", b"[1, 2]\n", ["JSON"]),
        ("a.parquet", b"PAR1 or not", ["parquet"]),
        ("a.parquet", b"", ["parquet"]),
        ("a.xlsx", b"PK", [".xlsx", ".csv"]),
        ("a.csv", b'user_id,item_id\nu,i\nu,"never closed\nu,i\n', ["line 3", "never closed"]),
        ("a.csv", b"user_id,item_id,timestamp\nu,i,soon\nu,i,\n", ["none of the 2 rows", "1 timestamp that"]),
        ("a.csv", b"\x00\x01\x02\xff\xfe\n1", ["user_id"]),
    ],
)
def test_a_useless_file_gives_one_clear_sentence(tmp_path: Path, name: str, data: bytes, words: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        Interactions.read(path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("make", [lambda folder: folder / "nothing.csv", lambda folder: folder])
def test_a_missing_file_or_a_folder_is_named(tmp_path: Path, make: object) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=r"does not exist|is a folder"):
        Catalog.read(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_byte_order_marks_are_no_part_of_the_first_name(tmp_path: Path, encoding: str) -> None:
    text = "user_id,item_id,timestamp\nü,🍒,1000\n"
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    events = Interactions.read(path)
    assert events.user_ids == ("ü",)
    assert events.frame["item_id"].to_list() == ["🍒"]


def test_bytes_that_are_not_utf8_cost_ids_but_not_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        "user_id,item_id,timestamp,country\nu,caf\xe9,1,DE\nu,tea,2,C\xf4te\nu,\ufffd,3,DE".encode("cp1252", "replace")
    )
    events = Interactions.read(path)
    assert events.report.dropped == {"id_not_utf8": 1}
    assert events.report.noticed == {"text_not_utf8": 1}
    assert any("line 2" in note and "encoding=" in note for note in events.report.notes)
    whole = Interactions.read(path, encoding="cp1252")
    assert whole.frame["item_id"].to_list()[:2] == ["café", "tea"]
    assert whole.report.dropped == {}
    with pytest.raises(DataError, match="klingon"):
        Interactions.read(path, encoding="klingon")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_of_all_systems(tmp_path: Path, newline: str, last: bool) -> None:
    path = tmp_path / "a.csv"
    rows = ["user_id,item_id,timestamp", "u,a,1", "u,b,2"]
    path.write_bytes((newline.join(rows) + (newline if last else "")).encode())
    assert Interactions.read(path).frame.rows() == [("u", "a", 1), ("u", "b", 2)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found_in_the_header(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"user_id{separator}item_id{separator}timestamp\nu{separator}a,b{separator}1\n")
    events = Interactions.read(path)
    assert events.frame.rows() == [("u", "a,b", 1)]
    assert any("separated" in note for note in events.report.notes)


def test_a_stray_quote_in_the_middle_of_a_field_is_text(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,title\n1,5" nail\n2,6" nail\n3,plain\n"4","a ""b"" c"\n')
    assert Catalog.read(path).titles == ['5" nail', '6" nail', "plain", 'a "b" c']


def test_text_after_a_closing_quote_is_a_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,title\n1,"a"b\n2,ok\n')
    catalog = Catalog.read(path)
    assert catalog.report.dropped == {"ragged_row": 1}
    assert catalog.item_ids == ("2",)


def test_a_field_longer_than_the_csv_modules_limit(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    limit = csv.field_size_limit()
    path.write_text(f"item_id,title,text\n1,ragged\n2,long,{'x' * 200_000}\n")
    assert len(Catalog.read(path).texts[0]) == 200_000
    assert csv.field_size_limit() == limit


def test_broken_json_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"user": 1, "item": "007", "ts": 5}\n{"user": 1, "item"\n3\n\n{"item": 7, "user": 1.0, "ts": 6}\n')
    events = Interactions.read(path)
    assert events.report.dropped == {"bad_json": 2}
    assert (events.report.read, len(events)) == (4, 2)
    assert events.frame.rows() == [("1", "007", 5), ("1", "7", 6)]


def test_a_json_array_is_read_like_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"user_id": "u", "item_id": "a", "timestamp": 1},\n {"user_id": "u", "item_id": "b"}]')
    assert Interactions.read(path).report.dropped == {"missing_timestamp": 1}


awkward = st.sampled_from(["a", "", " ", '"a"', '""', '"a,b"', '"x\ny"', '"q""q"', '5" ', '"a"b', "\r", '"'])


@settings(max_examples=200)
@given(
    rows=st.lists(st.lists(awkward, min_size=2, max_size=2), min_size=1, max_size=4),
    end=st.sampled_from(["", "\n", "\r\n"]),
)
def test_the_fast_reader_agrees_with_the_row_by_row_one(rows: list[list[str]], end: str) -> None:
    data = ("a,b\n" + "\n".join(map(",".join, rows)) + end).encode()
    results = []
    for read in (lambda raw: read_csv(data, raw, tab=False), lambda raw: read_irregular(data, ",", raw)):
        raw = RawTable(pl.DataFrame(), "file", 0)
        try:
            read(raw)
        except DataError:
            results.append("unclosed quote")
        else:
            results.append((raw.rows, raw.frame.fill_null("").rows()))
    assert results[0] == results[1]


def test_blank_lines_are_no_rows_even_with_one_column(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id\na\n\nb\n\n")
    assert Catalog.read(path).item_ids == ("a", "b")
    assert Catalog.read(path).report.read == 2


# --- times -----------------------------------------------------------------------------------------------------------

NOON = 1_577_880_000  # 2020-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        (str(NOON), 0),
        (f"{NOON}.75", 0.75),
        ("1.57788e9", 0),
        (f" {NOON} ", 0),
        ("2020-01-01T12:00:00", 0),
        ("2020-01-01T12:00:00Z", 0),
        ("2020-01-01 12:00:00.999", 0.999),
        ("2020-01-01 12:00:00.123456789Z", 0.123),
        ("2020-01-01T14:00:00+02:00", 0),
        ("20200101T120000Z", 0),
        ("2020-01-01 12:00", 0),
        ("2020-01-01 12:00:00 UTC", 0),
    ],
)
def test_notations_of_one_moment(text: str, fraction: float) -> None:
    seconds, missing, _ = parse_timestamps(pl.Series([text]))
    assert seconds.dtype == pl.Float64
    assert seconds.to_list() == [NOON + fraction]
    assert not missing.any()


@pytest.mark.parametrize(("factor", "unit"), [(1_000, "milli"), (1_000_000, "micro"), (1_000_000_000, "nano")])
def test_the_unit_is_that_of_the_median(factor: int, unit: str) -> None:
    values = [NOON * factor + factor // 4, (NOON + 60) * factor, 0]
    for series in (pl.Series(values), pl.Series([str(v) for v in values])):
        seconds, _, notes = parse_timestamps(series)
        assert seconds.to_list() == [NOON + 0.25, NOON + 60, 0]
        assert unit in notes[0]


def test_positions_and_calendar_days_are_told_apart() -> None:
    assert parse_timestamps(pl.Series([0, 1, 2]))[0].to_list() == [0, 1, 2]
    seconds, _, notes = parse_timestamps(pl.Series([20200101, 20200102]))
    assert seconds.to_list() == [NOON - 43_200, NOON + 43_200]
    assert "yyyymmdd" in notes[0]
    assert parse_timestamps(pl.Series([20200101, 20209999]))[0].to_list() == [20200101, 20209999]


@pytest.mark.parametrize("text", ["31/31/2010 8:26", "soon", "2020-13-01", "nan", "inf", "1e30", "0000-00-00"])
def test_what_is_no_time_is_null_but_not_missing(text: str) -> None:
    seconds, missing, _ = parse_timestamps(pl.Series([text]))
    assert seconds.to_list() == [None]
    assert missing.to_list() == [False]


def test_an_empty_time_column_is_no_time_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,timestamp\nu,b,\nv,a,\nu,a,\n")
    events = Interactions.read(path)
    assert events.frame["timestamp"].to_list() == [0, 0, 1]
    assert not events.timed
    assert any("order" in note for note in events.report.notes)


# --- properties ------------------------------------------------------------------------------------------------------

ids = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["/", "..", "../../etc/passwd", "a\nb", "\r\n", "👩‍🚀", "NaN", "null"]
)


def write_csv(rows: list[list[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


unspaced = ids.map(lambda one: one.strip(SPACES)).filter(bool)  # in text files, spaces around cells are no part of them


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(unspaced, unspaced), min_size=1, max_size=20))
def test_any_string_is_a_key_and_survives_csv(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        write_csv([["user_id", "item_id", "timestamp"], *([u, i, str(t)] for t, (u, i) in enumerate(pairs))])
    )
    events = Interactions.read(path)
    assert list(zip(events.frame["user_id"], events.frame["item_id"], strict=True)) == pairs
    assert events.user_ids == tuple(dict.fromkeys(u for u, _ in pairs))


@settings(max_examples=50)
@given(pairs=st.lists(st.tuples(ids, ids), min_size=1, max_size=20))
def test_any_string_is_a_key_in_frames_and_jsonl(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]})
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"user_id": u, "item_id": i}) for u, i in pairs), encoding="utf-8")
    for events in (Interactions.from_frame(frame), Interactions.read(path)):
        assert list(zip(events.frame["user_id"], events.frame["item_id"], strict=True)) == pairs
        catalog = Catalog.from_frame(frame.select("item_id"))
        assert [catalog.item_ids[row] for row in catalog.rows(frame["item_id"])] == [i for _, i in pairs]


cells = st.sampled_from(
    ["u", "v", "", "1", "-1", "nan", "1e999", "2020-01-01", "x,y", 'q"', "1577836800000", "é", "\n"]
)


@settings(max_examples=60)
@given(rows=st.lists(st.lists(cells, min_size=1, max_size=7), min_size=1, max_size=15))
def test_nothing_is_lost_without_a_count(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(write_csv([["user_id", "item_id", "timestamp", "rating", "weight"], *rows]))
    try:
        events = Interactions.read(path)
    except DataError:
        return
    written = sum(1 for row in rows if row != [""])  # csv.writer writes [""] as a quoted empty field
    assert events.report.read in (written, len(rows))
    assert events.report.kept == len(events)
    assert events.report.read == events.report.kept + sum(events.report.dropped.values())


@settings(max_examples=60)
@given(data=st.binary(max_size=200))
def test_no_bytes_give_a_traceback(tmp_path: Path, data: bytes) -> None:
    for name in ("a.csv", "a.jsonl", "a.csv.gz"):
        path = tmp_path / name
        path.write_bytes(b"user_id,item_id,timestamp\n" + data if name == "a.csv" else data)
        try:
            report = Interactions.read(path).report
        except DataError:
            continue
        assert report.read == report.kept + sum(report.dropped.values())


@pytest.mark.parametrize(
    ("value", "text"), [("1", "1"), (1, "1"), (1.0, "1"), (np.float64(2), "2"), (1.5, "1.5"), (" ", " ")]
)
def test_one_id_follows_the_rule_of_columns(value: object, text: str) -> None:
    assert as_id(value) == text


@pytest.mark.parametrize("value", [None, "", float("nan")])
def test_a_missing_id_is_an_error_outside_tables(value: object) -> None:
    with pytest.raises(DataError, match="id"):
        as_id(value)


def one_id(value: object) -> str | None:
    try:
        return as_id(value)
    except DataError:
        return None


NO_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
        (pl.UInt64, st.integers(0, 2**64 - 1)),
        (pl.Float64, st.floats()),
        (pl.String, NO_SURROGATES),
        (pl.Binary, NO_SURROGATES.map(str.encode)),
        (pl.Decimal(20, 3), st.decimals(-(10**9), 10**9, places=3)),
    ],
)
@given(st.data())
def test_a_column_of_ids_is_read_as_each_of_them_is(
    dtype: pl.DataType, values: st.SearchStrategy, data: st.DataObject
) -> None:
    given_ids = data.draw(st.lists(st.none() | values, min_size=1, max_size=5))
    series = pl.Series("id", given_ids, dtype=dtype)
    assert as_ids(series).to_list() == [None if value is None else one_id(value) for value in series.to_list()]


def test_a_float32_id_is_the_number_that_was_written() -> None:
    assert as_ids(pl.Series([3, 0.1], dtype=pl.Float32)).to_list() == ["3", "0.1"]


@pytest.mark.parametrize("values", [[True], [["a"]], [{"a": 1}]])
def test_truth_values_lists_and_records_are_no_ids(values: list[object]) -> None:
    with pytest.raises(DataError, match="column 'item_id' holds"):
        as_ids(pl.Series("item_id", values))


def test_numbers_of_odd_types() -> None:
    for values in (pl.Series(["1", "x"], dtype=pl.Categorical), pl.Series([b"1", b"x"]), pl.Series(["1", "x"])):
        number, bad = as_numbers(values)
        assert (number.to_list(), bad.to_list()) == ([1.0, None], [False, True])
    for values in (
        pl.Series("rating", [[1]]),
        pl.Series("rating", [{"a": 1}]),
        pl.Series("rating", [date(2024, 1, 1)]),
    ):
        with pytest.raises(DataError, match=r"column 'rating' holds .*; numbers were expected"):
            as_numbers(values)
