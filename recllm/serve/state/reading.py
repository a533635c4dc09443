"""What can be looked up while others write; statements that SQLite and Postgres read alike."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from recllm.serve.state.figures import ListFigures, Statements, list_figures
from recllm.serve.state.records import AdapterRecord, Aside, Event, Impression, ItemRecord, Stored, UserRecord
from recllm.serve.state.writing import AT_ONCE, EVENT, IMPRESSION, unpacked_lines

_TABLES = ("events", "impressions", "items", "users", "adapters", "reasons", "aside")

_END = 2**62


class Reading(ABC):
    """Looks up what is kept, from any thread; nobody waits for the writer, and the writer waits for nobody.

    Every method raises StorageError where the disk or the database refuses, and ServeError where it is damaged.
    """

    _FIGURES: Statements

    @abstractmethod
    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement; `?` stands for each value."""

    @abstractmethod
    def _size(self) -> int:
        """Bytes on the disk."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened; closed already, nothing happens."""

    # -- events -------------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def last_event(self) -> int:
        """Number of the newest event that was ever taken in, erased ones included; 0: there was none."""

    def events_after(self, number: int, limit: int = 10_000) -> list[Stored]:
        """Events with higher numbers, in their order, so many at a time."""
        return self._events("number > ? ORDER BY number LIMIT ?", (number, limit))

    def events_of(self, user_id: str, up_to: int | None = None) -> list[Stored]:
        """A user's events, in the order of their numbers, up to one."""
        return self._events("user_id = ? AND number <= ? ORDER BY number", (user_id, _END if up_to is None else up_to))

    def events_about(self, item_ids: Sequence[str]) -> list[Stored]:
        """Events with these items, in the order of their numbers."""
        ids, found = list(dict.fromkeys(item_ids)), list[Stored]()
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            found += self._events(f"item_id IN ({','.join('?' * len(some))})", some)
        return sorted(found, key=lambda one: one.number)

    def clicks_since(self, at: float) -> dict[str, frozenset[str]]:
        """Of lists from which events came since a moment (their timestamps, unix seconds): the items."""
        found: dict[str, set[str]] = {}
        where = "timestamp >= ? AND recommendation_id IS NOT NULL"
        for name, item in self._rows(f"SELECT recommendation_id, item_id FROM events WHERE {where}", (at,)):
            found.setdefault(name, set()).add(item)
        return {name: frozenset(items) for name, items in found.items()}

    def _events(self, where: str, values: Sequence[Any]) -> list[Stored]:
        rows = self._rows(f"SELECT number, {EVENT} FROM events WHERE {where}", values)
        return [Stored(number, Event(*event)) for number, *event in rows]

    # -- lists --------------------------------------------------------------------------------------------------------

    def impression(self, recommendation_id: str) -> Impression | None:
        """A list that was answered."""
        found = self._impressions("recommendation_id = ?", (recommendation_id,))
        return found[0] if found else None

    def impressions_of(self, user_id: str) -> list[Impression]:
        """All lists that were answered to a user, oldest first."""
        return self._impressions("user_id = ? ORDER BY at, number", (user_id,))

    def impressions_since(self, at: float, limit: int) -> list[Impression]:
        """The newest lists since a moment, newest first."""
        return self._impressions("at >= ? ORDER BY at DESC, number DESC LIMIT ?", (at, limit))

    def _impressions(self, where: str, values: Sequence[Any]) -> list[Impression]:
        rows = self._rows(f"SELECT {IMPRESSION} FROM impressions WHERE {where}", values)
        found: list[Impression] = []
        for *facts, request, items, instead in rows:
            parts: list[Any] = [json.loads(request), unpacked_lines(items), tuple(json.loads(instead))]
            found.append(Impression(*facts, *parts))
        return found

    def figures(self, since: float, most: int = 20_000) -> ListFigures:
        """What became of lists since a moment (unix seconds), of so many of the newest."""
        return list_figures(self._rows, self._FIGURES, since, most)

    def reason(self, recommendation_id: str, item_id: str) -> Mapping[str, Any] | None:
        """Why an item was in a list, as it was told; None: it was not."""
        found: Mapping[str, Any] | None = self._json(
            "SELECT reason FROM reasons "
            "WHERE impression = (SELECT number FROM impressions WHERE recommendation_id = ?) AND item_id = ?",
            (recommendation_id, item_id),
        )
        return found

    # -- items and users ----------------------------------------------------------------------------------------------

    def items(self, after: str | None = None, limit: int = 1_000) -> list[ItemRecord]:
        """Items that were sent, by id, those after one, so many at a time."""
        return self._items(*_part("item_id", after, limit))

    def item(self, item_id: str) -> ItemRecord | None:
        """An item that was sent."""
        found = self._items("WHERE item_id = ?", (item_id,))
        return found[0] if found else None

    def hidden(self) -> frozenset[str]:
        """Items that stay out of lists."""
        return frozenset(item for (item,) in self._rows("SELECT item_id FROM items WHERE hidden"))

    def _items(self, where: str, values: Sequence[Any]) -> list[ItemRecord]:
        rows = self._rows(f"SELECT item_id, fields, hidden FROM items {where}", values)
        return [ItemRecord(item, json.loads(fields), bool(hidden)) for item, fields, hidden in rows]

    def users(self, after: str | None = None, limit: int = 1_000) -> list[UserRecord]:
        """Users of whom more than events is known, by id, those after one, so many at a time."""
        return self._users(*_part("user_id", after, limit))

    def user(self, user_id: str) -> UserRecord | None:
        """What is known of a user beside events."""
        found = self._users("WHERE user_id = ?", (user_id,))
        return found[0] if found else None

    def exclusions(self) -> dict[str, list[str]]:
        """Of users who have any: items that are never listed to them."""
        rows = self._rows("SELECT user_id, exclude FROM users WHERE exclude != '[]'")
        return {user: json.loads(own) for user, own in rows}

    def _users(self, where: str, values: Sequence[Any]) -> list[UserRecord]:
        rows = self._rows(f"SELECT user_id, fields, exclude FROM users {where}", values)
        return [UserRecord(user, json.loads(fields), tuple(json.loads(own))) for user, fields, own in rows]

    def adapter(self, user_id: str, base: str) -> AdapterRecord | None:
        """A user's adapter for a model."""
        wanted = "SELECT user_id, base, as_of_event, blob, sha256 FROM adapters WHERE user_id = ? AND base = ?"
        rows = self._rows(wanted, (user_id, base))
        return AdapterRecord(*rows[0]) if rows else None

    # -- the rest -----------------------------------------------------------------------------------------------------

    def aside(self, limit: int = 100) -> list[Aside]:
        """Messages of streams that are no events, the newest first."""
        rows = self._rows("SELECT source, at, problem, message FROM aside ORDER BY number DESC LIMIT ?", (limit,))
        return [Aside(*row) for row in rows]

    def fact(self, name: str) -> Any:
        """A setting; None: there is none."""
        return self._json("SELECT value FROM facts WHERE name = ?", (name,))

    def facts(self, beginning: str) -> dict[str, Any]:
        """Settings whose names begin like this, by the rest of the name."""
        statement = "SELECT name, value FROM facts WHERE substr(name, 1, ?) = ? ORDER BY name"
        rows = self._rows(statement, (len(beginning), beginning))
        return {name[len(beginning) :]: json.loads(value) for name, value in rows}

    def counts(self) -> dict[str, int]:
        """Rows of each table, and `bytes` on the disk."""
        found = {table: int(self._rows(f"SELECT count(*) FROM {table}")[0][0]) for table in _TABLES}
        return {**found, "bytes": self._size()}

    def _json(self, statement: str, values: Sequence[Any]) -> Any:
        rows = self._rows(statement, values)
        return json.loads(rows[0][0]) if rows else None


def _part(column: str, after: str | None, limit: int) -> tuple[str, tuple[Any, ...]]:
    """A part of a table in the order of a column."""
    if after is None:
        return f"ORDER BY {column} LIMIT ?", (limit,)
    return f"WHERE {column} > ? ORDER BY {column} LIMIT ?", (after, limit)
