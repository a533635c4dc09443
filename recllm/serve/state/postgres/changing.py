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
    """

    _NAMES = "position(?::bytea IN message) > 0"

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        super().__init__()
        self._connection = connection

    def _found(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(asked(statement), values).fetchall()

    def _do(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(asked(statement), values).rowcount

    def _do_each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(asked(statement), rows)

    def _last_event(self) -> int:
        return int(self._found("SELECT last_event FROM about")[0][0])

    def _note_last_event(self, number: int) -> None:
        self._do("UPDATE about SET last_event = ?", (number,))
