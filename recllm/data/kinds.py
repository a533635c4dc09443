"""The types that columns have once they are read, and how every other type is brought to one of them.

| found | kept as |
|---|---|
| text, categorical, enum, bytes (UTF-8) | text |
| time of day | text, `12:30:00` |
| record (struct) | text: its name, title or label, or its one text; else JSON |
| whole numbers of any width, decimals without places | Int64; text where one of them is beyond it |
| floats, decimals | Float64 (float32 .1 as .1, not .10000000149); infinity and NaN become null, and are counted |
| duration | Float64, seconds |
| boolean | Boolean |
| date | Date |
| datetime of any unit and zone | Datetime in µs and UTC; without a zone it is taken as UTC |
| a column without a single value | text |
| lists, arrays and sets of floats or decimals | List(Float64) |
| all other lists and arrays, also of lists and of records | List(String): flat, records by their name |
| objects of Python | what their values are; values that no text can stand for are refused |

A text column whose values are written numbers, dates, booleans or lists becomes one of those; see
`recllm.data.written`. What cannot be read at all is refused with a `DataError` that names the column.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from recllm.data.categories import names_in, text_of, written
from recllm.data.frames import UNREADABLE, refused, series_of
from recllm.data.series import PER_SECOND, computed, decoded, finite, nothing, only
from recllm.data.written import MOMENT, blank, booleans, left_empty, moments, numbers, read_column

TEXT, WHOLE, NUMBER, BOOLEAN, DATE = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean(), pl.Date()
TEXTS, NUMBERS = pl.List(pl.String()), pl.List(pl.Float64())
KINDS: tuple[pl.DataType, ...] = (TEXT, WHOLE, NUMBER, BOOLEAN, DATE, MOMENT, TEXTS, NUMBERS)

WORDS = {
    TEXT: "text",
    WHOLE: "whole numbers",
    NUMBER: "numbers",
    BOOLEAN: "true or false",
    DATE: "dates",
    MOMENT: "dates with times",
    TEXTS: "lists of texts",
    NUMBERS: "lists of numbers",
}
"""What a column of a kind holds, for sentences."""

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # years 1 and 9999, beyond which Python has no dates
_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Column:
    """A column of one of `KINDS`, sentences for the report, and how many values did not fit and were left empty."""

    values: pl.Series
    notes: tuple[str, ...] = ()
    lost: int = 0


def column_of(series: pl.Series) -> Column:
    """A further column of a catalog: of one of `KINDS`, texts read as what they hold.

    Raises:
        DataError: Its type has no place among them.
    """
    by_type = settled(series)
    if by_type.values.dtype != TEXT:
        return by_type
    cells = _written_cells(by_type.values)
    if cells is not None:
        return Column(cells, by_type.notes)
    values, notes = read_column(by_type.values)
    lost = int(_filled(by_type.values).sum()) - (len(values) - values.null_count())
    return Column(values, by_type.notes + tuple(notes), by_type.lost + lost)


def settled(series: pl.Series) -> Column:
    """A column by its type alone, as one of `KINDS`.

    Raises:
        DataError: Its type has no place among them.
    """
    instead = "leave it out, or turn it into text, numbers, dates or lists of them"
    with refused(lambda _: f"column {series.name!r} ({series.dtype}) cannot be read; {instead}", *UNREADABLE):
        values = _settled(series)
    if values.dtype not in (NUMBER, DATE, MOMENT):
        return Column(values)
    what = "no finite number" if values.dtype == NUMBER else "beyond the years 1 to 9999"
    return _counted(values, series.to_physical(), series.is_not_null(), what)  # so far away, a date has no other form


def texts_of(series: pl.Series) -> pl.Series:
    """str [rows]: any column as text, null where nothing is there; the entries of a list with spaces between them.

    Raises:
        DataError: Its type cannot be read.
    """
    return _as_texts(settled(series).values, " ")


def fitted_to(series: pl.Series, kind: pl.DataType) -> Column:
    """The values of one of `KINDS` as another one; those that do not fit are null, and counted.

    "2001" and 2001.0 fit whole numbers as 2001, a single text fits lists of texts, anything fits text.
    """
    what = f"none of the {WORDS[kind]} that are known there" if kind != BOOLEAN else "neither true nor false"
    return _counted(_fitted(series, kind), series, _filled(series), what)


def _counted(values: pl.Series, before: pl.Series, there: pl.Series, what: str) -> Column:
    """A column, and a sentence about what was there before and is empty now."""
    lost = before.filter(there & values.is_null())
    return Column(values, tuple(left_empty(values.name, lost, what)), len(lost))


def aligned(first: pl.DataFrame, second: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, list[Column]]:
    """Two tables whose common columns have one type, that of `first`, and the columns of `second` that changed theirs.

    A column in which `first` has no value takes the type that it has in `second`.
    """
    common = [name for name in second.columns if name in first.columns and first.schema[name] != second.schema[name]]
    untyped = [name for name in common if first[name].null_count() == first.height]
    fitted = [fitted_to(second[name], first.schema[name]) for name in common if name not in untyped]
    return (
        first.with_columns(pl.lit(None, second.schema[name]).alias(name) for name in untyped),
        second.with_columns(column.values for column in fitted),
        fitted,
    )


def notes_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """All their sentences."""
    return tuple(note for column in columns for note in column.notes)


# --- from any type to a kind -----------------------------------------------------------------------------------------


def _settled(series: pl.Series) -> pl.Series:
    kind = series.dtype
    if kind == pl.Object:
        series = series_of(series.name, series.to_list())
        kind = series.dtype
    if kind == pl.Null or series.null_count() == len(series):
        return nothing(series, TEXT)
    if isinstance(kind, pl.List | pl.Array):
        return _list(series)
    if isinstance(kind, pl.Struct):
        return pl.Series(series.name, [_record_text(value) for value in series.to_list()], dtype=TEXT)
    if kind == pl.Binary:
        return _decoded(series)
    if isinstance(kind, pl.Decimal):
        return _whole(series) if kind.scale == 0 else finite(series.cast(NUMBER))
    if kind.is_integer():
        return _whole(series)
    if kind.is_float():
        return finite(series if kind == NUMBER else series.cast(TEXT).cast(NUMBER))
    if isinstance(kind, pl.Duration):
        return series.to_physical().cast(NUMBER) / PER_SECOND[kind.time_unit]
    if isinstance(kind, pl.Date | pl.Datetime):
        return _in_range(series)
    return series if kind == BOOLEAN else series.cast(TEXT)


def _whole(series: pl.Series) -> pl.Series:
    whole = series.cast(WHOLE, strict=False)
    return whole if whole.null_count() == series.null_count() else series.cast(TEXT)


def _in_range(series: pl.Series) -> pl.Series:
    """Dates and datetimes of the years 1 to 9999, by whole numbers: out of range, polars' own conversions panic."""
    kind, number = series.dtype, pl.col(series.name)
    whole = series.to_physical().cast(WHOLE)
    if not isinstance(kind, pl.Datetime):
        return only(whole, number.is_between(_FIRST_DAY, _LAST_DAY)).cast(DATE)
    unit = PER_SECOND[kind.time_unit] // 1_000  # of a millisecond
    lowest, highest = _FIRST_DAY * _A_DAY, (_LAST_DAY + 1) * _A_DAY - 1
    bounds = (max(lowest * unit // 1_000, -(2**63)), min(highest * unit // 1_000, 2**63 - 1))
    inside = pl.when(number.is_between(*bounds)).then(number)
    return computed(whole, inside * 1_000 // unit if unit < 1_000 else inside // (unit // 1_000)).cast(MOMENT)


def _decoded(series: pl.Series) -> pl.Series:
    texts = decoded(series)
    if texts.str.contains("\ufffd").sum() * 2 > len(texts) - texts.null_count():
        raise ValueError("bytes that are no text")
    return texts


def _list(series: pl.Series) -> pl.Series:
    if isinstance(series.dtype, pl.Array):
        series = series.arr.to_list()
    inner = series.dtype.inner  # type: ignore[attr-defined]
    if inner.is_float() or isinstance(inner, pl.Decimal):
        return series.cast(NUMBERS).list.eval(pl.element().filter(pl.element().is_finite()))
    if inner == TEXT or inner.is_integer() or isinstance(inner, pl.Categorical | pl.Enum):
        texts = series.cast(TEXTS).list.drop_nulls()
        if not texts.explode().str.contains(r"^\s*[\[{]").any():  # else records, as JSON files hold them
            return texts
    leaf = inner
    while isinstance(leaf, pl.List | pl.Array):
        leaf = leaf.inner
    values = [None if value is None else names_in(value) for value in series.to_list()]
    texts = pl.Series(series.name, values, dtype=TEXTS)
    return texts.cast(NUMBERS) if leaf.is_float() else texts


def _record_text(record: Any) -> str | None:
    """The name of a record (a mapping, or None), or all of it as JSON where it has none."""
    if record is None or all(value is None for value in record.values()):
        return None
    texts = [value for value in record.values() if isinstance(value, str)]
    named = any(str(key).casefold() in ("name", "title", "label") for key in record)
    if (named or len(texts) == len(record) == 1) and (found := names_in(record)):
        return found[0]
    return json.dumps(record, ensure_ascii=False, default=text_of)


def _written_cells(texts: pl.Series) -> pl.Series | None:
    """A column in which every text is a list, or every one a record, as csv and JSON files hold them; else None."""
    if not texts.filter(~blank(texts)).str.contains(r"(?s)^\s*[\[({].*[\])}]\s*$").all():
        return None
    cells = [None if text is None else written(text) for text in texts.to_list()]
    kinds = {type(cell) for cell in cells}
    if kinds == {dict} or kinds == {dict, type(None)}:
        return pl.Series(texts.name, [_record_text(cell) for cell in cells], dtype=TEXT)
    unread = sum(cell is None for cell in cells) > blank(texts).sum()
    if unread or list not in kinds or kinds - {list, type(None)}:
        return None
    entries = [entry for cell in cells if cell for entry in cell]
    if entries and all(isinstance(entry, float) for entry in entries):
        return pl.Series(texts.name, cells, dtype=NUMBERS)
    return pl.Series(texts.name, [None if cell is None else names_in(cell) for cell in cells], dtype=TEXTS)


# --- from a kind to another ------------------------------------------------------------------------------------------


def _fitted(series: pl.Series, kind: pl.DataType) -> pl.Series:
    held = series.dtype
    if held == kind:
        return series
    if kind == TEXT:
        return _as_texts(series, ", ")
    if kind in (TEXTS, NUMBERS):
        return _as_lists(series, kind)
    if held == TEXT:
        return _READERS[kind](series)
    return _converted(series, kind)


def _converted(series: pl.Series, kind: pl.DataType) -> pl.Series:
    held, column = series.dtype, pl.col(series.name)
    if kind == NUMBER and held == WHOLE:
        return series.cast(NUMBER)
    if kind == WHOLE and held == NUMBER:
        return _whole_only(series)
    if kind == BOOLEAN and held in (WHOLE, NUMBER):
        return computed(series, pl.when(column.is_in([0, 1])).then(column == 1))
    if kind == MOMENT and held == DATE:
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if kind == DATE and held == MOMENT:
        return series.dt.date()
    return nothing(series, kind)


def _whole_only(series: pl.Series) -> pl.Series:
    column = pl.col(series.name)
    whole = (column == column.floor()) & (column.abs() < 2**53)
    return only(series, whole).cast(WHOLE, strict=False)


_READERS = {
    WHOLE: lambda texts: _whole_only(numbers(texts)),
    NUMBER: numbers,
    BOOLEAN: booleans,
    DATE: lambda texts: moments(texts).dt.date(),
    MOMENT: moments,
}


def _as_lists(series: pl.Series, kind: pl.DataType) -> pl.Series:
    if series.dtype in (TEXTS, NUMBERS):
        return series.cast(kind, strict=False).list.drop_nulls()
    if kind == NUMBERS:
        single = _fitted(series, NUMBER)
        return computed(single, pl.when(single.is_not_null()).then(pl.concat_list(pl.col(series.name))))
    names = [None if text is None else names_in(text) for text in _as_texts(series, ", ").to_list()]
    return pl.Series(series.name, names, dtype=TEXTS)


def _as_texts(series: pl.Series, between: str) -> pl.Series:
    if series.dtype in (TEXTS, NUMBERS):
        inner = series.list.eval(_number_text(pl.element())) if series.dtype == NUMBERS else series
        text = inner.list.join(between)
    elif series.dtype == NUMBER:
        text = computed(series, _number_text(pl.col(series.name)))
    else:
        text = series.cast(TEXT)
    return only(text, text != "")


def _number_text(number: pl.Expr) -> pl.Expr:
    """3.0 is "3", as in ids."""
    whole = (number == number.floor()) & (number.abs() < 2**53)
    return pl.when(whole).then(number.cast(WHOLE, strict=False).cast(TEXT)).otherwise(number.cast(TEXT))


def _filled(series: pl.Series) -> pl.Series:
    """bool [rows]: something is there."""
    if series.dtype == TEXT:
        return (series.str.strip_chars() != "").fill_null(False)
    if series.dtype in (TEXTS, NUMBERS):
        return (series.list.len() > 0).fill_null(False)
    return series.is_not_null()
