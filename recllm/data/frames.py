"""Data frames of other libraries and Python's own records -> polars, without a guess that loses a value."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa

from recllm.data.categories import valid_text
from recllm.data.process import stay_in_process
from recllm.data.raw import RawTable
from recllm.errors import DataError

UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    nw.exceptions.NarwhalsError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
)
"""What the libraries of data frames raise on columns that they cannot turn into another's."""


@contextmanager
def refused(sentence: Callable[[BaseException], str], *kinds: type[BaseException]) -> Iterator[None]:
    """Whatever of these kinds is raised inside is a `DataError` with this sentence; one that is ours already passes."""
    try:
        yield
    except DataError:
        raise
    except kinds as error:
        raise DataError(sentence(error)) from error


def table_of_frame(data: Any, names: Sequence[str | None] | None = None) -> RawTable:
    """A pandas, polars or pyarrow table, a Hugging Face data set, or a list of records; the input is not changed.

    Args:
        data: The table. Named levels of a pandas index are columns, too.
        names: Names for its columns, in their order, where it has none that tell; None leaves a column out.

    Raises:
        DataError: It is no such table, or two columns have the same name.
    """
    stay_in_process()
    repaired: list[str] = []
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        frame = frame_of_records(data, repaired)
    else:
        frame = _frame(data, repaired)
    raw = RawTable(frame, "data frame", frame.height)
    raw.note_repaired(repaired)
    raw.rename(names)
    return raw


def _frame(data: Any, repaired: list[str]) -> pl.DataFrame:
    kind = type(data).__name__

    def sentence(error: BaseException) -> str:
        if not isinstance(error, TypeError):
            return f"the {kind} cannot be read: {' '.join(str(error).split())[:200]}"
        return (
            f"a table was expected (of pandas, polars or pyarrow, a Hugging Face data set, or a list of records), got "
            f"{kind}; .read(path) takes files, Interactions.from_mapping takes {{user: [items]}}"
        )

    with refused(sentence, *UNREADABLE):
        wrapped = nw.from_native(_eager(data), eager_only=True)
        columns = [_polars_series(series, repaired) for series in wrapped.iter_columns()]
        names = [series.name for series in columns]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"two columns of the {kind} are called {twice!r}; give one of them another name")
        return pl.DataFrame(dict(zip(names, columns, strict=True)))


def _eager(data: Any) -> Any:
    """The table itself, of what stands for one."""
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    module = type(data).__module__.partition(".")[0]
    if module == "datasets" and isinstance(data, Mapping):
        splits = ", ".join(map(repr, data))
        raise DataError(
            f"this data set has the splits {splits}; give one of them, for example data[{next(iter(data))!r}]"
        )
    if module == "datasets" and hasattr(data, "with_format"):
        rows = data.with_format("arrow")
        return rows[:] if hasattr(rows, "num_rows") else pa.concat_tables(rows.iter(batch_size=10_000))
    if module == "pandas" and hasattr(data, "reset_index"):
        named = [name for name in data.index.names if name is not None and name not in data.columns]
        return data.reset_index(named) if named else data
    return data


def _polars_series(series: "nw.Series[Any]", repaired: list[str]) -> pl.Series:
    name = _valid(str(series.name), repaired)
    if series.dtype not in (nw.Object, nw.Unknown):
        try:
            return series.to_polars().alias(name)
        except UNREADABLE:  # types that only their library knows; their values are read one by one
            pass
    return series_of(name, series.to_list(), repaired)


def frame_of_records(records: Sequence[Mapping[Any, Any]], repaired: list[str] | None = None) -> pl.DataFrame:
    """Rows given as mappings -> a frame; columns in order of first appearance, absent values null."""
    repaired = [] if repaired is None else repaired
    names = dict.fromkeys(name for record in records for name in record)
    columns: dict[str, pl.Series] = {}
    for name in names:
        plain = _valid(str(name), repaired)
        if plain in columns:
            raise DataError(f"two columns are called {plain!r}; give one of them another name")
        columns[plain] = series_of(plain, [record.get(name) for record in records], repaired)
    return pl.DataFrame(list(columns.values()))


def series_of(name: str, values: Iterable[Any], repaired: list[str] | None = None) -> pl.Series:
    """A series of mixed Python values without any guess that loses one: what does not fit one type becomes text.

    Args:
        name: Of the series.
        values: One for each row.
        repaired: Gets the name if some text was no valid Unicode; what is not is U+FFFD then.
    """
    values = [None if _is_missing(v) else v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    kinds = {type(v) for v in values if v is not None}
    try:
        if kinds <= {int, float} and float in kinds and int in kinds:
            return pl.Series(name, [_as_text(v) for v in values], dtype=pl.String)
        if len(kinds) == 1 and kinds != {dict}:
            series = pl.Series(name, values, strict=True)
            if series.dtype != pl.Object:
                return series
    except UNREADABLE:
        pass
    repaired = [] if repaired is None else repaired
    if kinds <= {list, tuple, set, frozenset} and kinds:
        lists = [None if v is None else [_valid(_as_text(x), repaired, name) for x in _elements(v)] for v in values]
        return pl.Series(name, lists, dtype=pl.List(pl.String))
    texts = [None if v is None else _valid(_as_text(v), repaired, name) for v in values]
    return pl.Series(name, texts, dtype=pl.String)


def _elements(value: Any) -> list[Any]:
    found = value.tolist() if isinstance(value, np.ndarray) else list(value)
    if isinstance(value, set | frozenset):  # which has no order that lasts
        found = sorted(found, key=lambda one: (str(type(one)), str(one)))
    return [one for one in (found if isinstance(found, list) else [found]) if not _is_missing(one)]


def _valid(text: str, repaired: list[str], name: str | None = None) -> str:
    """The text with U+FFFD for what no encoding can hold: halves of characters (lone surrogates)."""
    if (whole := valid_text(text)) is not text:
        repaired.append(whole if name is None else name)
    return whole


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return type(value).__name__ in {"NAType", "NaTType"}


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    if isinstance(value, dict | list | tuple):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except UNREADABLE:
            return str(value)
    kind: Any = type(value)
    if (kind.__str__, kind.__repr__) == (object.__str__, object.__repr__):
        raise DataError(f"a value of type {kind.__name__} has no text but its address in memory; leave it out")
    try:
        return str(value)
    except Exception as error:  # whatever a class of the caller does
        raise DataError(f"a value of type {type(value).__name__} has no text: {type(error).__name__}") from error
