"""What a change may do, inside a transaction."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, final

from recllm.errors import ConflictError
from recllm.serve.state.records import AdapterRecord, Added, Event, Impression, ItemRecord, Stored, UserRecord

EVENT = "event_id, user_id, item_id, timestamp, kind, rating, weight, recommendation_id"

_TABLES_OF_USERS = ("events", "impressions", "adapters", "users")


def packed(value: Any) -> str:
    """As JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def row_of(event: Event) -> tuple[Any, ...]:
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


@final
class Transaction:
    """Changes of one group; they are durable together.

    Args:
        connection: The writer's.
    """

    def __init__(self, connection: Any) -> None:
        self._do = connection.execute
        self._last = connection.last_insert_rowid

    def add_events(self, events: Sequence[Event], *, replace: bool = False) -> Added:
        """Add events; those that are here already are passed over.

        Args:
            events: In the order in which they are to count.
            replace: Whether one with the same id and another content takes the place of the earlier.

        Raises:
            ConflictError: It does not, and there is one; nothing is added.
        """
        new: list[Stored] = []
        replaced: list[tuple[Event, Stored]] = []
        known = 0
        for event in events:
            found = self._do(f"SELECT number, {EVENT} FROM events WHERE event_id = ?", (event.event_id,)).get
            if found is None:
                self._do(f"INSERT INTO events ({EVENT}) VALUES (?,?,?,?,?,?,?,?)", row_of(event))
                new.append(Stored(int(self._last()), event))
            elif Event(*found[1:]) == event:
                known += 1
            elif not replace:
                raise ConflictError(
                    f"event {event.event_id[:60]!r} is here already with another content; PUT replaces it."
                )
            else:
                self._do("DELETE FROM events WHERE number = ?", (found[0],))
                self._do(f"INSERT INTO events (number, {EVENT}) VALUES (?,?,?,?,?,?,?,?,?)", (found[0], *row_of(event)))
                replaced.append((Event(*found[1:]), Stored(int(found[0]), event)))
        return Added(new, known, replaced)

    def add_impression(self, one: Impression) -> None:
        """Keep an answered list."""
        self._do(
            "INSERT OR IGNORE INTO impressions VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                one.recommendation_id,
                one.user_id,
                one.at,
                one.kind,
                one.version,
                one.as_of_event,
                one.policy,
                packed(one.request),
                packed(list(one.items)),
                packed(list(one.instead)),
            ),
        )

    def put_items(self, items: Sequence[ItemRecord]) -> None:
        """Keep items; an earlier one of the same id is replaced."""
        for one in items:
            self._do("INSERT OR REPLACE INTO items VALUES (?,?,?)", (one.item_id, packed(one.fields), int(one.hidden)))

    def put_users(self, users: Sequence[UserRecord]) -> None:
        """Keep users; an earlier one of the same id is replaced."""
        for one in users:
            row = (one.user_id, packed(one.fields), packed(list(one.exclude)))
            self._do("INSERT OR REPLACE INTO users VALUES (?,?,?)", row)

    def put_adapter(self, one: AdapterRecord) -> None:
        """Keep a user's adapter in the place of the former."""
        row = (one.user_id, one.base, one.as_of_event, one.sha256, one.blob)
        self._do("INSERT OR REPLACE INTO adapters VALUES (?,?,?,?,?)", row)

    def put_reason(self, recommendation_id: str, item_id: str, reason: Mapping[str, Any]) -> None:
        """Keep why an item was in a list; what was told first stays."""
        self._do("INSERT OR IGNORE INTO reasons VALUES (?,?,?)", (recommendation_id, item_id, packed(reason)))

    def put_fact(self, name: str, value: Any) -> None:
        """Keep a setting."""
        self._do("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, packed(value)))

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Delete all rows of a user; how many there were of each kind."""
        of_theirs = "SELECT recommendation_id FROM impressions WHERE user_id = ?"
        reasons = self._do(f"DELETE FROM reasons WHERE recommendation_id IN ({of_theirs}) RETURNING 1", (user_id,))
        told = {"reasons": len(reasons.fetchall())}
        for table in _TABLES_OF_USERS:
            told[table] = len(self._do(f"DELETE FROM {table} WHERE user_id = ? RETURNING 1", (user_id,)).fetchall())
        return told

    def prune_impressions(self, before: float) -> int:
        """Delete lists, and their reasons, that were answered before a moment; how many lists."""
        old = "SELECT recommendation_id FROM impressions WHERE at < ?"
        self._do(f"DELETE FROM reasons WHERE recommendation_id IN ({old})", (before,))
        return len(self._do("DELETE FROM impressions WHERE at < ? RETURNING 1", (before,)).fetchall())
