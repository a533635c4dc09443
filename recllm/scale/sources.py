"""Whose turn it is in a shard: users whom the model remembers, or the users of given events."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from recllm.artifact import fingerprint
from recllm.data.doors import read_users
from recllm.data.interactions import Interactions
from recllm.scale.events.partitioned import MANIFEST, PartitionedEvents
from recllm.scale.shards import shards_of

__all__ = ["Divided", "Given", "Named", "Source", "source_of"]

Users = Interactions | list[str]


class Source(Protocol):
    """Users of a job: plain data, which each worker is sent."""

    @property
    def digest(self) -> str:
        """Says whose events these are: the same digest, the same files."""

    def of(self, remembered: tuple[str, ...], shard: int, shards: int) -> Users:
        """The users of a shard, as `Recommender.recommend` takes them.

        Args:
            remembered: Users whom the model remembers.
            shard: Which one.
            shards: Of how many.

        Raises:
            DataError: The shard's events cannot be read.
        """


@final
@dataclass(frozen=True)
class Named:
    """Users by their ids; None: all whom the model remembers."""

    user_ids: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """See `Source`."""
        return "all remembered" if self.user_ids is None else fingerprint(*self.user_ids)

    def of(self, remembered: tuple[str, ...], shard: int, shards: int) -> Users:
        """See `Source`."""
        user_ids = remembered if self.user_ids is None else self.user_ids
        return [user_ids[row] for row in _rows(user_ids, shard, shards)]


@final
@dataclass(frozen=True, eq=False)
class Given:
    """Users of events that fit into the memory of each worker."""

    events: Interactions

    @property
    def digest(self) -> str:
        """See `Source`."""
        return self.events.fingerprint

    def of(self, remembered: tuple[str, ...], shard: int, shards: int) -> Users:
        """See `Source`."""
        user_ids = self.events.user_ids
        return self.events.of_users([user_ids[row] for row in _rows(user_ids, shard, shards)])


@final
@dataclass(frozen=True)
class Divided:
    """Users of a divided log, of which a worker reads one part at a time.

    Attributes:
        folder: Where the log is.
        parts: How many it has; so many shards are made.
        digest: Of its manifest, which has the SHA-256 of each part.
    """

    folder: str
    parts: int
    digest: str

    def of(self, remembered: tuple[str, ...], shard: int, shards: int) -> Users:
        """See `Source`."""
        return PartitionedEvents.open(self.folder).part(shard)


def source_of(users: Any) -> Source:
    """Users in any form that `Recommender.recommend` takes, or a divided log; None: all whom the model remembers.

    Raises:
        DataError: It is no form of users.
    """
    if users is None:
        return Named()
    if isinstance(users, PartitionedEvents):
        folder = users.folder.resolve()
        return Divided(str(folder), len(users.parts), fingerprint((folder / MANIFEST).read_bytes()))
    read = read_users(users)
    return Given(read) if isinstance(read, Interactions) else Named(tuple(dict.fromkeys(read)))


def _rows(user_ids: tuple[str, ...], shard: int, shards: int) -> list[int]:
    """Places of the shard's users, in the order in which they are given."""
    found: list[int] = np.flatnonzero(_shards(user_ids, shards) == shard).tolist()
    return found


@lru_cache(maxsize=1)
def _shards(user_ids: tuple[str, ...], shards: int) -> NDArray[np.int64]:
    """A worker does many shards of the same users."""
    return shards_of(user_ids, shards)
