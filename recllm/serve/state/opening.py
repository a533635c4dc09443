"""Opens the store that an address names."""

from pathlib import Path

from recllm.errors import ConfigError
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.state.store import Store

POSTGRES = ("postgresql://", "postgres://")


def open_store(folder: Path, address: str | None = None) -> Store:
    """Open a server's store, for one server at a time.

    Args:
        folder: Of the server; made if missing.
        address: `postgresql://user@host/database?schema=shop`; None: SQLite, in the folder.

    Raises:
        ConfigError: The address is none.
        ServeError: It is served already; or what is kept is damaged, of a newer recllm, or of something else.
        StorageError: The disk or the database refuses.
    """
    if address is None:
        return SqliteStore.open(folder)
    if not address.startswith(POSTGRES):
        raise ConfigError(f"{address[:40]!r} names no store; write postgresql://user@host/database?schema=shop.")
    from recllm.serve.state.postgres.store import PostgresStore

    return PostgresStore.open(folder, address)
