"""The closed set of column types: whatever a column held, it is one of them afterwards, or was refused in words."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import series

from recllm.artifact.tables import pack_table, unpack_table
from recllm.data import Catalog
from recllm.data.kinds import BOOLEAN, DATE, KINDS, NUMBER, NUMBERS, TEXT, TEXTS, WHOLE, fitted_to
from recllm.data.written import MOMENT
from recllm.errors import DataError

LIBRARIES = {"polars": lambda frame: frame, "pandas": pl.DataFrame.to_pandas, "pyarrow": pl.DataFrame.to_arrow}
PLAIN: list[Any] = [
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64, pl.Decimal(12, 3), pl.Decimal(38, 0), pl.Boolean, pl.String, pl.Binary, pl.Null),
    *(pl.Categorical(), pl.Enum(["1", "b", "2024-01-31"]), pl.Date, pl.Time),
    *(pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo"), pl.Datetime("ns", "UTC")),
    *(pl.Duration("ms"), pl.Duration("us"), pl.Duration("ns")),
]
NESTED = [
    wrap(kind)
    for kind in (pl.Int16, pl.Float32, pl.Decimal(12, 3), pl.Boolean, pl.String, pl.Binary, pl.Categorical(), pl.Date)
    for wrap in (
        pl.List,
        lambda kind: pl.Array(kind, 2),
        lambda kind: pl.List(pl.List(kind)),
        lambda kind: pl.Struct({"name": kind, "b": pl.String}),
        lambda kind: pl.List(pl.Struct({"a": kind, "b": pl.List(kind)})),
    )
]
NAMES = ["extra", "title", "text", "categories"]


def with_column(values: pl.Series, name: str) -> pl.DataFrame:
    ids = pl.Series("item_id", [f"i{row}" for row in range(len(values))], dtype=pl.String)
    return pl.DataFrame([ids, pl.Series("title", ["x"] * len(values), dtype=pl.String)]).with_columns(
        values.alias(name)
    )


def read(values: Any, name: str = "extra") -> pl.Series:
    return Catalog.from_frame(with_column(pl.Series(values), name)).frame[name]


def read_or_refused(frame: Any, name: str) -> Catalog | None:
    try:
        catalog = Catalog.from_frame(frame)
    except DataError as error:
        if f"column {name!r}" not in str(error):
            raise
        return None
    assert set(catalog.frame.dtypes) <= set(KINDS)
    assert [catalog.item(row)["item_id"] for row in range(len(catalog))] == list(catalog.item_ids)
    kept = unpack_table(pack_table(catalog.frame))
    assert kept.schema == catalog.frame.schema
    assert kept.equals(catalog.frame)
    assert Catalog(kept, catalog.report).fingerprint == catalog.fingerprint
    return catalog


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from(PLAIN + NESTED), st.sampled_from(sorted(LIBRARIES)), st.sampled_from(NAMES))
def test_any_type_of_any_library_is_read_or_refused(data: st.DataObject, kind: Any, library: str, name: str) -> None:
    values = data.draw(series(dtype=kind, min_size=1, max_size=5, allow_null=True))
    try:
        frame = LIBRARIES[library](with_column(values, name))
    except (Exception, pl.exceptions.PanicException):
        return  # that library cannot hold it, so nobody can bring it
    catalog = read_or_refused(frame, name)
    if catalog is not None:
        assert len(catalog) == len(values)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.sampled_from(PLAIN + NESTED), st.sampled_from(PLAIN + NESTED))
def test_a_catalog_keeps_its_types_whatever_is_added(data: st.DataObject, kind: Any, other: Any) -> None:
    size = {"min_size": 1, "max_size": 3, "allow_null": True}
    old = read_or_refused(with_column(data.draw(series(dtype=kind, **size)), "extra"), "extra")
    new = read_or_refused(with_column(data.draw(series(dtype=other, **size)), "extra"), "extra")
    if old is None or new is None:
        return
    new = Catalog(new.frame.with_columns(item_id=pl.lit("new ") + pl.col("item_id")), new.report)
    both = old.extend(new)
    assert len(both) == len(old) + len(new)
    known = old.frame["extra"]
    if known.null_count() < len(known):
        assert both.frame["extra"].dtype == known.dtype
        assert both.frame["extra"].head(len(old)).equals(known)
        kept = [value is not None for value in both.frame["extra"].tail(len(new)).to_list()]
        there = [value is not None and str(value).strip() not in ("", "[]") for value in new.frame["extra"].to_list()]
        assert any(was and not is_kept for was, is_kept in zip(there, kept, strict=True)) == bool(both.report.notes)
    else:
        assert both.frame["extra"].dtype == new.frame["extra"].dtype


DAY, TIME = dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, 12, 30)
UTC_TIME = TIME.replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pl.Series([1, None], dtype=pl.Int8), WHOLE, [1, None]),
        (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), TEXT, ["18446744073709551615", "1"]),
        (pl.Series([0.1, 1e-7], dtype=pl.Float32), NUMBER, [0.1, 1e-7]),
        (pl.Series([float("nan"), float("inf"), 1.0]), NUMBER, [None, None, 1.0]),
        (pl.Series([Decimal("1.10")]), NUMBER, [1.1]),
        (pl.Series([Decimal("3")]), WHOLE, [3]),
        (pl.Series([True, None]), BOOLEAN, [True, None]),
        (pl.Series(["red", None], dtype=pl.Categorical), TEXT, ["red", None]),
        (pl.Series(["1", "2"], dtype=pl.Enum(["1", "2"])), WHOLE, [1, 2]),
        (pl.Series([None, None]), TEXT, [None, None]),
        (pl.Series([dt.timedelta(minutes=1)]), NUMBER, [60.0]),
        (pl.Series([dt.time(12, 30)]), TEXT, ["12:30:00"]),
        (pl.Series([DAY]), DATE, [DAY]),
        (pl.Series([TIME]), MOMENT, [UTC_TIME]),
        (pl.Series([TIME], dtype=pl.Datetime("ns")).dt.replace_time_zone("Asia/Tokyo"), MOMENT, None),
        (
            pl.Series([2**62, 0], dtype=pl.Int64).cast(pl.Datetime("ms")),
            MOMENT,
            [None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)],
        ),
        (pl.Series([b"tea", b"Caf\xc3\xa9"]), TEXT, ["tea", "Café"]),
        (pl.Series([[0.5, float("nan")], None]), NUMBERS, [[0.5], None]),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), TEXTS, [["1", "2"]]),
        (pl.Series([[["a"], ["b"]], []]), TEXTS, [["a", "b"], []]),
        (pl.Series([[{"id": 1, "name": "Tea"}]]), TEXTS, [["Tea"]]),
        (pl.Series([{"id": 1, "name": "Tea"}]), TEXT, ["Tea"]),
        (pl.Series([{"width": 1, "unit": "cm"}]), TEXT, ['{"width": 1, "unit": "cm"}']),
        (pl.Series(['{"id": 1, "name": "Tea"}', None]), TEXT, ["Tea", None]),
        (pl.Series(["['a', 'b']", "[]"]), TEXTS, [["a", "b"], []]),
        (pl.Series(["[0.5, 1.5]", None]), NUMBERS, [[0.5, 1.5], None]),
        (pl.Series([{"b", "a"}], dtype=pl.Object), TEXTS, [["a", "b"]]),
    ],
)
def test_what_every_type_becomes(values: pl.Series, kind: pl.DataType, expected: list[Any] | None) -> None:
    found = read(values)
    assert found.dtype == kind
    if expected is not None:
        assert found.to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([1, 2]).dictionary_encode(), [1, 2]),
        (pa.array([Decimal("1.5")] * 2, type=pa.decimal256(50, 2)), [1.5, 1.5]),
        (pa.array([["a"], None], pa.list_(pa.string())), [["a"], None]),
        (pd.Categorical([2001, 2002]), [2001, 2002]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (pd.period_range("2024-01", periods=2, freq="M"), ["2024-01", "2024-02"]),
        ([uuid.UUID(int=1), None], ["00000000-0000-0000-0000-000000000001", None]),
        (np.array([0.1, np.nan], dtype=np.float32), [0.1, None]),
        ([Decimal("1.50"), None], [1.5, None]),
        ([{"b", "a"}, None], [["a", "b"], None]),
        ([np.array([1.5, 2.0]), None], [[1.5, 2.0], None]),
    ],
)
def test_types_of_other_libraries(values: Any, expected: list[Any]) -> None:
    make = pa.table if isinstance(values, pa.Array) else pd.DataFrame
    assert Catalog.from_frame(make({"item_id": ["a", "b"], "x": values})).frame["x"].to_list() == expected


def test_what_no_kind_can_hold_is_refused_with_the_name_of_its_column() -> None:
    picture = pl.Series([b"\x89PNG\xff\x00", b"\xff\xd8\xff"])
    for name in NAMES:
        with pytest.raises(DataError, match=f"column '{name}' .*leave it out"):
            read(picture, name)


@pytest.mark.parametrize("make", [pd.DataFrame, lambda columns: pl.DataFrame(columns, strict=False)])
def test_objects_without_a_text_are_refused(make: Any) -> None:
    with pytest.raises(DataError, match="address in memory"):
        Catalog.from_frame(make({"item_id": ["a"], "x": [object()]}))


def test_infinity_is_counted() -> None:
    report = Catalog.from_frame(with_column(pl.Series([float("inf"), 1.0, None]), "price")).report
    assert any(note.startswith("price: 1 value is no finite number") for note in report.notes)
    assert report.noticed["misfit_value"] == 1
    empty = Catalog.from_frame(with_column(pl.Series([{"a": None}]), "price")).report
    assert "misfit_value" not in empty.noticed


@pytest.mark.parametrize(
    ("values", "kind", "expected", "lost"),
    [
        (["2001", "2001.0", "soon", "n/a", "", None], WHOLE, [2001, 2001, None, None, None, None], 2),
        ([2001.0, 3.5], WHOLE, [2001, None], 1),
        ([True, False], WHOLE, [None, None], 2),
        ([[1.0]], WHOLE, [None], 1),
        ([3, 4], NUMBER, [3.0, 4.0], 0),
        (["£1,250.50", "cheap"], NUMBER, [1250.5, None], 1),
        ([2001, 3.5], TEXT, ["2001", "3.5"], 0),
        ([True, None], TEXT, ["true", None], 0),
        ([["y", "z"], []], TEXT, ["y, z", None], 0),
        ([DAY], TEXT, ["2024-01-31"], 0),
        (["x", "['y', 'z']", None], TEXTS, [["x"], ["y", "z"], None], 0),
        ([3, 4.5], TEXTS, [["3"], ["4.5"]], 0),
        ([3, None], NUMBERS, [[3.0], None], 0),
        (["yes", "no", "maybe"], BOOLEAN, [True, False, None], 1),
        ([1, 0, 2], BOOLEAN, [True, False, None], 1),
        (["2024-01-31", "2024-01-31T12:30:00Z", "May"], DATE, [DAY, DAY, None], 1),
        ([UTC_TIME], DATE, [DAY], 0),
        (["2024-01-31T13:30:00+01:00", "2024-01-31"], MOMENT, [UTC_TIME, dt.datetime(2024, 1, 31, tzinfo=dt.UTC)], 0),
        ([20240131], DATE, [None], 1),
    ],
)
def test_values_that_do_not_fit_a_kind_are_null_and_counted(
    values: list[Any], kind: pl.DataType, expected: list[Any], lost: int
) -> None:
    given_values = pl.Series("year", values, strict=False)
    if isinstance(given_values.dtype, pl.Datetime):
        given_values = given_values.cast(MOMENT)
    fitted = fitted_to(given_values, kind)
    assert (fitted.values.dtype, fitted.values.to_list()) == (kind, expected)
    assert [note.split(" value")[0] for note in fitted.notes] == ([f"year: {lost}"] if lost else [])


@pytest.mark.parametrize(
    "cells", [[[], []], [["a"], []], [["a", "b"], ["c"]], [["a"], ["b"]], [None, ["a"]], [[2.5], [1.5]]]
)
def test_arrays_of_objects_in_cells_are_lists(cells: list[Any]) -> None:
    """As pandas gives the lists of a parquet file; polars' own arrays of Python objects end the process."""
    arrays = [None if cell is None else np.array(cell, dtype=object) for cell in cells]
    catalog = Catalog.from_frame(pd.DataFrame({"item_id": ["1", "2"], "categories": arrays}))
    assert catalog.frame["categories"].to_list() == [[str(one) for one in cell or []] for cell in cells]
