"""From a backup of SQLite into Postgres."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from recllm.errors import ServeError
from recllm.serve.state.postgres.changing import PostgresTransaction
from recllm.serve.state.postgres.store import PostgresStore
from recllm.serve.state.sqlite.backup import check_backup
from recllm.serve.state.sqlite.looking import SqliteReading
from recllm.serve.state.writing import AT_ONCE, EVENT, IMPRESSION, Transaction

_COLUMNS = {
    "events": f"number, {EVENT}",
    "impressions": f"number, {IMPRESSION}",
    "reasons": "impression, item_id, reason",
    "items": "item_id, fields, hidden",
    "users": "user_id, fields, exclude",
    "adapters": "user_id, base, as_of_event, blob, sha256",
    "facts": "name, value",
    "aside": "number, source, at, problem, message",
}
_HIDDEN = 2


def move(source: Path, folder: Path, address: str) -> dict[str, int]:
    """Copy a backup into a shop that holds nothing, all of it or nothing; how many rows of each kind.

    Args:
        source: A file that `recllm backup` wrote.
        folder: Of the server that is to serve the shop.
        address: Of the shop.

    Raises:
        UnknownError: There is no such file.
        ServeError: The backup is damaged or of another version, or the shop is served or holds something.
        StorageError: The database refuses.
        DataError: A text cannot be kept in Postgres.
    """
    check_backup(source)
    with closing(PostgresStore.open(folder, address)) as store, closing(SqliteReading.of(source)) as reading:
        if store.last_event or any(count for name, count in store.counts().items() if name != "bytes"):
            raise ServeError(
                f"{store.name} holds events already; give a new schema, so that nothing of either is lost."
            )
        last = reading.last_event
        return store.write(lambda change: _filled(change, reading, last)).result()


def _filled(change: Transaction, reading: SqliteReading, last_event: int) -> dict[str, int]:
    assert isinstance(change, PostgresTransaction)
    told = {}
    for table, columns in _COLUMNS.items():
        told[table] = 0
        for rows in _parts(reading, table, columns):
            change.copy_rows(table, columns, rows)
            told[table] += len(rows)
    change.number_from(last_event, ("impressions", "aside"))
    return told


def _parts(reading: SqliteReading, table: str, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of a table, so many at a time, in the order in which they lie."""
    place = -1
    while rows := reading.rows_after(table, columns, place, 20 * AT_ONCE):
        place = rows[-1][0]
        kept = [row[1:] for row in rows]
        if table == "items":
            kept = [(*row[:_HIDDEN], bool(row[_HIDDEN])) for row in kept]
        yield kept
