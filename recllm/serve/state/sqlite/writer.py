"""The one thread that writes."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from recllm.errors import ServeError, StorageError
from recllm.serve.state.group import TRY_AGAIN, Change, GroupCommit, Outcome, copy_of
from recllm.serve.state.sqlite.changing import SqliteTransaction
from recllm.serve.state.sqlite.connection import (
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
from recllm.serve.state.sqlite.erasure import sweep
from recllm.serve.state.sqlite.schema import check_version, migrate
from recllm.serve.state.writing import UNCLEAN

if TYPE_CHECKING:
    import apsw

LOG_PAGES = 1_000
"""Pages in SQLite's log from which on it is moved into the database."""

_CLEANING_PATIENCE_MS = 250


@final
class Writer(GroupCommit):
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
        super().__init__(most)
        self._path, self._vfs = path, vfs
        self._connection: apsw.Connection | None = None
        self._log_pages = 0
        self._tried_pages = 0
        self._again_at = 0.0
        self._trouble = ""
        self.unclean = False
        try:
            with refused(path):
                migrate(self._usable(), str(path))
                found = self._usable().execute("SELECT 1 FROM facts WHERE name = ?", (UNCLEAN,))
                self.unclean = bool(found.fetchall())
        except BaseException:
            self._drop()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Make what waits durable; what comes now is refused."""
        super().stop()
        # The last connection to be closed moves the log into the database, so let there be one that can.
        with contextlib.suppress(ServeError, sqlite().Error):
            self._usable()

    def close(self) -> None:
        """After `stop`, and after all others: close the file."""
        self._drop()

    # -- the thread ---------------------------------------------------------------------------------------------------

    @property
    def again_after(self) -> float | None:
        """Seconds, as long as bytes that were erased are still to be overwritten."""
        return TRY_AGAIN if self.unclean else None

    def durable(self, changes: Sequence[Change]) -> list[Outcome]:
        """Each change's result or its own error, when it is on the disk; a refusal of the disk is everybody's."""
        found = self._on_disk(changes)
        if self.unclean and time.monotonic() >= self._again_at:
            self._clean()
        return found

    def afterwards(self) -> None:
        """Move the log into the database, now and then."""
        if self._log_pages >= LOG_PAGES and (
            time.monotonic() >= self._again_at or self._log_pages >= self._tried_pages + LOG_PAGES
        ):
            self._shorten_log()

    def _on_disk(self, changes: Sequence[Change]) -> list[Outcome]:
        if not changes:
            return []
        try:
            with refused(self._path):
                return self._commit(changes)
        except BaseException as error:
            self._drop()
            # If the disk is full there may be room in the log, once it has been moved.
            self._log_pages, self._again_at = LOG_PAGES, 0.0
            return [(None, copy_of(error)) for _ in changes]

    def _commit(self, changes: Sequence[Change]) -> list[Outcome]:
        connection = self._usable()
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = SqliteTransaction(connection)
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

    def _change(self, connection: "apsw.Connection", transaction: SqliteTransaction, change: Change) -> Outcome:
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
