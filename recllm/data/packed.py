"""Where tables come from: paths, open files, packed files -> their plain bytes, never more than expected."""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

from recllm.data.frames import refused
from recllm.errors import DataError

KNOWN = ".csv, .tsv, .txt, .dat, .jsonl, .json, .parquet, .feather (each also .gz, .bz2, .xz, .zst or in a .zip)"
TAB_SUFFIXES = frozenset({".tsv", ".tab", ".inter", ".item", ".user"})
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
ARROW_SUFFIXES = frozenset({".feather", ".arrow", ".ipc"})
TABLE_SUFFIXES = frozenset({".csv", ".dat", ".data", ".base", ".test"}) | TAB_SUFFIXES | JSON_SUFFIXES
TABLE_SUFFIXES |= PARQUET_SUFFIXES | ARROW_SUFFIXES

EXPANSION = 100
"""How many times its packed size a table may have; real ones have 3 to 50 times."""
ALWAYS = 2**28
"""Bytes that any packed file may unpack to."""
AT_MOST = 2**33
"""Bytes beyond which `max_bytes` must be said."""

_PIECE = 2**22
_PACKING = 2**12
_LAYERS = 3
_HEAD = 16

UNPACKING = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
"""What is raised over packed files that are damaged, beside Arrow's own errors."""


@dataclass(frozen=True)
class Content:
    """The plain bytes of a table, and the name that tells its kind ("" where there is none)."""

    data: bytes
    name: str

    @property
    def suffix(self) -> str:
        """The ending of the name in small letters, without a packing's."""
        return PurePath(self.name).suffix.lower()


@dataclass(frozen=True)
class Limit:
    """How many bytes something may unpack to.

    Attributes:
        given: What the caller allows; None: as many as real tables have for their packed size.
    """

    given: int | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.given, int) and not isinstance(self.given, bool)
        if self.given is not None and not (whole and self.given >= 1):
            raise DataError(f"max_bytes must be a whole number of at least 1, got {self.given!r}")

    def of(self, packed: int) -> int:
        """The most bytes that `packed` bytes may become."""
        return self.given or min(AT_MOST, max(ALWAYS, EXPANSION * packed))

    def check(self, size: int, packed: int, name: str) -> None:
        """Refuse what is larger.

        Raises:
            DataError: It is.
        """
        if size > (most := self.of(packed)):
            held = f"unpacks from {packed:,} to more than {most:,} bytes" if packed < size else f"has {size:,} bytes"
            raise DataError(f"{name} {held}; if that is no mistake, allow more with max_bytes={2 * size}")

    def check_before(self, size: int, name: str) -> None:
        """Refuse what is larger before anything is unpacked; small files may be larger packed than plain."""
        if self.given is not None and size > self.given + _PACKING:
            self.check(size, size, name)


def content_of_path(path: Path, limit: Limit) -> Content:
    """The plain bytes of a file.

    Raises:
        DataError: It is no file, cannot be read, is of an unknown kind, is damaged, or unpacks to too much.
    """

    def sentence(error: BaseException) -> str:
        if isinstance(error, FileNotFoundError):
            return f"{path} does not exist; a csv, jsonl or parquet file was expected"
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"

    with refused(sentence, OSError, ValueError):
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            raise DataError(f"{path} is {_kind_of_file(mode.st_mode)}; a file with a table was expected")
        suffix = PurePath(unpacked_name(path.name)).suffix.lower()
        if suffix and suffix not in TABLE_SUFFIXES | {".txt", ".zip"}:
            raise DataError(f"{path} has the unknown ending {suffix!r}; known are {KNOWN}")
        limit.check_before(mode.st_size, str(path))
        data = path.read_bytes()
    return _unpacked(Content(data, path.name), str(path), limit)


def content_of_file(file: Any, limit: Limit) -> Content:
    """The plain bytes of a file that is open for reading, as bytes or as text.

    Raises:
        DataError: It cannot be read, is damaged, or holds too much.
    """
    name = getattr(file, "name", None)
    name = os.path.basename(name) if isinstance(name, str) else ""
    _refuse_devices(file, name)
    source, at_most = name or "the open file", Limit(limit.given or AT_MOST)
    again = "open it anew for reading, best with 'rb'"
    with refused(lambda error: f"{source} cannot be read: {error}; {again}", OSError, ValueError, TypeError):
        data = _read_all(file, lambda size: at_most.check_before(size, source))
    return _unpacked(Content(data, name), source, limit)


def _read_all(file: Any, check: Callable[[int], None]) -> bytes:
    """What the file holds; `check` is called with the size so far."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_PIECE):
        pieces.append(piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else bytes(piece))
        size += len(pieces[-1])
        check(size)
    return b"".join(pieces)


def _refuse_devices(file: Any, name: str) -> None:
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, AttributeError, ValueError, TypeError):
        return  # in memory, or closed, which reading finds out
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise DataError(f"{name or 'the open file'} is {_kind_of_file(mode)}; a file with a table was expected")


def _kind_of_file(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for test, word in kinds if test(mode)), "a device")


# --- unpacking -------------------------------------------------------------------------------------------------------


def _zstd(file: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(file, "zstd")


@dataclass(frozen=True)
class _Packing:
    name: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]
    open: Callable[[IO[bytes]], Any]


_PACKINGS = (
    _Packing("gzip", (".gz", ".gzip"), re.compile(rb"\x1f\x8b"), lambda file: gzip.GzipFile(fileobj=file)),
    _Packing("bzip2", (".bz2",), re.compile(rb"BZh[1-9]1AY&SY"), bz2.BZ2File),
    _Packing("xz", (".xz", ".lzma"), re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    _Packing("zstd", (".zst", ".zstd"), re.compile(rb"\x28\xb5\x2f\xfd"), _zstd),
)
_ZIP = b"PK\x03\x04"


def _packing_of(content: Content) -> _Packing | None:
    by_name = (one for one in _PACKINGS if content.suffix in one.suffixes)
    return next(by_name, next((one for one in _PACKINGS if one.magic.match(content.data)), None))


def unpacked_name(name: str) -> str:
    """A name without the endings of packings: `log.csv` of `log.csv.gz`."""
    path = PurePath(name)
    while any(path.suffix.lower() in one.suffixes for one in _PACKINGS):
        path = path.with_suffix("")
    return path.name


def _unpacked(content: Content, source: str, limit: Limit) -> Content:
    for _ in range(_LAYERS):
        if content.suffix == ".zip" or content.data.startswith(_ZIP):
            content = _from_zip(content, source, limit)
            continue
        packing = _packing_of(content)
        if packing is None:
            break
        name = unpacked_name(content.name)
        if not content.data:
            return Content(b"", name)
        content = Content(_unpack(packing, content.data, source, limit), name)
    if limit.given is not None:
        limit.check(len(content.data), len(content.data), source)
    return content


@contextmanager
def plain_stream(path: Path) -> Iterator[tuple[IO[bytes], str] | None]:
    """A file that is open for reading its plain bytes, and its name without a packing's ending.

    None for what has to be looked at as a whole: archives, and what is packed twice.
    """
    with path.open("rb") as file:
        begin = file.read(_HEAD)
        file.seek(0)
        packing = _packing_of(Content(begin, path.name))
        if PurePath(unpacked_name(path.name)).suffix.lower() == ".zip" or begin.startswith(_ZIP):
            yield None
        elif packing is None:
            yield file, path.name
        else:
            with packing.open(file) as inner:
                begin = inner.read(_HEAD)
            if begin.startswith(_ZIP) or any(one.magic.match(begin) for one in _PACKINGS):
                yield None
                return
            with path.open("rb") as again, packing.open(again) as plain:
                yield plain, unpacked_name(path.name)


def _unpack(packing: _Packing, data: bytes, source: str, limit: Limit) -> bytes:
    import pyarrow as pa

    damaged = (*UNPACKING, pa.ArrowException)
    again = "compress it again, or drop the ending from the name of a plain file"
    with (
        refused(lambda error: f"{source} cannot be unpacked as {packing.name} ({error}); {again}", *damaged),
        packing.open(io.BytesIO(data)) as file,
    ):
        return _read_all(file, lambda size: limit.check(size, len(data), source))


def _from_zip(content: Content, source: str, limit: Limit) -> Content:
    """The one table of an archive."""
    damaged = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError)

    def sentence(error: BaseException) -> str:
        if isinstance(error, damaged):
            return f"{source} cannot be unpacked as zip ({error}); pack it again, or give the csv file"
        return f"{source} cannot be unpacked ({error}); unpack it, and give the file that it holds"

    # Beside what is damaged: a password, or a method that Python lacks.
    with (
        refused(sentence, *damaged, RuntimeError, NotImplementedError, ValueError),
        zipfile.ZipFile(io.BytesIO(content.data)) as archive,
    ):
        inside = _the_table([one for one in archive.infolist() if _is_file(one)], source)
        with archive.open(inside) as file:
            data = _read_all(file, lambda size: limit.check(size, len(content.data), source))
            return Content(data, PurePath(inside.filename).name)


def _is_file(entry: zipfile.ZipInfo) -> bool:
    path = PurePath(entry.filename)
    return not entry.is_dir() and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _the_table(entries: list[zipfile.ZipInfo], source: str) -> zipfile.ZipInfo:
    tables = [one for one in entries if PurePath(unpacked_name(one.filename)).suffix.lower() in TABLE_SUFFIXES]
    tables = tables or [one for one in entries if one.filename.lower().endswith(".txt")] or entries[:1]
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(repr(one.filename) for one in tables[:5]) + (" …" if len(tables) > 5 else "")
    held = f"several tables ({names})" if tables else "no file"
    raise DataError(f"{source} holds {held}; unpack it, and give the one file that is meant")
