"""The tables in Postgres, and how those of an earlier version become those of today."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recllm.errors import ServeError
from recllm.serve.state.postgres.address import Address

if TYPE_CHECKING:
    import psycopg

# What SQLite does by itself: texts are compared byte by byte. `about` has one row: which server writes (each one that
# begins is the next generation), how many transactions it has made durable, and the number of the newest event.
_FIRST = """
CREATE TABLE about (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    commits bigint NOT NULL DEFAULT 0,
    last_event bigint NOT NULL DEFAULT 0
);
INSERT INTO about (version) VALUES (0);
CREATE TABLE events (
    number bigint PRIMARY KEY,
    event_id text COLLATE "C" NOT NULL UNIQUE,
    user_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    timestamp double precision NOT NULL,
    kind text NOT NULL,
    rating double precision,
    weight double precision,
    recommendation_id text COLLATE "C"
);
CREATE INDEX events_by_user ON events (user_id, number);
CREATE INDEX events_by_item ON events (item_id);
CREATE INDEX events_of_lists ON events (timestamp) WHERE recommendation_id IS NOT NULL;
CREATE TABLE impressions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recommendation_id text COLLATE "C" NOT NULL UNIQUE,
    user_id text COLLATE "C",
    at double precision NOT NULL,
    kind text NOT NULL,
    version text NOT NULL,
    as_of_event bigint NOT NULL,
    policy text NOT NULL,
    request text NOT NULL,
    items text NOT NULL,
    instead text NOT NULL
);
CREATE INDEX impressions_by_user ON impressions (user_id, at, number) WHERE user_id IS NOT NULL;
CREATE INDEX impressions_by_time ON impressions (at, number);
CREATE TABLE reasons (
    impression bigint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    UNIQUE (impression, item_id)
);
CREATE TABLE items (item_id text COLLATE "C" PRIMARY KEY, fields text NOT NULL, hidden boolean NOT NULL);
CREATE INDEX items_hidden ON items (item_id) WHERE hidden;
CREATE TABLE users (user_id text COLLATE "C" PRIMARY KEY, fields text NOT NULL, exclude text NOT NULL);
CREATE INDEX users_with_exclusions ON users (user_id) WHERE exclude != '[]';
CREATE TABLE adapters (
    user_id text COLLATE "C" PRIMARY KEY,
    base text NOT NULL,
    as_of_event bigint NOT NULL,
    blob bytea NOT NULL,
    sha256 text NOT NULL
);
CREATE TABLE facts (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
"""


def _first(connection: "psycopg.Connection[Any]") -> None:
    connection.execute(_FIRST.encode())


def _second(connection: "psycopg.Connection[Any]") -> None:
    connection.execute(
        b"CREATE TABLE aside (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL UNIQUE, "
        b"at double precision NOT NULL, problem text NOT NULL, message bytea NOT NULL)"
    )


STEPS: tuple[Callable[["psycopg.Connection[Any]"], None], ...] = (_first, _second)
"""The step at place k makes version k + 1 of version k. Steps that were published are never changed."""

TABLES = ("events", "impressions", "reasons", "items", "users", "adapters", "facts", "aside")

_OF_THE_FIRST = {"about", "events", "facts"}


def migrate(connection: "psycopg.Connection[Any]", address: Address) -> None:
    """Bring the tables to the version of today; all of it, or nothing.

    Args:
        connection: The writer's, which has the shop's lock.
        address: Of the shop.

    Raises:
        ServeError: They are of a newer recllm, or of something else, or the database keeps no UTF-8.
    """
    encoding = connection.execute("SHOW server_encoding").fetchall()[0][0]
    if encoding != "UTF8":
        raise ServeError(f"the database {address.name} keeps {encoding}, not UTF8; make one with ENCODING 'UTF8'.")
    with connection.transaction():
        version = _version(connection, address)
        if version == len(STEPS):
            return
        for step in STEPS[version:]:
            step(connection)
        connection.execute("UPDATE about SET version = %s", (len(STEPS),))


def _version(connection: "psycopg.Connection[Any]", address: Address) -> int:
    """The version of a schema's tables; 0: there are none yet, but the schema is there."""
    name = (address.schema,)
    if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", name).fetchall():
        connection.execute(f'CREATE SCHEMA "{address.schema}"'.encode())
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", name).fetchall()
    tables = {table for (table,) in rows}
    if not tables:
        return 0
    if not tables >= _OF_THE_FIRST:
        raise ServeError(f"{address.name} holds tables of something else; give another schema: ?schema=shop.")
    version = int(connection.execute("SELECT version FROM about").fetchall()[0][0])
    if version > len(STEPS):
        raise ServeError(
            f"{address.name} was written by a newer recllm (tables of version {version}, this one knows {len(STEPS)}); "
            "install that recllm again, or use a dump from before."
        )
    return version
