"""A whole copy of a store while it is in use, and the way back."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from recllm.artifact.folders import fresh_file
from recllm.errors import ServeError, StorageError, UnknownError
from recllm.serve.state.sqlite.connection import NAME, connect, refused, sqlite
from recllm.serve.state.sqlite.lock import FolderLock, made
from recllm.serve.state.sqlite.schema import STEPS, check_version, described

if TYPE_CHECKING:
    import apsw


def backup(folder: Path, target: Path) -> None:
    """Copy a server's database into one file; the server may run meanwhile.

    Args:
        folder: Of the server.
        target: The file; it is there whole, or not at all. An earlier one is replaced.

    Raises:
        UnknownError: The folder holds no database.
        StorageError: The disk refuses.
        ServeError: The database is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise UnknownError(f"{folder} holds no events of a server; give the folder of `recllm serve --data`.")
    copy_database(path, target)


def restore(source: Path, folder: Path, *, replace: bool = False) -> None:
    """Make a server's folder from a backup.

    Args:
        source: The backup; it is checked first.
        folder: Made if missing.
        replace: Whether the database that the folder holds is given up; otherwise it must hold none.

    Raises:
        UnknownError: There is no such file.
        ServeError: The backup is damaged, of a newer recllm or of something else, or the folder is served or holds a
            database.
        StorageError: The disk refuses.
    """
    check_backup(source)
    lock = FolderLock(made(folder))
    try:
        path = folder / NAME
        if path.exists():
            if not replace:
                raise ServeError(
                    f"{folder} holds events already; give a new folder, so that nothing of either is lost."
                )
            if path.samefile(source):
                raise ServeError(f"{source} is the database of {folder} itself; give a backup of it.")
        copy_database(source, path, former_log=path.with_name(f"{NAME}-wal"))
    finally:
        lock.release()


def copy_database(source: Path, target: Path, vfs: str | None = None, *, former_log: Path | None = None) -> None:
    """Copy a database as it is at one moment; the copy is one file, durable, for its owner only.

    Args:
        source: Others may write to it meanwhile.
        target: It is there whole, or not at all.
        vfs: Of the source.
        former_log: Belongs to the database in whose place the copy comes, and goes with it.

    Raises:
        StorageError: The disk refuses.
        ServeError: The source is damaged.
    """
    if target.exists() and not former_log and (target.is_dir() or target.samefile(source)):
        raise StorageError(f"{target} is no place for a copy; give a file of its own.")
    try:
        with fresh_file(target) as fresh, refused(source, reading=True):
            _copy(source, fresh, vfs)
            if former_log is not None:  # SQLite would take it for a log of the copy
                former_log.unlink(missing_ok=True)
                former_log.with_name(former_log.name.removesuffix("-wal") + "-shm").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{target} cannot be written ({error.strerror}); give another place.") from error


def _copy(source: Path, fresh: Path, vfs: str | None) -> None:
    apsw = sqlite()
    os.chmod(fresh, 0o600)
    with contextlib.closing(connect(source, vfs)) as first:
        with contextlib.closing(apsw.Connection(str(fresh))) as second:
            # If this fails the file is thrown away, and it is made durable as a whole in the end.
            second.pragma("synchronous", "off")
            # In one step: a later one would begin again with whatever was written meanwhile.
            with second.backup("main", first, "main") as copying:
                copying.step()
        with contextlib.closing(apsw.Connection(str(fresh))) as second:
            second.pragma("journal_mode", "delete")


def check_backup(source: Path) -> None:
    """Hold a file against what a backup is.

    Raises:
        UnknownError: There is no such file.
        ServeError: It is damaged, of a newer recllm or of something else.
    """
    if not source.is_file():
        raise UnknownError(f"{source} is no file; give one that `recllm backup` wrote.")
    with refused(source, reading=True), contextlib.closing(connect(source)) as connection:
        version = check_version(connection, str(source))
        if not version:
            raise ServeError(f"{source} is empty; give a file that `recllm backup` wrote.")
        if described(connection) != _tables_of(version):
            raise ServeError(f"{source} holds other tables than recllm makes; give a file that `recllm backup` wrote.")
        if (found := connection.pragma("integrity_check")) != "ok":
            raise ServeError(f"{source} is damaged ({str(found)[:80]}); use another backup.")


def _tables_of(version: int) -> set[tuple[str | None, ...]]:
    """What the tables of a version look like."""
    connection: apsw.Connection
    with contextlib.closing(sqlite().Connection(":memory:")) as connection:
        for step in STEPS[:version]:
            step(connection)
        return described(connection)
