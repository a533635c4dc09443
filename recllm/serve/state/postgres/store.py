"""The store in a schema of a Postgres database."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar, final

from recllm.errors import ServeError
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.looking import PostgresReading
from recllm.serve.state.postgres.vacuum import Vacuum
from recllm.serve.state.postgres.writer import Writer
from recllm.serve.state.sqlite.lock import FolderLock, made
from recllm.serve.state.store import Store
from recllm.serve.state.writing import UNCLEAN, Transaction

T = TypeVar("T")


@final
class PostgresStore(PostgresReading, Store):
    """All of it in one schema; use `open`.

    Args:
        address: Of the shop.
        lock: Of the server's folder, where its models are.
        queue: The most changes that may wait.
    """

    def __init__(self, address: Address, lock: FolderLock, queue: int) -> None:
        super().__init__(address)
        self._lock = lock
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
    def name(self) -> str:
        """Where it is, for sentences."""
        return self._address.name

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
        super().close()
        self._lock.release()

    def _vacuumed(self) -> None:
        with contextlib.suppress(ServeError):  # it is done once more, then
            self.write(lambda change: change.cleaned())
