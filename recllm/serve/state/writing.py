"""What a change may do, inside a transaction; statements that SQLite and Postgres read alike."""

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from recllm.errors import ConflictError, DataError, UnknownError
from recllm.serve.state.records import (
    AdapterRecord,
    Added,
    Aside,
    Event,
    Impression,
    ItemRecord,
    Stored,
    UserRecord,
)

EVENT = "event_id, user_id, item_id, timestamp, kind, rating, weight, recommendation_id"
"""Columns of an event, in the order of `Event`."""

IMPRESSION = "recommendation_id, user_id, at, kind, version, as_of_event, policy, request, items, instead"
"""Columns of a list, in the order of `Impression`."""

_INSERT = f"INSERT INTO events (number, {EVENT}) VALUES (?,?,?,?,?,?,?,?,?)"
_REPLACE = f"UPDATE events SET ({EVENT.removeprefix('event_id, ')}) = (?,?,?,?,?,?,?) WHERE number = ?"

UNCLEAN = "store: bytes to overwrite"
"""The fact that something was erased whose bytes may still be in a file; it outlives the process."""

AT_ONCE = 500
"""Ids in one statement."""

MOST_ASIDE = 10_000
"""Messages of streams that are kept aside, the newest."""

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


class Transaction(ABC):
    """Changes of one group, which become durable together.

    Attributes:
        erased: Whether something was deleted whose bytes are to be overwritten afterwards.
    """

    _NAMES: str
    """Whether the bytes of `message` contain those of a value."""

    def __init__(self) -> None:
        self.erased = False

    @abstractmethod
    def _found(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement; `?` stands for each value."""

    @abstractmethod
    def _do(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it changed."""

    @abstractmethod
    def _do_each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of the rows."""

    @abstractmethod
    def _last_event(self) -> int:
        """Number of the newest event that was ever added."""

    @abstractmethod
    def _note_last_event(self, number: int) -> None:
        """Events up to this number are being added."""

    def add_events(self, events: Sequence[Event], *, replace: bool = False) -> Added:
        """Add events; those that are here already are passed over.

        Args:
            events: In the order in which they are to count.
            replace: Whether one with the same id and another content takes the place of the earlier.

        Raises:
            ConflictError: It does not, and there is one; none of the events is added.
            DataError: A number is infinite or none; none of the events is added.
        """
        for event in events:
            _check(event)
        here = self._here(list(dict.fromkeys(event.event_id for event in events)))
        number = self._last_event()
        new: list[Stored] = []
        replaced: list[tuple[Event, Stored]] = []
        known = 0
        for event in events:
            old = here.get(event.event_id)
            if old is None:
                number += 1
                new.append(Stored(number, event))
                here[event.event_id] = new[-1]
            elif event == old.event or (not event.dated and with_time(event, old.event.timestamp) == old.event):
                known += 1
            elif replace:
                replaced.append((old.event, Stored(old.number, event)))
                here[event.event_id] = replaced[-1][1]
            else:
                raise ConflictError(
                    f"event {event.event_id[:_LONGEST]!r} is here already with another content; give it an id of its "
                    "own, or replace the earlier one with PUT."
                )
        if new:
            self._do_each(_INSERT, [(one.number, *_row(one.event)) for one in new])
            self._note_last_event(number)
        if replaced:
            self._do_each(_REPLACE, [(*_row(one.event)[1:], one.number) for _, one in replaced])
        return Added(new, known, replaced)

    def _here(self, event_ids: Sequence[str]) -> dict[str, Stored]:
        """Events that are kept, by id."""
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(event_ids), AT_ONCE):
            some = event_ids[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            found += self._found(f"SELECT number, {EVENT} FROM events WHERE event_id IN ({marks})", some)
        return {event_id: Stored(number, Event(event_id, *rest)) for number, event_id, *rest in found}

    def add_impression(self, one: Impression) -> None:
        """Keep an answered list; one that is here already stays as it is."""
        parts = packed(one.request), packed_lines(one.items), packed(list(one.instead))
        self._do(
            f"INSERT INTO impressions ({IMPRESSION}) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
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
        rows = [(one.item_id, packed(dict(one.fields)), bool(one.hidden)) for one in items]
        self._do_each(_put("items", "item_id", "fields", "hidden"), rows)

    def put_users(self, users: Sequence[UserRecord]) -> None:
        """Keep users; an earlier one of the same id is replaced."""
        rows = [(one.user_id, packed(dict(one.fields)), packed(list(one.exclude))) for one in users]
        self._do_each(_put("users", "user_id", "fields", "exclude"), rows)

    def put_adapter(self, one: AdapterRecord) -> None:
        """Keep a user's adapter in the place of the former, unless that is of the same model and newer."""
        self._do(
            "INSERT INTO adapters (user_id, base, as_of_event, blob, sha256) VALUES (?,?,?,?,?) "
            "ON CONFLICT (user_id) DO UPDATE SET "
            "base = excluded.base, as_of_event = excluded.as_of_event, blob = excluded.blob, sha256 = excluded.sha256 "
            "WHERE adapters.base != excluded.base OR adapters.as_of_event <= excluded.as_of_event",
            (one.user_id, one.base, one.as_of_event, one.blob, one.sha256),
        )

    def put_reason(self, recommendation_id: str, item_id: str, reason: Mapping[str, Any]) -> None:
        """Keep why an item was in a list; what was told first stays.

        Raises:
            UnknownError: There is no such list (any more): its reasons could not be erased with its user.
        """
        found = self._found("SELECT number FROM impressions WHERE recommendation_id = ?", (recommendation_id,))
        if not found:
            raise UnknownError(
                f"list {recommendation_id[:_LONGEST]!r} is not kept, so its reasons are not; ask for a new list."
            )
        row = (found[0][0], item_id, packed(dict(reason)))
        self._do("INSERT INTO reasons (impression, item_id, reason) VALUES (?,?,?) ON CONFLICT DO NOTHING", row)

    def put_fact(self, name: str, value: Any) -> None:
        """Keep a setting; `value` is what JSON can hold."""
        self._do(_put("facts", "name", "value"), (name, packed(value)))

    def put_aside(self, some: Sequence[Aside]) -> None:
        """Keep messages that are no events, the newest of them."""
        rows = [(one.source, one.at, one.problem, one.message) for one in some]
        self._do_each(_put("aside", "source", "at", "problem", "message"), rows)
        if rows:
            old = "SELECT number FROM aside ORDER BY number DESC LIMIT 1 OFFSET ?"
            self._do(f"DELETE FROM aside WHERE number <= ({old})", (MOST_ASIDE,))

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Delete all rows of a user; how many there were of each kind.

        Their bytes are in no file of the folder when the change is done, or soon afterwards, if a backup is being taken
        meanwhile. What is asked for later about the same user is kept again, and backups keep what they have.
        """
        lists = "SELECT number FROM impressions WHERE user_id = ?"
        told = {"reasons": self._do(f"DELETE FROM reasons WHERE impression IN ({lists})", (user_id,))}
        for table in ("events", "impressions", "adapters", "users"):
            told[table] = self._do(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))
        told["aside"] = sum(self._do(f"DELETE FROM aside WHERE {self._NAMES}", (name,)) for name in _written(user_id))
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
        old = self._found("SELECT number FROM impressions WHERE at < ? LIMIT ?", (before, limit))
        for table, column in (("reasons", "impression"), ("impressions", "number")):
            self._do_each(f"DELETE FROM {table} WHERE {column} = ?", old)
        return len(old)

    def clean(self) -> None:
        """Leave nothing in any file that was deleted earlier: the log is emptied, and what pages still hold."""
        self.erased = True
        self.put_fact(UNCLEAN, True)

    def cleaned(self) -> None:
        """That is done."""
        self._do("DELETE FROM facts WHERE name = ?", (UNCLEAN,))


def _put(table: str, name: str, *columns: str) -> str:
    """Keep a row; an earlier one of the same name is replaced."""
    marks = ",".join("?" * (len(columns) + 1))
    new = ", ".join(f"{column} = excluded.{column}" for column in columns)
    into = f"{table} ({name}, {', '.join(columns)})"
    return f"INSERT INTO {into} VALUES ({marks}) ON CONFLICT ({name}) DO UPDATE SET {new}"


def _written(user_id: str) -> list[bytes]:
    """How a message names a user: in quotes, as JSON, with characters as they are or written out."""
    return list({json.dumps(user_id, ensure_ascii=plain).encode("utf-8") for plain in (True, False)})


def _check(event: Event) -> None:
    """Hold an event's numbers against what can be kept.

    Raises:
        DataError: One is infinite or none, which would not come back as it was sent.
    """
    for name, value in (("timestamp", event.timestamp), ("rating", event.rating), ("weight", event.weight)):
        if value is not None and not math.isfinite(value):
            raise DataError(f"the {name} of event {event.event_id[:_LONGEST]!r} is {value}; send a finite number.")


def _row(event: Event) -> tuple[Any, ...]:
    """In the order of `EVENT`."""
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
