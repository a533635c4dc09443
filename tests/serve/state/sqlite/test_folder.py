"""One server for a folder, and files of other versions, of other programs, or damaged."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from recllm.errors import ServeError, StorageError
from recllm.serve.state.sqlite import schema
from recllm.serve.state.sqlite.backup import restore
from recllm.serve.state.sqlite.store import SqliteStore
from tests.serve.state.world import add, database, event, numbers

OPENS_AND_WAITS = """
import sys, time
from pathlib import Path
from recllm.serve.state.sqlite.store import SqliteStore
store = SqliteStore.open(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(folder: Path) -> Any:
    """Another process that serves the folder."""
    command = [sys.executable, "-c", OPENS_AND_WAITS, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


# -- the lock -------------------------------------------------------------------------------------------------------


def test_a_folder_is_served_once_in_a_process(store: SqliteStore, folder: Path) -> None:
    with pytest.raises(ServeError, match=rf"server is served already, by process {os.getpid()}; stop it, or"):
        SqliteStore.open(folder)
    add(store, event("1"))


def test_a_folder_is_served_by_one_process(other: Any, folder: Path) -> None:
    with pytest.raises(ServeError, match=f"is served already, by process {other.pid};"):
        SqliteStore.open(folder)
    with pytest.raises(ServeError, match="is served already"):
        restore(folder / "recllm.db", folder, replace=True)


def test_what_a_killed_process_leaves_is_in_nobodys_way(other: Any, folder: Path) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (folder / "lock").exists()
    store = SqliteStore.open(folder)
    add(store, event("1"))
    store.close()


def test_a_child_of_the_server_does_not_hold_its_lock(folder: Path) -> None:
    store = SqliteStore.open(folder)
    child = multiprocessing.get_context("spawn").Process(target=signal.pause)
    child.start()
    store.close()
    SqliteStore.open(folder).close()
    child.kill()
    child.join()


TAKES_IT_FOR_ITSELF = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)  # SQLite's range of shared locks
    except BlockingIOError:
        print("held")
    else:
        print("free")
"""


def test_sqlites_own_locks_are_held_against_other_programs(store: SqliteStore, folder: Path) -> None:
    def taken() -> str:
        command = [sys.executable, "-c", TAKES_IT_FOR_ITSELF, str(database(folder))]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    add(store, event("1"), event("2", user="gone"))
    assert taken() == "held\n"
    # The bytes are overwritten beside SQLite, and the writer opens the file anew: neither may drop the locks.
    store.write(lambda change: change.erase_user("gone")).result(10)
    add(store, event("3"))
    assert taken() == "held\n"
    store.close()
    assert taken() == "free\n"


def test_a_closed_folder_can_be_moved(folder: Path) -> None:
    store = SqliteStore.open(folder)
    add(store, event("1"))
    store.close()
    assert {path.name for path in folder.iterdir()} == {"recllm.db", "lock"}
    folder.rename(folder.with_name("moved"))
    store.close()
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be a server's folder"):
        SqliteStore.open(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be a server's folder"):
        SqliteStore.open(tmp_path / "file" / "below")


# -- versions -------------------------------------------------------------------------------------------------------

VERSION_1 = Path(__file__).parent / "version_1.sql"


def version_1(folder: Path) -> None:
    """A database that the first version of the tables was written to; its file is never changed."""
    folder.mkdir()
    with apsw.Connection(str(database(folder))) as connection:
        connection.execute(VERSION_1.read_text(encoding="utf-8"))
    connection.close()


def test_a_file_of_version_1_is_read_and_written(folder: Path) -> None:
    version_1(folder)
    store = SqliteStore.open(folder)
    assert [one.event for one in store.events_after(0)] == [
        event("1", kind="view"),
        event("2", "bob", "mug", 2.5, rating=4.0, weight=0.5, recommendation_id="x"),
    ]
    assert store.last_event == 3
    list_ = store.impression("x")
    assert list_ is not None
    assert list_.items == [
        {"item_id": "mug", "rank": 1, "channel": "text"},
        {"item_id": "lamp", "rank": 2, "channel": ""},
    ]
    assert store.reason("x", "mug") == {"why": "so"}
    assert store.hidden() == {"mug"}
    assert store.exclusions() == {"ann": ["mug"]}
    adapter = store.adapter("ann", "base")
    assert adapter is not None
    assert adapter.blob == b"\x01\x02"
    assert store.fact("keys") == [1]
    assert add(store, event("4")).new[0].number == 4
    store.close()


def grow(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE users ADD COLUMN since REAL; CREATE TABLE more (a)")


def test_a_file_of_an_earlier_version_becomes_one_of_today(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version_1(folder)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, grow))
    store = SqliteStore.open(folder)
    assert store._rows("SELECT user_id, since FROM users") == [("ann", None)]
    assert numbers(store) == [1, 2]
    store.close()
    SqliteStore.open(folder).close()
    monkeypatch.undo()
    with pytest.raises(ServeError, match=r"written by a newer recllm \(tables of version 3, this one knows 2\)"):
        SqliteStore.open(folder)


def test_a_step_that_fails_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE last_of_all (a)")
        raise RuntimeError("half way")

    version_1(folder)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, grow, fails))
    with pytest.raises(RuntimeError, match="half way"):
        SqliteStore.open(folder)
    monkeypatch.undo()
    store = SqliteStore.open(folder)
    assert numbers(store) == [1, 2]
    assert store._rows("SELECT name FROM sqlite_schema WHERE name IN ('more', 'last_of_all')") == []
    store.close()


# -- what is no database of ours --------------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (a)")
    connection.close()


def noise(path: Path) -> None:
    path.write_bytes(b"No database at all. " * 1_000)


@pytest.mark.parametrize(
    ("make", "message"), [(foreign, "is a database of something else"), (noise, r"is damaged .* restore a backup")]
)
def test_other_files_are_refused(folder: Path, make: Callable[[Path], None], message: str) -> None:
    folder.mkdir()
    make(database(folder))
    before = database(folder).read_bytes()
    with pytest.raises(ServeError, match=message) as caught:
        SqliteStore.open(folder)
    assert "\n" not in str(caught.value)
    assert database(folder).read_bytes() == before
    with pytest.raises(ServeError, match=message):  # the lock was given back
        SqliteStore.open(folder)


def test_damage_in_the_middle_is_one_sentence_and_the_rest_goes_on(folder: Path) -> None:
    store = SqliteStore.open(folder)
    add(store, *(event(f"{k}-{'x' * 200}", item=f"i{k}") for k in range(2_000)))
    store.write(lambda change: change.put_fact("a", 1)).result(10)
    root = store._rows("SELECT rootpage FROM sqlite_schema WHERE name = 'events'")[0][0]
    store.close()
    with open(database(folder), "r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    store = SqliteStore.open(folder)
    with pytest.raises(ServeError, match=r"is damaged .*restore a backup"):
        store.events_after(0)
    with pytest.raises(ServeError, match=r"is damaged .*restore a backup"):
        add(store, event("new"))
    assert store.fact("a") == 1
    store.write(lambda change: change.put_fact("a", 2)).result(10)
    assert store.fact("a") == 2
    store.close()
