"""How a file is read: by whom, beside what, and how little of it."""

import os
import stat
import threading
from pathlib import Path

import pytest

from recllm.serve.state.sqlite.store import SqliteStore
from tests.serve.state.test_store import Held
from tests.serve.state.world import add, event


def test_any_character_comes_back(store: SqliteStore) -> None:
    add(store, event("1", item="nul\0inside"))
    assert store.events_about(["nul\0inside"])[0].event == event("1", item="nul\0inside")


def test_files_are_their_owners_alone(store: SqliteStore, folder: Path) -> None:
    add(store, event("1"))
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_reads_and_writes_do_not_wait_for_each_other(store: SqliteStore) -> None:
    add(store, event("1"))
    with store._reader() as reading:
        rows = reading.execute("SELECT event_id FROM events")
        assert next(rows) == ("1",)
        add(store, event("2"))
        held = Held(store)
        assert store.last_event == 2
        held.let_go()


def test_readers_share_connections(store: SqliteStore) -> None:
    def read() -> None:
        for _ in range(20):
            store.events_of("ann")

    for _ in range(5):
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert 1 <= len(store._idle) <= 16


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM events WHERE user_id = 'a' AND number <= 5 ORDER BY number",
        "SELECT * FROM events WHERE item_id IN ('a', 'b')",
        "SELECT recommendation_id, item_id FROM events WHERE timestamp >= 5 AND recommendation_id IS NOT NULL",
        "SELECT * FROM impressions WHERE user_id = 'a' ORDER BY at, number",
        "SELECT * FROM impressions WHERE at >= 5 ORDER BY at DESC, number DESC LIMIT 5",
        "SELECT number FROM impressions WHERE at < 5 LIMIT 10",
        "SELECT item_id FROM items WHERE hidden",
        "SELECT * FROM items WHERE item_id > 'a' ORDER BY item_id LIMIT 5",
    ],
)
def test_look_ups_read_no_whole_table(store: SqliteStore, statement: str) -> None:
    plan = " / ".join(row[3] for row in store._rows(f"EXPLAIN QUERY PLAN {statement}"))
    assert "INDEX" in plan
    assert "TEMP B-TREE" not in plan
