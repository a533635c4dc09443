"""One server for a shop, and schemas of other versions, of other programs, or of nobody."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recllm.errors import ConfigError, DataError, ServeError, StorageError, UnknownError, UnreachableError
from recllm.serve.state.opening import open_store
from recllm.serve.state.postgres import schema, writer
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.moving import move
from recllm.serve.state.postgres.store import PostgresStore
from recllm.serve.state.records import AdapterRecord, Aside, ItemRecord, UserRecord
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.state.writing import UNCLEAN, Transaction
from tests.serve.state.postgres.server import Postgres
from tests.serve.state.world import add, event, impression, numbers

OPENS_AND_WAITS = """
import sys, time
from pathlib import Path
from recllm.serve.state.opening import open_store
store = open_store(Path(sys.argv[1]), sys.argv[2])
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "server"


def schema_of(shop: str) -> str:
    return shop.rpartition("schema=")[2]


# -- addresses --------------------------------------------------------------------------------------------------------


def test_an_address_names_a_shop_and_tells_no_password() -> None:
    address = Address.of("postgresql://ann:s3cret@db.example:5433/shops?sslmode=require&schema=north")
    assert (address.schema, address.name) == ("north", "db.example:5433/shops, schema north")
    assert "sslmode=require" in address.conninfo
    assert "schema" not in address.conninfo
    assert "s3cret" not in f"{address} {address!r}"
    assert Address.of("postgresql:///shops").schema == "recllm"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql://x", "names no kind of store; write postgresql://"),
        ("postgresql://x/y?schema=a;b", "is no schema for a shop"),
        ("postgresql://x/y?schema=pg_shop", "is no schema for a shop"),
        ("postgresql://x/y?schema=", "is no schema for a shop"),
        ("postgresql://x/y?colour=red", "cannot be read .* write postgresql://"),
    ],
)
def test_what_is_no_address(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_store(folder, text)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_a_database_that_is_not_there_is_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the folder was given back
        with pytest.raises(UnreachableError, match=r"/shops, schema recllm cannot be reached \(") as caught:
            open_store(folder, f"postgresql://ann:s3cret@/shops?host={tmp_path}")
        assert "s3cret" not in str(caught.value)


# -- one server -------------------------------------------------------------------------------------------------------


def test_a_shop_is_served_once(folder: Path, shop: str, tmp_path: Path) -> None:
    first = open_store(folder, shop)
    with pytest.raises(ServeError, match=rf"schema {schema_of(shop)} is served already, by process .*:{os.getpid()};"):
        open_store(tmp_path / "other", shop)
    with pytest.raises(ServeError, match="is served already"):
        open_store(folder, shop)
    other = open_store(tmp_path / "other", shop + "_b")
    add(other, event("1"))
    assert numbers(first) == []
    first.close()
    other.close()
    open_store(tmp_path / "other", shop).close()


def test_what_a_killed_process_leaves_is_in_nobodys_way(
    folder: Path, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", OPENS_AND_WAITS, str(folder), shop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(ServeError, match=rf"is served already, by process .*:{process.pid};"):
            open_store(tmp_path / "other", shop)
        os.kill(process.pid, signal.SIGKILL)
    monkeypatch.setattr(writer, "PATIENCE", 10.0)
    store = open_store(folder, shop)
    add(store, event("1"))
    store.close()


# -- versions ---------------------------------------------------------------------------------------------------------


def grow(connection: Any) -> None:
    connection.execute("ALTER TABLE users ADD COLUMN since double precision; CREATE TABLE more (a int)")


def fails(connection: Any) -> None:
    connection.execute("CREATE TABLE last_of_all (a int)")
    raise RuntimeError("half way")


def test_tables_of_an_earlier_version_become_those_of_today(
    folder: Path, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore.open(folder, shop)
    store.write(lambda change: change.put_users([UserRecord("ann", {})])).result(10)
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, grow, fails))
        with pytest.raises(RuntimeError, match="half way"):
            PostgresStore.open(folder, shop)
        patch.setattr(schema, "STEPS", schema.STEPS[:-1])
        store = PostgresStore.open(folder, shop)
        assert store._rows("SELECT user_id, since FROM users") == [("ann", None)]
        assert store._rows("SELECT to_regclass('last_of_all')") == [(None,)]
        store.close()
    with pytest.raises(ServeError, match=r"written by a newer recllm \(tables of version 3, this one knows 2\)"):
        PostgresStore.open(folder, shop)


def test_tables_of_something_else_are_left_alone(folder: Path, shop: str, postgres: Postgres) -> None:
    name = schema_of(shop)
    postgres.run(f"CREATE SCHEMA {name}")
    postgres.run(f"CREATE TABLE {name}.photos (a int)")
    with pytest.raises(ServeError, match="holds tables of something else; give another schema"):
        PostgresStore.open(folder, shop)
    assert postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = %s", name) == [("photos",)]


def test_tables_that_somebody_dropped_are_missed_in_a_sentence(folder: Path, shop: str, postgres: Postgres) -> None:
    store = open_store(folder, shop)
    postgres.run(f"DROP TABLE {schema_of(shop)}.facts")
    with pytest.raises(ServeError, match=r"tables are missing in .*restore a dump"):
        store.fact("a")
    with pytest.raises(ServeError, match=r"tables are missing in .*restore a dump"):
        store.write(lambda change: change.put_fact("a", 1)).result(10)
    store.close()


def test_a_database_that_keeps_no_utf_8_is_refused(folder: Path, postgres: Postgres) -> None:
    postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(ServeError, match="keeps LATIN1, not UTF8; make one with ENCODING 'UTF8'"):
        open_store(folder, postgres.address().replace("/postgres?", "/latin?"))
    postgres.run("DROP DATABASE latin WITH (FORCE)")


# -- what cannot be kept ----------------------------------------------------------------------------------------------


def test_what_postgres_does_not_keep_is_only_its_senders_error(folder: Path, shop: str) -> None:
    store = open_store(folder, shop)
    told = [
        store.write(lambda change, name=name: change.add_events([event(name)]))
        for name in ("1", "nul\0", os.urandom(4_000).hex(), "2")
    ]
    assert told[0].result(10).new
    with pytest.raises(DataError, match="character NUL, which Postgres does not keep; leave it out"):
        told[1].result(10)
    with pytest.raises(DataError, match=r"longer than 2,600 bytes, which Postgres cannot look up; shorten it"):
        told[2].result(10)
    assert told[3].result(10).new
    assert numbers(store) == [1, 2]
    assert not store.trouble
    store.close()


def test_a_database_that_only_reads_refuses_and_is_asked_again(folder: Path, shop: str) -> None:
    store = open_store(folder, shop)

    def only_reads(change: Transaction) -> None:
        change._do("SET TRANSACTION READ ONLY")
        change.put_fact("a", 1)

    with pytest.raises(StorageError, match=r"does not keep it, so it was not taken in .*read-only") as caught:
        store.write(only_reads).result(10)
    assert not isinstance(caught.value, UnreachableError)
    add(store, event("1"))
    assert numbers(store) == [1]
    store.close()


# -- erasing and dumps ------------------------------------------------------------------------------------------------


def live(change: Transaction, user: str) -> None:
    change.add_events([event(f"{user} {k} {'x' * 500}", user) for k in range(20)])
    change.add_impression(impression(user, user))
    change.put_reason(user, "lamp", {"because": user})
    change.put_users([UserRecord(user, {"about": user}, (user,))])
    change.put_adapter(AdapterRecord(user, "m", 1, user.encode() * 100, "hash"))


def test_what_was_erased_gives_its_room_back_at_once(folder: Path, shop: str, postgres: Postgres) -> None:
    store = open_store(folder, shop)
    store.write(lambda change: [live(change, user) for user in ("ann", "gone", "bob")]).result(10)
    told = store.write(lambda change: change.erase_user("gone")).result(10)
    assert told == {"reasons": 1, "events": 20, "impressions": 1, "adapters": 1, "users": 1, "aside": 0}
    until = time.monotonic() + 10
    while store.fact(UNCLEAN) and time.monotonic() < until:
        time.sleep(0.01)
    assert not store.fact(UNCLEAN)
    name = schema_of(shop)
    told_of: list[str] = []
    with psycopg.connect(postgres.address(), autocommit=True) as connection:
        connection.add_notice_handler(lambda said: told_of.append(said.message_primary or ""))
        for table in ("events", "impressions", "adapters", "users", "reasons"):
            connection.execute(f"VACUUM (VERBOSE) {name}.{table}".encode())
    assert set(re.findall(r"tuples: (\d+) removed", "".join(told_of))) == {"0"}, "it was left to another vacuum"
    store.close()


def test_a_dump_is_a_backup(folder: Path, shop: str, postgres: Postgres, tmp_path: Path) -> None:
    store = open_store(folder, shop)
    store.write(lambda change: [live(change, user) for user in ("ann", "bob")]).result(10)
    store.write(lambda change: change.erase_user("bob")).result(10)
    name = schema_of(shop)
    dump = postgres.call("pg_dump", "-h", str(postgres.folder), "-U", "recllm", "--schema", name, "postgres")
    add(store, event("later"))
    before = [one for one in store.events_after(0) if one.event.event_id != "later"]
    store.close()
    postgres.run(f"DROP SCHEMA {name} CASCADE")
    place = Path(postgres.folder) / "dump.sql"
    place.write_bytes(dump)
    shutil.chown(place, postgres.folder.stat().st_uid)
    postgres.call(
        "psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(postgres.folder), "-U", "recllm", "-f", str(place), "postgres"
    )
    store = open_store(tmp_path / "again", shop)
    assert store.events_after(0) == before
    assert (store.user("ann"), store.last_event) == (UserRecord("ann", {"about": "ann"}, ("ann",)), 40)
    assert add(store, event("new")).new[0].number == 41
    store.close()


def test_a_backup_of_sqlite_moves_into_postgres(folder: Path, shop: str, tmp_path: Path) -> None:
    first = SqliteStore.open(tmp_path / "first")
    first.write(lambda change: [live(change, user) for user in ("ann", "gone", "bob")]).result(10)
    first.write(lambda change: change.erase_user("gone")).result(10)
    items = [ItemRecord("i1", {"title": "One"}), ItemRecord("i2", {}, hidden=True)]
    first.write(lambda change: (change.put_items(items), change.put_aside([Aside("t[0]@1", 1, "no", b"x")]))).result(10)
    first.backup(tmp_path / "copy.db")
    told = move(tmp_path / "copy.db", folder, shop)
    assert (told["events"], told["impressions"], told["items"]) == (40, 2, 2)
    store = open_store(folder, shop)
    assert store.events_after(0) == first.events_after(0)
    assert store.last_event == first.last_event == 60
    for user in ("ann", "bob"):
        assert store.impressions_of(user) == first.impressions_of(user)
        assert (store.user(user), store.adapter(user, "m")) == (first.user(user), first.adapter(user, "m"))
        assert store.reason(user, "lamp") == {"because": user}
    assert (store.items(), store.hidden(), store.aside()) == (items, {"i2"}, first.aside())
    assert add(store, event("new")).new[0].number == 61
    store.write(lambda change: change.add_impression(impression("later"))).result(10)
    assert store.counts()["impressions"] == 3
    store.close()
    first.close()
    with pytest.raises(ServeError, match="holds events already; give a new schema"):
        move(tmp_path / "copy.db", folder, shop)
    with pytest.raises(UnknownError, match="is no file"):
        move(tmp_path / "none.db", folder, shop)
