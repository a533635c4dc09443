"""A disk that refuses: what is acknowledged is kept, reads go on, and so do writes when it is well again."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from recllm.errors import StorageError
from recllm.serve.state.sqlite import writer
from recllm.serve.state.sqlite.store import SqliteStore
from tests.serve.state.sqlite.faults import CODES, DATABASE, LOG, READ, SYNC, WRITE, Disk, disk
from tests.serve.state.world import add, event

FAULTS = {
    "the disk is full": (WRITE, LOG, "full", 0),
    "the disk is full in the middle of a change": (WRITE, LOG, "full", 3),
    "writing to the log fails": (WRITE, LOG, WRITE, 0),
    "half of a write to the log is made": (WRITE, LOG, WRITE, -1),
    "fsync of the log fails": (SYNC, LOG, SYNC, 0),
    "writing to the database fails": (WRITE, DATABASE, WRITE, 0),
    "the disk is full when the log is moved": (WRITE, DATABASE, "full", 5),
    "fsync of the database fails": (SYNC, DATABASE, SYNC, 0),
}


@pytest.fixture
def failing() -> Iterator[Disk]:
    with disk() as made:
        yield made


def kept(store: SqliteStore) -> list[str]:
    return [one.event.event_id for one in store.events_after(0)]


def send(store: SqliteStore, name: str) -> bool:
    """Whether it was acknowledged; some kilobytes, so that the log is moved now and then."""
    events = [event(f"{name} {k} {'x' * 900}") for k in range(5)]
    error = store.write(lambda change: change.add_events(events)).exception(10)
    if error is None:
        return True
    assert isinstance(error, StorageError)
    assert re.fullmatch(r"the disk does not keep it \(the disk refuses\), so it .* and send it again\.", str(error))
    return False


def test_one_change_costs_one_fsync(failing: Disk, folder: Path) -> None:
    store = SqliteStore.open(folder, vfs=failing.name)
    add(store, event("1"))
    failing.done.clear()
    add(store, event("2"))
    assert (failing.done[SYNC, LOG], failing.done[SYNC, DATABASE]) == (1, 0)
    store.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_acknowledged_is_kept(failing: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(writer, "LOG_PAGES", 20)
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.0)
    operation, file, code, after = FAULTS[fault]
    store = SqliteStore.open(folder, vfs=failing.name)
    acknowledged = [name for name in map(str, range(10)) if send(store, name)]
    assert len(acknowledged) == 10
    failing.refuses, failing.after = {(operation, file): CODES[code]}, after
    during = [name for name in map(str, range(10, 30)) if send(store, name)]
    # The log alone is what an acknowledgement needs: that the database cannot be written to harms nobody yet.
    assert len(during) == (20 if file == DATABASE else 0)
    assert failing.refused > 0
    sent = [f"{name} {k} {'x' * 900}" for name in acknowledged + during for k in range(5)]
    assert kept(store) == sent
    failing.well()
    assert send(store, "later")
    assert kept(store) == [*sent, *(f"later {k} {'x' * 900}" for k in range(5))]
    store.close()
    again = SqliteStore.open(folder)
    assert kept(again) == [*sent, *(f"later {k} {'x' * 900}" for k in range(5))]
    assert again._rows("PRAGMA integrity_check") == [("ok",)]
    again.close()


@pytest.mark.parametrize("fault", [name for name, (_, file, *_) in FAULTS.items() if file == LOG])
def test_what_is_refused_is_not_kept_when_it_is_opened_again(failing: Disk, folder: Path, fault: str) -> None:
    operation, file, code, after = FAULTS[fault]
    store = SqliteStore.open(folder, vfs=failing.name)
    assert send(store, "before")
    failing.refuses, failing.after = {(operation, file): CODES[code]}, after
    assert not send(store, "refused")
    failing.well()
    store.close()
    again = SqliteStore.open(folder)
    assert {name.split()[0] for name in kept(again)} == {"before"}
    again.close()


def test_all_that_were_to_be_kept_together_are_refused(failing: Disk, folder: Path) -> None:
    store = SqliteStore.open(folder, vfs=failing.name)
    failing.refuses = {(SYNC, LOG): CODES[SYNC]}
    told = [store.write(lambda change, k=k: change.add_events([event(str(k))])) for k in range(50)]
    errors = [one.exception(10) for one in told]
    assert all(isinstance(error, StorageError) for error in errors)
    assert len(set(map(id, errors))) == 50
    assert kept(store) == []
    failing.well()
    assert send(store, "later")
    store.close()


def test_a_change_that_hides_the_disks_refusal_is_refused_all_the_same(failing: Disk, folder: Path) -> None:
    def hides(change: Any) -> str:
        with pytest.raises(apsw.FullError):
            change.put_fact("big", "x" * 40_000_000)
        return "done"

    store = SqliteStore.open(folder, vfs=failing.name)
    failing.refuses = {(WRITE, LOG): CODES["full"]}
    with pytest.raises(StorageError, match="does not keep it"):
        store.write(hides).result(20)
    failing.well()
    assert store.fact("big") is None
    store.close()


def test_a_read_that_fails_is_told_and_the_next_one_is_well(failing: Disk, folder: Path) -> None:
    store = SqliteStore.open(folder, vfs=failing.name)
    assert send(store, "1")
    store.checkpoint()
    failing.refuses = {(READ, DATABASE): CODES[READ]}
    with pytest.raises(StorageError, match=r"recllm.db cannot be read \(the disk refuses\); look"):
        store.events_after(0)
    failing.well()
    assert len(kept(store)) == 5
    store.close()


def test_a_disk_that_refuses_from_the_start(failing: Disk, folder: Path) -> None:
    failing.refuses = {(WRITE, DATABASE): CODES["full"]}
    with pytest.raises(StorageError, match="the disk does not keep it"):
        SqliteStore.open(folder, vfs=failing.name)
    failing.well()
    store = SqliteStore.open(folder, vfs=failing.name)
    assert send(store, "1")
    store.close()


def test_erasing_waits_for_the_disk(failing: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.02)
    store = SqliteStore.open(folder, vfs=failing.name)
    add(store, event("1"), event("2", user="gone"))
    failing.refuses = {(SYNC, DATABASE): CODES[SYNC]}
    assert store.write(lambda change: change.erase_user("gone")).result(10)["events"] == 1
    with pytest.raises(StorageError, match="cannot be overwritten"):
        store.checkpoint()
    failing.well()
    store.checkpoint()
    assert kept(store) == ["1"]
    store.close()


def test_a_log_that_cannot_be_moved_is_said_once(
    failing: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(writer, "LOG_PAGES", 5)
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.0)
    store = SqliteStore.open(folder, vfs=failing.name)
    failing.refuses = {(WRITE, DATABASE): CODES["full"]}
    assert all(send(store, str(k)) for k in range(10))
    add(store)
    assert failing.refused > 1
    assert caplog.text.count("the log of events cannot be moved into the database, and grows") == 1
    failing.well()
    assert all(send(store, f"later {k}") for k in range(3))
    store.close()
    assert (folder / "recllm.db").stat().st_size > 50_000


def test_a_full_disk_has_room_in_the_log_once_it_is_moved(failing: Disk, folder: Path) -> None:
    store = SqliteStore.open(folder, vfs=failing.name)
    assert all(send(store, str(k)) for k in range(10))
    failing.room = (folder / "recllm.db-wal").stat().st_size
    assert not send(store, "refused")
    assert all(send(store, f"later {k}") for k in range(5))
    store.close()


def test_a_growing_log_is_moved_before_it_is_time(failing: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOG_PAGES", 20)
    monkeypatch.setattr(writer, "TRY_AGAIN", 1_000.0)
    store = SqliteStore.open(folder, vfs=failing.name)
    failing.refuses = {(WRITE, DATABASE): CODES["full"]}
    assert all(send(store, str(k)) for k in range(5))
    assert failing.refused
    failing.well()
    size = (folder / "recllm.db-wal").stat().st_size
    assert all(send(store, f"later {k}") for k in range(60))
    assert (folder / "recllm.db-wal").stat().st_size < 4 * size
    store.close()
