"""Copies while serving, and the way back."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from recllm.errors import ServeError, StorageError, UnknownError
from recllm.serve.state.sqlite.backup import backup, restore
from recllm.serve.state.sqlite.store import SqliteStore
from tests.serve.state.world import add, database, event, numbers


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A backup with one event."""
    store = SqliteStore.open(tmp_path / "first")
    add(store, event("1"))
    store.backup(tmp_path / "copies" / "copy.db")
    store.close()
    return tmp_path / "copies" / "copy.db"


def test_a_copy_is_one_whole_file_of_its_owner(copy: Path) -> None:
    assert os.listdir(copy.parent) == [copy.name]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    connection.close()


def test_a_copy_while_others_write_is_of_one_moment(store: SqliteStore, tmp_path: Path) -> None:
    add(store, *(event(f"start {k}") for k in range(500)))
    stop, sent = threading.Event(), [500]

    def send() -> None:
        while not stop.is_set():
            add(store, *(event(f"{sent[0]} {k}") for k in range(3)))
            sent[0] += 3

    sender = threading.Thread(target=send)
    sender.start()
    copied = []
    for k in range(5):
        before = sent[0]
        store.backup(tmp_path / f"{k}.db")
        copied.append((before, sent[0]))
    stop.set()
    sender.join(10)
    for k, (before, after) in enumerate(copied):
        restore(tmp_path / f"{k}.db", tmp_path / f"restored {k}")
        other = SqliteStore.open(tmp_path / f"restored {k}")
        count = len(numbers(other))
        assert numbers(other) == list(range(1, count + 1))
        assert before <= count <= after + 3
        assert (count - 500) % 3 == 0
        other.close()


def test_a_folder_is_copied_whether_it_is_served_or_not(store: SqliteStore, folder: Path, tmp_path: Path) -> None:
    add(store, event("1"))
    backup(folder, tmp_path / "served.db")
    store.close()
    backup(folder, tmp_path / "closed.db")
    for name in ("served", "closed"):
        restore(tmp_path / f"{name}.db", tmp_path / name)
        other = SqliteStore.open(tmp_path / name)
        assert numbers(other) == [1]
        other.close()
    with pytest.raises(UnknownError, match="holds no events of a server"):
        backup(tmp_path, tmp_path / "x.db")


def test_an_earlier_copy_is_replaced_and_a_failed_one_leaves_it(
    store: SqliteStore, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = copy.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(StorageError, match=r"copy.db cannot be written \(No space left on device\)"):
            store.backup(copy)
    assert copy.read_bytes() == before
    assert os.listdir(copy.parent) == [copy.name]
    store.backup(copy)
    restore(copy, tmp_path / "other")
    other = SqliteStore.open(tmp_path / "other")
    assert numbers(other) == []
    other.close()


def test_a_copy_does_not_take_the_databases_place(store: SqliteStore, folder: Path) -> None:
    add(store, event("1"))
    for target in (database(folder), folder):
        with pytest.raises(StorageError, match="is no place for a copy"):
            store.backup(target)
    assert numbers(store) == [1]


def test_what_is_there_is_replaced_only_when_told(copy: Path, folder: Path) -> None:
    store = SqliteStore.open(folder)
    add(store, *(event(f"own {k}") for k in range(3)))
    with pytest.raises(ServeError, match="is served already"):
        restore(copy, folder, replace=True)
    store.close()
    with pytest.raises(ServeError, match="holds events already; give a new folder"):
        restore(copy, folder)
    with pytest.raises(ServeError, match="is the database of"):
        restore(database(folder), folder, replace=True)
    restore(copy, folder, replace=True)
    store = SqliteStore.open(folder)
    assert [one.event.event_id for one in store.events_after(0)] == ["1"]
    store.close()


def test_the_log_of_a_killed_server_does_not_outlive_its_database(copy: Path, folder: Path) -> None:
    store = SqliteStore.open(folder)
    add(store, *(event(f"own {k}") for k in range(3)))
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.close()
    for name, content in left.items():
        (folder / name).write_bytes(content)
    assert len(left["recllm.db-wal"]) > 4_096
    restore(copy, folder, replace=True)
    store = SqliteStore.open(folder)
    assert [one.event.event_id for one in store.events_after(0)] == ["1"]
    store.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8_192])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4_096 * 3 : 4_096 * 4] = b"\xff" * 4_096
    path.write_bytes(content)


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no database " * 999), "is damaged"),
        (cut, "is damaged"),
        (flip, "is damaged"),
        (lambda path: change(path, "PRAGMA application_id = 5"), "is a database of something else"),
        (lambda path: change(path, "PRAGMA user_version = 99"), "written by a newer recllm"),
        (lambda path: change(path, "DROP TABLE facts"), "holds other tables than recllm makes"),
        (
            lambda path: change(path, "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END"),
            "holds other tables than recllm makes",
        ),
    ],
)
def test_a_copy_is_checked_first(copy: Path, folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(copy)
    with pytest.raises(ServeError, match=message) as caught:
        restore(copy, folder)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_there_must_be_a_copy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match="is no file"):
        restore(tmp_path / "none.db", folder)
