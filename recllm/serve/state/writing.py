"""What a change may do, inside a transaction."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from recllm.errors import ConflictError, DataError, UnknownError
from recllm.serve.state.records import AdapterRecord, Added, Event, Impression, ItemRecord, Stored, UserRecord

if TYPE_CHECKING:
    import apsw

EVENT = "event_id, user_id, item_id, timestamp, kind, rating, weight, recommendation_id"
"""Columns of an event, in the order of `Event`."""

IMPRESSION = "recommendation_id, user_id, at, kind, version, as_of_event, policy, request, items, instead"
"""Columns of a list, in the order of `Impression`."""

UNCLEAN = "store: bytes to overwrite"
"""The fact that something was erased whose bytes may still be in a file; it outlives the process."""

_LONGEST = 60


def packed(value: Any) -> str:
    """As JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def packed_lines(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines of a list as JSON: where all have the same keys, each key once, with a list of its values."""
    keys = list(lines[0]) if lines else []
    if not keys or any(list(line) != keys for line in lines):
        return packed([dict(line) for line in lines])
    return packed({key: [line[key] for line in lines] for key in keys})


def unpacked_lines(text: str) -> list[dict[str, Any]]:
    """What `packed_lines` was given."""
    found = json.loads(text)
    if isinstance(found, list):
        return found
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def with_time(event: Event, timestamp: float) -> Event:
    """The event as it would have come then."""
    return dataclasses.replace(event, timestamp=timestamp)


@final
class Transaction:
    """Changes of one group, which become durable together.

    Args:
        connection: The writer's.

    Attributes:
        erased: Whether something was deleted that must be in no file afterwards.
    """

    def __init__(self, connection: "apsw.Connection") -> None:
        self._connection = connection
        self._do = connection.execute
        self.erased = False

    def add_events(self, events: Sequence[Event], *, replace: bool = False) -> Added:
        """Add events; those that are here already are passed over.

        Args:
            events: In the order in which they are to count.
            replace: Whether one with the same id and another content takes the place of the earlier.

        Raises:
            ConflictError: It does not, and there is one; none of the events is added.
            DataError: A number is infinite or none; none of the events is added.
        """
        new: list[Stored] = []
        replaced: list[tuple[Event, Stored]] = []
        known = 0
        with self._connection:
            for event in events:
                row = _row(event)
                find = self._do(f"SELECT number, {EVENT} FROM events WHERE event_id = ?", row[:1])
                found: list[tuple[Any, ...]] = find.fetchall()
                if not found:
                    self._do(f"INSERT INTO events ({EVENT}) VALUES (?,?,?,?,?,?,?,?)", row)
                    new.append(Stored(self._connection.last_insert_rowid(), event))
                    continue
                number, *content = found[0]
                earlier = Event(*content)
                if event == earlier or (not event.dated and with_time(event, earlier.timestamp) == earlier):
                    known += 1
                elif replace:
                    self._do(f"REPLACE INTO events (number, {EVENT}) VALUES (?,?,?,?,?,?,?,?,?)", (number, *row))
                    replaced.append((earlier, Stored(number, event)))
                else:
                    raise ConflictError(
                        f"event {event.event_id[:_LONGEST]!r} is here already with another content; give it an id of "
                        "its own, or replace the earlier one with PUT."
                    )
        return Added(new, known, replaced)

    def add_impression(self, one: Impression) -> None:
        """Keep an answered list; one that is here already stays as it is."""
        parts = packed(one.request), packed_lines(one.items), packed(list(one.instead))
        self._do(
            f"INSERT OR IGNORE INTO impressions ({IMPRESSION}) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                one.recommendation_id,
                one.user_id,
                one.at,
                one.kind,
                one.version,
                one.as_of_event,
                one.policy,
                *parts,
            ),
        )

    def put_items(self, items: Sequence[ItemRecord]) -> None:
        """Keep items; an earlier one of the same id is replaced."""
        for one in items:
            self._do("REPLACE INTO items VALUES (?,?,?)", (one.item_id, packed(dict(one.fields)), int(one.hidden)))

    def put_users(self, users: Sequence[UserRecord]) -> None:
        """Keep users; an earlier one of the same id is replaced."""
        for one in users:
            row = (one.user_id, packed(dict(one.fields)), packed(list(one.exclude)))
            self._do("REPLACE INTO users VALUES (?,?,?)", row)

    def put_adapter(self, one: AdapterRecord) -> None:
        """Keep a user's adapter in the place of the former, unless that is of the same model and newer."""
        self._do(
            "INSERT INTO adapters (user_id, base, as_of_event, blob, sha256) VALUES (?,?,?,?,?) "
            "ON CONFLICT DO UPDATE SET "
            "base = excluded.base, as_of_event = excluded.as_of_event, blob = excluded.blob, sha256 = excluded.sha256 "
            "WHERE base != excluded.base OR as_of_event <= excluded.as_of_event",
            (one.user_id, one.base, one.as_of_event, one.blob, one.sha256),
        )

    def put_reason(self, recommendation_id: str, item_id: str, reason: Mapping[str, Any]) -> None:
        """Keep why an item was in a list; what was told first stays.

        Raises:
            UnknownError: There is no such list (any more): its reasons could not be erased with its user.
        """
        found = self._do("SELECT number FROM impressions WHERE recommendation_id = ?", (recommendation_id,)).get
        if found is None:
            raise UnknownError(
                f"list {recommendation_id[:_LONGEST]!r} is not kept, so its reasons are not; ask for a new list."
            )
        self._do("INSERT OR IGNORE INTO reasons VALUES (?,?,?)", (found, item_id, packed(dict(reason))))

    def put_fact(self, name: str, value: Any) -> None:
        """Keep a setting; `value` is what JSON can hold."""
        self._do("REPLACE INTO facts VALUES (?,?)", (name, packed(value)))

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Delete all rows of a user; how many there were of each kind.

        Their bytes are in no file of the folder when the change is done, or soon afterwards, if a backup is being taken
        meanwhile. What is asked for later about the same user is kept again, and backups keep what they have.
        """
        lists = "SELECT number FROM impressions WHERE user_id = ?"
        told = {"reasons": self._deleted(f"reasons WHERE impression IN ({lists})", user_id)}
        for table in ("events", "impressions", "adapters", "users"):
            told[table] = self._deleted(f"{table} WHERE user_id = ?", user_id)
        if any(told.values()):
            self.clean()
        return told

    def prune_impressions(self, before: float, limit: int = 10_000) -> int:
        """Delete the oldest of the lists, and their reasons, that were answered before a moment.

        Args:
            before: Unix seconds.
            limit: At most so many, so that others do not wait; ask again while that many are deleted.

        Returns:
            How many lists are gone.
        """
        old = [number for (number,) in self._do("SELECT number FROM impressions WHERE at < ? LIMIT ?", (before, limit))]
        for table, column in (("reasons", "impression"), ("impressions", "number")):
            self._connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", ((number,) for number in old))
        return len(old)

    def clean(self) -> None:
        """Leave nothing in any file that was deleted earlier: the log is emptied, and what pages still hold."""
        self.erased = True
        self.put_fact(UNCLEAN, True)

    def _deleted(self, what: str, *values: Any) -> int:
        self._do(f"DELETE FROM {what}", values)
        return self._connection.changes()


def _row(event: Event) -> tuple[Any, ...]:
    """In the order of `EVENT`.

    Raises:
        DataError: A number is infinite or none, which would not come back as it was sent.
    """
    for name, value in (("timestamp", event.timestamp), ("rating", event.rating), ("weight", event.weight)):
        if value is not None and not math.isfinite(value):
            raise DataError(f"the {name} of event {event.event_id[:_LONGEST]!r} is {value}; send a finite number.")
    return (
        event.event_id,
        event.user_id,
        event.item_id,
        event.timestamp,
        event.kind,
        event.rating,
        event.weight,
        event.recommendation_id,
    )
