"""Connections to the database's file, and what SQLite's errors are called here."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from recllm.errors import DataError, ServeError, StorageError, require

if TYPE_CHECKING:
    import apsw

log = logging.getLogger("recllm.serve")

NAME = "recllm.db"
"""The database in a server's folder."""

PATIENCE_MS = 5_000
"""How long a connection waits for a lock that another process holds."""

_CACHE_KIB = 16_384


def sqlite() -> ModuleType:
    """The module `apsw`: the standard library's SQLite is too old for a log that several read."""
    return require("apsw", "serve")


def connect(path: Path, vfs: str | None = None, *, writes: bool = False) -> "apsw.Connection":
    """A connection, which one thread uses at a time. Only the writer's may write, and it makes the file.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
        writes: Whether it is the writer's.
    """
    sql = sqlite()
    if writes:
        # SQLite gives its log the rights of the database's file, so this makes all of them their owner's alone. A file
        # that is there is not opened: closing it again would drop the locks that other connections have on it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    flags = sql.SQLITE_OPEN_READWRITE if writes else sql.SQLITE_OPEN_READONLY
    connection: apsw.Connection = sql.Connection(str(path), flags=flags, vfs=vfs)
    connection.set_busy_timeout(PATIENCE_MS)
    # A file that came from elsewhere may hold views and triggers: none of them may call functions.
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)
    return connection


def prepare_to_write(connection: "apsw.Connection") -> None:
    """What the writer's connection needs, once the file is known to be ours: this changes it."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", True)  # where fsync alone does not reach the disk: macOS
    connection.pragma("checkpoint_fullfsync", True)
    connection.pragma("secure_delete", True)
    connection.pragma("cache_size", -_CACHE_KIB)


def close(connection: "apsw.Connection") -> None:
    """Close a connection; it is gone whatever the disk says to that."""
    try:
        connection.close(True)
    except Exception as error:
        log.warning("closing the database: %s", error)


def failures_of_the_disk() -> tuple[type[Exception], ...]:
    """Errors after which a whole transaction is gone, whichever of its changes met them."""
    apsw = sqlite()
    return (
        apsw.FullError,
        apsw.IOError,
        apsw.CantOpenError,
        apsw.ReadOnlyError,
        apsw.CorruptError,
        apsw.NotADBError,
        apsw.BusyError,
        apsw.NoMemError,
    )


def no_text(error: UnicodeEncodeError) -> DataError:
    """What is said of a text that cannot be kept."""
    return DataError(
        f"a text has half of a surrogate pair at character {error.start}, which is no character; send valid UTF-8."
    )


@contextlib.contextmanager
def refused(where: Path, *, reading: bool = False) -> Iterator[None]:
    """SQLite's errors as ours, in one sentence.

    Args:
        where: The database's file.
        reading: Whether it is only read.

    Raises:
        StorageError: The disk refuses, or somebody holds the file.
        ServeError: The file is damaged.
        DataError: A text is none.
    """
    apsw = sqlite()
    try:
        yield
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError) as error:
        raise StorageError(
            f"{where} cannot be read ({error}); look at the disk, and ask again."
            if reading
            else f"the disk does not keep it ({error}), so it was not taken in; make room at {where.parent}, or look "
            "at the disk, and send it again."
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise ServeError(
            f"{where} is damaged ({error}); restore a backup into a new folder: recllm restore BACKUP --data FOLDER."
        ) from error
    except apsw.BusyError as error:
        raise StorageError(
            f"{where} is held by somebody who reads or writes it for long ({error}); let that end, and ask again."
        ) from error
    except UnicodeEncodeError as error:
        raise no_text(error) from error
