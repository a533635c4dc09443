"""The store: one thread writes, and what it says is written is on the disk."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar, final

from recllm.errors import BusyError, RecllmError, ServeError
from recllm.serve.state.files import NAME, FolderLock, connect, made, refused, sqlite
from recllm.serve.state.reading import Reading
from recllm.serve.state.schema import migrate
from recllm.serve.state.writing import Transaction

T = TypeVar("T")

_Waiting = tuple[Callable[[Transaction], Any], "Future[Any]"]

GROUP = 256
"""The most changes that are made durable together."""


@final
class Store(Reading):
    """Everything that a server has acknowledged; use `open`.

    Changes are made by one thread, all that wait in one transaction with one fsync; each of them succeeds or fails
    alone. Reads go on meanwhile.
    """

    def __init__(self, path: Path, vfs: str | None, lock: FolderLock, queue: int) -> None:
        super().__init__(path, vfs)
        self._lock, self._most = lock, queue
        self._queue: deque[_Waiting] = deque()
        self._there = threading.Condition()
        self._open = True
        self._writer: Any = None
        self.commits = 0
        with refused(path):
            self._writer = connect(path, vfs, writes=True)
            migrate(self._writer, str(path))
        self._thread = threading.Thread(target=self._run, name="recllm-store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path, *, vfs: str | None = None, queue: int = 10_000) -> "Store":
        """Open a server's folder, and lock it.

        Args:
            folder: Made if missing, for its owner only.
            vfs: Of SQLite; None: the usual.
            queue: The most changes that may wait.

        Raises:
            ServeError: The folder is served already, the file is damaged, or a newer recllm's.
            StorageError: The disk refuses.
        """
        lock = FolderLock(made(folder))
        try:
            return cls(folder / NAME, vfs, lock, queue)
        except BaseException:
            lock.release()
            raise

    def write(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Make a change; the future is done when it is on the disk.

        Raises:
            BusyError: Too many wait already.
        """
        told: Future[T] = Future()
        with self._there:
            if not self._open:
                raise ServeError("the server is being stopped; ask again in a moment.")
            if len(self._queue) >= self._most:
                raise BusyError(f"{len(self._queue)} changes wait for the disk already; send it again in a moment.")
            self._queue.append((change, told))
            self._there.notify()
        return told

    def checkpoint(self) -> None:
        """Move the log into the database's file, and empty it: nothing that was deleted is left in it."""
        self.write(_checkpoint).result()

    def close(self) -> None:
        """Make what waits durable, and close."""
        with self._there:
            self._open = False
            self._there.notify()
        self._thread.join()
        for connection in self._connections:
            connection.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.release()

    # -- the writer ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while group := self._next():
            if group[0][0] is _checkpoint:
                self._checkpointed(group[0][1])
                continue
            try:
                with refused(self._path):
                    found = self._together([change for change, _ in group])
            except BaseException as error:
                for _, told in group:
                    told.set_exception(error)
                self._reopen()
                continue
            for (_, told), (result, failed) in zip(group, found, strict=True):
                if failed is None:
                    told.set_result(result)
                else:
                    told.set_exception(failed)

    def _next(self) -> list[_Waiting]:
        """All that wait, up to a checkpoint, which stands alone."""
        with self._there:
            while not self._queue and self._open:
                self._there.wait()
            group: list[_Waiting] = []
            while self._queue and len(group) < GROUP:
                if group and _checkpoint in (group[0][0], self._queue[0][0]):
                    break
                group.append(self._queue.popleft())
            return group

    def _together(self, changes: Sequence[Callable[[Transaction], Any]]) -> list[tuple[Any, BaseException | None]]:
        """Each change's result or its own error, after one commit; a refusal of the disk is the error of all."""
        apsw, connection = sqlite(), self._usable()
        found: list[tuple[Any, BaseException | None]] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                connection.execute("SAVEPOINT one")
                try:
                    found.append((change(Transaction(connection)), None))
                except (apsw.FullError, apsw.IOError, apsw.CorruptError):
                    raise
                except (RecllmError, apsw.Error, Exception) as error:
                    connection.execute("ROLLBACK TO one")
                    found.append((None, error))
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
        except BaseException:
            if not connection.get_autocommit():
                connection.execute("ROLLBACK")
            raise
        self.commits += 1
        return found

    def _usable(self) -> Any:
        if self._writer is None:
            self._writer = connect(self._path, self._vfs, writes=True)
        return self._writer

    def _reopen(self) -> None:
        """After a refusal of the disk: what SQLite believes of its files is found out anew."""
        try:
            if self._writer is not None:
                self._writer.close(True)
        except Exception:  # the connection is gone either way
            pass
        self._writer = None

    def _checkpointed(self, told: "Future[Any]") -> None:
        try:
            with refused(self._path):
                self._usable().wal_checkpoint(mode=sqlite().SQLITE_CHECKPOINT_TRUNCATE)
        except BaseException as error:
            told.set_exception(error)
        else:
            told.set_result(None)


def _checkpoint(change: Transaction) -> None:
    """Stands in the queue for a checkpoint, which is made outside a transaction."""
