"""The tables, and how those of an earlier version become those of today."""

from collections.abc import Callable
from typing import Any

from recllm.errors import ServeError

APPLICATION = 0x7265636C
"""Says that a SQLite file is ours: "recl"."""

_FIRST = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    timestamp REAL NOT NULL,
    kind TEXT NOT NULL DEFAULT '',
    rating REAL,
    weight REAL,
    recommendation_id TEXT
);
CREATE INDEX events_of_user ON events (user_id, number);
CREATE INDEX events_about_item ON events (item_id);
CREATE INDEX events_of_list ON events (timestamp, recommendation_id, item_id) WHERE recommendation_id IS NOT NULL;
CREATE TABLE impressions (
    recommendation_id TEXT PRIMARY KEY,
    user_id TEXT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    as_of_event INTEGER NOT NULL,
    policy TEXT NOT NULL,
    request TEXT NOT NULL,
    items TEXT NOT NULL,
    instead TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX impressions_of_user ON impressions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX impressions_at ON impressions (at);
CREATE TABLE items (item_id TEXT PRIMARY KEY, fields TEXT NOT NULL, hidden INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE users (user_id TEXT PRIMARY KEY, fields TEXT NOT NULL, exclude TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE adapters (
    user_id TEXT PRIMARY KEY, base TEXT NOT NULL, as_of_event INTEGER NOT NULL, sha256 TEXT NOT NULL, blob BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE reasons (
    recommendation_id TEXT NOT NULL, item_id TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (recommendation_id, item_id)
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def _first(connection: Any) -> None:
    connection.execute(_FIRST)


MIGRATIONS: tuple[Callable[[Any], None], ...] = (_first,)
"""The step at place k makes version k + 1 of version k."""

VERSION = len(MIGRATIONS)
"""Of the tables of today."""


def migrate(connection: Any, where: str) -> None:
    """Bring the tables to the version of today; all of it, or nothing.

    Args:
        connection: Open for writing.
        where: The file, for sentences.

    Raises:
        ServeError: It is of a newer recllm, or of something else.
    """
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if version > VERSION and application == APPLICATION:
        raise ServeError(
            f"{where} was written by a newer recllm (tables of version {version}, this one knows {VERSION}); install "
            "that recllm again, or restore a backup of before."
        )
    if application != APPLICATION and (
        application or connection.execute("SELECT 1 FROM sqlite_schema").get is not None
    ):
        raise ServeError(f"{where} is a database of something else; give a folder of its own.")
    if version == VERSION:
        return
    with connection:
        for step in MIGRATIONS[version:]:
            step(connection)
        connection.pragma("application_id", APPLICATION)
        connection.pragma("user_version", VERSION)
