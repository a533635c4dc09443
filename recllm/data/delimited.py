"""Delimited text: columns stay text, and rows that do not fit the header are counted, not padded or cut."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from recllm.data.raw import RawTable
from recllm.data.separators import separated, single
from recllm.errors import DataError

_LONGEST_FIELD = 2**31 - 1
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
    raw.frame, spaced = trimmed(raw.frame, data)
    if spaced:
        raw.notes.append(note_on_spaces(spaced))


def trimmed(frame: pl.DataFrame, data: bytes) -> tuple[pl.DataFrame, list[str]]:
    """Names and cells without spaces around them, and the names of the columns that had some in cells.

    Args:
        frame: Texts.
        data: What they were read from.
    """
    stripped = frame.select(pl.all().str.strip_chars(SPACES)) if re.search(rb"[ \t\xa0]", data) else frame
    spaced = [name for name in frame.columns if not frame[name].equals(stripped[name])]
    names = distinct_names([name.strip() for name in frame.columns])
    return stripped.rename(dict(zip(frame.columns, names, strict=True))), spaced


def note_on_spaces(columns: Iterable[str]) -> str:
    """The sentence about columns whose values had spaces around them."""
    return f"spaces around the values of {', '.join(map(repr, columns))} were cut off"


def read_csv(data: bytes, raw: RawTable, tab: bool, names: Sequence[str | None] | None = None) -> None:
    """As `read_delimited`, cells as they are: regular files at full speed, others row by row, broken rows counted."""
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    data, layout = laid_out(data, tab, names, raw)
    if (frame := layout.read(data)) is not None:
        raw.frame, raw.rows = frame, frame.height
        return
    separator = layout.separator
    if not layout.quoted:
        data, separator = single(data, separator)
    read_irregular(data, separator, raw, layout.quoted, layout.after_spaces)


@dataclass(frozen=True)
class Layout:
    """How the rows of a delimited text are written.

    Attributes:
        separator: Between columns.
        after_spaces: Whether spaces follow it.
    """

    separator: str
    after_spaces: bool

    @property
    def quoted(self) -> bool:
        """Whether quotes hold cells together."""
        return len(self.separator) == 1 and self.separator != " "

    def read(self, data: bytes) -> pl.DataFrame | None:
        """The rows of a text with a header, if all are regular; else None."""
        separator = self.separator
        if not self.quoted:
            data, separator = single(data, separator)
        rows = None if self.after_spaces and b'"' in data else regular_rows(data, separator, self.quoted)
        if rows is None:
            return None
        try:
            frame = pl.read_csv(data, separator=separator, infer_schema=False, quote_char='"' if self.quoted else None)
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.height == rows else None


def laid_out(data: bytes, tab: bool, names: Sequence[str | None] | None, raw: RawTable) -> tuple[bytes, Layout]:
    """The text, or the beginning of a long one, with a header, and how its rows are written.

    Args:
        data: In clean UTF-8.
        tab: Whether a tab is the likeliest separator.
        names: Names of all columns where there is no header.
        raw: Gets a note on what separates columns, where that is unusual.
    """
    data, separator = separated(data, tab, names, raw)
    if separator not in ",\t" or (separator == "\t" and not tab):
        raw.notes.append(f"columns are separated by {separator!r}")
    layout = Layout(separator, False)
    spaced = layout.quoted and f"{separator} ".encode() in data.split(b"\n", 1)[0]
    return data, replace(layout, after_spaces=spaced)


def regular_rows(data: bytes, separator: str, quoting: bool = True) -> int | None:
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
    header, broken = list[str](), list[int]()
    rows = list(csv_rows(io.StringIO(data.decode(), newline=""), separator, raw, header, broken, quoting, after_spaces))
    note_broken(raw, header, broken)
    raw.rows = len(rows) + len(broken)
    raw.frame = frame_of_rows(header, rows)


def note_broken(raw: RawTable, header: Sequence[str], broken: Sequence[int]) -> None:
    """Count rows that were passed over, by their lines."""
    if broken:
        raw.dropped["ragged_row"] = len(broken)
        raw.notes.append(f"first broken row: line {broken[0]} (the header has {len(header)} columns)")


def frame_of_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Rows of texts as a frame."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    names = distinct_names(header)
    return pl.DataFrame([pl.Series(n, c, dtype=pl.String) for n, c in zip(names, columns, strict=True)])


def csv_rows(
    lines: Iterable[str],
    separator: str,
    raw: RawTable,
    header: list[str],
    broken: list[int],
    quoting: bool = True,
    after_spaces: bool = False,
) -> Iterator[list[str]]:
    """The rows that have as many fields as the header, one by one.

    Args:
        lines: Of the text, with their ends.
        separator: One character.
        raw: Names the text.
        header: Gets the fields of the first row.
        broken: Gets the lines of rows that are passed over.
        quoting: Whether quotes hold cells together.
        after_spaces: Whether spaces follow the separator.

    Raises:
        DataError: A quote is never closed.
    """
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
            skipinitialspace=after_spaces,
            strict=True,
        )
        yield from _rows_of(reader, raw, header, broken)
    finally:
        csv.field_size_limit(limit)


def _rows_of(reader: Any, raw: RawTable, header: list[str], broken: list[int]) -> Iterator[list[str]]:
    while True:
        first_line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
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
            header += row
        elif len(row) == len(header):
            yield row
        else:
            broken.append(first_line)


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that come again."""
    distinct: list[str] = []
    for name in names:
        copies = 0
        candidate = name
        while candidate in distinct:
            candidate = f"{name}_duplicated_{copies}"
            copies += 1
        distinct.append(candidate)
    return distinct
