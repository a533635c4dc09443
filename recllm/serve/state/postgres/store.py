"""The store in a schema of a Postgres database."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from recllm.errors import ServeError, require
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.connection import asked, close, connect, refused
from recllm.serve.state.postgres.counting import FIGURES
from recllm.serve.state.postgres.vacuum import Vacuum
from recllm.serve.state.postgres.writer import Writer
from recllm.serve.state.sqlite.lock import FolderLock, made
from recllm.serve.state.store import Store
from recllm.serve.state.writing import UNCLEAN, Transaction

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

_MOST_IDLE = 8
"""Connections that are kept for whoever reads next."""

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'
"""


@final
class PostgresStore(Store):
    """All of it in one schema; use `open`.

    Args:
        address: Of the shop.
        lock: Of the server's folder, where its models are.
        queue: The most changes that may wait.
    """

    _FIGURES = FIGURES

    def __init__(self, address: Address, lock: FolderLock, queue: int) -> None:
        self._address, self._lock = address, lock
        self._idle: list[psycopg.Connection[Any]] = []
        self._readable = True
        self._vacuum = Vacuum(address, self._vacuumed)
        self._writer = Writer(address, queue, self._vacuum.begin)
        if self.fact(UNCLEAN):
            self._vacuum.begin()

    @classmethod
    def open(cls, folder: Path, address: str, *, queue: int = 10_000) -> "PostgresStore":
        """Open a shop, and lock it and the server's folder.

        Args:
            folder: For the server's models; made if missing.
            address: `postgresql://user@host/database?schema=shop`.
            queue: The most changes that may wait.

        Raises:
            ConfigError: The address is none.
            ServeError: The folder or the shop is served already; or its tables are of a newer recllm, or of something
                else.
            StorageError: The database refuses, or cannot be reached.
        """
        found = Address.of(address)
        lock = FolderLock(made(folder))
        try:
            return cls(found, lock, queue)
        except BaseException:
            lock.release()
            raise

    @property
    def commits(self) -> int:
        """Transactions that were made durable since the store was opened."""
        return self._writer.commits

    @property
    def waiting(self) -> int:
        """Changes that wait."""
        return self._writer.waiting

    @property
    def trouble(self) -> str:
        """Why nothing can be written for now; empty where nothing is known to be in the way."""
        return self._writer.trouble

    def write(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Make a change; see `Store.write`."""
        return self._writer.put(change)

    def close(self) -> None:
        """Make what waits durable, and let others have the shop; closed already, nothing happens."""
        if not self._readable:
            return
        self._vacuum.stop()
        self._writer.stop()
        self._readable = False
        self._close_idle()
        self._lock.release()

    def _vacuumed(self) -> None:
        with contextlib.suppress(ServeError):  # it is done once more, then
            self.write(lambda change: change.cleaned())

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def last_event(self) -> int:
        """Number of the newest event that was ever taken in, erased ones included; 0: there was none."""
        return int(self._rows("SELECT last_event FROM about")[0][0])

    def _size(self) -> int:
        return int(self._rows(_SIZE, (self._address.schema,))[0][0])

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        psycopg = require("psycopg", "scale")
        with refused(self._address, reading=True):
            while True:
                connection, is_fresh = self._taken()
                try:
                    rows: list[tuple[Any, ...]] = connection.execute(asked(statement), values).fetchall()
                except BaseException as error:
                    # A connection that was lost while nobody used it says nothing of the database as it is now.
                    is_stale = not is_fresh and connection.closed and isinstance(error, psycopg.OperationalError)
                    close(connection)
                    if not is_stale:
                        raise
                else:
                    self._given_back(connection)
                    return rows

    def _taken(self) -> "tuple[psycopg.Connection[Any], bool]":
        """A connection that nobody else uses meanwhile, and whether it was made just now."""
        if not self._readable:
            raise ServeError("the server has stopped; start it again.")
        try:
            return self._idle.pop(), False
        except IndexError:
            return connect(self._address), True

    def _given_back(self, connection: "psycopg.Connection[Any]") -> None:
        if not self._readable or len(self._idle) >= _MOST_IDLE:
            close(connection)
        else:
            self._idle.append(connection)

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                close(self._idle.pop())
