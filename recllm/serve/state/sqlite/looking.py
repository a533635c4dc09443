"""What can be looked up in a SQLite file, by a server or beside it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recllm.errors import ServeError, UnknownError
from recllm.serve.state.reading import Reading
from recllm.serve.state.sqlite.connection import NAME, close, connect, refused
from recllm.serve.state.sqlite.counting import FIGURES
from recllm.serve.state.sqlite.schema import STEPS, check_version

if TYPE_CHECKING:
    import apsw

_MOST_IDLE = 16
"""Connections that are kept for whoever reads next."""


class SqliteReading(Reading):
    """Looks up what is kept in a file.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
    """

    _FIGURES = FIGURES

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._path, self._vfs = path, vfs
        self._idle: list[apsw.Connection] = []
        self._readable = True

    @classmethod
    def beside(cls, folder: Path) -> "SqliteReading":
        """Look into a server's folder, whether it is served or not.

        Raises:
            UnknownError: There is nothing.
            ServeError: The file is damaged, of a newer recllm, or of something else.
        """
        path = folder / NAME
        if not path.is_file():
            raise UnknownError(f"{folder} holds no events of a server; give the folder of `recllm serve --data`.")
        return cls.of(path)

    @classmethod
    def of(cls, path: Path) -> "SqliteReading":
        """Look into a file.

        Raises:
            ServeError: It is damaged, of another version, or of something else.
        """
        reading = SqliteReading(path)
        with refused(path, reading=True), reading._reader() as connection:
            version = check_version(connection, str(path))
        if version < len(STEPS):
            reading.close()
            raise ServeError(f"{path} is of an earlier recllm; serve its folder once, which brings it up to date.")
        return reading

    def rows_after(self, table: str, columns: str, place: int, limit: int) -> list[tuple[Any, ...]]:
        """Rows of a table as they are, after a place, each with its own place before it."""
        return self._rows(
            f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?", (place, limit)
        )

    def close(self) -> None:
        """Close all files; closed already, nothing happens."""
        self._readable = False
        self._close_idle()

    @property
    def last_event(self) -> int:
        """Number of the newest event that was ever taken in, erased ones included; 0: there was none."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def _size(self) -> int:
        size = 0
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                size += self._path.with_name(self._path.name + end).stat().st_size
        return size

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with refused(self._path, reading=True), self._reader() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, tuple(values)).fetchall()
            return rows

    @contextlib.contextmanager
    def _reader(self) -> "Iterator[apsw.Connection]":
        """A connection that nobody else uses meanwhile; one that has met an error is not used again."""
        if not self._readable:
            raise ServeError("the server has stopped; start it again.")
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self._path, self._vfs)
        try:
            yield connection
        except BaseException:
            close(connection)
            raise
        self._idle.append(connection)
        if not self._readable or len(self._idle) > _MOST_IDLE:
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                close(self._idle.pop())
