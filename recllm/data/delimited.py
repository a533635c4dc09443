"""CSV: columns stay text, and rows that do not fit the header are counted instead of being padded or cut."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from recllm.data.raw import RawTable
from recllm.errors import DataError

_LONGEST_FIELD = 2**31 - 1


def read_csv(data: bytes, raw: RawTable, tab: bool) -> None:
    """Fill `raw` from CSV in clean UTF-8: regular files at full speed, others row by row with broken rows counted.

    Args:
        data: The file.
        raw: Gets frame, rows, dropped rows and notes.
        tab: Whether the separator is a tab; otherwise the header tells: comma, tab or semicolon.

    Raises:
        DataError: A quote is never closed.
    """
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    header = data.split(b"\n", 1)[0]
    separator = "\t" if tab else _sniff(header)
    if separator != "," and not tab:
        raw.notes.append(f"columns are separated by {separator!r}")
    rows = _regular_rows(data, separator)
    if rows is not None:
        try:
            frame = pl.read_csv(data, separator=separator, infer_schema=False)
        except pl.exceptions.PolarsError:
            frame = None
        if frame is not None and frame.height == rows:
            raw.frame, raw.rows = frame, rows
            return
    read_irregular(data, separator, raw)


def _sniff(header: bytes) -> str:
    return max((",", "\t", ";"), key=lambda separator: header.count(separator.encode()))


def _regular_rows(data: bytes, separator: str) -> int | None:
    """The number of data rows, if all have the header's number of fields and well-placed quotes; else None.

    Works on the whole file at once: a byte is quoted if an odd number of quotes stands before it.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    array = np.frombuffer(data, dtype=np.uint8)
    line_end, field_end = array == ord("\n"), array == ord(separator)
    lone_return = (array == ord("\r")) & ~np.roll(line_end, -1)
    if b'"' in data:
        quote = array == ord('"')
        quoted = np.bitwise_and(np.cumsum(quote, dtype=np.uint8), 1).astype(bool)
        if quoted[-1] or not _quotes_well_placed(array, quote, quoted, ord(separator)):
            return None
        line_end &= ~quoted
        field_end &= ~quoted
        lone_return &= ~quoted
    ends = np.flatnonzero(line_end)
    fields = np.diff(np.searchsorted(np.flatnonzero(field_end), ends), prepend=0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = (ends - starts == 0) | ((ends - starts == 1) & (array[starts] == ord("\r")))
    regular = (fields == fields[0]).all() and not blank.any() and not lone_return.any()
    return len(ends) - 1 if regular else None


def _quotes_well_placed(array: np.ndarray, quote: np.ndarray, quoted: np.ndarray, separator: int) -> bool:
    at = np.flatnonzero(quote)
    opening, closing = at[quoted[at]], at[~quoted[at]]
    before = np.where(opening > 0, array[opening - 1], ord("\n"))
    after = array[closing + 1]
    return bool(np.isin(before, [separator, 10, 34]).all() and np.isin(after, [separator, 10, 13, 34]).all())


def read_irregular(data: bytes, separator: str, raw: RawTable) -> None:
    """Row by row with the standard library: slower, but it can say which rows are broken."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator, strict=True)
        header, rows, broken = _csv_rows(reader, raw)
    finally:
        csv.field_size_limit(limit)
    if broken:
        raw.dropped["ragged_row"] = len(broken)
        raw.notes.append(f"first broken row: line {broken[0]} (the header has {len(header)} columns)")
    raw.rows = len(rows) + len(broken)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    names = _distinct(header)
    raw.frame = pl.DataFrame([pl.Series(n, c, dtype=pl.String) for n, c in zip(names, columns, strict=True)])


def _csv_rows(reader: Any, raw: RawTable) -> tuple[list[str], list[list[str]], list[int]]:
    header: list[str] = []
    rows: list[list[str]] = []
    broken: list[int] = []
    while True:
        first_line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return header, rows, broken
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f'{raw.source}: the quote " opened in the row of line {first_line} is never closed; '
                    f'write quotes inside a field twice ("")'
                ) from error
            broken.append(first_line)
            continue
        if not row:
            continue
        if not header:
            header = row
        elif len(row) == len(header):
            rows.append(row)
        else:
            broken.append(first_line)


def _distinct(names: Sequence[str]) -> list[str]:
    distinct: list[str] = []
    for name in names:
        copies = 0
        candidate = name
        while candidate in distinct:
            candidate = f"{name}_duplicated_{copies}"
            copies += 1
        distinct.append(candidate)
    return distinct
