"""A database that goes away, at every moment: what was acknowledged is there, once, and what was refused is not."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recllm.errors import ServeError, StorageError, UnreachableError
from recllm.serve.state.postgres import writer
from recllm.serve.state.postgres.store import PostgresStore
from recllm.serve.state.store import Store
from tests.serve.state.postgres.proxy import AFTER, BEFORE, Line, line
from tests.serve.state.postgres.server import Postgres, running
from tests.serve.state.world import add, event, numbers


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.05)


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A database of these tests alone: they kill it."""
    with running() as server:
        if server is None:
            pytest.skip("there is no Postgres here")
        yield server


@pytest.fixture
def store(own: Postgres, tmp_path: Path) -> Iterator[PostgresStore]:
    store = PostgresStore.open(tmp_path / "server", own.address(schema="shop"))
    yield store
    store.close()
    own.run("DROP SCHEMA shop CASCADE")


@pytest.fixture
def between(own: Postgres) -> Iterator[Line]:
    """A line to the database that can be cut; its path is short, as paths of sockets have to be."""
    folder = Path(tempfile.mkdtemp(prefix="recllm-line-"))
    with line(folder / "line", own.folder) as made:
        yield made
    shutil.rmtree(folder)


@pytest.fixture
def beyond(between: Line, own: Postgres, tmp_path: Path) -> Iterator[PostgresStore]:
    """A store at the other end of the line."""
    store = PostgresStore.open(tmp_path / "beyond", own.address(schema="beyond", host=str(between.folder)))
    yield store
    between.is_down, between.cut_at = False, None
    store.close()
    own.run("DROP SCHEMA beyond CASCADE")


def ids(store: Store) -> list[str]:
    return [one.event.event_id for one in store.events_after(0)]


def until_it_is_back(store: Store) -> None:
    until = time.monotonic() + 20
    while store.trouble and time.monotonic() < until:
        time.sleep(0.01)
    assert not store.trouble


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_server_that_was_idle_meanwhile_notices_nothing(store: PostgresStore, own: Postgres, ends: str) -> None:
    add(store, event("1"))
    assert ids(store) == ["1"]
    getattr(own, ends)()
    own.start()
    add(store, event("2"))
    assert ids(store) == ["1", "2"]


def test_while_it_is_away_everybody_is_told_at_once_and_then_it_goes_on(
    store: PostgresStore, own: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    add(store, event("1"))
    own.kill()
    with pytest.raises(UnreachableError, match=r"^the database .*schema shop cannot be reached \(.*; ask again in a"):
        add(store, event("2"))
    assert "schema shop cannot be reached" in store.trouble
    with pytest.raises(UnreachableError, match="cannot be reached"):
        store.events_after(0)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        store.write(lambda change: None)
    assert time.monotonic() - began < 0.05
    time.sleep(0.3)
    own.start()
    until_it_is_back(store)
    assert add(store, event("2")).new[0].number == 2
    assert ids(store) == ["1", "2"]
    assert caplog.text.count("It is tried again every second.") == 1
    assert caplog.text.count("is back") == 1


def test_killed_again_and_again_while_many_write(store: PostgresStore, own: Postgres) -> None:
    acknowledged: list[str] = []
    refused: list[str] = []
    done = threading.Event()

    def send(thread: int) -> None:
        number = 0
        while not done.is_set():
            name = f"{thread}-{number}"
            number += 1
            try:
                add(store, event(name, user=str(thread)))
            except UnreachableError:
                refused.append(name)
                time.sleep(0.01)
            else:
                acknowledged.append(name)

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.15)
        own.kill()
        own.start()
        until_it_is_back(store)
    done.set()
    for thread in threads:
        thread.join(20)
    assert len(acknowledged) > 100
    assert refused
    assert sorted(ids(store)) == sorted(acknowledged)
    assert numbers(store) == list(range(1, len(acknowledged) + 1))


def cut(store: Store, between: Line, at: str, *names: str) -> list[Any]:
    between.cut_at = at
    told = [store.write(lambda change, name=name: change.add_events([event(name)])) for name in names]
    until = time.monotonic() + 10
    while not between.cuts and time.monotonic() < until:
        time.sleep(0.005)
    assert between.cuts == 1
    return told


def test_an_end_that_was_not_heard_is_looked_up_and_was_one(beyond: PostgresStore, between: Line) -> None:
    add(beyond, event("1"))
    (told,) = cut(beyond, between, AFTER, "2")
    time.sleep(0.2)
    assert not told.done(), "nobody knows yet"
    with pytest.raises(UnreachableError):
        add(beyond, event("3"))
    between.is_down = False
    assert told.result(10).new[0].number == 2
    until_it_is_back(beyond)
    assert add(beyond, event("2"), event("3")).known == 1
    assert ids(beyond) == ["1", "2", "3"]


def test_an_end_that_was_not_heard_is_looked_up_and_was_none(beyond: PostgresStore, between: Line) -> None:
    add(beyond, event("1"))
    (told,) = cut(beyond, between, BEFORE, "2")
    between.is_down = False
    with pytest.raises(UnreachableError, match="went away before it was taken in; send it again"):
        told.result(10)
    until_it_is_back(beyond)
    assert add(beyond, event("2")).new[0].number == 2
    assert ids(beyond) == ["1", "2"]


@pytest.mark.parametrize("at", [BEFORE, AFTER])
def test_who_waited_too_long_is_told_that_nobody_knows(
    beyond: PostgresStore, between: Line, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(writer, "GIVE_UP", 0.1)
    add(beyond, event("1"))
    (told,) = cut(beyond, between, at, "2")
    with pytest.raises(StorageError, match=r"is not known, because .* send it again when the server has started"):
        told.result(10)
    between.is_down = False
    if at == BEFORE:
        until_it_is_back(beyond)
        assert add(beyond, event("3")).new[0].number == 2
    else:  # what answers does not know of it, so it must not go on
        time.sleep(0.5)
        with pytest.raises(UnreachableError, match="nobody had heard the end of; restart this server"):
            add(beyond, event("3"))


def test_a_server_that_is_stopped_meanwhile_does_not_wait_for_ever(beyond: PostgresStore, between: Line) -> None:
    (told,) = cut(beyond, between, AFTER, "1")
    beyond.close()
    with pytest.raises(StorageError, match="is not known"):
        told.result(0)


def test_a_database_that_somebody_else_wrote_to_is_left_alone(
    beyond: PostgresStore, between: Line, own: Postgres, tmp_path: Path
) -> None:
    add(beyond, event("1"))
    between.is_down = True
    with pytest.raises(UnreachableError):
        add(beyond, event("2"))
    other = PostgresStore.open(tmp_path / "other", own.address(schema="beyond"))
    add(other, event("3"))
    between.is_down = False
    time.sleep(0.3)
    with pytest.raises(UnreachableError, match="served already, by process"):
        add(beyond, event("4"))
    other.close()
    time.sleep(0.5)
    with pytest.raises(UnreachableError, match=r"another server has written to .*; restart this one"):
        add(beyond, event("4"))
    assert ids(beyond) == ["1", "3"]


def test_a_database_that_comes_back_with_less_is_noticed(beyond: PostgresStore, between: Line, own: Postgres) -> None:
    add(beyond, event("1"))
    between.is_down = True
    with pytest.raises(UnreachableError):
        add(beyond, event("2"))
    own.run("UPDATE beyond.about SET commits = commits - 1")  # as after a change to a copy that lags behind
    between.is_down = False
    time.sleep(0.5)
    with pytest.raises(UnreachableError, match="came back without changes that it had acknowledged; restart"):
        add(beyond, event("2"))


def test_a_session_that_is_ended_by_the_database_is_opened_anew(store: PostgresStore, own: Postgres) -> None:
    add(store, event("1"))

    def ended(change: Any) -> None:
        change.add_events([event("2")])
        own.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'recllm %%'")
        change.put_fact("after", 1)

    with pytest.raises(ServeError):
        store.write(ended).result(10)
    until_it_is_back(store)
    add(store, event("3"))
    assert ids(store) == ["1", "3"]
    assert store.fact("after") is None
