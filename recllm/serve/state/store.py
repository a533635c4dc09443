"""The store's contract, whatever keeps it."""

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from recllm.serve.state.reading import Reading
from recllm.serve.state.writing import Transaction

T = TypeVar("T")


class Store(Reading):
    """Everything that a server has acknowledged; see `opening.open_store`.

    Changes are made by one thread, all that wait in one transaction; each of them succeeds or fails alone. Reads go on
    meanwhile, in any thread.
    """

    @property
    @abstractmethod
    def commits(self) -> int:
        """Transactions that were made durable since the store was opened."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Changes that wait."""

    @property
    def trouble(self) -> str:
        """Why nothing can be written for now, as a sentence; empty where nothing is known to be in the way."""
        return ""

    @abstractmethod
    def write(self, change: Callable[[Transaction], T]) -> "Future[T]":
        """Make a change; the future is done when it is durable.

        A change that raises is undone, and its future raises the same. Where the disk or the database refuses, the
        futures of all that were to become durable together raise StorageError, and nothing of them is kept. A future
        that is cancelled before its turn has no effect.

        Args:
            change: Called in the writer's thread; it must not keep the transaction, nor wait for anything.

        Raises:
            BusyError: Too many wait already, or the store is being closed.
            UnreachableError: The database is away.
        """

    @abstractmethod
    def close(self) -> None:
        """Make what waits durable, and let others have the place; closed already, nothing happens."""
