"""The one thread that writes."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from recllm.errors import BusyError, ServeError, StorageError
from recllm.serve.state.connection import (
    PATIENCE_MS,
    close,
    connect,
    failures_of_the_disk,
    log,
    no_text,
    prepare_to_write,
    refused,
    sqlite,
)
from recllm.serve.state.erasure import sweep
from recllm.serve.state.schema import check_version, migrate
from recllm.serve.state.writing import UNCLEAN, Transaction

if TYPE_CHECKING:
    import apsw

T = TypeVar("T")

GROUP = 256
"""The most changes that become durable together."""

LOG_PAGES = 1_000
"""Pages in SQLite's log from which on it is moved into the database."""

TRY_AGAIN = 1.0
"""Seconds after which what failed is tried again: moving the log (sooner if it grows), or overwriting erased bytes."""

_CLEANING_PATIENCE_MS = 250

_Waiting = tuple[Callable[[Transaction], Any], "Future[Any]"]
_Outcome = tuple[Any, BaseException | None]


@final
class Writer:
    """Makes changes in the order in which they come, all that wait in one transaction with one fsync.

    Args:
        path: The database's file, in a folder that is locked.
        vfs: Of SQLite; None: the usual.
        most: How many changes may wait.

    Attributes:
        commits: Transactions that were made durable.
        unclean: Whether bytes that were erased may still be in a file.

    Raises:
        ServeError: The file is damaged, of a newer recllm, or of something else.
        StorageError: The disk refuses.
    """

    def __init__(self, path: Path, vfs: str | None, most: int) -> None:
        self._path, self._vfs, self._most = path, vfs, most
        self._queue: deque[_Waiting] = deque()
        self._there = threading.Condition()
        self._open = True
        self._connection: apsw.Connection | None = None
        self._log_pages = 0
        self._tried_pages = 0
        self._again_at = 0.0
        self._trouble = ""
        self.commits = 0
        self.unclean = False
        try:
            with refused(path):
                migrate(self._usable(), str(path))
                found = self._usable().execute("SELECT 1 FROM facts WHERE name = ?", (UNCLEAN,))
                self.unclean = bool(found.fetchall())
        except BaseException:
            self._drop()
            raise
        self._thread = threading.Thread(target=self._run, name="recllm-store", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Changes that wait."""
        return len(self._queue)

    def put(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Queue a change; see `Store.write`."""
        told: Future[T] = Future()
        with self._there:
            if not self._open:
                raise BusyError("the server is being stopped; send it again in a moment.")
            if len(self._queue) >= self._most:
                raise BusyError(f"{len(self._queue)} changes wait for the disk already; send it again in a moment.")
            self._queue.append((change, told))
            self._there.notify()
        return told

    def stop(self) -> None:
        """Make what waits durable; what comes now is refused."""
        with self._there:
            self._open = False
            self._there.notify()
        self._thread.join()
        # The last connection to be closed moves the log into the database, so let there be one that can.
        with contextlib.suppress(ServeError, sqlite().Error):
            self._usable()

    def close(self) -> None:
        """After `stop`, and after all others: close the file."""
        self._drop()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (group := self._next()) is not None:
            found = self._durable([change for change, _ in group])
            if self.unclean and time.monotonic() >= self._again_at:
                self._clean()
            for (_, told), (result, failed) in zip(group, found, strict=True):
                if failed is None:
                    told.set_result(result)
                else:
                    told.set_exception(failed)
            if self._log_pages >= LOG_PAGES and (
                time.monotonic() >= self._again_at or self._log_pages >= self._tried_pages + LOG_PAGES
            ):
                self._shorten_log()

    def _next(self) -> list[_Waiting] | None:
        """All that wait; nothing, where there is cleaning to do; None at the end."""
        with self._there:
            while not self._queue:
                if not self._open:
                    return None
                if not self._there.wait(TRY_AGAIN if self.unclean else None) and self.unclean:
                    return []
            taken = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
        # Whoever asked may have gone away; from here on it is too late for that.
        return [(change, told) for change, told in taken if told.set_running_or_notify_cancel()]

    def _durable(self, changes: Sequence[Callable[[Transaction], Any]]) -> list[_Outcome]:
        """Each change's result or its own error, when it is on the disk; a refusal of the disk is everybody's."""
        if not changes:
            return []
        try:
            with refused(self._path):
                return self._commit(changes)
        except BaseException as error:
            self._drop()
            # If the disk is full there may be room in the log, once it has been moved.
            self._log_pages, self._again_at = LOG_PAGES, 0.0
            return [(None, _copy(error)) for _ in changes]

    def _commit(self, changes: Sequence[Callable[[Transaction], Any]]) -> list[_Outcome]:
        connection = self._usable()
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = Transaction(connection)
            found = [self._change(connection, transaction, change) for change in changes]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.commits += 1
        if transaction.erased:
            self.unclean, self._again_at = True, 0.0
        return found

    def _change(
        self, connection: "apsw.Connection", transaction: Transaction, change: Callable[[Transaction], Any]
    ) -> _Outcome:
        connection.execute("SAVEPOINT change")
        result: Any = None
        failed: BaseException | None = None
        try:
            result = change(transaction)
        except failures_of_the_disk():
            raise
        except UnicodeEncodeError as error:
            failed = no_text(error)
        except BaseException as error:
            failed = error
        if not connection.in_transaction:  # SQLite rolls all of it back where it cannot go on, whoever hides that
            raise failed or StorageError("the disk does not keep it, so it was not taken in; look at the disk.")
        if failed is not None:
            connection.execute("ROLLBACK TO change")
        connection.execute("RELEASE change")
        return result, failed

    # -- files --------------------------------------------------------------------------------------------------------

    def _usable(self) -> "apsw.Connection":
        if self._connection is None:
            self._connection = connect(self._path, self._vfs, writes=True)
            check_version(self._connection, str(self._path))
            prepare_to_write(self._connection)
            # In the place of SQLite's own, which would move the log while others wait to be told.
            self._connection.set_wal_hook(self._noted)
        return self._connection

    def _noted(self, connection: "apsw.Connection", name: str, pages: int) -> int:
        self._log_pages = pages
        return 0

    def _drop(self) -> None:
        """Close the connection: after a refusal of the disk, what SQLite believes of its files is found out anew."""
        if self._connection is not None:
            close(self._connection)
        self._connection = None

    def _shorten_log(self) -> None:
        """Move SQLite's log into the database; nobody waits for it, and what is in the log is durable there."""
        try:
            self._usable().wal_checkpoint(mode=sqlite().SQLITE_CHECKPOINT_PASSIVE)
        except Exception as error:
            self._tried_pages = self._log_pages
            self._drop()
            self._note("the log of events cannot be moved into the database, and grows", error)
        else:
            self._log_pages = 0
            self._note("")

    def _clean(self) -> None:
        """Leave nothing that was erased in any file, if no reader is in the way."""
        try:
            with refused(self._path):
                connection = self._usable()
                connection.set_busy_timeout(_CLEANING_PATIENCE_MS)
                try:
                    connection.wal_checkpoint(mode=sqlite().SQLITE_CHECKPOINT_TRUNCATE)
                    sweep(self._path, self._vfs)
                finally:
                    connection.set_busy_timeout(PATIENCE_MS)
                self._drop()
                self._usable().execute("DELETE FROM facts WHERE name = ?", (UNCLEAN,))
        except Exception as error:
            self._note("what was erased is not overwritten yet", error)
        else:
            self.unclean = False
            self._log_pages = 0
            self._note("")

    def _note(self, trouble: str, error: Exception | None = None) -> None:
        """Say once that something fails, and try again later; a full disk is no place for many lines."""
        if trouble:
            self._again_at = time.monotonic() + TRY_AGAIN
            if trouble != self._trouble:
                log.warning("%s; it is tried again every second (%s)", trouble, error)
        self._trouble = trouble


def _copy(error: BaseException) -> BaseException:
    """An exception of one's own for each who waits: raised in several threads, one would collect their traces."""
    try:
        own = type(error)(*error.args)
    except Exception:
        return error
    own.__cause__ = error.__cause__
    return own
