"""Steps on one column, for which polars wants a frame."""

import polars as pl

PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Ticks of polars' units of time."""


def computed(series: pl.Series, expression: pl.Expr) -> pl.Series:
    """What an expression over a column makes of it, under its name."""
    return series.to_frame().select(expression.alias(series.name)).to_series()


def only(series: pl.Series, keep: pl.Expr | pl.Series) -> pl.Series:
    """Its values where `keep` is true, null elsewhere."""
    return computed(series, pl.when(keep).then(pl.col(series.name)))


def finite(series: pl.Series) -> pl.Series:
    """Its finite numbers, null elsewhere."""
    return only(series, series.is_finite())


def nothing(series: pl.Series, kind: pl.DataType) -> pl.Series:
    """As many nulls of another type."""
    return pl.Series(series.name, [None], dtype=kind).new_from_index(0, len(series))


def decoded(series: pl.Series) -> pl.Series:
    """Bytes as UTF-8 text, U+FFFD for what is none."""
    texts = [None if value is None else value.decode("utf-8", "replace") for value in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)
