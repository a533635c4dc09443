"""Tasks: disjoint users, and each user's log cut into what may be seen (support) and what is asked (query)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.data.histories import Histories
from recllm.errors import DataError

MIN_EVENTS = 3


@dataclass(frozen=True, eq=False)
class Tasks:
    """Users with a support and a query. K shots are `support.last(K)`; the query is the same for every K.

    Attributes:
        support: Histories [tasks]: all events before the query.
        query: Histories [tasks]: the newest whole timestamp blocks.
        user_rows: int64 [tasks]: the users' rows in the histories the tasks were made from.
        dropped: Reason -> users that make no task.
    """

    support: Histories
    query: Histories
    user_rows: NDArray[np.int64]
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.user_rows)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """The tasks' users: [tasks]."""
        return self.query.user_ids

    def newest(self) -> "Tasks":
        """Only the first task of each user, which is the newest in `rolling_tasks`."""
        first = np.sort(np.unique(self.user_rows, return_index=True)[1])
        return Tasks(self.support.of(first), self.query.of(first), self.user_rows[first], self.dropped)


def split_users(user_ids: Sequence[str], fractions: Mapping[str, float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Split users into disjoint groups by a hash of their ids; independent of their order.

    Args:
        user_ids: Distinct ids.
        fractions: Group -> share of the users, together at most 1 (the rest is in no group).
        seed: Of the hash.

    Returns:
        Group -> int64 positions in `user_ids`, ascending. A positive share gets at least one user if there are enough.

    Raises:
        DataError: Shares are negative or above 1 together, or an id occurs twice.
    """
    shares = np.array(list(fractions.values()), dtype=float)
    if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() > 1 + 1e-9:
        raise DataError(f"fractions must be at least 0 and at most 1 together, got {dict(fractions)}")
    if len(set(user_ids)) != len(user_ids):
        raise DataError("an id occurs twice in user_ids: the same user could end up in two groups")
    keys = [hashlib.sha256(f"{seed}\x00{user}".encode()).digest() for user in user_ids]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    edges = np.concatenate([[0], np.cumsum(_sizes(shares, len(order)))])
    return {name: np.sort(order[edges[g] : edges[g + 1]]) for g, name in enumerate(fractions)}


def _sizes(shares: NDArray[np.float64], users: int) -> NDArray[np.int64]:
    edges = np.floor(np.cumsum(shares) * users + 0.5).astype(np.int64)
    sizes = np.diff(edges, prepend=0)
    empty = np.flatnonzero((sizes == 0) & (shares > 0))
    for group in empty:
        if sizes.sum() < users:
            sizes[group] = 1
        elif sizes.max() > 1:
            sizes[np.argmax(sizes)] -= 1
            sizes[group] = 1
    return sizes


def make_tasks(histories: Histories, query_size: int = 10, *, liked: bool = True) -> Tasks:
    """Cut every user's history: the query is the shortest suffix of whole timestamp blocks with enough events.

    Enough is `query_size`, for short logs a third of the events. Everything earlier is the support. Users are dropped
    and counted who have fewer than 3 events, no event before the query, or no liked event in it.

    Args:
        histories: All events of the users.
        query_size: Least number of query events.
        liked: Whether something in the query has to be liked, as a list needs that shall be found; ratings do not.

    Raises:
        DataError: `query_size` is below 1.
    """
    if query_size < 1:
        raise DataError(f"query_size must be at least 1, got {query_size}")
    lengths, blocks = histories.lengths, histories.blocks
    enough = np.minimum(query_size, lengths // MIN_EVENTS)
    long_enough = lengths >= MIN_EVENTS
    first = np.minimum(histories.offsets[1:] - np.maximum(enough, 1), max(histories.n_events - 1, 0))
    first = np.maximum(first, 0)
    cut_block = blocks[first] if histories.n_events else np.zeros(len(histories), dtype=np.int64)
    in_query = blocks >= np.repeat(cut_block, lengths)
    found = np.bincount(histories.user_rows[in_query & (histories.signals > 0)], minlength=len(histories)) > 0
    found |= not liked
    has_support = cut_block > 0
    keep = np.flatnonzero(long_enough & has_support & found)
    dropped = {
        "fewer_than_3_events": int((~long_enough).sum()),
        "no_support": int((long_enough & ~has_support).sum()),
        "no_liked_query": int((long_enough & has_support & ~found).sum()),
    }
    support, query = histories.drop_events(~in_query).of(keep), histories.drop_events(in_query).of(keep)
    return Tasks(support, query, keep, dropped)


def rolling_tasks(histories: Histories, wanted: int, rounds: int = 4, *, liked: bool = True) -> Tasks:
    """Tasks at several moments of each user: the newest query, the one before it, and so on.

    One query per user makes a noisy figure where users are few; a user's earlier queries are asked as well until there
    are enough.

    Args:
        histories: All events of the users.
        wanted: Tasks after which no earlier moment is asked.
        rounds: Moments per user at most.
        liked: As in `make_tasks`.
    """
    tasks = [make_tasks(histories, liked=liked)]
    while sum(map(len, tasks)) < wanted and len(tasks) < rounds and len(tasks[-1]):
        tasks.append(make_tasks(tasks[-1].support, liked=liked))
    owners = [tasks[0].user_rows]
    for earlier in tasks[1:]:
        owners.append(owners[-1][earlier.user_rows])
    return Tasks(
        Histories.concatenate([t.support for t in tasks]),
        Histories.concatenate([t.query for t in tasks]),
        np.concatenate(owners),
        tasks[0].dropped,
    )
