"""Numbers, dates and booleans written as text: one odd word does not turn a column to text, codes are no numbers."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data import Catalog, load_demo
from recllm.data.kinds import BOOLEAN, DATE, NUMBER, TEXT, WHOLE
from recllm.data.written import MOMENT, numbers, read_column

DAY = dt.date(2024, 1, 31)
MIDNIGHT = dt.datetime(2024, 1, 31, tzinfo=dt.UTC)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_of_any_length_stay_themselves(values: list[float]) -> None:
    found, notes = read_column(pl.Series("price", [repr(value) for value in values]))
    assert (found.dtype, notes) == (NUMBER, [])
    assert found.to_list() == values


@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1))
def test_whole_numbers_stay_themselves(values: list[int]) -> None:
    assert read_column(pl.Series("year", list(map(str, values))))[0].to_list() == values


@pytest.mark.parametrize(
    "word", ["n/a", "N/A", "NaN", "unknown", "-", "--", "?", "none", "NULL", "missing", "TBA", " "]
)
@pytest.mark.parametrize(
    ("values", "kind"),
    [(["1.5", "2"], NUMBER), (["2001", "2002"], WHOLE), (["2024-01-31"], DATE), (["true", "False"], BOOLEAN)],
)
def test_a_word_for_nothing_leaves_one_cell_empty(word: str, values: list[str], kind: pl.DataType) -> None:
    found, notes = read_column(pl.Series("price", [*values, word, None]))
    assert (found.dtype, found.null_count()) == (kind, 2)
    assert [note.startswith("price: 1 value is ") for note in notes] == ([True] if word.strip() else [])
    assert all(repr(word) in note for note in notes)


def test_what_most_values_are_the_column_is() -> None:
    found, notes = read_column(pl.Series("thing", ["1.5"] * 18 + ["free", "ask us"]))
    assert (found.dtype, found.null_count()) == (NUMBER, 2)
    assert notes == ["thing: 2 values are no number and were left empty, for example 'free'"]
    assert read_column(pl.Series("thing", ["1.5"] * 8 + ["free", "ask us"]))[0].dtype == TEXT


def test_a_name_that_promises_numbers_needs_fewer_of_them() -> None:
    for name in ("price", "unit_price", "Release_Year"):
        assert read_column(pl.Series(name, ["1.5", "2", "free"]))[0].to_list() == [1.5, 2.0, None]
        assert read_column(pl.Series(name, ["1.5", "cheap", "free"]))[0].dtype == TEXT
    assert read_column(pl.Series("pricey", ["1.5", "2", "free"]))[0].dtype == TEXT


@pytest.mark.parametrize(
    "values",
    [
        ["007", "8"],
        ["01067", "10115"],
        ["+49301234", "+49301235"],
        ["12345678901234567890", "1"],
        ["$5", "€6"],
        ["1,2", "3,4,5"],
        ["1,2", "3,4"],
        ["1.2.3", "1.2.4"],
        ["0x10", "1_000"],
        ["inf", "-Infinity"],
        ["31/01/2024", "01/02/2024"],
        ["2024", "spring 2024"],
        ["yes", "no", "perhaps"],
    ],
)
def test_what_only_looks_like_a_number_or_a_date_stays_text(values: list[str]) -> None:
    found, notes = read_column(pl.Series("thing", values))
    assert (found.dtype, found.to_list(), notes) == (TEXT, values, [])


def test_a_column_of_codes_loses_none_of_them() -> None:
    values = [*map(str, range(100)), "85123A"]
    assert read_column(pl.Series("stock_code", values))[0].to_list() == values
    assert read_column(pl.Series("score", values))[0].dtype == WHOLE


@pytest.mark.parametrize(
    ("values", "expected", "words"),
    [
        (["£1.25", "£2"], [1.25, 2.0], "the currency '£'"),
        (["$1,234.50", "$ 12"], [1234.5, 12.0], "the currency '$'"),
        (["10 EUR", "5 EUR"], [10, 5], "the currency 'EUR'"),
        (["-€3", "€4,5"], [-3.0, 4.5], "a comma is the decimal point"),
        (["1,234.50", "12.00"], [1234.5, 12.0], "commas group"),
        (["1,250", "300"], [1250, 300], "commas group"),
        (["12,50", "1.200,00", "3"], [12.5, 1200.0, 3.0], "a comma is the decimal point"),
    ],
)
def test_prices_as_people_write_them(values: list[str], expected: list[float], words: str) -> None:
    found, notes = read_column(pl.Series("price", values))
    assert found.to_list() == expected
    assert any(note.startswith("price: ") and words in note for note in notes)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["2024-01-31", "2024/1/31"], DATE, [DAY, DAY]),
        (["2024-01-31T00:00:00Z", "2024-01-31"], MOMENT, [MIDNIGHT, MIDNIGHT]),
        (["2024-01-31 01:00+01:00", "2024-01-31 00:00:00 UTC"], MOMENT, [MIDNIGHT, MIDNIGHT]),
        (["2024-01-31"] * 20 + ["2024-02-30"], DATE, [DAY] * 20 + [None]),
        (["TRUE", "no", None], BOOLEAN, [True, False, None]),
    ],
)
def test_dates_and_booleans(values: list[str], kind: pl.DataType, expected: list[Any]) -> None:
    found, _ = read_column(pl.Series("when", values))
    assert (found.dtype, found.to_list()) == (kind, expected)


@given(st.lists(st.text(max_size=12) | st.none(), max_size=6))
def test_any_texts_are_read_without_a_fault(values: list[str | None]) -> None:
    texts = pl.Series("x", values, dtype=pl.String)
    found, _ = read_column(texts)
    assert len(found) == len(numbers(texts)) == len(values)


def test_the_shipped_shop_has_prices() -> None:
    catalog, _ = load_demo()
    assert catalog.frame["median_price"].dtype == NUMBER
    assert catalog.frame["median_price"].null_count() == 0


def test_the_report_of_a_catalog_counts_what_was_left_empty() -> None:
    frame = pl.DataFrame({"item_id": ["a", "b", "c"], "title": list("xyz"), "price": ["1.5", "n/a", "2"]})
    report = Catalog.from_frame(frame).report
    assert "price: 1 value is no number and was left empty, for example 'n/a'" in report.notes
    assert report.noticed["misfit_value"] == 1
    assert "kept 1: value that does not fit" in str(report)
