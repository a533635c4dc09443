"""An executor that does everything itself, for tests of what executors are given to do."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from recllm.errors import WorkerError
from recllm.options import Progress


class Here:
    """Counts, and has workers die as it is told to.

    Args:
        dying: Numbers of shards that no worker survives.
    """

    workers = 1

    def __init__(self, dying: Sequence[int] = ()) -> None:
        self.dying, self.done = dying, list[int]()

    def map(
        self, fn: Callable[[Any], Any], shards: Sequence[Any], progress: Progress | None = None
    ) -> Generator[Any, None, None]:
        for place, shard in enumerate(shards):
            number = getattr(shard, "number", place)
            if number in self.dying:
                raise WorkerError("its worker died.", shard=place)
            self.done.append(number)
            yield fn(shard)

    def close(self) -> None: ...

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None: ...
