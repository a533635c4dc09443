"""Changes of many, made durable together by one thread."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from recllm.errors import BusyError
from recllm.serve.state.writing import Transaction

T = TypeVar("T")

GROUP = 256
"""The most changes that become durable together."""

TRY_AGAIN = 1.0
"""Seconds after which what failed is tried again."""

Change = Callable[[Transaction], Any]
Outcome = tuple[Any, BaseException | None]
"""What a change returned, or what it raised."""

_Waiting = tuple[Change, "Future[Any]"]


class GroupCommit(ABC):
    """Makes changes in the order in which they come, all that wait in one transaction.

    Args:
        most: How many changes may wait.

    Attributes:
        commits: Transactions that were made durable.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: deque[_Waiting] = deque()
        self._there = threading.Condition()
        self._open = True
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name="recllm-store", daemon=True)

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
            self._there.notify_all()
        self._thread.join()

    @property
    @abstractmethod
    def again_after(self) -> float | None:
        """Seconds after which there is something to do, even if nobody asks for a change; None: there is nothing."""

    @abstractmethod
    def durable(self, changes: Sequence[Change]) -> list[Outcome]:
        """Each change's result or its own error, when it is durable; a refusal of all is everybody's.

        Args:
            changes: None of them, where it is time for what there is to do after `again_after`.
        """

    @abstractmethod
    def afterwards(self) -> None:
        """What is done when all were told."""

    def _run(self) -> None:
        while (group := self._next()) is not None:
            found = self.durable([change for change, _ in group])
            for (_, told), (result, failed) in zip(group, found, strict=True):
                if failed is None:
                    told.set_result(result)
                else:
                    told.set_exception(failed)
            self.afterwards()

    def _next(self) -> list[_Waiting] | None:
        """All that wait; nothing, where it is time to look after something; None at the end."""
        with self._there:
            while not self._queue:
                if not self._open:
                    return None
                seconds = self.again_after
                if not self._there.wait(seconds) and seconds is not None:
                    return []
            taken = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
        # Whoever asked may have gone away; from here on it is too late for that.
        return [(change, told) for change, told in taken if told.set_running_or_notify_cancel()]


def copy_of(error: BaseException) -> BaseException:
    """An exception of one's own for each who waits: raised in several threads, one would collect their traces."""
    try:
        own = type(error)(*error.args)
    except Exception:
        return error
    own.__cause__ = error.__cause__
    return own
