"""Results in the order of the shards, from workers that finish in any order and sometimes die."""

import logging
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from recllm.errors import RecllmError, WorkerError
from recllm.options import Progress

LOG = logging.getLogger("recllm.scale")

S = TypeVar("S")
R = TypeVar("R")

AGAIN = 3
"""Times that a shard is done again after its worker has died over it."""

AHEAD = 2
"""Shards per worker that may be finished before their turn; what is ahead of its turn is held in memory."""


@dataclass(frozen=True)
class Done(Generic[R]):
    """What came of a shard."""

    result: R


@dataclass(frozen=True)
class Raised:
    """A shard that raised, and what."""

    error: Exception


@dataclass(frozen=True)
class Died:
    """A shard whose worker is gone, and how it went."""

    how: str


def attempt(fn: Callable[[S], R], shard: S) -> Done[R] | Raised:
    """Do a shard in a worker; what it raises is an answer, too, with its traceback as a note.

    An error of a package that the caller may lack, or one that does not survive the way back, becomes a RuntimeError.
    """
    try:
        return Done(fn(shard))
    except Exception as error:
        told: Exception = error
        if not isinstance(error, RecllmError) and type(error).__module__ != "builtins":
            told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(f"In a worker:\n{traceback.format_exc()}")
        return Raised(told)


class Pool(Protocol):
    """Workers that do one shard each at a time."""

    def free(self) -> bool:
        """Whether a worker waits for a shard."""

    def start(self, number: int, shard: Any) -> None:
        """Give the shard of this number to a free worker."""

    def next(self) -> tuple[int, Done[Any] | Raised | Died]:
        """Wait for a shard to come to its end, and say its number and its end."""

    def close(self) -> None:
        """End all workers, whatever they are at."""


def in_order(pool: Pool, shards: Sequence[Any], workers: int, progress: Progress | None = None) -> Generator[Any]:
    """What the pool makes of each shard, in the order of the shards.

    Raises:
        WorkerError: A shard's worker died `AGAIN` + 1 times.
        Exception: What a shard raised, when its turn comes.
    """
    waiting, deaths = deque(range(len(shards))), Counter[int]()
    ended: dict[int, Done[Any] | Raised] = {}
    finished = 0
    try:
        for turn in range(len(shards)):
            while turn not in ended:
                while waiting and pool.free() and waiting[0] < turn + AHEAD * workers:
                    number = waiting.popleft()
                    pool.start(number, shards[number])
                number, end = pool.next()
                if isinstance(end, Died):
                    deaths[number] += 1
                    _say_death(number, shards, end.how, deaths[number])
                    waiting.appendleft(number)
                    continue
                ended[number] = end
                finished += 1
                if progress is not None:
                    progress("shards", finished, len(shards))
            end = ended.pop(turn)
            if isinstance(end, Raised):
                raise end.error
            yield end.result
    finally:
        pool.close()


def _say_death(number: int, shards: Sequence[Any], how: str, deaths: int) -> None:
    named = getattr(shards[number], "name", None)
    name = f"shard {number + 1} of {len(shards)}" + (f" ({named})" if isinstance(named, str) else "")
    if deaths > AGAIN:
        raise WorkerError(
            f"{name}: its worker {how}, {deaths} times in a row; look whether it has enough memory, and make the "
            "shards smaller if it has not.",
            shard=number,
        )
    LOG.warning("%s: its worker %s; the shard is done again (%d of %d).", name, how, deaths, AGAIN)


class Closing:
    """`with` for what has `close`."""

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
