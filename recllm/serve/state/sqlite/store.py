"""The store in one SQLite file: one thread writes, and what it says is written is on the disk."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from recllm.errors import ServeError, StorageError
from recllm.serve.state.sqlite.backup import copy_database
from recllm.serve.state.sqlite.connection import NAME, close, connect, refused
from recllm.serve.state.sqlite.counting import FIGURES
from recllm.serve.state.sqlite.lock import FolderLock, made
from recllm.serve.state.sqlite.writer import Writer
from recllm.serve.state.store import Store
from recllm.serve.state.writing import Transaction

if TYPE_CHECKING:
    import apsw

T = TypeVar("T")

_MOST_IDLE = 16
"""Connections that are kept for whoever reads next."""


@final
class SqliteStore(Store):
    """All of it in one file of a folder; use `open`.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
        lock: Of the folder.
        queue: The most changes that may wait.
    """

    _FIGURES = FIGURES

    def __init__(self, path: Path, vfs: str | None, lock: FolderLock, queue: int) -> None:
        self._path, self._vfs = path, vfs
        self._idle: list[apsw.Connection] = []
        self._readable = True
        self._lock = lock
        self._writer = Writer(path, vfs, queue)
        # As long as one connection is open, SQLite keeps its log: a writer that is opened anew after a refusal of the
        # disk does not find there, as if they were valid, the changes that were refused.
        try:
            with refused(path, reading=True):
                self._anchor = connect(path, vfs)
                self._anchor.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except BaseException:
            self._writer.stop()
            self._writer.close()
            raise

    @classmethod
    def open(cls, folder: Path, *, vfs: str | None = None, queue: int = 10_000) -> "SqliteStore":
        """Open a server's folder, and lock it.

        Args:
            folder: Made if missing, for its owner only.
            vfs: Of SQLite; None: the usual.
            queue: The most changes that may wait.

        Raises:
            ServeError: The folder is served already; or the file is damaged, of a newer recllm, or of something else.
            StorageError: The disk refuses.
        """
        lock = FolderLock(made(folder))
        try:
            return cls(folder / NAME, vfs, lock, queue)
        except BaseException:
            lock.release()
            raise

    @property
    def commits(self) -> int:
        """Transactions that were made durable since the store was opened."""
        return self._writer.commits

    @property
    def waiting(self) -> int:
        """Changes that wait for the disk."""
        return self._writer.waiting

    def write(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Make a change; see `Store.write`."""
        return self._writer.put(change)

    def checkpoint(self) -> None:
        """Leave nothing in any file that was deleted earlier; `Transaction.erase_user` does the same by itself.

        Raises:
            StorageError: Somebody reads for long, such as a backup; it is tried again until it is done.
        """
        self.write(Transaction.clean).result()
        if self._writer.unclean:
            raise StorageError(
                "what was erased is deleted, but its bytes cannot be overwritten while a backup is being taken; that "
                "is tried again every second."
            )

    def backup(self, target: Path) -> None:
        """Copy all of it into one file, as it is at this moment; others read and write meanwhile.

        Args:
            target: It is there whole, or not at all; an earlier file is replaced.

        Raises:
            StorageError: The disk refuses.
        """
        copy_database(self._path, target, self._vfs)

    def close(self) -> None:
        """Make what waits durable, close all files and let others have the folder; closed already, nothing happens."""
        if not self._readable:
            return
        self._writer.stop()
        self._readable = False
        self._close_idle()
        close(self._anchor)
        self._writer.close()
        self._lock.release()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def last_event(self) -> int:
        """Number of the newest event that was ever taken in, erased ones included; 0: there was none."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def _size(self) -> int:
        size = 0
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                size += self._path.with_name(self._path.name + end).stat().st_size
        return size

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with refused(self._path, reading=True), self._reader() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, tuple(values)).fetchall()
            return rows

    @contextlib.contextmanager
    def _reader(self) -> "Iterator[apsw.Connection]":
        """A connection that nobody else uses meanwhile; one that has met an error is not used again."""
        if not self._readable:
            raise ServeError("the server has stopped; start it again.")
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self._path, self._vfs)
        try:
            yield connection
        except BaseException:
            close(connection)
            raise
        self._idle.append(connection)
        if not self._readable or len(self._idle) > _MOST_IDLE:
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                close(self._idle.pop())
