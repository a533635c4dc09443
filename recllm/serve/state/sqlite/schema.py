"""The tables, and how those of an earlier version become those of today."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from recllm.errors import ServeError

if TYPE_CHECKING:
    import apsw

APPLICATION = 0x7265636C
"""Says that a SQLite file is ours: "recl"."""

# Wide rows go into tables by number, in the order of coming, so that a new one is written at the end and old ones lie
# together; what is looked up by name has an index of names alone. AUTOINCREMENT: a number is never given twice.
_FIRST = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    timestamp REAL NOT NULL,
    kind TEXT NOT NULL,
    rating REAL,
    weight REAL,
    recommendation_id TEXT
);
CREATE INDEX events_by_user ON events (user_id);
CREATE INDEX events_by_item ON events (item_id);
CREATE INDEX events_of_lists ON events (timestamp, recommendation_id, item_id) WHERE recommendation_id IS NOT NULL;
CREATE TABLE impressions (
    number INTEGER PRIMARY KEY,
    recommendation_id TEXT NOT NULL UNIQUE,
    user_id TEXT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    as_of_event INTEGER NOT NULL,
    policy TEXT NOT NULL,
    request TEXT NOT NULL,
    items TEXT NOT NULL,
    instead TEXT NOT NULL
);
CREATE INDEX impressions_by_user ON impressions (user_id, at) WHERE user_id IS NOT NULL;
CREATE INDEX impressions_by_time ON impressions (at);
CREATE TABLE reasons (
    impression INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (impression, item_id)
);
CREATE TABLE items (item_id TEXT PRIMARY KEY NOT NULL, fields TEXT NOT NULL, hidden INTEGER NOT NULL);
CREATE INDEX items_hidden ON items (item_id) WHERE hidden;
CREATE TABLE users (user_id TEXT PRIMARY KEY NOT NULL, fields TEXT NOT NULL, exclude TEXT NOT NULL);
CREATE INDEX users_with_exclusions ON users (user_id) WHERE exclude != '[]';
CREATE TABLE adapters (
    user_id TEXT PRIMARY KEY NOT NULL,
    base TEXT NOT NULL,
    as_of_event INTEGER NOT NULL,
    blob BLOB NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
"""


def _first(connection: "apsw.Connection") -> None:
    connection.execute(_FIRST)


def _second(connection: "apsw.Connection") -> None:
    connection.execute(
        "CREATE TABLE aside (number INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, at REAL NOT NULL, "
        "problem TEXT NOT NULL, message BLOB NOT NULL)"
    )


STEPS: tuple[Callable[["apsw.Connection"], None], ...] = (_first, _second)
"""The step at place k makes version k + 1 of version k. Steps that were published are never changed."""


def check_version(connection: "apsw.Connection", where: str) -> int:
    """The version of a file's tables; 0: there are none yet.

    Args:
        connection: To the file.
        where: The file, for sentences.

    Raises:
        ServeError: It is of a newer recllm, or of something else.
    """
    application, version = connection.pragma("application_id"), int(connection.pragma("user_version"))
    if application != APPLICATION:
        if application or version or connection.execute("SELECT 1 FROM sqlite_schema").get is not None:
            raise ServeError(f"{where} is a database of something else; give one of recllm's, or a new folder.")
        return 0
    if version > len(STEPS):
        raise ServeError(
            f"{where} was written by a newer recllm (tables of version {version}, this one knows {len(STEPS)}); "
            "install that recllm again, or use a backup from before."
        )
    return version


def migrate(connection: "apsw.Connection", where: str) -> None:
    """Bring the tables to the version of today; all of it, or nothing.

    Args:
        connection: The writer's.
        where: The file, for sentences.

    Raises:
        ServeError: It is of a newer recllm, or of something else.
    """
    version = check_version(connection, where)
    if version == len(STEPS):
        return
    with connection:
        for step in STEPS[version:]:
            step(connection)
        connection.pragma("application_id", APPLICATION)
        connection.pragma("user_version", len(STEPS))


def described(connection: "apsw.Connection") -> set[tuple[str | None, ...]]:
    """What a file declares: tables and indexes, and whatever else somebody put in."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    return set(rows)
