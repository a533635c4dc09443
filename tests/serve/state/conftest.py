"""A store of either kind, in the tests that hold both to the same contract."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recllm.serve.state.postgres.store import PostgresStore
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.state.store import Store
from tests.serve.state.postgres.server import Postgres

Opens = Callable[..., Store]
"""Opens the same store again and again; takes `queue`."""

KINDS = ["sqlite", "postgres"]

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where fsync costs nothing; None: wherever."""

_places = itertools.count(1)


@contextlib.contextmanager
def new_place(kind: str, request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Opens a store of a kind, where nothing is yet; closes what was opened, and leaves nothing."""
    opened: list[Store] = []
    schema = f"place_{next(_places)}"
    postgres: Postgres | None = request.getfixturevalue("postgres") if kind == "postgres" else None
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:

        def opens(**more: int) -> Store:
            if postgres is None:
                store: Store = SqliteStore.open(Path(folder), **more)
            else:
                store = PostgresStore.open(Path(folder), postgres.address(schema=schema), **more)
            opened.append(store)
            return store

        try:
            yield opens
        finally:
            for store in opened:
                store.close()
            if postgres is not None:
                postgres.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=KINDS)
def opens(request: pytest.FixtureRequest) -> Iterator[Opens]:
    with new_place(request.param, request) as opens:
        yield opens


@pytest.fixture
def store(opens: Opens) -> Store:
    return opens()
