"""Times in any of the usual notations -> unix seconds."""

from datetime import UTC, datetime

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
        int64 [rows] unix seconds (null where missing or unreadable), bool [rows] missing, and notes for the report.
    """
    missing = series.is_null()
    if series.dtype in (pl.Datetime, pl.Date):
        return series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None))).dt.epoch("s"), missing, []
    if series.dtype != pl.String:
        if series.dtype.is_float():
            missing |= series.is_nan().fill_null(True)
        seconds, notes = _to_seconds(_whole(series))
        return seconds, missing, notes
    text = series.str.strip_chars()
    missing |= (text == "").fill_null(True)
    number = text.cast(pl.Int64, strict=False)
    if number.null_count() > missing.sum():
        number = number.fill_null(_whole(text.cast(pl.Float64, strict=False)))
    seconds, notes = _to_seconds(number)
    rest = ~missing & number.is_null()
    return (seconds.fill_null(_iso(text, rest)) if rest.any() else seconds), missing, notes


def _whole(series: pl.Series) -> pl.Series:
    return (series.floor() if series.dtype.is_float() else series).cast(pl.Int64, strict=False)


def _iso(text: pl.Series, where: pl.Series) -> pl.Series:
    distinct = text.filter(where).unique()
    parsed = pl.Series([_iso_seconds(value) for value in distinct], dtype=pl.Int64)
    return text.replace_strict(distinct, parsed, default=None, return_dtype=pl.Int64)


def _iso_seconds(value: str) -> int | None:
    try:
        moment = datetime.fromisoformat(value.removesuffix(" UTC"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() // 1)
    except (OverflowError, ValueError):
        return None


def _to_seconds(number: pl.Series) -> tuple[pl.Series, list[str]]:
    values = number.drop_nulls()
    if values.is_empty():
        return number, []
    days = _calendar_days(number)
    if days is not None:
        return days, ["timestamps are dates written as yyyymmdd"]
    typical = float(values.cast(pl.Float64).abs().median() or 0.0)  # type: ignore[arg-type]
    for least, factor, name in _UNITS:
        if typical >= least:
            return number // factor, [f"timestamps are in {name}"]
    return number, []


def _calendar_days(number: pl.Series) -> pl.Series | None:
    values = number.drop_nulls()
    low, high = values.min(), values.max()
    if not (isinstance(low, int) and isinstance(high, int) and low >= 19700101 and high < 21000101):
        return None
    parsed = number.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    if parsed.null_count() > number.null_count():
        return None
    return parsed.cast(pl.Datetime("us")).dt.epoch("s")
