"""Workers for tests: they work in this process, with what a process elsewhere would be sent."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from recllm.options import Progress


class Here:
    """As `recllm.scale.executor.Executor`; keeps what it was asked.

    Attributes:
        shards: All that were done.
    """

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.shards: list[Any] = []

    def map(self, fn: Callable[[Any], Any], shards: Sequence[Any], progress: Progress | None = None) -> Iterator[Any]:
        """What `fn` makes of each shard."""
        for number, shard in enumerate(shards, 1):
            self.shards.append(shard)
            yield pickle.loads(pickle.dumps(fn))(pickle.loads(pickle.dumps(shard)))
            if progress is not None:
                progress("shards", number, len(shards))

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None: ...
