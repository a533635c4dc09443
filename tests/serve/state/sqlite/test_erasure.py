"""What was erased is in no file."""

import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from recllm.errors import StorageError
from recllm.serve.state.records import AdapterRecord, UserRecord
from recllm.serve.state.sqlite import writer
from recllm.serve.state.sqlite.erasure import unused
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.state.writing import Transaction
from tests.serve.state.world import add, event, impression

CANARY = "CANARY"


def hits(folder: Path) -> int:
    """How often the canary is in files of the folder; read by another process, as closing a file drops its locks."""
    # grep counts lines, and a database has few; -o counts each.
    found = subprocess.run(["grep", "-a", "-o", "-r", CANARY, str(folder)], capture_output=True, text=True, check=False)
    return len(found.stdout.splitlines())


def wait_until_clean(store: SqliteStore) -> None:
    until = time.monotonic() + 10
    while store._writer.unclean and time.monotonic() < until:
        time.sleep(0.01)


def live(change: Transaction, user: str, name: str, rng: random.Random) -> None:
    """What a user leaves behind, everywhere."""
    item, told = f"i{rng.randrange(50)}", f"{user}-{name}"
    change.add_events([event(f"{told}-{rng.random()}", user, item, recommendation_id=told)])
    change.add_impression(impression(told, user, items=(item, user)))
    change.put_reason(told, item, {"because": told * 20})
    change.put_users([UserRecord(user, {"about": told * rng.randrange(40)}, (told,))])
    change.put_adapter(AdapterRecord(user, "m", 1, told.encode() * rng.randrange(800), "hash"))


def test_all_of_a_user_is_erased_and_nothing_of_others(store: SqliteStore) -> None:
    rng = random.Random(0)
    users = ("ann", CANARY, "bob")
    store.write(lambda change: [live(change, user, str(k), rng) for user in users for k in range(3)]).result(10)
    before = store.counts()
    told = store.write(lambda change: change.erase_user(CANARY)).result(10)
    assert told == {"reasons": 3, "events": 3, "impressions": 3, "adapters": 1, "users": 1, "aside": 0}
    after = store.counts()
    assert {name: before[name] - after[name] for name in told} == told
    assert store.events_of(CANARY) == store.impressions_of(CANARY) == []
    assert (store.user(CANARY), store.adapter(CANARY, "m")) == (None, None)
    assert len(store.events_of("ann")) == len(store.impressions_of("bob")) == 3
    assert store.write(lambda change: change.erase_user(CANARY)).result(10) == dict.fromkeys(told, 0)


def test_numbers_of_erased_events_are_not_given_again(store: SqliteStore) -> None:
    add(store, event("1"), event("2", user=CANARY))
    store.write(lambda change: change.erase_user(CANARY)).result(10)
    assert store.last_event == 2
    assert add(store, event("3")).new[0].number == 3


@pytest.mark.parametrize("seed", [14, 16, 34])
def test_not_a_byte_is_left(store: SqliteStore, folder: Path, seed: int) -> None:
    # Rows that move between pages leave copies behind: without a sweep, these three find two or three of them.
    rng = random.Random(seed)
    for group in range(12):
        users = [CANARY if rng.random() < 0.1 else f"user {rng.randrange(300)}" for _ in range(120)]
        store.write(
            lambda change, users=users, group=group: [  # type: ignore[misc]
                live(change, user, f"{group}-{k}", rng) for k, user in enumerate(users)
            ]
        ).result(30)
    assert hits(folder) > 500
    store.write(lambda change: change.erase_user(CANARY)).result(30)
    assert hits(folder) == 0
    # What the writer still had in memory does not come back.
    store.write(lambda change: [live(change, f"user {k}", "later", rng) for k in range(200)]).result(30)
    assert hits(folder) == 0
    assert store._rows("PRAGMA integrity_check") == [("ok",)]
    store.close()
    assert hits(folder) == 0


def test_a_reader_in_the_way_is_waited_for(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.05)
    monkeypatch.setattr(writer, "_CLEANING_PATIENCE_MS", 1)
    add(store, event("1"), event("2", user=CANARY))
    with store._reader() as reading:
        reading.execute("BEGIN; SELECT count(*) FROM events").fetchall()
        store.write(lambda change: change.erase_user(CANARY)).result(10)
        assert [one.event.event_id for one in store.events_after(0)] == ["1"]
        with pytest.raises(StorageError, match="while a backup is being taken"):
            store.checkpoint()
        add(store, event("3"))
        assert hits(folder) > 0
        assert "it is tried again" in caplog.text
        reading.execute("COMMIT")
    wait_until_clean(store)
    assert hits(folder) == 0
    store.checkpoint()


def test_what_a_stopped_server_had_still_to_overwrite_is_overwritten_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise StorageError("not now")

    store = SqliteStore.open(folder)
    add(store, event("1"), event("2", user="gone"))
    with monkeypatch.context() as patch:
        patch.setattr(writer, "sweep", fails)
        store.write(lambda change: change.erase_user("gone")).result(10)
        store.close()
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.05)
    store = SqliteStore.open(folder)
    assert store._writer.unclean
    wait_until_clean(store)
    store.close()
    store = SqliteStore.open(folder)
    assert not store._writer.unclean
    store.close()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (bytes([0x0D, 0, 0, 0, 3, 0x0F, 0x00, 0]), (14, 0x0F00)),
        (bytes([0x05, 0, 0, 0, 3, 0x0F, 0x00, 0]), (18, 0x0F00)),
        (bytes([0x0D, 0, 0, 0, 0, 0, 0, 0]), (0, 0)),  # 65,536, which is beyond this page
        (bytes([0x0D, 0, 0, 0xFF, 0xFF, 0, 9, 0]), (0, 0)),
        (bytes([0x00, 0, 0, 1, 0, 0, 0, 0]), (0, 0)),
    ],
)
def test_where_a_page_is_unused(head: bytes, expected: tuple[int, int]) -> None:
    assert unused(memoryview(head.ljust(4_096, b"x")), 0) == expected
