from collections.abc import Iterator
from pathlib import Path

import pytest

from recllm.serve.state.sqlite.store import SqliteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.open(folder)
    yield store
    store.close()
