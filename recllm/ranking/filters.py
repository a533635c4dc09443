"""Filters: which items have the wanted values in their columns."""

import difflib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id
from recllm.data.columns import ITEM_COLUMNS, role_of
from recllm.data.kinds import BOOLEAN, DATE, KINDS, NUMBER, NUMBERS, TEXT, TEXTS, WHOLE, WORDS, settled
from recllm.data.written import MOMENT, booleans, moments, numbers
from recllm.errors import ConfigError, DataError

_EXAMPLES = {
    TEXT: "a text, or a list of texts",
    WHOLE: "a number such as 2001, a list of numbers, or a range such as (1990, 1999)",
    NUMBER: "a number such as 9.5, a list of numbers, or a range such as (None, 20)",
    BOOLEAN: "True or False",
    DATE: "a date such as '2024-01-31', or a range such as ('2024-01-01', None)",
    MOMENT: "a date such as '2024-01-31', or a range such as ('2024-01-01', None)",
    TEXTS: "one text, or a list of accepted ones",
    NUMBERS: "a number such as 9.5, or a range such as (None, 20)",
}
_NEAR, _COMPARED = 3, 5_000

Scalar = str | int | float | bool | None
Accepted = Scalar | tuple[Scalar, Scalar]
"""A value, or a range."""


def matching_items(catalog: Catalog, filters: Mapping[str, Any]) -> NDArray[np.bool_]:
    """bool [items]: items whose columns have the wanted values.

    Args:
        catalog: The items.
        filters: Column -> what is wanted:

            - a value; a column that holds lists, such as categories, matches if any entry does;
            - a collection of accepted values;
            - for numbers and dates, a tuple of two: the range from the first to the second, both included, None for
              an open end: ``{"price": (None, 20)}``. For texts it is a collection as any other;
            - None, alone or in a collection: nothing is there;
            - where the catalog has no column of that name, ``max_risk`` and ``min_price`` are a ceiling and a floor of
              the columns risk and price. What has no value there does not pass, and of a list every entry has to.

            Values are read as the column's type: "2001" is the number for a column of numbers, and "2024-01-31" the
            whole day for a column of times.

    Raises:
        ConfigError: It is no mapping.
        DataError: A column that the catalog does not have, or a value that cannot be in it because of its type.
    """
    if not isinstance(filters, Mapping):
        raise ConfigError(
            f"filters map columns to wanted values, got {_shown(filters)}; write filters={{'categories': 'Lamps'}}."
        )
    keep = np.ones(len(catalog), dtype=bool)
    for name, wanted in filters.items():
        keep &= _filter(catalog, name, wanted).matches()
    return keep


def below_ceiling(catalog: Catalog, name: str, most: Any) -> NDArray[np.bool_]:
    """bool [items]: items whose value in a column of numbers or dates is at most this one; never those without a value.

    Raises:
        DataError: There is no such column, it has no order, or the value cannot be in it.
    """
    return _bound(column_of(catalog, name), f"ceiling of {name}", (None, most)).matches()


def plain_filters(catalog: Catalog, filters: Mapping[str, Any]) -> dict[str, tuple[Accepted, ...]]:
    """The same filters in values that JSON has: per column what is accepted; a pair is a range.

    Lists of them mean the same again: ``{name: list(accepted)}``.
    """
    return {name: _filter(catalog, name, wanted).plain() for name, wanted in filters.items()}


def unmet_filters(catalog: Catalog, filters: Mapping[str, Any]) -> str:
    """A sentence about filters that no item meets: which one it is, and what the column has instead."""
    for name, wanted in filters.items():
        found = _filter(catalog, name, wanted)
        if not found.matches().any():
            return f"no item has {name}={_shown(wanted)}; {known_values(found.column, wanted)}."
    return f"no item meets {' and '.join(map(repr, filters))} together, though some meet each of them."


def column_of(catalog: Catalog, name: Any, written: Any = None) -> pl.Series:
    """A column by its name, or by one of the names that it goes by; raises DataError where there is none."""
    columns = catalog.frame.columns
    found = name if name in columns else role_of(name, ITEM_COLUMNS) if isinstance(name, str) else None
    if found is None:
        raise DataError(
            f"filter on column {written or name!r}, which the catalog does not have; its columns are "
            f"{', '.join(columns)}."
        )
    series = catalog.frame[found]
    return series if series.dtype in KINDS else settled(series).values


def _filter(catalog: Catalog, name: Any, wanted: Any) -> "_Filter":
    """A column's filter, or the ceiling or floor that a name such as max_risk means."""
    side, _, column = name.partition("_") if isinstance(name, str) else ("", "", "")
    if name in catalog.frame.columns or side not in ("max", "min") or role_of(name, ITEM_COLUMNS):
        return _Filter(column_of(catalog, name), wanted)
    if isinstance(wanted, list | tuple) and len(wanted) == 1:
        wanted = wanted[0]  # as `plain_filters` has it
    pair = wanted if isinstance(wanted, tuple) else (None, wanted) if side == "max" else (wanted, None)
    return _bound(column_of(catalog, column, name), name, pair)


def _bound(column: pl.Series, name: str, pair: tuple[Any, ...]) -> "_Filter":
    found = _Filter(column, pair, every=True)
    if not found.ordered:
        raise DataError(f"{name}: the column {column.name} holds {WORDS[found.kind]}, which has no order.")
    if len(pair) != 2 or (pair[0] is None) == (pair[1] is None):
        raise DataError(f"{name} is one bound, such as {name}=2; got {_shown(pair)}; leave it out where there is none.")
    return found


class _Filter:
    """One column and what is wanted of it; `every` entry of a list has to meet it, or any."""

    def __init__(self, column: pl.Series, wanted: Any, every: bool = False) -> None:
        self.column, self.wanted, self.every = column, wanted, every
        self.kind = column.dtype
        self.entry: pl.DataType = self.kind.inner if isinstance(self.kind, pl.List) else self.kind  # type: ignore[assignment]
        self.ordered = self.entry in (WHOLE, NUMBER, DATE, MOMENT)

    def plain(self) -> tuple[Accepted, ...]:
        """What is accepted, in JSON's values; without an order of its own, in that of their words."""
        self.matches()  # raises for what cannot match
        accepted = [
            (plain_value(value[0]), plain_value(value[1])) if self._is_range(value) else plain_value(value)
            for value in self._accepted()
        ]
        return tuple(sorted(accepted, key=repr))

    def matches(self) -> NDArray[np.bool_]:
        """bool [items]."""
        accepted = self._accepted()
        if not isinstance(self.kind, pl.List):
            return self._meet(self.column, accepted)
        lengths = self.column.list.len().fill_null(0).to_numpy()
        found = (lengths == 0) & any(value is None for value in accepted)
        entries = self.column.filter(pl.Series(lengths > 0)).explode()
        met = self._meet(entries, [value for value in accepted if value is not None])
        owners = np.repeat(np.arange(len(lengths)), lengths)
        found[owners[met]] = True
        if self.every:
            found[owners[~met]] = False
        return found

    def _accepted(self) -> list[Any]:
        wanted = self.wanted
        if isinstance(wanted, Mapping | Iterator | slice) or hasattr(wanted, "columns"):
            raise self._mismatch(wanted)
        if self._is_range(wanted) or isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
            return [wanted]
        try:
            return list(wanted)
        except TypeError as error:  # an array without dimensions
            raise self._mismatch(wanted) from error

    def _is_range(self, value: Any) -> bool:
        return self.ordered and isinstance(value, tuple) and len(value) == 2

    def _meet(self, values: pl.Series, accepted: list[Any]) -> NDArray[np.bool_]:
        """bool [values]: equal to one of the accepted ones, or within one of the ranges."""
        found = np.zeros(len(values), dtype=bool)
        if any(value is None for value in accepted):
            found |= (values.fill_null("") == "" if self.entry == TEXT else values.is_null()).to_numpy()
        points: list[Any] = []
        for value in accepted:
            if self._is_range(value):
                found |= self._within(values, *value)
            elif self.entry == MOMENT and value is not None:
                found |= self._within(values, value, value)
            elif value is not None:
                points.append(self._read(value))
        if self.entry == WHOLE:
            points = [value for value in points if isinstance(value, int)]  # 3.5 is a number, but none of these
        if points:
            wanted = pl.Series(points, dtype=self.entry)
            equal = values == wanted[0] if len(points) == 1 else values.is_in(wanted.implode())
            found |= equal.fill_null(False).to_numpy()
        return found

    def _within(self, values: pl.Series, low: Any, high: Any) -> NDArray[np.bool_]:
        least = None if low is None else self._read(low)
        most = None if high is None else self._read(high, end=True)
        if least is not None and most is not None and least > most:
            raise DataError(
                f"filter {self.column.name}={_shown(self.wanted)}: the range ends before it begins; "
                f"write ({high!r}, {low!r}), or a list for single values."
            )
        inside = values.is_not_null()
        if least is not None:
            inside &= (values >= least).fill_null(False)
        if most is not None:
            inside &= (values <= most).fill_null(False)
        return inside.to_numpy()

    def _read(self, value: Any, end: bool = False) -> Any:
        """A wanted value as one of the column's; of a day in a column of times its first moment, or its last."""
        try:
            if self.entry == MOMENT:
                read: Any = _moment(value, end)
            elif self.entry == DATE:
                read = None if (moment := _moment(value, False)) is None else moment.date()
            elif self.entry == BOOLEAN:
                read = _boolean(value)
            else:
                read = _text(value) if self.entry == TEXT else self._number(value)
        except (TypeError, ValueError, OverflowError, DataError):
            read = None
        if read is None:
            raise self._mismatch(value)
        return read

    def _number(self, value: Any) -> int | float | None:
        if isinstance(value, bool | np.bool_):
            flags = self.entry == WHOLE and self.column.drop_nulls().is_in([0, 1]).all()
            return int(value) if flags else None
        if isinstance(value, str):
            value = _written_number(value)
        number = float(value) if isinstance(value, int | float | Decimal | np.integer | np.floating) else math.nan
        if math.isnan(number):
            return None
        return int(value) if self.entry == WHOLE and abs(number) < 2**63 and number.is_integer() else number

    def _mismatch(self, value: Any) -> DataError:
        return DataError(
            f"filter {self.column.name}={_shown(value)} cannot match: the column holds {WORDS[self.kind]}; "
            f"write {_EXAMPLES[self.kind]}."
        )


def plain_value(value: Any) -> Scalar:
    """The same in types that JSON has."""
    if isinstance(value, np.datetime64):
        value = value.item()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | UUID):
        return as_id(value)
    if isinstance(value, Decimal):
        return float(value)
    plain: Scalar = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isinf(plain) else plain


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


def _text(value: Any) -> str | None:
    is_text = isinstance(value, str | bytes | int | float | Decimal | np.number | UUID) and not isinstance(value, bool)
    return as_id(value) if is_text else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        found: bool | None = booleans(pl.Series([value]))[0]
        return found
    return bool(value) if isinstance(value, bool | np.bool_) or value in (0, 1) else None


@lru_cache
def _written_number(text: str) -> float | None:
    number: float | None = numbers(pl.Series([text]))[0]
    return number


@lru_cache
def _written_moment(text: str) -> datetime | None:
    moment: datetime | None = moments(pl.Series([text]))[0]
    return moment


def _moment(value: Any, end: bool) -> datetime | None:
    """A time in UTC; a day, also a written one, is its first moment or its last."""
    if isinstance(value, np.datetime64):
        unit = "D" if np.datetime_data(value)[0] in ("Y", "M", "W", "D") else "us"
        value = value.astype(f"datetime64[{unit}]").item()
    if isinstance(value, str):
        written_day = len(value.strip()) <= len("2024-01-31")
        value = _written_moment(value)
        value = value.date() if written_day and value is not None else value
    if isinstance(value, datetime) and value == value:  # pandas' NaT is none
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return datetime.combine(value, time.max if end else time.min, UTC) if is_day else None


def known_values(column: pl.Series, wanted: Any) -> str:
    """What a column has instead of what is wanted: its range, or the texts that are most like it."""
    entries = (column.explode() if isinstance(column.dtype, pl.List) else column).drop_nulls()
    if entries.is_empty():
        return "the column is empty"
    if entries.dtype not in (TEXT, BOOLEAN):
        pair = "; a tuple of two is a range" if isinstance(wanted, list) and len(wanted) == 2 else ""
        return f"known are values from {entries.min()!s} to {entries.max()!s}{pair}"
    counted = entries.cast(TEXT).value_counts(sort=True)[column.name].head(_COMPARED).to_list()
    values = wanted if isinstance(wanted, Collection) and not isinstance(wanted, str | bytes) else [wanted]
    by_case = {str(value).casefold(): value for value in reversed(counted)}
    near = [by_case[n] for value in values for n in difflib.get_close_matches(str(value).casefold(), by_case, _NEAR)]
    if near:
        return f"nearest are {', '.join(map(repr, dict.fromkeys(near)))}"
    return f"the commonest are {', '.join(map(repr, counted[:_NEAR]))}"
