"""A whole copy of a store while it is in use, and the way back."""

import contextlib
import os
from pathlib import Path
from typing import Any

from recllm.errors import ServeError, StorageError, UnknownError
from recllm.serve.state.files import NAME, FolderLock, connect, made, refused, sqlite
from recllm.serve.state.schema import APPLICATION, VERSION


def backup(folder: Path, target: Path) -> None:
    """Copy a server's database into one file; the server may run meanwhile.

    Args:
        folder: Of the server.
        target: The file; it is there whole, or not at all.

    Raises:
        UnknownError: The folder holds no database.
        StorageError: The disk refuses.
    """
    path = folder / NAME
    if not path.is_file():
        raise UnknownError(f"{folder} holds no events of a server; give the folder of `recllm serve --data`.")
    with refused(path):
        _copied(path, target)


def restore(source: Path, folder: Path) -> None:
    """Make a server's folder from a backup.

    Args:
        source: The backup; it is checked first.
        folder: Made if missing; it must not hold a database.

    Raises:
        ServeError: The backup is damaged or of a newer recllm, or the folder is served or holds a database.
        StorageError: The disk refuses.
    """
    if not source.is_file():
        raise UnknownError(f"{source} is no file; give one that `recllm backup` wrote.")
    _check(source)
    lock = FolderLock(made(folder))
    try:
        if (folder / NAME).exists():
            raise ServeError(f"{folder} holds events already; give a new folder, so that nothing of either is lost.")
        with refused(folder / NAME):
            _copied(source, folder / NAME)
    finally:
        lock.release()


def _check(source: Path) -> None:
    with refused(source), contextlib.closing(connect(source)) as connection:
        if connection.pragma("application_id") != APPLICATION:
            raise ServeError(f"{source} is no backup of a server; give one that `recllm backup` wrote.")
        if (version := connection.pragma("user_version")) > VERSION:
            raise ServeError(f"{source} is of a newer recllm (tables of version {version}, this one knows {VERSION}).")
        found = connection.pragma("integrity_check")
        if found != "ok":
            raise ServeError(f"{source} is damaged ({str(found)[:80]}); use another backup.")


def _copied(source: Path, target: Path) -> None:
    apsw: Any = sqlite()
    beside = target.with_name(f".{target.name}.saving-{os.getpid()}")
    try:
        with contextlib.closing(connect(source)) as first:
            second = apsw.Connection(str(beside))
            os.chmod(beside, 0o600)
            with contextlib.closing(second), second.backup("main", first, "main") as copying:
                copying.step(-1)
            with contextlib.closing(apsw.Connection(str(beside))) as copy:
                copy.pragma("journal_mode", "delete")
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written ({error.strerror}); give another place.") from error
    finally:
        beside.unlink(missing_ok=True)
