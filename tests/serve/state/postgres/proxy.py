"""Stands between a client and the database, and cuts the line at a chosen moment."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

BEFORE, AFTER = "before", "after"


class Line:
    """A line to the database.

    Attributes:
        folder: Where a client connects to, as the `host` of libpq.
        cut_at: Cut the line `BEFORE` the database hears of the next COMMIT, or `AFTER` it has made it durable.
        is_down: Whether nobody gets through.
        cuts: How often it was cut.
    """

    def __init__(self, folder: Path, host: Path) -> None:
        self.folder, self._host = folder, host
        self.cut_at: str | None = None
        self.is_down = False
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as database:
            if self.is_down:
                return
            database.connect(str(self._host / ".s.PGSQL.5432"))
            while True:
                ready, _, _ = select.select([client, database], [], [])
                for side in ready:
                    said = side.recv(1 << 16)
                    if not said or (self.is_down and side is client):
                        return
                    if side is client and b"COMMIT" in said and self.cut_at is not None:
                        at, self.cut_at, self.is_down = self.cut_at, None, True
                        if at == AFTER:
                            database.sendall(said)
                            database.recv(1 << 16)
                        self.cuts += 1
                        return
                    (database if side is client else client).sendall(said)


@contextlib.contextmanager
def line(folder: Path, host: Path) -> Iterator[Line]:
    folder.mkdir()
    made = Line(folder, host)
    try:
        yield made
    finally:
        made.close()
