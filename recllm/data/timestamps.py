"""Times in any of the usual notations -> unix seconds."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

# Seconds stay below 1e11 until the year 5138, so the size of a typical value tells its unit.
_UNITS: tuple[tuple[float, int, str], ...] = (
    (1e17, 1_000_000_000, "nanoseconds"),
    (1e14, 1_000_000, "microseconds"),
    (1e11, 1_000, "milliseconds"),
)


def parse_timestamps(series: pl.Series) -> tuple[pl.Series, pl.Series, list[str]]:
    """Parse dates, ISO 8601 (UTC where no zone is given), or numbers since 1970 in s, ms, µs, ns, or yyyymmdd.

    The unit of numbers is that of their median, one for the whole column.

    Args:
        series: [rows] of text, numbers or dates.

    Returns:
        float64 [rows] unix seconds to the millisecond (null where missing or unreadable), bool [rows] missing, and
        notes for the report.
    """
    missing = series.is_null()
    if series.dtype in (pl.Datetime, pl.Date):
        moments = series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None)))
        return _to_milliseconds(moments.dt.epoch("us"), 1_000_000), missing, []
    if series.dtype != pl.String:
        if series.dtype.is_float():
            missing |= series.is_nan().fill_null(True)
        seconds, notes = _to_seconds(_finite(series))
        return seconds, missing, notes
    text = series.str.strip_chars()
    missing |= (text == "").fill_null(True)
    number: pl.Series = text.cast(pl.Int64, strict=False)
    if number.null_count() > missing.sum():
        number = number.cast(pl.Float64).fill_null(_finite(text.cast(pl.Float64, strict=False)))
    seconds, notes = _to_seconds(number)
    rest = ~missing & number.is_null()
    return (seconds.fill_null(_iso(text, rest)) if rest.any() else seconds), missing, notes


def _finite(series: pl.Series) -> pl.Series:
    """The numbers that a time can be."""
    if not series.dtype.is_float():
        return series.cast(pl.Int64, strict=False)
    column = pl.col(series.name)
    return series.to_frame().select(pl.when(column.abs() < 2**63).then(column.cast(pl.Float64))).to_series()


def _to_milliseconds(number: pl.Series, per_second: int) -> pl.Series:
    """float64 seconds; what is finer than a millisecond is rounded."""
    if number.dtype.is_integer() and per_second > 1000:
        step = per_second // 1000
        return _seconds((number + step // 2) // step)
    return _seconds(number.cast(pl.Float64) * (1000 / per_second))


def _seconds(milliseconds: pl.Series) -> pl.Series:
    """The float64 nearest to each, so that one moment is one number (polars divides less exactly)."""
    exact = np.round(milliseconds.cast(pl.Float64).fill_null(float("nan")).to_numpy()) / 1000
    return pl.Series(milliseconds.name, exact).fill_nan(None)


def _iso(text: pl.Series, where: pl.Series) -> pl.Series:
    distinct = text.filter(where).unique()
    parsed = pl.Series([_iso_seconds(value) for value in distinct], dtype=pl.Float64)
    return text.replace_strict(distinct, parsed, default=None, return_dtype=pl.Float64)


def _iso_seconds(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value.removesuffix(" UTC"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return round(moment.timestamp() * 1000) / 1000
    except (OverflowError, ValueError):
        return None


def _to_seconds(number: pl.Series) -> tuple[pl.Series, list[str]]:
    values = number.drop_nulls()
    if values.is_empty():
        return number.cast(pl.Float64), []
    days = _calendar_days(number)
    if days is not None:
        return days, ["timestamps are dates written as yyyymmdd"]
    typical = float(values.cast(pl.Float64).abs().median() or 0.0)  # type: ignore[arg-type]
    for least, factor, name in _UNITS:
        if typical >= least:
            return _to_milliseconds(number, factor), [f"timestamps are in {name}"]
    return _to_milliseconds(number, 1), []


def _calendar_days(number: pl.Series) -> pl.Series | None:
    values = number.drop_nulls()
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    if not (low >= 19700101 and high < 21000101):
        return None
    parsed = number.cast(pl.Int64).cast(pl.String).str.to_date("%Y%m%d", strict=False)
    if parsed.null_count() > number.null_count():
        return None
    return parsed.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Float64)
