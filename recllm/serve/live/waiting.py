"""A queue that is short on purpose: who would wait too long is told so at once."""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar, final

from recllm.errors import BusyError, UnreachableError

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

HEARD = 20.0
"""Seconds within which a change is durable, or whoever asked for it is told that nobody knows yet."""

ALWAYS = 8
"""So many may wait in any case: what a question costs is an estimate."""

NICENESS = 5
"""Of threads that compute: who answers comes first."""

_MEMORY = 0.9
"""How much of what a question has cost so far stays in the estimate when the next batch is measured."""


@final
class Queue(Generic[Q, A]):
    """Questions of many callers, answered together by one thread.

    Args:
        name: Of the thread.
        answer: Answers a batch, one answer or error each.
        batch: The most questions in a batch.
        waiting: The most that may wait.
        patience: Seconds that a question may have to wait, by what questions have cost; None: as long as it takes.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[Sequence[Q]], Sequence[A | BaseException]],
        *,
        batch: int,
        waiting: int,
        patience: float | None = None,
    ) -> None:
        self._answer, self._batch, self._most, self._patience = answer, batch, waiting, patience
        self._questions: deque[tuple[Q, Future[A]]] = deque()
        self._there = threading.Condition()
        self._cost, self._busy = 0.0, 0
        self._open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._questions)

    def ask(self, question: Q) -> "Future[A]":
        """Put a question.

        Raises:
            BusyError: Too many wait already.
        """
        answer: Future[A] = Future()
        with self._there:
            if not self._open:
                raise BusyError("the server is being stopped; ask again in a moment.")
            ahead = len(self._questions)
            wait = (ahead + self._busy) * self._cost
            too_long = self._patience is not None and ahead >= ALWAYS and wait > self._patience
            if ahead >= self._most or too_long:
                raise BusyError(f"{ahead} requests are waiting to be answered already; ask again in a moment.")
            self._questions.append((question, answer))
            self._there.notify()
        return answer

    def close(self) -> None:
        """Answer what waits, and stop."""
        with self._there:
            self._open = False
            self._there.notify()
        self._thread.join()

    def _run(self) -> None:
        give_way()
        while batch := self._next():
            self._busy = len(batch)
            begin = time.perf_counter()
            found: Sequence[A | BaseException]
            try:
                found = self._answer([question for question, _ in batch])
            except BaseException as error:
                found = [error] * len(batch)
            cost = (time.perf_counter() - begin) / len(batch)
            self._busy = 0
            self._cost = _MEMORY * self._cost + (1 - _MEMORY) * cost if self._cost else cost
            for (_, future), answer in zip(batch, found, strict=True):
                if not future.set_running_or_notify_cancel():
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next(self) -> list[tuple[Q, "Future[A]"]]:
        with self._there:
            while not self._questions and self._open:
                self._there.wait()
            return [self._questions.popleft() for _ in range(min(len(self._questions), self._batch))]


def give_way() -> None:
    """Let this thread compute when nobody is being answered, where the system has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


async def durable(written: "Future[T]") -> T:
    """What a change returns, when it is durable.

    Raises:
        UnreachableError: Nothing was heard of it for long; if it had begun, it may still be taken in.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(written), HEARD)
    except TimeoutError as error:
        raise UnreachableError(
            f"what keeps events has not answered for {HEARD:g} seconds, and whether it was taken in is not known yet; "
            "send it again in a moment: what is known counts once."
        ) from error
