"""Delimited text: columns stay text, and rows that do not fit the header are counted, not padded or cut."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from recllm.data.raw import RawTable
from recllm.errors import DataError

_LONGEST_FIELD = 2**31 - 1
_SAMPLE = 2**16
SPACES = " \t\u00a0"


def read_delimited(data: bytes, raw: RawTable, tab: bool, names: Sequence[str | None] | None = None) -> None:
    """Fill `raw` from a delimited text in clean UTF-8; spaces around names and cells are no part of them.

    Args:
        data: The file.
        raw: Gets frame, rows, dropped rows and notes.
        tab: Whether a tab is the likeliest separator.
        names: Names of all columns where there is no header; the frame's own are then numbers.

    Raises:
        DataError: A quote is never closed, or rows have another number of columns than there are names.
    """
    read_csv(data, raw, tab, names)
    frame = raw.frame
    trimmed = frame.select(pl.all().str.strip_chars(SPACES)) if re.search(rb"[ \t\xa0]", data) else frame
    spaced = [name for name in frame.columns if not frame[name].equals(trimmed[name])]
    if spaced:
        raw.notes.append(f"spaces around the values of {', '.join(map(repr, spaced))} were cut off")
    raw.frame = trimmed.rename(dict(zip(frame.columns, _distinct([n.strip() for n in frame.columns]), strict=True)))


def read_csv(data: bytes, raw: RawTable, tab: bool, names: Sequence[str | None] | None = None) -> None:
    """As `read_delimited`, cells as they are: regular files at full speed, others row by row, broken rows counted."""
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    data, separator = _separated(data, tab, names, raw)
    if separator not in ",\t" or (separator == "\t" and not tab):
        raw.notes.append(f"columns are separated by {separator!r}")
    quoted = len(separator) == 1 and separator != " "
    if not quoted:
        data, separator = _single(data, separator)
    after_spaces = quoted and f"{separator} ".encode() in data.split(b"\n", 1)[0]
    rows = None if after_spaces and b'"' in data else _regular_rows(data, separator, quoted)
    if rows is not None:
        try:
            frame = pl.read_csv(data, separator=separator, infer_schema=False, quote_char='"' if quoted else None)
        except pl.exceptions.PolarsError:
            frame = None
        if frame is not None and frame.height == rows:
            raw.frame, raw.rows = frame, rows
            return
    read_irregular(data, separator, raw, quoted, after_spaces)


def _regular_rows(data: bytes, separator: str, quoting: bool = True) -> int | None:
    """The number of data rows, if all have the header's number of fields and well-placed quotes; else None.

    Works on the whole file at once: a byte is quoted if an odd number of quotes stands before it.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    array = np.frombuffer(data, dtype=np.uint8)
    line_end, field_end = array == ord("\n"), array == ord(separator)
    lone_return = (array == ord("\r")) & ~np.roll(line_end, -1)
    if quoting and b'"' in data:
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


def read_irregular(
    data: bytes, separator: str, raw: RawTable, quoting: bool = True, after_spaces: bool = False
) -> None:
    """Row by row with the standard library: slower, but it can say which rows are broken."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(
            io.StringIO(data.decode(), newline=""),
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
            skipinitialspace=after_spaces,
            strict=True,
        )
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


# --- what separates columns ------------------------------------------------------------------------------------------


def _separated(data: bytes, tab: bool, names: Sequence[str | None] | None, raw: RawTable) -> tuple[bytes, str]:
    """The text with a header, and what separates its columns."""
    declared = re.match(rb'\s*"?sep=([,;|\t])"?\r?\n', data)
    if declared:  # as Excel does
        return data[declared.end() :], declared[1].decode("utf-8", "replace")
    lines = [line for line in data[:_SAMPLE].decode("utf-8", "replace").splitlines() if line.strip()]
    lines = lines[:20] if len(data) <= _SAMPLE else lines[: min(len(lines) - 1, 20) or 1]
    if names is None:
        return data, _by_header(lines, tab)
    separator = _by_width(lines, len(names), raw.source)
    first = [cell.strip().casefold() for cell in _cells(lines[0], separator)]
    if first == [str(name).casefold() for name in names]:
        return data, separator
    header = separator.join(str(place) for place in range(len(names)))
    return header.encode() + b"\n" + data, separator


def _by_header(lines: Sequence[str], tab: bool) -> str:
    width = {separator: len(_cells(lines[0], separator)) for separator in (",", "\t", ";", "|", "::", " ")}

    def all_alike(separator: str) -> bool:
        return width[separator] > 1 and all(len(_cells(line, separator)) == width[separator] for line in lines)

    best = max("\t,;|" if tab else ",\t;|", key=lambda separator: width[separator])
    if width["::"] >= width[best] and all_alike("::"):
        return "::"
    if width[best] > 1:
        return best
    return " " if len(lines) > 1 and all_alike(" ") else "\t" if tab else ","


def _by_width(lines: Sequence[str], columns: int, source: str) -> str:
    """What cuts the most of the first lines into so many columns."""

    def fitting(separator: str) -> int:
        return sum(len(_cells(line, separator)) == columns for line in lines)

    best = max(("::", ",", "\t", ";", "|", " "), key=fitting)
    if columns > 1 and not fitting(best):
        widths = {separator: len(_cells(lines[0], separator)) for separator in ("::", ",", "\t", ";", "|")}
        likely = max(widths, key=lambda separator: widths[separator])
        raise DataError(
            f"{source}: columns= names {columns} columns, and the first row has {widths[likely]} (separated by "
            f"{likely!r}): {lines[0][:80]!r}; name each, with None for those to leave out"
        )
    return best if columns > 1 else ","


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if separator == "::":
        return line.split("::")
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _single(data: bytes, separator: str) -> tuple[bytes, str]:
    """The text with one character between columns that nothing else in it uses."""
    unused = next((one for one in (b"\x1f", b"\x1e", b"\x1d", b"\x1c") if one not in data), b"\x1f")
    if separator == " ":
        data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", data)
        return re.sub(rb"[ \t]+", unused, data), unused.decode()
    return data.replace(separator.encode(), unused), unused.decode()
