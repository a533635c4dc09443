"""Gives back the room of rows that were erased, beside what goes on."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.connection import close, connect, log, refused
from recllm.serve.state.postgres.schema import TABLES

if TYPE_CHECKING:
    import psycopg


@final
class Vacuum:
    """A thread that comes when something was erased: by itself, Postgres may leave few deleted rows for months.

    Args:
        address: Of the shop.
        done: Called when nothing that was erased is left in any row.
    """

    def __init__(self, address: Address, done: Callable[[], None]) -> None:
        self._address, self._done = address, done
        self._lock = threading.Lock()
        self._again = self._stopped = False
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None

    def begin(self) -> None:
        """Something was erased."""
        with self._lock:
            self._again = True
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="recllm-vacuum", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Leave the rest to the next server, which begins with it."""
        with self._lock:
            self._stopped = True
            thread, connection = self._thread, self._connection
            if connection is not None:
                connection.cancel_safe(timeout=2.0)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._is_wanted():
            try:
                with refused(self._address):
                    self._vacuum()
            except Exception as error:  # the fact that there is something to do is kept
                if not self._stopped:
                    log.warning("what was erased still takes up room: %s", error)
                continue
            if not self._again and not self._stopped:
                self._done()

    def _is_wanted(self) -> bool:
        with self._lock:
            if self._again and not self._stopped:
                self._again = False
                return True
            self._thread = None
            return False

    def _vacuum(self) -> None:
        connection = connect(self._address, writes=True, patient=True)
        try:
            with self._lock:
                self._connection = connection
            for table in TABLES:
                if self._stopped:
                    return
                connection.execute(f"VACUUM {table}".encode())
        finally:
            with self._lock:
                self._connection = None
            close(connection)
