"""A server whose events are in Postgres: on another machine the same, and alive when the database is away."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recllm.errors import ServeError, UnreachableError
from recllm.recommender import Recommender
from recllm.serve.live import vectors, waiting
from recllm.serve.live.live import Live
from recllm.serve.settings import Settings
from recllm.serve.state.postgres import writer
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.vectors import ItemVectors
from recllm.serve.state.records import ItemRecord, UserRecord
from recllm.serve.web.app import create_app
from tests.serve.live.test_live import ids
from tests.serve.live.test_taking import event
from tests.serve.state.postgres.proxy import AFTER, Line, line
from tests.serve.state.postgres.server import Postgres
from tests.serve.web.asking import HERE, problem

PATIENT = Settings(patience=60.0, waiting=1_000)


@pytest.fixture
def between(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(writer, "TRY_AGAIN", 0.05)
    folder = Path(tempfile.mkdtemp(prefix="recllm-line-"))
    with line(folder / "line", postgres.folder) as made:
        yield made
    shutil.rmtree(folder)


@pytest.fixture
def live(learned: Recommender, tmp_path: Path, shop: str, postgres: Postgres, between: Line) -> Iterator[Live]:
    address = shop.replace(str(postgres.folder), str(between.folder))
    live = Live.open(tmp_path / "data", learned, PATIENT, address)
    yield live
    between.is_down, between.cut_at = False, None
    live.close()


def until_it_is_back(live: Live) -> None:
    until = time.monotonic() + 20
    while not live.ready()[0] and time.monotonic() < until:
        time.sleep(0.01)
    assert live.ready() == (True, "ready")


def test_another_machine_goes_on_where_the_first_has_stopped(learned: Recommender, tmp_path: Path, shop: str) -> None:
    first = Live.open(tmp_path / "first", learned, PATIENT, shop)

    async def life() -> None:
        await first.put_items([ItemRecord("fresh", {"title": "toys thing number 2"}), ItemRecord("i4", {}, True)])
        await first.put_users([UserRecord("new", {"city": "Bonn"}, exclude=["i7"])])
        await first.feedback([event(number, "new", f"i{number}") for number in range(3)])
        await first.feedback([event(9, "gone", "fresh")])

    asyncio.run(life())
    listed, digest = ids(first, "new", n=48), first.now.state.counted.counts.digest()
    first.close()
    with pytest.raises(ServeError, match="holds no model yet"):
        Live.open(tmp_path / "second", None, PATIENT, shop)
    # A model of its own of another time, which is not the one that the database tells of.
    other = Live.open(tmp_path / "second", learned, PATIENT)
    other.close()
    with pytest.raises(ServeError, match="holds no model yet"):
        Live.open(tmp_path / "second", None, PATIENT, shop)
    second = Live.open(tmp_path / "second", learned, PATIENT, shop)
    assert second.as_of_event == 4
    assert second.now.state.counted.counts.digest() == digest
    assert ids(second, "new", n=48) == listed
    assert not {"i4", "i7", "i0"} & set(listed)
    asyncio.run(second.erase("gone"))
    asyncio.run(second.erase("u3"))
    second.close()
    third = Live.open(tmp_path / "third", learned, PATIENT, shop)
    assert not {"gone", "u3"} & set(third.now.state.memory.user_ids)
    third.close()


def test_lists_go_on_and_events_are_refused_while_the_database_is_away(live: Live, between: Line) -> None:
    http = TestClient(create_app(live), base_url=HERE, raise_server_exceptions=False)
    sent = {"user_id": "ann", "item_id": "i1"}
    assert http.post("/api/feedback", json=[sent]).json()["accepted"] == 1
    before = http.get("/api/recommend/ann?n=48").json()["items"]
    between.is_down = True
    refused = http.post("/api/feedback", json=[{**sent, "item_id": "i2"}])
    assert problem(refused)[:2] == (503, "busy")
    assert refused.headers["retry-after"] == "1"
    assert "cannot be reached" in refused.json()["error"]["message"]
    assert http.get("/api/recommend/ann?n=48").json()["items"] == before
    assert http.get("/api/recommend/bob?n=5").json()["items"]
    assert problem(http.get("/api/health/ready"))[0] == 503
    assert http.get("/api/health/live").status_code == 200
    assert "recllm_ready 0.0" in http.get("/metrics").text
    assert problem(http.get("/api/user/ann"))[0] == 503
    assert problem(http.delete("/api/user/ann"))[0] == 503
    between.is_down = False
    until_it_is_back(live)
    assert http.post("/api/feedback", json=[{**sent, "item_id": "i2"}]).json()["as_of_event"] == 2
    after = http.get("/api/recommend/ann?n=48").json()["items"]
    assert {"i1", "i2"} & {line["item_id"] for line in after} == set()


def test_an_event_whose_end_was_not_heard_counts_as_soon_as_it_is(
    live: Live, between: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "HEARD", 0.2)
    between.cut_at = AFTER
    with pytest.raises(UnreachableError, match="whether it was taken in is not known yet; send it again in a moment"):
        asyncio.run(live.feedback([event(1, "ann", "i1")]))
    assert "i1" in ids(live, "ann", n=48)
    between.is_down = False
    until_it_is_back(live)
    taken = asyncio.run(live.feedback([event(1, "ann", "i1")]))
    assert (taken.accepted, taken.known) == (0, 1)
    assert live.as_of_event == 1
    assert "i1" not in ids(live, "ann", n=48)


def test_a_server_stops_while_the_database_is_away(live: Live, between: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GIVE_UP", 0.2)
    between.is_down = True
    with pytest.raises(UnreachableError):
        asyncio.run(live.feedback([event(1, "ann", "i1")]))
    began = time.monotonic()
    live.close()
    assert time.monotonic() - began < 5


def test_vectors_of_items_are_there_for_other_programs(
    learned: Recommender, tmp_path: Path, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EVERY", 0.05)
    live = Live.open(tmp_path / "data", learned, PATIENT, shop)
    table = ItemVectors.open(Address.of(shop))

    def until_there_are(count: int) -> None:
        until = time.monotonic() + 20
        while len(table.kept()[1]) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(table.kept()[1]) == count

    until_there_are(48)
    asyncio.run(live.put_items([ItemRecord("fresh", {"title": "toys thing number 2"})]))
    until_there_are(49)
    alike = asyncio.run(live.neighbors("fresh", 5))
    found = table.nearest_to("fresh", 5)
    assert [one.item_id for one in found] == [line.item_id for line in alike]
    live.close()
    again = Live.open(tmp_path / "data", None, PATIENT, shop)
    time.sleep(0.2)
    assert table.kept() == (live.now.state.fingerprint, set(live.now.state.model.catalog.item_ids))
    again.close()
    table.close()


def test_a_database_without_pgvector_serves_all_the_same(
    learned: Recommender, tmp_path: Path, shop: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vectors, "EVERY", 0.02)
    monkeypatch.setattr("recllm.serve.state.postgres.vectors.MINIMUM", (99, 0))
    live = Live.open(tmp_path / "data", learned, PATIENT, shop)
    time.sleep(0.4)
    assert ids(live, "ann", n=5)
    live.close()
    assert caplog.text.count("vectors of items are not kept in the database") == 1
