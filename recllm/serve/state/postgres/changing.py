"""Changes in Postgres."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from recllm.serve.state.postgres.connection import asked
from recllm.serve.state.writing import Transaction

if TYPE_CHECKING:
    import psycopg


@final
class PostgresTransaction(Transaction):
    """Changes of one group in Postgres.

    Args:
        connection: The writer's.

    Attributes:
        last_event: Number of the newest event, as far as it was asked for; None: it was not.
    """

    _NAMES = "position(?::bytea IN message) > 0"

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        super().__init__()
        self._connection = connection
        self.last_event: int | None = None
        self._written: int | None = None

    def _found(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(asked(statement), values).fetchall()

    def _do(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(asked(statement), values).rowcount

    def _do_each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) == 1:
            self._do(statement, rows[0])
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(asked(statement), rows)

    def copy_rows(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows of another store, with the numbers that they have there."""
        marks = ",".join("?" * len(rows[0]))
        self._do_each(f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({marks})", rows)

    def number_from(self, last_event: int, tables: Sequence[str]) -> None:
        """Go on numbering after what was copied."""
        self._note_last_event(last_event)
        for table in tables:
            numbers = f"pg_get_serial_sequence('{table}', 'number')"
            self._found(f"SELECT setval({numbers}, coalesce(max(number), 0) + 1, false) FROM {table}")

    def _last_event(self) -> int:
        if self.last_event is None:
            self.last_event = self._written = int(self._found("SELECT last_event FROM about")[0][0])
        return self.last_event

    def _note_last_event(self, number: int) -> None:
        self.last_event = number

    def undone(self, last_event: int | None) -> None:
        """A change was rolled back, at whose beginning this was the newest event."""
        self.last_event = self._written if last_event is None else last_event

    def finish(self) -> None:
        """Write down, once for all changes, what they noted."""
        if self.last_event != self._written:
            self._do("UPDATE about SET last_event = ?", (self.last_event,))
