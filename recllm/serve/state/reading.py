"""What can be looked up while others write; each thread has a connection of its own."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recllm.serve.state.files import connect, refused
from recllm.serve.state.records import AdapterRecord, Event, Impression, ItemRecord, Stored, UserRecord
from recllm.serve.state.writing import EVENT

_TABLES = ("events", "impressions", "items", "users", "adapters", "reasons")
_AT_ONCE = 500
"""Ids in one statement."""


class Reading:
    """Looks up what is kept.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
    """

    def __init__(self, path: Path, vfs: str | None) -> None:
        self._path, self._vfs = path, vfs
        self._own = threading.local()
        self._connections: list[Any] = []

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with refused(self._path):
            if getattr(self._own, "connection", None) is None:
                self._own.connection = connect(self._path, self._vfs)
                self._connections.append(self._own.connection)
            rows: list[tuple[Any, ...]] = self._own.connection.execute(statement, values).fetchall()
            return rows

    @property
    def last_event(self) -> int:
        """Number of the newest event; 0: there is none."""
        return int(self._rows("SELECT coalesce(max(number), 0) FROM events")[0][0])

    def events_after(self, number: int, limit: int = 10_000) -> list[Stored]:
        """Events with higher numbers, in their order, so many at a time."""
        return self._events("number > ? ORDER BY number LIMIT ?", (number, limit))

    def events_of(self, user_id: str, up_to: int | None = None) -> list[Stored]:
        """A user's events, in the order of their numbers, up to one."""
        return self._events("user_id = ? AND number <= ? ORDER BY number", (user_id, 2**62 if up_to is None else up_to))

    def events_about(self, item_ids: Sequence[str]) -> list[Stored]:
        """Events with these items, in the order of their numbers."""
        found: list[Stored] = []
        for start in range(0, len(item_ids), _AT_ONCE):
            ids = item_ids[start : start + _AT_ONCE]
            found += self._events(f"item_id IN ({','.join('?' * len(ids))})", ids)
        return sorted(found, key=lambda one: one.number)

    def clicks_since(self, at: float) -> dict[str, frozenset[str]]:
        """Of lists from which events came since a moment: the items."""
        found: dict[str, set[str]] = {}
        rows = self._rows(
            "SELECT recommendation_id, item_id FROM events WHERE timestamp >= ? AND recommendation_id IS NOT NULL",
            (at,),
        )
        for name, item in rows:
            found.setdefault(name, set()).add(item)
        return {name: frozenset(items) for name, items in found.items()}

    def _events(self, where: str, values: Sequence[Any]) -> list[Stored]:
        rows = self._rows(f"SELECT number, {EVENT} FROM events WHERE {where}", tuple(values))
        return [Stored(int(number), Event(*event)) for number, *event in rows]

    def impression(self, recommendation_id: str) -> Impression | None:
        """A list that was answered."""
        found = self._impressions("recommendation_id = ?", (recommendation_id,))
        return found[0] if found else None

    def impressions_of(self, user_id: str) -> list[Impression]:
        """All lists that were answered to a user, oldest first."""
        return self._impressions("user_id = ? ORDER BY at", (user_id,))

    def impressions_since(self, at: float, limit: int) -> list[Impression]:
        """The newest lists since a moment, newest first."""
        return self._impressions("at >= ? ORDER BY at DESC LIMIT ?", (at, limit))

    def _impressions(self, where: str, values: Sequence[Any]) -> list[Impression]:
        rows = self._rows(f"SELECT * FROM impressions WHERE {where}", tuple(values))
        return [Impression(*row[:7], *(json.loads(part) for part in row[7:])) for row in rows]

    def reason(self, recommendation_id: str, item_id: str) -> Mapping[str, Any] | None:
        """Why an item was in a list, as it was told."""
        key = (recommendation_id, item_id)
        return self._json("SELECT reason FROM reasons WHERE recommendation_id = ? AND item_id = ?", key)

    def items(self, after: str | None = None, limit: int = 1_000) -> list[ItemRecord]:
        """Items that were sent, by id, so many at a time."""
        rows = self._rows("SELECT * FROM items WHERE item_id > ? ORDER BY item_id LIMIT ?", (after or "", limit))
        return [ItemRecord(item, json.loads(fields), bool(hidden)) for item, fields, hidden in rows]

    def item(self, item_id: str) -> ItemRecord | None:
        """An item that was sent."""
        rows = self._rows("SELECT * FROM items WHERE item_id = ?", (item_id,))
        return ItemRecord(rows[0][0], json.loads(rows[0][1]), bool(rows[0][2])) if rows else None

    def hidden(self) -> frozenset[str]:
        """Items that stay out of lists."""
        return frozenset(item for (item,) in self._rows("SELECT item_id FROM items WHERE hidden"))

    def user(self, user_id: str) -> UserRecord | None:
        """What is known of a user beside events."""
        rows = self._rows("SELECT * FROM users WHERE user_id = ?", (user_id,))
        return UserRecord(rows[0][0], json.loads(rows[0][1]), json.loads(rows[0][2])) if rows else None

    def exclusions(self) -> dict[str, list[str]]:
        """Of users who have any: items that are never listed to them."""
        return {
            user: json.loads(own)
            for user, own in self._rows("SELECT user_id, exclude FROM users WHERE exclude != '[]'")
        }

    def adapter(self, user_id: str, base: str) -> AdapterRecord | None:
        """A user's adapter for a model."""
        wanted = "SELECT user_id, base, as_of_event, blob, sha256 FROM adapters WHERE user_id = ? AND base = ?"
        rows = self._rows(wanted, (user_id, base))
        return AdapterRecord(*rows[0]) if rows else None

    def fact(self, name: str) -> Any:
        """A setting; None: there is none."""
        return self._json("SELECT value FROM facts WHERE name = ?", (name,))

    def counts(self) -> dict[str, int]:
        """Rows of each table, and bytes on the disk."""
        found = {table: int(self._rows(f"SELECT count(*) FROM {table}")[0][0]) for table in _TABLES}
        files = (self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm"))
        return {**found, "bytes": sum(path.stat().st_size for path in files if path.exists())}

    def _json(self, statement: str, values: Sequence[Any]) -> Any:
        rows = self._rows(statement, values)
        return json.loads(rows[0][0]) if rows else None
