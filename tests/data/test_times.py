"""Times in any notation, columns that hold them under other names, and event columns of any type."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import series

from recllm import RecllmError
from recllm.data import Interactions
from recllm.errors import DataError

DAY = 1_706_745_600.0  # 2024-02-01


def log(times: Any, **notation: Any) -> Interactions:
    frame = {"user_id": ["u"] * len(times), "item_id": [f"i{k}" for k in range(len(times))], "timestamp": times}
    return Interactions.from_frame(pl.DataFrame(frame, strict=False), **notation)


def seconds(times: Any, **notation: Any) -> list[float]:
    return log(times, **notation).frame["timestamp"].to_list()


TEN = DAY + 36_000


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-01 10:00",
        "2024-2-1 10:00:00",
        "2024/02/01 10:00",
        "2024.02.01 10:00",
        "2024-02-01T12:00:00+0200",
        "2024-02-01 12:00:00 +02:00",
        "2024-02-01T11:00+01:00[Europe/Berlin]",
        "01.02.2024 10:00",
        "Thu, 01 Feb 2024 10:00:00 GMT",
        "Thu, 1 Feb 2024 05:00:00 -0500",
        "Thu, 01 Feb 2024 05:00:00 EST",
        "Thu Feb  1 10:00:00 2024",
        "Thu Feb 01 10:00:00 +0000 2024",
        "Thu Feb 01 2024 11:00:00 GMT+0100 (CET)",
        "Feb 1, 2024 10:00 AM",
        "February 1st, 2024, 10:00",
        "1 February 2024 10:00",
        "01-FEB-24 10:00",
        "2024-Feb-01 10:00",
        "20240201T100000Z",
    ],
)
def test_one_moment_in_many_notations(text: str) -> None:
    assert seconds([text]) == [TEN]


@pytest.mark.parametrize(
    "text", ["12:30", "tomorrow", "2024-02-30", "31 Foo 2024", "2024-02-01 25:00", "2024-02-01 10:00 XYZ"]
)
def test_what_is_no_moment_is_counted(text: str) -> None:
    events = log([text, "2024-02-01 10:00"])
    assert events.report.dropped == {"bad_timestamp": 1}


@pytest.mark.parametrize("between", ["/", "-"])
def test_one_date_beyond_the_twelfth_tells_the_order_of_all(between: str) -> None:
    day, month = (text.replace("/", between) for text in ("13/02/2024 10:00", "02/13/2024 10:00"))
    unclear = "01/02/2024 10:00".replace("/", between)
    assert seconds([unclear, day]) == [TEN, TEN + 12 * 86_400]
    assert seconds([unclear, month]) == [TEN - 30 * 86_400, TEN + 12 * 86_400]
    for wrong in ([unclear], [unclear, "03/03/2024"], [day, month]):
        with pytest.raises(DataError, match="dayfirst=True"):
            seconds(wrong)
    assert seconds([unclear], dayfirst=True) == seconds([unclear], dates=f"%d{between}%m{between}%Y %H:%M") == [TEN]
    assert seconds([unclear], dayfirst=False) == [TEN - 30 * 86_400]
    assert log([day, month], dayfirst=True).report.dropped == {"bad_timestamp": 1}
    assert seconds(["03/03/2024"]) == [DAY + 31 * 86_400], "either way the same"


def test_formats_are_tried_in_their_order() -> None:
    assert seconds(["01/02/2024", "01022024"], dates=["%d/%m/%Y", "%d%m%Y"]) == [DAY, DAY]
    assert seconds([1022024, 13022024], dates="%d%m%Y")[1] == DAY + 12 * 86_400
    assert seconds([45323, 45323.5], dates="excel") == [DAY, DAY + 43_200]
    for dates in ("%Q", "%d/%m", 3, "nothing", "%Y"):
        with pytest.raises(DataError, match="dates"):
            seconds(["01/02/2024"], dates=dates)
    with pytest.raises(DataError, match="dayfirst must be"):
        seconds(["01/02/2024"], dayfirst=1)


@pytest.mark.parametrize(
    ("numbers", "wanted", "note"),
    [
        ([int(TEN), int(TEN * 1e3), int(TEN * 1e6), int(TEN) * 10**9], [TEN] * 4, "1 in seconds, 1 in milliseconds"),
        ([TEN * 1e3 + 7, TEN], [TEN + 0.007, TEN], "several units"),
        ([2024, 2023], [1_704_067_200.0, 1_672_531_200.0], "years"),
        ([202402, 202401], [DAY, DAY - 31 * 86_400], "yyyymm"),
        ([20240201], [DAY], "yyyymmdd"),
        ([202402011000], [TEN], "yyyymmddhhmm"),
        ([20240201100000], [TEN], "yyyymmddhhmmss"),
        ([45323.25, 45323.5], [DAY + 21_600, DAY + 43_200], "spreadsheets"),
        ([5, 6], [5.0, 6.0], "lie in 1970"),
        ([TEN + 0.00049], [TEN], "rounded"),
    ],
)
def test_numbers_say_their_unit_by_their_size(numbers: list[float], wanted: list[float], note: str) -> None:
    for values in (numbers, [repr(value) for value in numbers]):
        events = log(values)
        assert events.frame["timestamp"].to_list() == wanted
        assert any(note in one for one in events.report.notes)


def test_a_zero_among_times_is_counted() -> None:
    events = log([0, int(TEN)])
    assert events.report.noticed == {"early_timestamp": 1}


@given(
    st.datetimes(datetime(1974, 1, 1), datetime(2025, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
    st.sampled_from(["ms", "us", "ns"]),
)
def test_a_moment_is_the_same_however_it_comes(moment: datetime, offset: int, unit: Any) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    wanted = moment.replace(tzinfo=UTC).timestamp()
    elsewhere = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))
    polars = pl.Series([moment], dtype=pl.Datetime(unit))
    for values in (
        polars,
        polars.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        [elsewhere.isoformat()],
        [moment.strftime("%Y/%m/%d %H:%M:%S.%f")],
        [moment.strftime("%d %B %Y %I:%M:%S.%f %p")],
        [round(wanted * 1000) * 1_000_000],
    ):
        assert seconds(values) == [round(wanted * 1000) / 1000]


def test_reading_what_was_read_changes_nothing() -> None:
    events = log([int(TEN), int(TEN * 1e3) + 123, 5])
    assert Interactions.from_frame(events.frame).frame.equals(events.frame)


# --- which column is the time ----------------------------------------------------------------------------------------


def guessed(**columns: list[Any]) -> Interactions:
    return Interactions.from_frame(pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"], **columns}))


@pytest.mark.parametrize("name", ["when", "order_date", "Purchased At", "InvoiceDate", "t_dat", "besuch", "jour"])
@pytest.mark.parametrize("values", [["2024-02-01", "2024-02-13"], ["13/02/2024", "01/02/2024"], [DAY, DAY + 1]])
def test_a_time_is_found_by_its_name_or_its_content(name: str, values: list[Any]) -> None:
    events = guessed(**{name: values}, shop=["x", "y"])
    assert events.timed
    assert events.report.columns["timestamp"] == name
    assert DAY in events.frame["timestamp"].to_list()
    assert any("not read by the model: 'shop'" in note for note in events.report.notes)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("release_date", ["2024-02-01", "2024-02-13"]),
        ("birth date", ["2004-02-01", "2004-02-13"]),
        ("year", [1999, 2001]),
        ("price", [5, 7]),
        ("phone no", [1_500_000_000, 1_600_000_000]),
        ("note", ["2024-02-01", "hello"]),
    ],
)
def test_other_dates_and_numbers_are_no_time(name: str, values: list[Any]) -> None:
    events = guessed(**{name: values})
    assert not events.timed
    assert any(repr(name) in note for note in events.report.notes)


def test_of_two_times_the_first_is_taken_and_both_are_named() -> None:
    events = guessed(besuch=["2024-02-01", "2024-02-02"], kauf=["2024-03-01", "2024-03-02"])
    assert events.report.columns["timestamp"] == "besuch"
    assert any("'kauf' holds times, too" in note for note in events.report.notes)
    frame = events.frame.drop("timestamp").with_columns(besuch=pl.lit("2024-02-01"))
    other = Interactions.from_frame(frame, {"timestamp": "kauf"})
    assert other.report.columns["timestamp"] == "kauf"


# --- any type in any column ------------------------------------------------------------------------------------------

COLUMNS = ["user_id", "item_id", "timestamp", "rating", "weight", "event", "review_text", "shop"]


def refused_or_read(frame: Any) -> None:
    try:
        events = Interactions.from_frame(frame)
    except RecllmError:
        return
    report = events.report
    assert report.read == report.kept + sum(report.dropped.values())
    assert events.frame.schema["timestamp"] == pl.Float64
    assert not events.frame["timestamp"].is_nan().any()
    assert len(events.fingerprint) == 64


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=series(min_size=3, max_size=3, allow_null=True), column=st.sampled_from(COLUMNS), data=st.data())
def test_any_type_in_any_column_is_read_or_refused(values: pl.Series, column: str, data: st.DataObject) -> None:
    frame = pl.DataFrame({"user_id": ["u", "v", "w"], "item_id": ["a", "b", "c"], "timestamp": [1, 2, 3]})
    frame = frame.with_columns(values.alias(column))
    library = data.draw(st.sampled_from(["polars", "pyarrow", "pandas", "pandas of arrow"]))
    try:
        given_frame = {
            "polars": lambda: frame,
            "pyarrow": frame.to_arrow,
            "pandas": frame.to_pandas,
            "pandas of arrow": lambda: frame.to_pandas(use_pyarrow_extension_array=True),
        }[library]()
    except BaseException as error:  # polars cannot give every type away
        if isinstance(error, KeyboardInterrupt):
            raise
        return
    refused_or_read(given_frame)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["1", "2", None]),
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([True, None, False], dtype="boolean"),
        pd.period_range("2024-01", periods=3, freq="M"),
        pd.interval_range(0, 3),
        pd.to_datetime(["2024-01-01", None, "2024-01-03"]).tz_localize("America/New_York"),
        pd.to_timedelta([1, 2, 3], unit="D"),
        pd.arrays.SparseArray([1.0, 0.0, 2.0]),
        np.array([1 + 2j, 0, 3]),
        np.array([{"a": 1}, [1], "x"], dtype=object),
        np.array([object(), object(), object()]),
        np.array([b"\xff", b"1", None], dtype=object),
        np.array([2**70, -1, 1], dtype=object),
    ],
    ids=lambda values: str(getattr(values, "dtype", "")),
)
def test_types_of_pandas_are_read_or_refused(column: str, values: Any) -> None:
    frame = pd.DataFrame({"user_id": ["u", "v", "w"], "item_id": ["a", "b", "c"], "timestamp": [1, 2, 3]})
    refused_or_read(frame.assign(**{column: values}))
