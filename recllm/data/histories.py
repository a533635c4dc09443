"""Histories: what is known of users, as plain arrays; the one currency between data and models."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.interactions import Interactions
from recllm.data.process import stay_in_process
from recllm.errors import DataError

_OF_EVENTS = ("item_rows", "timestamps", "signals", "tokens", "event_rows", "ratings")


@dataclass(frozen=True, eq=False)
class Histories:
    """Events of users, each user's oldest first.

    Attributes:
        user_ids: [users]
        offsets: int64 [users + 1]; the events of user u are `offsets[u]:offsets[u + 1]`.
        item_rows: int64 [events], rows of the catalog; never -1.
        timestamps: float64 [events], unix seconds; milliseconds count.
        signals: int8 [events], +1 liked, 0 neutral, -1 disliked.
        tokens: int64 [events], `Feedback.tokens`.
        event_rows: int64 [events], rows of the log that the events stand in; -1 where they come from no log.
        ratings: float32 [events], as the log has them; NaN where there is none.
    """

    user_ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    signals: NDArray[np.int8]
    tokens: NDArray[np.int64]
    event_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    ratings: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def __post_init__(self) -> None:
        events = len(self.item_rows)
        object.__setattr__(self, "timestamps", np.asarray(self.timestamps, dtype=np.float64))
        if not len(self.event_rows):
            object.__setattr__(self, "event_rows", np.full(events, -1, dtype=np.int64))
        if not len(self.ratings):
            object.__setattr__(self, "ratings", np.full(events, np.nan, dtype=np.float32))
        if len(self.offsets) != len(self.user_ids) + 1 or self.offsets[0] != 0 or self.offsets[-1] != events:
            raise DataError(f"offsets do not fit {len(self.user_ids)} users and {events} events")
        if any(len(getattr(self, name)) != events for name in _OF_EVENTS):
            raise DataError(f"{', '.join(_OF_EVENTS)} differ in length")

    @classmethod
    def empty(cls, users: int | Sequence[str]) -> "Histories":
        """Users without any event; a number gives them the ids "0", "1" and so on."""
        user_ids = tuple(str(u) for u in range(users)) if isinstance(users, int) else tuple(users)
        none = np.zeros(0, dtype=np.int64)
        times, signals = none.astype(np.float64), none.astype(np.int8)
        return cls(user_ids, np.zeros(len(user_ids) + 1, np.int64), none, times, signals, none)

    @classmethod
    def concatenate(cls, parts: Sequence["Histories"]) -> "Histories":
        """The users of all parts, one after the other."""
        if not parts:
            return cls.empty(0)
        lengths = np.concatenate([p.lengths for p in parts])
        return cls(
            tuple(u for p in parts for u in p.user_ids),
            _offsets(lengths),
            *(np.concatenate([getattr(p, name) for p in parts]) for name in _OF_EVENTS),
        )

    def __len__(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    def __repr__(self) -> str:
        return f"Histories({len(self):,} users, {self.n_events:,} events)"

    @property
    def n_events(self) -> int:
        """Number of events of all users."""
        return len(self.item_rows)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [users]: events per user."""
        return np.diff(self.offsets)

    @cached_property
    def rated(self) -> "Histories":
        """Only events with a rating; all users stay."""
        have = np.isfinite(self.ratings)
        return self if have.all() else self.drop_events(have)

    @cached_property
    def user_rows(self) -> NDArray[np.int64]:
        """int64 [events]: which user an event belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """int64 [events]: 0, 1, 2 … per user."""
        positions: NDArray[np.int64] = np.arange(self.n_events) - np.repeat(self.offsets[:-1], self.lengths)
        return positions

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """int64 [events]: 0, 1, 2 … per user; events with the same timestamp share a block."""
        if not self.n_events:
            return np.zeros(0, dtype=np.int64)
        number = np.concatenate([[0], np.cumsum(np.diff(self.timestamps) != 0)]).astype(np.int64)
        with_events = self.lengths > 0
        first = number[self.offsets[:-1][with_events]]
        blocks: NDArray[np.int64] = number - np.repeat(first, self.lengths[with_events])
        return blocks

    def items_of(self, user: int) -> NDArray[np.int64]:
        """int64 [events of one user]: its item rows, oldest first."""
        return self.item_rows[self.offsets[user] : self.offsets[user + 1]]

    @cached_property
    def newer(self) -> NDArray[np.int64]:
        """int64 [events]: how many of the same user's events have a later timestamp."""
        key = self.user_rows * (int(self.lengths.max(initial=0)) + 1) + self.blocks
        newer: NDArray[np.int64] = np.repeat(self.offsets[1:], self.lengths) - np.searchsorted(key, key, side="right")
        return newer

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """Rows of all users, in parts of this size."""
        return [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def of(self, user_rows: Iterable[int] | NDArray[np.int64]) -> "Histories":
        """These users, in this order; a user may be repeated."""
        users = np.asarray(user_rows if isinstance(user_rows, np.ndarray) else list(user_rows), dtype=np.int64)
        return self._take(tuple(self.user_ids[u] for u in users), self.offsets[:-1][users], self.lengths[users])

    def last(self, events: int) -> "Histories":
        """The newest `events` of every user (0: none)."""
        if events < 0:
            raise DataError(f"a number of events of at least 0 was expected, got {events}")
        kept = np.minimum(self.lengths, events)
        return self._take(self.user_ids, self.offsets[1:] - kept, kept)

    def drop_events(self, keep: NDArray[np.bool_]) -> "Histories":
        """Only the events where `keep` (bool [events]) is true; all users stay."""
        if keep.shape != (self.n_events,):
            raise DataError(f"keep must be bool [{self.n_events}], got shape {keep.shape}")
        lengths = np.bincount(self.user_rows[keep], minlength=len(self)).astype(np.int64)
        return self._at(self.user_ids, _offsets(lengths), np.flatnonzero(keep))

    def prefixes(self) -> "Histories":
        """One history for every event: what its user had before it; events of a timestamp count one after the other."""
        owners = tuple(self.user_ids[user] for user in self.user_rows)
        return self._take(owners, np.repeat(self.offsets[:-1], self.lengths), self.positions)

    def _take(self, user_ids: tuple[str, ...], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Histories":
        offsets = _offsets(lengths)
        events = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._at(user_ids, offsets, events)

    def _at(self, user_ids: tuple[str, ...], offsets: NDArray[np.int64], events: NDArray[np.int64]) -> "Histories":
        return Histories(user_ids, offsets, *(getattr(self, name)[events] for name in _OF_EVENTS))


def make_histories(
    interactions: Interactions,
    catalog: Catalog,
    feedback: Feedback,
    *,
    seed: int = 0,
    repeats: Literal["first", "all"] = "first",
) -> Histories:
    """Sort every user's events with known items by time; ties by SHA-256 of (seed, user, item).

    A tie-break that is the same for all users (file order, item row) leaks: items that are later in it become
    predictable. The hash differs from user to user and does not depend on the order of file or catalog.

    Args:
        interactions: The log; users in the order of its `user_ids`, unknown items are left out.
        catalog: Gives the item rows.
        feedback: Gives signals and tokens.
        seed: Of the hash.
        repeats: "first" keeps a user's first event with an item (discovery), "all" keeps every event (next basket).
    """
    if repeats not in ("first", "all"):
        raise DataError(f"repeats must be 'first' or 'all', got {repeats!r}")
    items = interactions.item_rows(catalog)
    known = np.flatnonzero(items >= 0)
    items, users = items[known], interactions.user_rows[known]
    times = interactions.frame["timestamp"].to_numpy()[known]
    signals = feedback.signals(interactions.frame)[known]
    tokens = feedback.tokens(interactions.frame)[known]
    ties = _tie_keys(users, items, times, interactions.user_ids, catalog.item_ids, seed)
    order = np.lexsort((tokens, -signals.astype(np.int64), ties, times, users))
    if repeats == "first":
        pair = users[order] * max(len(catalog), 1) + items[order]
        order = order[np.sort(np.unique(pair, return_index=True)[1])]
    lengths = np.bincount(users[order], minlength=len(interactions.user_ids)).astype(np.int64)
    ratings = ratings_of(interactions)[known]
    columns: tuple[NDArray[Any], ...] = (items, times, signals, tokens, known, ratings)
    return Histories(interactions.user_ids, _offsets(lengths), *(column[order] for column in columns))


def histories_of_lists(users: Any, catalog: Catalog) -> Histories | None:
    """What `make_histories` makes of `{user: [item ids]}`, for a tenth of its time: this is asked at each visit.

    None where something in it has to be read with care: anything but plain texts, and ids that the catalog does not
    have.
    """
    stay_in_process()
    if type(users) is not dict or not users:
        return None
    if not all(type(user) is str and user and user.isascii() for user in users):
        return None
    lists = [*users.values()]
    if not all(type(own) in (list, tuple) and all(type(one) is str for one in own) for own in lists):
        return None
    row_of = catalog.row_of
    rows = [row_of.get(one, -1) for own in lists for one in own]
    if -1 in rows:
        return None
    items, lengths = np.array(rows, dtype=np.int64), np.array([len(own) for own in lists], dtype=np.int64)
    places = np.arange(len(rows))
    owners = np.repeat(np.arange(len(lists)), lengths)
    times = places - np.repeat(_offsets(lengths)[:-1], lengths)
    first = np.sort(np.unique(owners * len(catalog) + items, return_index=True)[1])
    if len(first) < len(rows):
        lengths = np.bincount(owners[first], minlength=len(lists)).astype(np.int64)
    liked, plain = np.ones(len(first), dtype=np.int8), np.zeros(len(first), dtype=np.int64)
    columns = (items[first], times[first].astype(np.float64), liked, plain, places[first])
    return Histories(tuple(users), _offsets(lengths), *columns)


def ratings_of(interactions: Interactions) -> NDArray[np.float32]:
    """float32 [rows of the log], NaN where there is no rating."""
    frame = interactions.frame
    if "rating" not in frame.columns:
        return np.full(frame.height, np.nan, dtype=np.float32)
    ratings: NDArray[np.float32] = frame["rating"].cast(pl.Float32).to_numpy()  # NaN in place of null
    return ratings


def _tie_keys(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    times: NDArray[np.float64],
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    seed: int,
) -> NDArray[np.uint64]:
    """uint64 [events]: the first 8 bytes of the hash, 0 for events that are alone at their moment."""
    keys = np.zeros(len(users), dtype=np.uint64)
    order = np.lexsort((times, users))
    same = (np.diff(users[order]) == 0) & (np.diff(times[order]) == 0)
    tied = order[np.concatenate([[False], same]) | np.concatenate([same, [False]])] if len(order) else order
    pairs, place = np.unique(users[tied] * max(len(item_ids), 1) + items[tied], return_inverse=True)
    prefixes = [f"{seed}\x00{user}\x00".encode() for user in user_ids]
    rows = zip(*(part.tolist() for part in np.divmod(pairs, max(len(item_ids), 1))), strict=True)
    sha = hashlib.sha256
    digests = b"".join(sha(prefixes[user] + item_ids[item].encode()).digest()[:8] for user, item in rows)
    keys[tied] = np.frombuffer(digests, dtype=">u8").astype(np.uint64)[place]
    return keys


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
