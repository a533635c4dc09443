"""What can be looked up in a shop's schema, by a server or beside it."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recllm.errors import ServeError, require
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.connection import asked, close, connect, refused
from recllm.serve.state.postgres.counting import FIGURES
from recllm.serve.state.reading import Reading

if TYPE_CHECKING:
    import psycopg

_MOST_IDLE = 8
"""Connections that are kept for whoever reads next."""

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'
"""


class PostgresReading(Reading):
    """Looks up what is kept in a schema, whether it is served or not.

    Args:
        address: Of the shop.
    """

    _FIGURES = FIGURES

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[psycopg.Connection[Any]] = []
        self._readable = True

    def close(self) -> None:
        """Close all connections; closed already, nothing happens."""
        self._readable = False
        self._close_idle()

    @property
    def last_event(self) -> int:
        """Number of the newest event that was ever taken in, erased ones included; 0: there was none."""
        return int(self._rows("SELECT last_event FROM about")[0][0])

    def _size(self) -> int:
        return int(self._rows(_SIZE, (self._address.schema,))[0][0])

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        psycopg = require("psycopg", "scale")
        with refused(self._address, reading=True):
            while True:
                connection, is_fresh = self._taken()
                try:
                    rows: list[tuple[Any, ...]] = connection.execute(asked(statement), values).fetchall()
                except BaseException as error:
                    # A connection that was lost while nobody used it says nothing of the database as it is now.
                    is_stale = not is_fresh and connection.closed and isinstance(error, psycopg.OperationalError)
                    close(connection)
                    if not is_stale:
                        raise
                else:
                    self._given_back(connection)
                    return rows

    def _taken(self) -> "tuple[psycopg.Connection[Any], bool]":
        """A connection that nobody else uses meanwhile, and whether it was made just now."""
        if not self._readable:
            raise ServeError("the server has stopped; start it again.")
        try:
            return self._idle.pop(), False
        except IndexError:
            return connect(self._address), True

    def _given_back(self, connection: "psycopg.Connection[Any]") -> None:
        if not self._readable or len(self._idle) >= _MOST_IDLE:
            close(connection)
        else:
            self._idle.append(connection)

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                close(self._idle.pop())
