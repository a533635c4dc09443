"""The one thread that writes to Postgres, and what it does when the database goes away."""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, final

from recllm.errors import ServeError, StorageError, UnreachableError, require
from recllm.serve.state.group import TRY_AGAIN, Change, GroupCommit, Outcome, copy_of
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.changing import PostgresTransaction
from recllm.serve.state.postgres.connection import close, connect, failure, is_of_one, log, refused
from recllm.serve.state.postgres.schema import migrate
from recllm.serve.state.sqlite.connection import no_text
from recllm.serve.state.writing import Transaction

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds that a server which was killed may be held for alive by the database, at the start of the next."""

GIVE_UP = 60.0
"""Seconds that a database may be away before those whose end was not heard of are told that nobody knows."""

_LOOK = 0.05

_KEY = "hashtextextended('recllm ' || %s, 0)"
_HOLDER = f"""
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = {_KEY}
"""


@final
class Writer(GroupCommit):
    """Makes changes in the order in which they come, all that wait in one transaction.

    The connection that writes holds the shop's lock, so nobody writes without it. A transaction whose end was not heard
    of, because the database went away at that moment, is looked up when it is back; those who wait are told then.

    Args:
        address: Of the shop.
        most: How many changes may wait.
        erased: Called when rows were deleted whose bytes are to be given back.

    Attributes:
        trouble: Why nothing can be written for now; empty where nothing is known to be in the way.

    Raises:
        ServeError: The shop is served already, or its tables are of a newer recllm, or of something else.
        StorageError: The database refuses.
    """

    def __init__(self, address: Address, most: int, erased: Callable[[], None]) -> None:
        super().__init__(most)
        self._address, self._erased = address, erased
        self._connection: psycopg.Connection[Any] | None = None
        self._generation = self._counted = self._unsure = 0
        self.trouble = ""
        try:
            with refused(address):
                self._begin_generation()
        except BaseException:
            self._drop()
            raise
        self._thread.start()

    def put(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Queue a change; see `Store.write`."""
        if trouble := self.trouble:
            raise UnreachableError(trouble)
        return super().put(change)

    def stop(self) -> None:
        """Make what waits durable; what comes now is refused."""
        super().stop()
        if self._connection is not None and not self._connection.closed:
            with contextlib.suppress(Exception):  # closed, the database may take a moment to see that it is
                self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._drop()

    # -- the thread ---------------------------------------------------------------------------------------------------

    @property
    def again_after(self) -> float | None:
        """Seconds, as long as the database is away."""
        return TRY_AGAIN if self.trouble else None

    def durable(self, changes: Sequence[Change]) -> list[Outcome]:
        """Each change's result or its own error, when it is durable; a refusal of the database is everybody's."""
        try:
            with refused(self._address):
                if not changes:
                    self._usable()
                    return []
                return self._commit(changes)
        except BaseException as error:
            self._lost(error)
            return [(None, copy_of(error)) for _ in changes]

    def afterwards(self) -> None:
        """There is nothing to do."""

    def _commit(self, changes: Sequence[Change]) -> list[Outcome]:
        connection, number = self._begun()
        transaction = PostgresTransaction(connection)
        found = [self._change(connection, transaction, change) for change in changes]
        transaction.finish()
        if not self._made_durable(connection, number):
            gone = UnreachableError(
                f"the database {self._address.name} went away before it was taken in; send it again."
            )
            return [(None, copy_of(gone)) for _ in changes]
        self._counted = number
        self.commits += 1
        if transaction.erased:
            self._erased()
        return found

    def _made_durable(self, connection: "psycopg.Connection[Any]", number: int) -> bool:
        psycopg = require("psycopg", "scale")
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if not connection.closed:
                raise
            self._lost(failure(self._address, error))
            return self._was_made_durable(number)
        return True

    def _begun(self) -> "tuple[psycopg.Connection[Any], int]":
        """The connection, inside a transaction, and the transaction's number; one lost while idle is replaced."""
        psycopg = require("psycopg", "scale")
        for is_last in (False, True):
            connection = self._usable()
            try:
                connection.execute("BEGIN")
                counted = "UPDATE about SET commits = commits + 1 WHERE generation = %s RETURNING commits"
                rows = connection.execute(counted, (self._generation,)).fetchall()
            except psycopg.OperationalError:
                if is_last or not connection.closed:
                    raise
                self._drop()
                continue
            if not rows:
                raise self._overtaken()
            return connection, int(rows[0][0])
        raise AssertionError

    def _change(
        self, connection: "psycopg.Connection[Any]", transaction: PostgresTransaction, change: Change
    ) -> Outcome:
        connection.execute("SAVEPOINT change")
        last_event = transaction.last_event
        try:
            result = change(transaction)
            connection.execute("RELEASE change")
        except UnicodeEncodeError as error:
            failed: BaseException = no_text(error)
        except Exception as error:
            if not is_of_one(error):
                raise
            psycopg = require("psycopg", "scale")
            failed = failure(self._address, error) if isinstance(error, psycopg.Error) else error
        except BaseException as error:
            failed = error
        else:
            return result, None
        connection.execute("ROLLBACK TO change")
        transaction.undone(last_event)
        return None, failed

    # -- the connection -----------------------------------------------------------------------------------------------

    def _begin_generation(self) -> None:
        self._connection = connection = connect(self._address, writes=True)
        self._lock(connection, PATIENCE)
        migrate(connection, self._address)
        begun = "UPDATE about SET generation = generation + 1 RETURNING generation, commits"
        self._generation, self._counted = connection.execute(begun).fetchall()[0]
        if connection.execute("SHOW fsync").fetchall() == [("off",)]:
            log.warning(
                "the database %s runs without fsync: a crash of its machine may lose what was acknowledged; set "
                "fsync = on.",
                self._address.name,
            )

    def _usable(self, *, asks: bool = False) -> "psycopg.Connection[Any]":
        if self._connection is None:
            connection = connect(self._address, writes=True)
            try:
                self._lock(connection)
                self._check_generation(connection, asks)
            except BaseException:
                close(connection)
                raise
            self._connection = connection
        if self.trouble:
            log.warning("the database %s is back.", self._address.name)
            self.trouble = ""
        return self._connection

    def _lock(self, connection: "psycopg.Connection[Any]", patience: float = 0.0) -> None:
        schema, until = (self._address.schema,), time.monotonic() + patience
        while not connection.execute(f"SELECT pg_try_advisory_lock({_KEY})".encode(), schema).fetchall()[0][0]:
            if time.monotonic() < until:
                time.sleep(_LOOK)
                continue
            rows = connection.execute(_HOLDER.encode(), schema).fetchall()
            holder = rows[0][0].removeprefix("recllm ") if rows and rows[0][0] else "unknown"
            raise ServeError(
                f"{self._address.name} is served already, by process {holder}; stop it, or give another schema."
            )

    def _check_generation(self, connection: "psycopg.Connection[Any]", asks: bool) -> None:
        """Hold the database that came back against the one that went away.

        Args:
            connection: The new one.
            asks: Whether somebody still waits to be told what became of the last transaction.

        Raises:
            ServeError: Somebody else wrote meanwhile, or acknowledged changes are missing, or there are some of which
                it was said that nobody knows.
        """
        generation, commits = connection.execute("SELECT generation, commits FROM about").fetchall()[0]
        if generation != self._generation:
            raise self._overtaken()
        if commits < self._counted:
            raise ServeError(
                f"{self._address.name} came back without changes that it had acknowledged; restart this server, which "
                "then answers from what there is."
            )
        if self._unsure and commits >= self._unsure and not asks:
            raise ServeError(
                f"{self._address.name} came back with changes that nobody had heard the end of; restart this server, "
                "which then answers with them."
            )
        self._counted, self._unsure = commits, 0

    def _overtaken(self) -> ServeError:
        return ServeError(f"another server has written to {self._address.name} meanwhile; restart this one.")

    def _was_made_durable(self, number: int) -> bool:
        """Find out what became of a transaction.

        Raises:
            StorageError: The database is away for too long, or the server is being stopped, and nobody knows.
        """
        self._unsure, until = number, time.monotonic() + GIVE_UP
        while True:
            self._refuse_waiting()
            with self._there:
                if self._open:
                    self._there.wait(TRY_AGAIN)
                is_over = not self._open or time.monotonic() >= until
            try:
                with refused(self._address):
                    self._usable(asks=True)
                return self._counted >= number
            except ServeError as error:
                self._lost(error)
                if is_over:
                    raise StorageError(
                        f"whether it was taken in is not known, because {self._address.name} went away; send it again "
                        "when the server has started: what is known counts once."
                    ) from error

    def _refuse_waiting(self) -> None:
        """Tell all that wait that the database is away; what is queued was not begun."""
        with self._there:
            waiting = [self._queue.popleft() for _ in range(len(self._queue))]
        for _, told in waiting:
            if told.set_running_or_notify_cancel():
                told.set_exception(UnreachableError(self.trouble))

    def _lost(self, error: BaseException) -> None:
        """After a failure, what is known of the connection is found out anew; that it is away is said once."""
        self._drop()
        if isinstance(error, ServeError) and (
            not isinstance(error, StorageError) or isinstance(error, UnreachableError)
        ):
            if not self.trouble:
                log.warning("%s It is tried again every second.", error)
            self.trouble = str(error)

    def _drop(self) -> None:
        if self._connection is not None:
            close(self._connection)
        self._connection = None
