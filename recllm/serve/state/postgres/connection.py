"""Connections to Postgres, and what its errors are called here."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from recllm.errors import DataError, ServeError, StorageError, UnreachableError, require
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.sqlite.connection import no_text

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("recllm.serve")

CONNECTING = 5
"""Seconds that a connection may take to come about."""

LONGEST_ID = 2_600
"""Bytes of an id, so that it fits into Postgres' indexes."""

# Of a machine that is gone, nothing is heard: after half a minute it is taken for gone.
_ALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_UNHEARD_MS = 25_000

_SETTINGS = """
SET client_encoding TO 'UTF8';
SET lock_timeout TO '5s';
SET statement_timeout TO '120s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_AWAY = ("08", "57P", "53300")
_REFUSES = ("53", "58", "25006", "25P03", "57014", "55P03", "40")
_DAMAGED = ("XX001", "XX002")
_FORBIDDEN = ("42501",)
_GONE = ("42P01", "42703", "3F000")
_TOO_LONG = ("54000",)
_NO_TEXT = ("22021",)


def connect(address: Address, *, writes: bool = False, patient: bool = False) -> "psycopg.Connection[Any]":
    """A connection, which one thread uses at a time; each statement is a transaction, until one is begun.

    Args:
        address: Of the shop.
        writes: Whether it may change anything.
        patient: Whether a statement may take as long as it likes.
    """
    connection: psycopg.Connection[Any] = require("psycopg", "scale").connect(
        address.conninfo,
        autocommit=True,
        connect_timeout=CONNECTING,
        application_name=f"recllm {socket.gethostname()[:30]}:{os.getpid()}",
        tcp_user_timeout=_UNHEARD_MS,
        **_ALIVE,
    )
    try:
        only = "" if writes else "SET default_transaction_read_only TO on;"
        # The schema's name is checked: it holds nothing that would have to be quoted.
        where = f'SET search_path TO "{address.schema}", public;'
        connection.execute((_SETTINGS + only + where + ("SET statement_timeout TO 0;" if patient else "")).encode())
    except BaseException:
        connection.close()
        raise
    return connection


@cache
def asked(statement: str) -> bytes:
    """A statement with `?` for each value, as psycopg wants it."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def is_of_one(error: Exception) -> bool:
    """Whether an error is only about what one change asked for, and the others may be kept."""
    psycopg = require("psycopg", "scale")
    if not isinstance(error, psycopg.Error):
        return True
    state = error.sqlstate or ""
    return state.startswith(_TOO_LONG) or not (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        or state.startswith((*_AWAY, *_REFUSES, *_DAMAGED, *_GONE, *_FORBIDDEN))
    )


@contextlib.contextmanager
def refused(address: Address, *, reading: bool = False) -> Iterator[None]:
    """Postgres' errors as ours, in one sentence.

    Args:
        address: Of the shop.
        reading: Whether it is only read.

    Raises:
        UnreachableError: The database is away.
        StorageError: It refuses.
        ServeError: It is damaged, or not what it was.
        DataError: A text cannot be kept.
    """
    psycopg = require("psycopg", "scale")
    try:
        yield
    except UnicodeEncodeError as error:
        raise no_text(error) from error
    except psycopg.Error as error:
        raise failure(address, error, reading=reading) from error


def failure(address: Address, error: Any, *, reading: bool = False) -> ServeError | DataError:
    """What is said of an error of Postgres."""
    psycopg = require("psycopg", "scale")
    state, said = error.sqlstate or "", (str(error).strip() or type(error).__name__).splitlines()[0]
    said = said.rpartition("failed: ")[2][:120]  # where it is about connecting, that stands before the reason
    if state.startswith(_NO_TEXT) or (isinstance(error, psycopg.DataError) and "NUL" in said):
        return DataError("a text holds the character NUL, which Postgres does not keep; leave it out.")
    if state.startswith(_TOO_LONG):
        return DataError(f"an id is longer than {LONGEST_ID:,} bytes, which Postgres cannot look up; shorten it.")
    if state.startswith(_DAMAGED):
        return ServeError(f"the database {address.name} is damaged ({said}); restore a dump of it.")
    if state.startswith(_FORBIDDEN):
        return ServeError(f"the user may not do this in {address.name} ({said}); grant it, or name another user.")
    if state.startswith(_GONE):
        return ServeError(f"tables are missing in {address.name} ({said}); restore a dump, or give another schema.")
    if state.startswith(_REFUSES) and not state.startswith(_AWAY):
        kept = "cannot be read" if reading else "does not keep it, so it was not taken in"
        return StorageError(f"the database {address.name} {kept} ({said}); look at it, and ask again.")
    if not state or state.startswith(_AWAY) or isinstance(error, psycopg.OperationalError):
        return away(address, said)
    return ServeError(f"the database {address.name} failed ({said}); its log says why.")


def away(address: Address, said: str) -> UnreachableError:
    """The database cannot be reached."""
    return UnreachableError(f"the database {address.name} cannot be reached ({said}); ask again in a moment.")


def close(connection: "psycopg.Connection[Any]") -> None:
    """Close a connection; it is gone whatever the database says to that."""
    try:
        connection.close()
    except Exception as error:
        log.warning("closing a connection to the database: %s", error)
