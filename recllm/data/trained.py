"""Who shaped a model's weights, kept as hashes: enough to refuse a leaking evaluation, no list of customers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from recllm.data.cleaning import as_id_list
from recllm.data.interactions import Interactions

HASH_BYTES = 16


@final
@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The users and the time that training has seen or counted. Forgetting a user does not change it: weights remember.

    Attributes:
        users: uint8 [users, 16], the beginning of the SHA-256 of each id, sorted.
        until: Newest timestamp, unix seconds; 0 without events.
    """

    users: NDArray[np.uint8]
    until: float

    @classmethod
    def of(cls, events: Interactions) -> "TrainedOn":
        """The users who have events in a log, and its newest event."""
        hashes = sorted(map(_hash, events.frame["user_id"].unique().to_list()))
        users = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, HASH_BYTES)
        return cls(users, float(events.frame["timestamp"].to_numpy().max(initial=0.0)))

    def and_of(self, events: Interactions) -> "TrainedOn":
        """With the users of further events, which are counted, too."""
        until = max(self.until, float(events.frame["timestamp"].to_numpy().max(initial=0.0)))
        ids = dict.fromkeys(events.frame["user_id"].to_list())
        fresh = sorted(one for one in map(_hash, ids) if one not in self._known)
        users = self.users
        if fresh:
            rows = np.frombuffer(b"".join(fresh), dtype=np.uint8).reshape(-1, HASH_BYTES)
            users = np.insert(users, np.searchsorted(_as_keys(users), _as_keys(rows)), rows, axis=0)
        grown = TrainedOn(users, until)
        vars(grown)["_known"] = self._known.union(fresh) if fresh else self._known
        return grown

    def includes(self, user_ids: Iterable[str]) -> NDArray[np.bool_]:
        """bool [users]: which of these ids training has seen."""
        return np.array([_hash(user) in self._known for user in as_id_list(user_ids)], dtype=bool)

    @cached_property
    def _known(self) -> frozenset[bytes]:
        return frozenset(row.tobytes() for row in self.users)


def _as_keys(hashes: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """One value per hash, in the order of the hashes."""
    return np.ascontiguousarray(hashes).view(f"S{HASH_BYTES}").ravel()


def _hash(user: str) -> bytes:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).digest()[:HASH_BYTES]
