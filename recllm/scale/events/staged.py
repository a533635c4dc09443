"""A table on disk, a piece at a time: what `recllm.data.reading.read_table` is for tables that fit into memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import polars as pl

from recllm.data.frames import UNREADABLE, refused, series_of
from recllm.data.packed import (
    JSON_SUFFIXES,
    PARQUET_SUFFIXES,
    TAB_SUFFIXES,
    UNPACKING,
    Limit,
    content_of_path,
    plain_stream,
)
from recllm.data.raw import RawTable
from recllm.data.reading import files_of, joined, keys_of, read_file, read_table
from recllm.data.series import nothing
from recllm.errors import DataError
from recllm.scale.events.texts import Blocks, Irregular, WholeOnly, read_any_rows, read_lines, read_rows

ROWS = 1_000_000
"""Rows of a piece of a table that is cut by rows."""

SMALL = 2**24
"""Bytes of a file that is read as a whole."""


@dataclass(frozen=True)
class Piece:
    """Rows of a parquet file.

    Attributes:
        path: The file.
        start: Its first row here.
        rows: How many.
        names: The names that columns have here -> those in the file.
        keys: Further columns that have one value.
    """

    path: Path
    start: int
    rows: int
    names: dict[str, str]
    keys: dict[str, str]

    def read(self, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        """Some columns, of these types.

        Raises:
            DataError: The file is damaged.
        """
        there = {name: self.names[name] for name in schema if name in self.names}
        with refused(
            lambda error: (
                f"{self.path} cannot be read as parquet ({_first_line(error)}); write it again or give a csv file"
            ),
            *UNREADABLE,
            OSError,
        ):
            scan = pl.scan_parquet(self.path, hive_partitioning=False, glob=False).slice(self.start, self.rows)
            found = scan.select(pl.col(theirs).alias(ours) for ours, theirs in there.items()).collect()
        columns = []
        for name, kind in schema.items():
            if name in there:
                columns.append(_as_kind(found[name], kind))
            elif name in self.keys:
                columns.append(_as_kind(pl.Series(name, [self.keys[name]]).new_from_index(0, self.rows), kind))
            else:
                columns.append(nothing(pl.Series(name, range(self.rows)), kind))
        return pl.DataFrame(columns)


def _as_kind(series: pl.Series, kind: pl.DataType) -> pl.Series:
    if series.dtype == kind:
        return series
    try:
        return series.cast(kind)
    except pl.exceptions.PolarsError:
        return series_of(series.name, series.to_list()).cast(pl.String)


@dataclass
class Staged:
    """A table as it was found.

    Attributes:
        raw: What was found, with a frame that has its columns and no rows.
        pieces: Where the rows are, in their order.
    """

    raw: RawTable
    pieces: list[Piece] = field(default_factory=list)

    def column(self, name: str) -> pl.Series:
        """A whole column: the only thing of a table's length that is ever in memory."""
        kind = {name: self.raw.frame.schema[name]}
        parts = [piece.read(kind)[name] for piece in self.pieces]
        return pl.concat(parts) if parts else self.raw.frame[name]


def stage(
    source: Any,
    folder: Path,
    encoding: str | None = None,
    names: Sequence[str | None] | None = None,
    max_bytes: int | None = None,
) -> Staged:
    """A table, its texts written to `folder` as parquet; see `read_table`.

    Raises:
        DataError: As `read_table`.
    """
    limit = Limit(max_bytes)
    path = None if hasattr(source, "read") or not isinstance(source, str | os.PathLike) else str(os.fspath(source))
    if path is None or "://" in path or (encoding is not None and not isinstance(encoding, str)):
        return _whole(read_table(source, encoding, names, max_bytes), folder)
    paths, root = files_of(os.path.expanduser(path))
    files = []
    for number, one in enumerate(paths):
        place = folder / f"file-{number:06d}"
        place.mkdir()
        files.append(_file(one, place, limit, encoding, names))
    if root is None:
        return files[0]
    for file, one in zip(files, paths, strict=True):
        keys = keys_of(one.relative_to(root).parts[:-1])
        fresh = {key: value for key, value in keys.items() if key not in file.raw.frame.columns}
        file.raw.frame = file.raw.frame.with_columns(pl.lit(value).alias(key) for key, value in fresh.items())
        for piece in file.pieces:
            piece.keys.update(fresh)
    return Staged(joined([file.raw for file in files], str(source)), [piece for file in files for piece in file.pieces])


def _file(path: Path, folder: Path, limit: Limit, encoding: str | None, names: Sequence[str | None] | None) -> Staged:
    large = path.is_file() and path.stat().st_size > SMALL
    if large and path.suffix.lower() in PARQUET_SUFFIXES and (found := _parquet(path, limit, names)) is not None:
        return found
    if large and (found := _text(path, folder, limit, encoding, names)) is not None:
        return found
    return _whole(read_file(content_of_path(path, limit), str(path), limit, encoding, names), folder)


def _whole(raw: RawTable, folder: Path) -> Staged:
    """A table that is in memory."""
    staged = Staged(raw)
    sink = _Sink(folder, staged.pieces)
    for start in range(0, raw.frame.height, ROWS):
        sink.keep(raw.frame[start : start + ROWS])
    raw.frame = raw.frame.clear()
    return staged


def _parquet(path: Path, limit: Limit, names: Sequence[str | None] | None) -> Staged | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        meta = pq.read_metadata(path)
        schema = pl.scan_parquet(path, hive_partitioning=False, glob=False).collect_schema()
    except (*UNREADABLE, OSError, pa.ArrowException):
        return None  # whoever reads it whole says why
    limit.check(8 * meta.num_rows * meta.num_columns, path.stat().st_size, str(path))
    raw = RawTable(pl.DataFrame(schema=schema), path.name, meta.num_rows)
    theirs = list(schema)
    raw.rename(names)
    kept = theirs if names is None else [old for old, new in zip(theirs, names, strict=True) if new is not None]
    place = dict(zip(raw.frame.columns, kept, strict=True))
    starts = range(0, meta.num_rows, ROWS)
    return Staged(raw, [Piece(path, start, min(ROWS, meta.num_rows - start), place, {}) for start in starts])


def _text(
    path: Path, folder: Path, limit: Limit, encoding: str | None, names: Sequence[str | None] | None
) -> Staged | None:
    """A text that is read in pieces; None for what has to be looked at as a whole."""
    packed = path.stat().st_size
    for read in (read_rows, read_any_rows):
        staged = Staged(RawTable(pl.DataFrame(), path.name, 0))
        raw, sink = staged.raw, _Sink(folder, staged.pieces)
        try:
            with plain_stream(path) as stream:
                if stream is None:
                    return None
                file, name = stream
                kind = PurePath(name).suffix.lower()
                blocks = Blocks(file, encoding, partial(_check, limit, path, packed, name == path.name), raw)
                if kind in JSON_SUFFIXES or (not kind and blocks.head.lstrip()[:1] in (b"[", b"{")):
                    if names is not None:
                        return None
                    read_lines(blocks, raw, sink.keep)
                else:
                    read(blocks, kind in TAB_SUFFIXES, names, raw, sink.keep)
                return staged
        except DataError:
            raise
        except Irregular:
            sink.clear()
        except (WholeOnly, *UNPACKING):
            sink.clear()
            return None
    return None


def _check(limit: Limit, path: Path, packed: int, plain: bool, size: int) -> None:
    """Refuse what unpacks to too much, or is larger than somebody wants."""
    if not plain:
        limit.check(size, packed, str(path))
    elif limit.given is not None:
        limit.check(size, size, str(path))


class _Sink:
    """Takes frames and keeps them in files of a folder."""

    def __init__(self, folder: Path, pieces: list[Piece]) -> None:
        self._folder, self._pieces = folder, pieces

    def keep(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        path = self._folder / f"piece-{len(self._pieces):06d}.parquet"
        frame.write_parquet(path, compression="lz4", statistics=False)
        self._pieces.append(Piece(path, 0, frame.height, {name: name for name in frame.columns}, {}))

    def clear(self) -> None:
        for piece in self._pieces:
            piece.path.unlink()
        self._pieces.clear()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
