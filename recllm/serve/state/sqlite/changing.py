"""Changes in SQLite."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from recllm.serve.state.writing import Transaction

if TYPE_CHECKING:
    import apsw


@final
class SqliteTransaction(Transaction):
    """Changes of one group in SQLite.

    Args:
        connection: The writer's.
    """

    _NAMES = "instr(message, ?)"

    def __init__(self, connection: "apsw.Connection") -> None:
        super().__init__()
        self._connection = connection

    def _found(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, tuple(values)).fetchall()
        return rows

    def _do(self, statement: str, values: Sequence[Any] = ()) -> int:
        self._connection.execute(statement, tuple(values))
        return int(self._connection.changes())

    def _do_each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(statement, map(tuple, rows))

    def _last_event(self) -> int:
        rows = self._found("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def _note_last_event(self, number: int) -> None:
        """SQLite notes it by itself."""
