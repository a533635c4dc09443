"""The database's file: its connections, its lock, and what its errors are called."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from recllm.errors import ServeError, StorageError, require

NAME = "recllm.db"
LOCK = "lock"


def sqlite() -> Any:
    """The module `apsw`: the standard library's SQLite is too old for a log that several read."""
    return require("apsw", "serve")


def connect(path: Path, vfs: str | None = None, *, writes: bool = False) -> Any:
    """A connection; one thread's, of which the writer's alone may write."""
    apsw = sqlite()
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if writes else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    connection.set_busy_timeout(5_000)
    if writes:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", "on")
        connection.pragma("wal_autocheckpoint", 1_000)
    return connection


@contextlib.contextmanager
def refused(where: Path) -> Iterator[None]:
    """SQLite's errors as ours, in one sentence.

    Raises:
        StorageError: The disk refuses.
        ServeError: The file is damaged.
    """
    apsw = sqlite()
    try:
        yield
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError) as error:
        raise StorageError(f"the disk refuses to keep it ({error}); make room, or look at the disk.") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise ServeError(
            f"{where} is damaged ({error}); restore a backup: recllm restore BACKUP --data FOLDER."
        ) from error
    except apsw.BusyError as error:
        raise StorageError(f"{where} is held by another process ({error}); stop it.") from error


@final
class FolderLock:
    """One server for a folder: held as long as the process lives, whatever ends it.

    Raises:
        ServeError: Another one has it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = open(folder / LOCK, "a+b")  # noqa: SIM115 (held until `release`)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ServeError(
                f"{folder} is served by another process already; stop it, or give another folder with --data."
            ) from error

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def made(folder: Path) -> Path:
    """The folder, for its owner's eyes only.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "it may not be written to")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used as a server's folder ({error.strerror}); give another.") from error
    return folder
