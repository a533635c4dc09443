"""Times in any of the usual notations -> unix seconds.

Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, each value by its own size: seconds stay
below 1e11 until the year 5138, and milliseconds have been above it since 1973. A column of nothing but years, yyyymm,
yyyymmdd, yyyymmddhhmm or yyyymmddhhmmss is read as that. For texts see `recllm.data.dates`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.dates import check_format, parse_dates, parse_formats
from recllm.data.frames import series_of
from recllm.data.series import PER_SECOND, decoded, only
from recllm.errors import DataError

EXCEL = "excel"
"""`dates=EXCEL`: days since 1899-12-30, as spreadsheets number them."""

DAY = 86_400.0
_UNITS: tuple[tuple[float, int, str], ...] = (
    (0, 1, "seconds"),
    (1e11, 1_000, "milliseconds"),
    (1e14, 1_000_000, "microseconds"),
    (1e17, 1_000_000_000, "nanoseconds"),
)
_CALENDARS: tuple[tuple[int, str], ...] = (
    (0, "years"),
    (1, "months written as yyyymm"),
    (2, "dates written as yyyymmdd"),
    (4, "dates written as yyyymmddhhmm"),
    (5, "dates written as yyyymmddhhmmss"),
)
"""How many pairs of digits follow the year, and what that is called."""

_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_EXCEL_1970, _EXCEL_1990 = 25_569, 32_874


@dataclass(frozen=True)
class Notation:
    """How the times of a log are written, where they do not tell.

    Attributes:
        formats: Formats of `strptime`, tried in their order, or `EXCEL`; empty: any of the usual notations.
        dayfirst: Whether 01/02/2024 is in February; None: as the other dates of the column tell.
    """

    formats: tuple[str, ...] = ()
    dayfirst: bool | None = None

    @classmethod
    def of(cls, dates: str | Sequence[str] | None, dayfirst: bool | None) -> "Notation":
        """As callers write it.

        Raises:
            DataError: It is no notation.
        """
        if dayfirst is not None and not isinstance(dayfirst, bool):
            raise DataError(f"dayfirst must be True or False, got {dayfirst!r}")
        if dates is not None and not isinstance(dates, str | list | tuple):
            raise DataError(
                f"dates must be a format such as '%d/%m/%Y %H:%M', or several in a list, got {dates!r}"[:200]
            )
        formats = () if dates is None else (dates,) if isinstance(dates, str) else tuple(dates)
        for one in formats:
            if one != EXCEL:
                check_format(one)
        return cls(formats, dayfirst)


ANY = Notation()

_Parse = Callable[[list[str]], list[float | None]]


def parse_timestamps(series: pl.Series, notation: Notation = ANY) -> tuple[pl.Series, pl.Series, list[str]]:
    """Parse dates, texts and numbers.

    Args:
        series: [rows].
        notation: How they are written, as far as somebody says so.

    Returns:
        float64 [rows] unix seconds to the millisecond (null where missing or unreadable), bool [rows] missing, and
        notes for the report.

    Raises:
        DataError: The column holds nothing that can be a time, or dates that can be read in two ways.
    """
    series = _plain(series)
    missing = series.is_null()
    notes: list[str] = []
    if isinstance(series.dtype, pl.Date):
        return series.cast(pl.Int32).cast(pl.Float64) * DAY, missing, notes
    if isinstance(series.dtype, pl.Datetime):
        unit, ticks = PER_SECOND[series.dtype.time_unit], series.to_physical()
        return _filled(ticks, _milliseconds(ticks.drop_nulls().to_numpy(), unit, notes)), missing, notes
    if series.dtype != pl.String:
        if series.dtype.is_float():
            missing |= series.is_nan().fill_null(True)
        if not set(notation.formats) - {EXCEL}:
            return _numbers(_finite(series), notation, notes), missing, notes
        series = pl.Series(series.name, [_digits(value) for value in series.to_list()], dtype=pl.String)
    text = series.str.strip_chars()
    missing |= (text == "").fill_null(True)
    if formats := [one for one in notation.formats if one != EXCEL]:
        return _distinct(text, ~missing, lambda texts: parse_formats(texts, formats)), missing, notes
    number: pl.Series = text.cast(pl.Int64, strict=False)
    if number.null_count() > missing.sum():
        number = number.cast(pl.Float64).fill_null(_finite(text.cast(pl.Float64, strict=False)))
    seconds = _numbers(number, notation, notes)
    rest = ~missing & number.is_null()
    if rest.any():
        seconds = seconds.fill_null(_distinct(text, rest, lambda texts: parse_dates(texts, notation.dayfirst, notes)))
    return seconds, missing, notes


# --- columns ---------------------------------------------------------------------------------------------------------


def _plain(series: pl.Series) -> pl.Series:
    """The column as texts, numbers, dates or moments."""
    kind = series.dtype
    if kind == pl.Object:
        series = series_of(series.name, series.to_list())
        kind = series.dtype
    if isinstance(kind, pl.Decimal):
        return series.cast(pl.Float64)
    if kind == pl.Binary:
        return decoded(series)
    if isinstance(kind, pl.Categorical | pl.Enum) or kind == pl.Null:
        return series.cast(pl.String)
    if kind == pl.String or kind.is_numeric() or isinstance(kind, pl.Date | pl.Datetime):
        return series
    held = {pl.Time: "times of day without dates", pl.Duration: "durations", pl.Boolean: "true and false"}
    what = next((words for one, words in held.items() if kind == one), str(kind))
    raise DataError(
        f"column {series.name!r} is to be the time of events and holds {what}; dates, ISO 8601 or seconds since 1970 "
        f"were expected, or say which column is with columns={{'timestamp': '<your column>'}}"[:400]
    )


def _finite(series: pl.Series) -> pl.Series:
    """The numbers that a time can be: int64 or float64."""
    if not series.dtype.is_float():
        return series.cast(pl.Int64, strict=False)
    return only(series, series.abs() < 2**63).cast(pl.Float64)


def _digits(value: float | None) -> str | None:
    whole = value is not None and abs(value) < 2**63 and value == int(value)
    return str(int(value)) if whole else None if value is None else str(value)  # type: ignore[arg-type]


def _distinct(text: pl.Series, where: pl.Series, parse: _Parse) -> pl.Series:
    """float64 [rows]: what `parse` makes of each distinct text."""
    distinct = text.filter(where).unique(maintain_order=True)
    parsed = pl.Series(parse(distinct.to_list()), dtype=pl.Float64)
    return text.replace_strict(distinct, parsed, default=None, return_dtype=pl.Float64)


def _filled(number: pl.Series, milliseconds: NDArray[np.float64]) -> pl.Series:
    """float64 [rows] seconds, the milliseconds being those of the numbers that are there."""
    there = number.is_not_null().to_numpy()
    seconds = np.full(len(number), np.nan)
    seconds[there] = np.round(milliseconds) / 1000
    return pl.Series(number.name, seconds).fill_nan(None)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _numbers(number: pl.Series, notation: Notation, notes: list[str]) -> pl.Series:
    """float64 [rows] seconds."""
    values = number.drop_nulls().to_numpy()
    if not len(values):
        return number.cast(pl.Float64)
    if EXCEL in notation.formats or _are_serials(values):
        notes.append("timestamps are days since 1899-12-30, as spreadsheets number them")
        return _filled(number, (values - _EXCEL_1970) * DAY * 1000)
    for pairs, words in _CALENDARS:
        if (moments := _calendar(values, pairs)) is not None:
            notes.append(f"timestamps are {words}")
            return _filled(number, moments)
    return _filled(number, _by_size(values, notes))


def _are_serials(values: NDArray[Any]) -> bool:
    """Days with parts of days, all between 1990 and now: as seconds they would be on one evening in 1970."""
    if values.dtype.kind != "f":
        return False
    days = values.astype(np.float64)
    today = time.time() / DAY + _EXCEL_1970
    return bool((days >= _EXCEL_1990).all() and (days <= today + 1).all() and (days != np.floor(days)).any())


def _calendar(values: NDArray[Any], pairs: int) -> NDArray[np.float64] | None:
    """Milliseconds, if all numbers are a year between 1970 and 2100 (for years alone: and next year) and such pairs."""
    unit = 100**pairs
    last = time.gmtime().tm_year + 1 if not pairs else _LAST_YEAR
    if values.min() < _FIRST_YEAR * unit or values.max() >= (last + 1) * unit or (values % 1 != 0).any():
        return None
    whole = values.astype(np.int64)
    year, *rest = [whole // 100**place % (100 if place < pairs else 10_000) for place in range(pairs, -1, -1)]
    defaults = [np.ones_like(whole)] * 2 + [np.zeros_like(whole)] * 3
    month, day, hour, minute, second = rest + defaults[len(rest) :]
    if ((month < 1) | (month > 12) | (hour > 23) | (minute > 59) | (second > 59)).any():
        return None
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days = months.astype("datetime64[D]") + (day - 1)
    if ((day < 1) | (days.astype("datetime64[M]") != months)).any():
        return None
    in_seconds = days.astype("datetime64[s]").astype(np.int64) + 3600 * hour + 60 * minute + second
    return in_seconds * 1000.0


def _by_size(values: NDArray[Any], notes: list[str]) -> NDArray[np.float64]:
    """Milliseconds, each number in the unit that its size tells."""
    size = np.abs(values.astype(np.float64))
    unit = np.searchsorted([least for least, _, _ in _UNITS[1:]], size, side="right")
    found = np.zeros(len(values))
    for place, (_, per_second, _) in enumerate(_UNITS):
        if (here := unit == place).any():
            found[here] = _milliseconds(values[here], per_second, notes)
    counts = np.bincount(unit[size > 0], minlength=len(_UNITS))
    named = [f"{count:,} in {name}" for count, (_, _, name) in zip(counts, _UNITS, strict=True) if count]
    if len(named) > 1:
        notes.insert(0, f"timestamps are in several units, each read by its size: {', '.join(named)}")
    elif counts[1:].any():
        notes.insert(0, f"timestamps are in {_UNITS[int(np.argmax(counts))][2]}")
    return found


def _milliseconds(values: NDArray[Any], per_second: int, notes: list[str]) -> NDArray[np.float64]:
    """Milliseconds of numbers in a unit; what is finer is rounded, and said."""
    if values.dtype.kind == "i" and per_second >= 1000:
        whole, rest = np.divmod(values.astype(np.int64), step := per_second // 1000)
        found, finer = (whole + (2 * rest >= step)).astype(np.float64), rest.any()
    else:
        exact = values.astype(np.float64) * (1000 / per_second)
        found = np.round(exact)
        finer = (np.abs(exact - found) > 0.01).any()
    note = "timestamps are rounded to the millisecond"
    if finer and note not in notes:
        notes.append(note)
    return found
