"""Users in shards: whose shard is which is a hash of the user's id, the same on each machine and in each Python."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from recllm.data.doors import whole_number
from recllm.errors import ConfigError

__all__ = ["MOST_SHARDS", "part_name", "shard_of", "shards_of"]

MOST_SHARDS = 1_000_000


def shard_of(user_id: str, shards: int) -> int:
    """The shard of a user, from 0: the first 8 bytes of the SHA-256 of the id, as a whole number, modulo `shards`.

    Whoever knows the id knows the shard, without a table. A user's shard among 64 is the one among 128, or 64 less.
    """
    return int.from_bytes(hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).digest()[:8], "big") % shards


def shards_of(user_ids: Iterable[str], shards: int) -> NDArray[np.int64]:
    """int64 [users]: the shard of each user."""
    sha = hashlib.sha256
    digests = b"".join(sha(user.encode("utf-8", "surrogatepass")).digest()[:8] for user in user_ids)
    found: NDArray[np.int64] = (np.frombuffer(digests, dtype=">u8") % np.uint64(shards)).astype(np.int64)
    return found


def number_of_shards(shards: int) -> int:
    """The number, if users can be split into so many.

    Raises:
        ConfigError: It is none from 1 to a million.
    """
    number = whole_number(shards, "shards, the number of parts,", 1)
    if number > MOST_SHARDS:
        raise ConfigError(f"shards, the number of parts, is at most {MOST_SHARDS:,}; got {number:,}.")
    return number


def part_name(shard: int, shards: int, ending: str) -> str:
    """The name of a shard's file: its number, never an id."""
    return f"part-{shard:06d}-of-{shards:06d}.{ending}"
