"""Opens the store that an address names."""

from pathlib import Path

from recllm.errors import ConfigError
from recllm.serve.state.reading import Reading
from recllm.serve.state.sqlite.looking import SqliteReading
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.state.store import Store

_POSTGRES = ("postgresql://", "postgres://")


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
    _check(address)
    from recllm.serve.state.postgres.store import PostgresStore

    return PostgresStore.open(folder, address)


def look(folder: Path, address: str | None = None) -> Reading:
    """Look at what a server keeps, whether it runs or not; see `open_store`.

    Raises:
        UnknownError: There is nothing.
    """
    if address is None:
        return SqliteReading.beside(folder)
    _check(address)
    from recllm.serve.state.postgres.address import Address
    from recllm.serve.state.postgres.looking import PostgresReading

    return PostgresReading(Address.of(address))


def _check(address: str) -> None:
    if not address.startswith(_POSTGRES):
        # What somebody wrote there by mistake may hold a password.
        raise ConfigError(
            f"{address.partition(':')[0][:20]!r} names no kind of store; write "
            "postgresql://user@host/database?schema=shop."
        )
