"""The store in one SQLite file: one thread writes, and what it says is written is on the disk."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar, final

from recllm.errors import StorageError
from recllm.serve.state.sqlite.backup import copy_database
from recllm.serve.state.sqlite.connection import NAME, close, connect, refused
from recllm.serve.state.sqlite.lock import FolderLock, made
from recllm.serve.state.sqlite.looking import SqliteReading
from recllm.serve.state.sqlite.writer import Writer
from recllm.serve.state.store import Store
from recllm.serve.state.writing import Transaction

T = TypeVar("T")


@final
class SqliteStore(SqliteReading, Store):
    """All of it in one file of a folder; use `open`.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
        lock: Of the folder.
        queue: The most changes that may wait.
    """

    def __init__(self, path: Path, vfs: str | None, lock: FolderLock, queue: int) -> None:
        super().__init__(path, vfs)
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
        super().close()
        close(self._anchor)
        self._writer.close()
        self._lock.release()
