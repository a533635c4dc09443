"""Files, folders and patterns -> one raw polars table, with what could not be read counted.

CSV columns are all read as text: a guess at types would turn the id `007` into 7.
"""

import glob
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recllm.data.delimited import read_delimited
from recllm.data.frames import UNREADABLE, refused, series_of
from recllm.data.json_lines import read_json
from recllm.data.packed import (
    ARROW_SUFFIXES,
    JSON_SUFFIXES,
    KNOWN,
    PARQUET_SUFFIXES,
    TAB_SUFFIXES,
    TABLE_SUFFIXES,
    Content,
    Limit,
    content_of_file,
    content_of_path,
    unpacked_name,
)
from recllm.data.process import stay_in_process
from recllm.data.raw import RawTable, check_names
from recllm.errors import DataError

Columns = Mapping[str, str] | Sequence[str | None]
"""recllm's names -> yours; or, where a file has no header, a name for each of its columns in their order."""


def named_columns(columns: Columns | None) -> tuple[Mapping[str, str] | None, Sequence[str | None] | None]:
    """Which of the two a caller gave: a mapping, or the names of all columns.

    Raises:
        DataError: It is neither.
    """
    if columns is None or isinstance(columns, Mapping):
        return columns, None
    if isinstance(columns, str | bytes) or not isinstance(columns, Sequence):
        raise DataError(
            f"columns= is a mapping from recllm's names to yours, or a list with a name for every column of a file "
            f"without a header; got {columns!r}"[:300]
        )
    check_names(columns)
    return None, columns


def read_table(
    source: Any,
    encoding: str | None = None,
    names: Sequence[str | None] | None = None,
    max_bytes: int | None = None,
) -> RawTable:
    """Read a table from a file, from all files of a folder or pattern, or from an open file.

    Known are csv with any separator, RecBole's .inter and .item, JSON Lines and arrays, parquet and Arrow (feather),
    each also packed with gzip, bzip2, xz, zstd or in a zip. Several files must have the same columns.

    Args:
        source: Path, folder, pattern (`logs/*.parquet`), or a file open for reading.
        encoding: Of text files; UTF-8 (UTF-16 where its marks are) if not given.
        names: Names of all columns of a file without a header.
        max_bytes: What a packed file may unpack to, and a plain one hold; None: as much as real tables do.

    Raises:
        DataError: It is missing, empty, not what its name says, of an unknown kind, or larger than allowed.
    """
    stay_in_process()
    limit = Limit(max_bytes)
    if encoding is not None and not isinstance(encoding, str):
        raise DataError(f"encoding must be the name of one, for example 'cp1252'; got {encoding!r}")
    if hasattr(source, "read") and not isinstance(source, Path):
        return read_file(content_of_file(source, limit), "", limit, encoding, names)
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"a path or an open file was expected, got {type(source).__name__}; data frames go through from_frame, "
            f"bytes through io.BytesIO"
        )
    if re.match(r"[a-z][a-z0-9+.-]+://", str(source), re.IGNORECASE):
        raise DataError(f"{source} is an address, and recllm reads files; download it first")
    paths, root = files_of(os.path.expanduser(os.fsdecode(source)))
    tables = [read_file(content_of_path(path, limit), str(path), limit, encoding, names) for path in paths]
    if root is None:
        return tables[0]
    for table, path in zip(tables, paths, strict=True):
        _add_keys(table, path.relative_to(root).parts[:-1])
    return joined(tables, str(source))


# --- which files -----------------------------------------------------------------------------------------------------


def files_of(source: str) -> tuple[list[Path], Path | None]:
    """The files to read, and the folder they were found in if a folder or pattern was given."""
    path = Path(source)
    try:
        if path.is_dir():
            return _tables_below(path), path
        if os.path.lexists(path) or not glob.has_magic(source):
            return [path], None
        found = [Path(one) for one in glob.glob(source, recursive=True)]
    except (OSError, ValueError) as error:
        raise DataError(f"{source[:200]!r} is no path: {getattr(error, 'strerror', None) or error}") from error
    files = sorted((one for one in found if one.is_file()), key=_natural)
    if not files:
        raise DataError(f"{source} does not exist: no file has a name of this pattern")
    return files, Path(os.path.commonpath([one.parent for one in files]))


def _tables_below(folder: Path) -> list[Path]:
    """All tables in a folder and below it, without hidden files and marks such as `_SUCCESS`."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    kinds = {path: Path(unpacked_name(path.name)).suffix.lower() for path in files}
    # Beside parquet and Arrow, JSON files only describe them.
    columnar = [path for path in files if kinds[path] in PARQUET_SUFFIXES | ARROW_SUFFIXES]
    tables = columnar or [path for path in files if kinds[path] in TABLE_SUFFIXES]
    if not tables:
        raise DataError(f"{folder} is a folder without tables; known are files ending in {KNOWN}")
    return sorted(tables, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """part-2 before part-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _add_keys(table: RawTable, folders: Sequence[str]) -> None:
    for key, value in keys_of(folders).items():
        if key not in table.frame.columns:
            table.frame = table.frame.with_columns(pl.lit(value).alias(key))


def keys_of(folders: Sequence[str]) -> dict[str, str]:
    """Columns that are written as folders, `year=2024/part.parquet`, with their values; the outer one wins."""
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    return {key: value for key, _, value in reversed(pairs) if key}


def joined(tables: Sequence[RawTable], source: str) -> RawTable:
    """Tables with the same columns as one."""
    first = tables[0]
    for table in tables:
        if set(table.frame.columns) != set(first.frame.columns):
            raise DataError(
                f"{source} holds tables with different columns: {first.source} has "
                f"{', '.join(first.frame.columns)[:150]}, {table.source} has {', '.join(table.frame.columns)[:150]}; "
                f"give the file that is meant, or a pattern of files that belong together"
            )
    frames = [table.frame.select(first.frame.columns) for table in tables]
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError:
        frame = pl.concat([_as_texts(part, frames) for part in frames])
    joined = RawTable(frame, f"{source} ({len(tables)} files)", sum(table.rows for table in tables))
    for table in tables:
        joined.undecodable |= table.undecodable
        for reason, count in table.dropped.items():
            joined.dropped[reason] = joined.dropped.get(reason, 0) + count
    joined.notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    return joined


def _as_texts(frame: pl.DataFrame, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """With text in every column whose type differs from file to file."""
    mixed = [name for name in frame.columns if len({other.schema[name] for other in frames}) > 1]
    return frame.with_columns(series_of(name, frame[name].to_list()).cast(pl.String) for name in mixed)


# --- one file --------------------------------------------------------------------------------------------------------


def read_file(
    content: Content, path: str, limit: Limit, encoding: str | None, names: Sequence[str | None] | None
) -> RawTable:
    """The table of a file's plain bytes; see `read_table`.

    Args:
        content: The bytes.
        path: Of the file, for errors; "" for an open one.
        limit: What it may hold.
        encoding: Of text files.
        names: Names of all columns of a file without a header.
    """
    source = Path(path).name or content.name or "the open file"
    kind, data = content.suffix, content.data
    raw = RawTable(pl.DataFrame(), source, 0)
    if kind in PARQUET_SUFFIXES or (data.startswith(b"PAR1") and data.endswith(b"PAR1")):
        _read_columnar(data, raw, path or source, limit, "parquet", _parquet)
    elif kind in ARROW_SUFFIXES or data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        _read_columnar(data, raw, path or source, limit, "an Arrow file", _arrow)
    else:
        text = decode(data, raw, encoding)
        if not text.strip():
            raise DataError(f"{path or source} is empty; a header row and at least one row were expected")
        if kind in JSON_SUFFIXES or (not kind and text.lstrip()[:1] in (b"[", b"{")):
            read_json(text, raw, names)
        else:
            read_delimited(text, raw, tab=kind in TAB_SUFFIXES, names=names)
    raw.rename(names)
    if not raw.rows:
        header = ", ".join(raw.frame.columns)[:200]
        raise DataError(f"{path or source} has only a header row ({header!r}); at least one data row was expected")
    return raw


def decode(data: bytes, raw: RawTable, encoding: str | None) -> bytes:
    """The text as clean UTF-8 bytes without a byte order mark."""
    if encoding is None:
        encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise DataError(f"encoding {encoding!r} is unknown to Python; try 'utf-8' or 'cp1252'") from error
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raw.undecodable = True
        raw.notes.append(
            f"not all bytes are {encoding} (first in line {line}); if the file has another encoding, "
            f"say so, for example encoding='cp1252'"
        )
        text = data.decode(encoding, errors="replace")
    else:
        if encoding == "utf-8":
            return data.removeprefix(b"\xef\xbb\xbf")
    return text.removeprefix("\ufeff").encode("utf-8", "replace")


def encoding_of(data: bytes) -> str:
    """By the byte order mark; without one, by the zero bytes that UTF-16 has beside every plain letter."""
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = data[:2_000]
    for encoding, zeros, letters in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if len(start) >= 8 and zeros.count(0) * 2 > len(zeros) and letters.count(0) == 0:
            return encoding
    return "utf-8"


def _read_columnar(
    data: bytes, raw: RawTable, path: str, limit: Limit, kind: str, read: Callable[[bytes, str, Limit], pl.DataFrame]
) -> None:
    again = "write it again or give a csv file"
    with refused(
        lambda error: f"{path} cannot be read as {kind} ({_first_line(error)}); {again}", *UNREADABLE, OSError
    ):
        raw.frame = read(data, path, limit)
    raw.rows = raw.frame.height


def _parquet(data: bytes, path: str, limit: Limit) -> pl.DataFrame:
    import pyarrow.parquet as pq

    meta = pq.read_metadata(io.BytesIO(data))
    # Runs of one value take no room in the file, and 8 bytes a cell in memory.
    limit.check(8 * meta.num_rows * meta.num_columns, len(data), path)
    return pl.read_parquet(io.BytesIO(data))


def _arrow(data: bytes, path: str, limit: Limit) -> pl.DataFrame:
    import pyarrow as pa

    as_file = data.startswith(b"ARROW1")
    reader = pa.ipc.open_file(data) if as_file else pa.ipc.open_stream(data)
    batches, size = [], 0
    for batch in map(reader.get_batch, range(reader.num_record_batches)) if as_file else reader:
        batch.validate(full=True)
        size += batch.nbytes
        limit.check(size, len(data), path)
        batches.append(batch)
    return pl.DataFrame(pa.Table.from_batches(batches, reader.schema))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
