"""Long text files, a piece at a time, as `recllm.data.reading` reads short ones whole.

What a reader decides by looking at all of a text (what separates columns, whether every row is regular) is decided by
its beginning, and taken back where a later piece says otherwise.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import IO

import polars as pl

from recllm.data.delimited import (
    Layout,
    csv_rows,
    frame_of_rows,
    laid_out,
    note_broken,
    note_on_spaces,
    trimmed,
)
from recllm.data.frames import frame_of_records
from recllm.data.json_lines import parsed
from recllm.data.raw import RawTable
from recllm.data.reading import encoding_of
from recllm.data.separators import SAMPLE

BLOCK = 2**25
"""Bytes of a text that are read at a time."""

FIRST = max(BLOCK, SAMPLE + 1)
"""Bytes that are read first: those that tell what separates columns."""

ROWS = 200_000
"""Rows that are kept at a time where they are read one by one."""

MOST_QUOTED = 2**27
"""Bytes that may stand between two quotes."""

COLUMNAR = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
"""How parquet and Arrow files begin."""

Keep = Callable[[pl.DataFrame], None]


class WholeOnly(Exception):
    """A text that has to be looked at as a whole."""


class Irregular(Exception):
    """Rows that have to be read one by one."""


class Blocks:
    """A text in clean UTF-8, in pieces that end where a line ends.

    Args:
        file: Its plain bytes.
        encoding: None: UTF-8.
        check: Called with the bytes read so far.
        raw: Gets a note about bytes that are no text.

    Attributes:
        head: How it begins, as it is.

    Raises:
        WholeOnly: Its lines cannot be told without reading all of it.
    """

    def __init__(self, file: IO[bytes], encoding: str | None, check: Callable[[int], None], raw: RawTable) -> None:
        self._file, self._check, self._raw = file, check, raw
        self._read = self._lines = 0
        head = self._more()
        self._encoding = encoding_of(head) if encoding is None else encoding
        if not _ends_lines_with_newlines(self._encoding) or b"\n" not in head or head.startswith(COLUMNAR):
            raise WholeOnly
        self.head = head

    def __iter__(self) -> Iterator[bytes]:
        rest, first = self.head, True
        while True:
            end = rest.rfind(b"\n") + 1
            if end:
                yield self._decoded(rest[:end], first)
                first = False
            more = self._more()
            if not more:
                if rest[end:]:
                    yield self._decoded(rest[end:], first)
                return
            rest = rest[end:] + more

    def _more(self) -> bytes:
        piece = self._file.read(BLOCK if self._read else FIRST)
        self._read += len(piece)
        self._check(self._read)
        return piece

    def _decoded(self, data: bytes, first: bool) -> bytes:
        raw, encoding = self._raw, self._encoding
        lines, self._lines = self._lines, self._lines + data.count(b"\n")
        try:
            text = data.decode(encoding)
        except UnicodeError as error:
            text = data.decode(encoding, errors="replace")
            if not raw.undecodable:
                line = lines + data.count(b"\n", 0, getattr(error, "start", 0)) + 1
                raw.undecodable = True
                raw.notes.insert(
                    0,
                    f"not all bytes are {encoding} (first in line {line}); if the file has another encoding, "
                    f"say so, for example encoding='cp1252'",
                )
        else:
            if encoding == "utf-8":
                return data.removeprefix(b"\xef\xbb\xbf") if first else data
        return (text.removeprefix("\ufeff") if first else text).encode("utf-8", "replace")


def _ends_lines_with_newlines(encoding: str) -> bool:
    """Whether every line of such a text ends with the byte 10, and no other character has it."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return False
    return name in ("utf-8", "ascii", "utf-8-sig") or bool(re.match(r"cp125\d|iso8859|latin|koi8|mac-", name))


def read_rows(
    blocks: Iterable[bytes], tab: bool, names: Sequence[str | None] | None, raw: RawTable, keep: Keep
) -> None:
    """Read delimited text whose rows are all regular.

    Args:
        blocks: See `Blocks`.
        tab: Whether a tab is the likeliest separator.
        names: Names of all columns where there is no header.
        raw: Gets rows and notes.
        keep: Takes the rows, piece by piece.

    Raises:
        Irregular: Rows are not regular; what was kept does not count.
        DataError: Rows have another number of columns than there are names.
    """
    layout: Layout | None = None
    header, columns, spaced = b"", list[str](), dict[str, None]()
    for block in _whole_rows(blocks):
        data = block
        if layout is None:
            data, layout = laid_out(block, tab, names, raw)
            header = data[: data.index(b"\n") + 1]
            if header.count(b'"') % 2:
                raise Irregular
        else:
            data = header + block
        if (frame := layout.read(data)) is None:
            raise Irregular
        raw.rows += frame.height
        columns = frame.columns
        frame, here = trimmed(frame, data)
        spaced |= dict.fromkeys(here)
        keep(_named(frame, names, raw.source))
        raw.frame = frame.clear()
    if spaced:
        raw.notes.append(note_on_spaces([name for name in columns if name in spaced]))
    raw.rename(names)


def _whole_rows(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks that end where a row ends: a byte is quoted if an odd number of quotes stands before it."""
    rest = b""
    for block in blocks:
        rest += block
        end, quotes = len(rest), rest.count(b'"')
        while end and quotes % 2:
            before = rest.rfind(b"\n", 0, end - 1) + 1
            quotes -= rest.count(b'"', before, end)
            end = before
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > MOST_QUOTED:
            raise Irregular  # a quote that is never closed, or that holds nothing together
    if rest:
        yield rest


def read_any_rows(
    blocks: Iterable[bytes], tab: bool, names: Sequence[str | None] | None, raw: RawTable, keep: Keep
) -> None:
    """As `read_rows`, row by row: what does not fit the header is counted.

    Raises:
        WholeOnly: Several signs stand between columns.
        DataError: A quote is never closed, or rows have another number of columns than there are names.
    """
    pieces = iter(blocks)
    data, layout = laid_out(next(pieces), tab, names, raw)
    if not layout.quoted:
        raise WholeOnly
    header, broken = list[str](), list[int]()
    lines = _lines(chain([data], pieces))
    spaced = dict[str, None]()
    rows = csv_rows(lines, layout.separator, raw, header, broken, True, layout.after_spaces)
    while True:
        some = list(islice(rows, ROWS))
        frame = frame_of_rows(header, some)
        columns = frame.columns
        frame, here = trimmed(frame, b" ")
        spaced |= dict.fromkeys(here)
        keep(_named(frame, names, raw.source))
        raw.frame, raw.rows = frame.clear(), raw.rows + len(some)
        if len(some) < ROWS:
            break
    raw.rows += len(broken)
    note_broken(raw, header, broken)
    if spaced:
        raw.notes.append(note_on_spaces([name for name in columns if name in spaced]))
    raw.rename(names)


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    return chain.from_iterable(io.StringIO(block.decode(), newline="") for block in blocks)


def _named(frame: pl.DataFrame, names: Sequence[str | None] | None, source: str) -> pl.DataFrame:
    raw = RawTable(frame, source, frame.height)
    raw.rename(names)
    return raw.frame


def read_lines(blocks: Iterable[bytes], raw: RawTable, keep: Keep) -> None:
    """Read JSON Lines.

    Raises:
        WholeOnly: It is an array or a table, or a column holds values of several types.
    """
    kinds: dict[str, pl.DataType] = {}
    repaired: list[str] = []
    for block in blocks:
        if not raw.rows and (block.lstrip()[:1] == b"[" or len(block.split(b"\n")) < 3):
            raise WholeOnly
        found = [parsed(line) for line in block.split(b"\n") if line.strip()]
        records = [record for record in found if isinstance(record, dict)]
        raw.rows += len(found)
        raw.dropped["bad_json"] = raw.dropped.get("bad_json", 0) + len(found) - len(records)
        if not records:
            continue
        frame = frame_of_records(records, repaired)
        for name, kind in frame.schema.items():
            empty = frame[name].null_count() == frame.height
            if kinds.setdefault(name, pl.Null() if empty else kind) == pl.Null():
                kinds[name] = pl.Null() if empty else kind
            elif not empty and kinds[name] != kind:
                raise WholeOnly
        keep(frame)
    if not kinds:
        raise WholeOnly
    raw.note_repaired(repaired)
    raw.dropped = {reason: count for reason, count in raw.dropped.items() if count}
    raw.frame = pl.DataFrame(schema={name: pl.String() if kind == pl.Null() else kind for name, kind in kinds.items()})
