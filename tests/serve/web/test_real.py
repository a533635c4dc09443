"""Over HTTP with the engine that people run: a catalog-only recommender, its store, its queue."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.testclient import TestClient

from recllm.recommender import Recommender
from recllm.serve.client import Client
from recllm.serve.live.live import Live
from recllm.serve.settings import Settings
from recllm.serve.web.app import create_app
from recllm.testing import ToyShop
from tests.serve.served import served
from tests.serve.web.asking import HERE, problem
from tests.serve.web.test_routes import BAD_EVENTS
from tests.small import config_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def recommender(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender.from_catalog(toy.catalog, config=config_for(tiny))


@pytest.fixture(scope="module")
def live(recommender: Recommender, folder: Path) -> Iterator[Live]:
    live = Live.open(folder, recommender, Settings(patience=60.0, waiting=1_000))
    yield live
    live.close()


@pytest.fixture(scope="module")
def http(live: Live) -> Iterator[TestClient]:
    with TestClient(create_app(live), base_url=HERE, raise_server_exceptions=False) as http:
        yield http


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """Somebody new in each test."""
    return request.node.name


def listed(http: TestClient, user: str, query: str = "n=100") -> list[str]:
    answer = http.get(f"/api/recommend/{quote(user, safe='')}?{query}")
    assert answer.status_code == 200, answer.text
    return [line["item_id"] for line in answer.json()["items"]]


def department(toy: ToyShop, item: str) -> int:
    return int(toy.department[toy.catalog.item_ids.index(item)])


def test_an_event_is_in_the_next_answer_and_its_item_is_not(http: TestClient, toy: ToyShop, user: str) -> None:
    mine = [item for item in toy.catalog.item_ids if department(toy, item) == 1][:3]
    for place, item in enumerate(mine):
        before = http.get(f"/api/recommend/{user}?n=100").json()
        assert item in [line["item_id"] for line in before["items"]]
        taken = http.post("/api/feedback", json=[{"user_id": user, "item_id": item, "kind": "purchase"}]).json()
        assert (taken["accepted"], taken["waiting"]) == (1, 0)
        after = http.get(f"/api/recommend/{user}?n=100&explain=true").json()
        assert after["as_of_event"] >= taken["as_of_event"] > before["as_of_event"]
        shown = [line["item_id"] for line in after["items"]]
        assert not set(mine[: place + 1]) & set(shown)
    assert [department(toy, item) for item in shown[:3]] == [1, 1, 1]
    assert listed(http, user, "n=100&include_seen=true")[:1] != []
    first = after["items"][0]
    assert first["reason"]
    reason = http.get(f"/api/explain/{after['recommendation_id']}/{quote(first['item_id'], safe='')}").json()
    assert reason["row"]["explanation"]
    assert reason["same_state"] is True
    assert {event["item_id"] for event in http.get(f"/api/user/{user}").json()["events"]} == set(mine)


def test_a_session_leaves_no_trace_of_anybody(http: TestClient, live: Live, toy: ToyShop) -> None:
    mine = [item for item in toy.catalog.item_ids if department(toy, item) == 0][:2]
    before = live.as_of_event
    answer = http.post("/api/session/recommend", json={"events": [{"item_id": item} for item in mine], "n": 5}).json()
    shown = [line["item_id"] for line in answer["items"]]
    assert department(toy, shown[0]) == 0
    assert not set(mine) & set(shown)
    assert answer["user_id"] is None
    assert live.as_of_event == before


def test_the_other_lists(http: TestClient, toy: ToyShop, user: str) -> None:
    ids = list(toy.catalog.item_ids)
    one, same = ids[0], [item for item in ids[1:] if department(toy, item) == department(toy, ids[0])]
    http.post("/api/feedback", json=[{"user_id": user, "item_id": one}])
    rank = http.post("/api/rank", json={"user_id": user, "items": [*ids[1:], "no such item"]}).json()
    assert rank["items"][0]["item_id"] in same
    assert len(rank["items"]) == len(ids) - 1
    page = http.post("/api/page", json={"user_id": user, "rows": 4, "n": 4}).json()
    shown = [line["item_id"] for row in page["rows"] for line in row["items"]]
    assert shown
    assert len(shown) == len(set(shown))
    shifts = http.post("/api/whatif", json={"user_id": user, "add": [same[0]], "n": 5}).json()["items"]
    assert {shift["item_id"] for shift in shifts}
    near = http.get(f"/api/item/{quote(one, safe='')}/neighbors?n=5").json()["items"]
    assert one not in [line["item_id"] for line in near]
    assert department(toy, near[0]["item_id"]) == department(toy, one)


def test_what_is_not_known(http: TestClient, user: str) -> None:
    for path in (f"/api/user/{user}", "/api/item/nope", "/api/item/nope/neighbors", "/api/explain/nope/nope"):
        assert problem(http.get(path))[:2] == (404, "unknown"), path
    assert listed(http, user, "n=5"), "somebody new gets what is popular"
    late = f"late-{user}"
    taken = http.post("/api/feedback", json=[{"user_id": late, "item_id": f"later-{user}"}]).json()
    assert (taken["accepted"], taken["waiting"]) == (1, 1)
    assert [event["item_id"] for event in http.get(f"/api/user/{late}").json()["sent"]] == [f"later-{user}"]


def test_a_new_item_is_recommended_at_once_and_a_hidden_one_never(http: TestClient, toy: ToyShop, user: str) -> None:
    like = toy.catalog.item_ids[0]
    columns = http.get(f"/api/item/{quote(like, safe='')}").json()["fields"]
    sent = [{"item_id": f"new-{user}", **columns}, {"item_id": f"hidden-{user}", **columns, "hidden": True}]
    assert http.post("/api/items", json=sent).status_code == 200
    http.post("/api/feedback", json=[{"user_id": user, "item_id": like}])
    shown = listed(http, user, "n=100")
    assert f"new-{user}" in shown[:20]
    assert f"hidden-{user}" not in shown
    http.put("/api/users", json=[{"user_id": user, "exclude": [f"new-{user}"]}])
    assert f"new-{user}" not in listed(http, user)


@pytest.mark.parametrize("name", ["a/b", "..", "%2F", "🧁 ?#"])
def test_any_id_works_all_the_way(http: TestClient, toy: ToyShop, name: str) -> None:
    part = quote(name, safe="").replace(".", "%2E")
    assert http.post("/api/items", json=[{"item_id": name, "title": "thing number 7"}]).status_code == 200
    events = [{"user_id": name, "item_id": name}, {"user_id": name, "item_id": toy.catalog.item_ids[3]}]
    assert http.post("/api/feedback", json=events).json()["accepted"] == 2
    answer = http.get(f"/api/recommend/{part}?n=3&explain=true").json()
    assert answer["user_id"] == name
    assert name not in [line["item_id"] for line in answer["items"]]
    assert http.get(f"/api/item/{part}").json()["item_id"] == name
    assert http.get(f"/api/user/{part}").json()["user_id"] == name
    assert http.delete(f"/api/user/{part}").status_code == 200
    assert http.get(f"/api/user/{part}").status_code == 404


def test_nothing_bad_is_taken_in(http: TestClient, live: Live, user: str) -> None:
    before = live.as_of_event
    for name, bad in BAD_EVENTS.items():
        good = {"user_id": user, "item_id": "x"}
        assert problem(http.post("/api/feedback", json=[good, bad]))[:2] == (422, "invalid"), name
    assert live.as_of_event == before
    assert http.get(f"/api/user/{user}").status_code == 404
    assert listed(http, user, "category=nothing+of+the+kind") == []
    assert problem(http.get(f"/api/recommend/{user}?wish=more+of+xyzzy"))[:2] == (422, "invalid")


def test_an_event_counts_once_however_often_it_is_sent(http: TestClient, user: str) -> None:
    sent = {"user_id": user, "item_id": "a", "timestamp": time.time() - 50, "kind": "view"}
    results = [http.post("/api/feedback", json=[sent, sent]).json() for _ in range(3)]
    assert [result["accepted"] for result in results] == [1, 0, 0]
    assert len(http.get(f"/api/user/{user}").json()["sent"]) == 1
    other = {"user_id": user, "item_id": "b", "event_id": f"e-{user}"}
    assert http.post("/api/feedback", json=[other | {"timestamp": 1}]).status_code == 200
    assert problem(http.post("/api/feedback", json=[other | {"timestamp": 2}]))[:2] == (409, "conflict")
    assert http.put("/api/feedback", json=[other | {"timestamp": 2}]).json()["replaced"] == 1


def test_an_erased_user_is_in_no_file(http: TestClient, folder: Path, toy: ToyShop) -> None:
    user = "canary-5b1f0c"
    http.put("/api/users", json=[{"user_id": user, "note": "canary-note-77ad"}])
    events = [{"user_id": user, "item_id": item, "event_id": f"canary-e-{item}"} for item in toy.catalog.item_ids[:5]]
    http.post("/api/feedback", json=events)
    answer = http.get(f"/api/recommend/{user}?explain=true&n=5").json()
    path = f"/api/explain/{answer['recommendation_id']}/{quote(answer['items'][0]['item_id'], safe='')}"
    assert http.get(path).status_code == 200
    assert http.delete(f"/api/user/{user}").json()["events"] == 5
    assert http.get(path).status_code == 404
    assert http.get(f"/api/user/{user}").status_code == 404
    assert http.delete(f"/api/user/{user}").status_code == 200
    hits = [file.name for file in folder.rglob("*") if file.is_file() and b"canary" in file.read_bytes()]
    assert hits == []


def test_a_crowd_is_answered_together_and_each_with_its_own(live: Live, toy: ToyShop) -> None:
    async def crowd(url: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            await asyncio.gather(
                *(
                    http.post("/api/feedback", json=[{"user_id": f"crowd-{place}", "item_id": item}])
                    for place, item in enumerate(toy.catalog.item_ids[:40])
                )
            )
            answers = await asyncio.gather(*(http.get(f"/api/recommend/crowd-{place}?n=100") for place in range(40)))
            return [answer.json() for answer in answers]

    with served(create_app(live)) as url:
        answers = asyncio.run(crowd(url))
        with Client(url) as client:
            alone = [client.recommend(f"crowd-{place}", 5).items for place in range(3)]
    for place, item in enumerate(toy.catalog.item_ids[:40]):
        assert answers[place]["user_id"] == f"crowd-{place}"
        assert item not in [line["item_id"] for line in answers[place]["items"]]
    for place, lines in enumerate(alone):
        together = answers[place]["items"]
        scores, same = [line.score for line in lines], {line["item_id"]: line["score"] for line in together}
        # Items of the same text score the same but for the last bit, and may change places.
        assert [line["score"] for line in together[:5]] == pytest.approx(scores, abs=1e-5)
        assert [same[line.item_id] for line in lines] == pytest.approx(scores, abs=1e-5)


def test_a_full_queue_says_when_to_ask_again(recommender: Recommender, tmp_path: Path) -> None:
    async def flood(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            return await asyncio.gather(*(http.get(f"/api/recommend/{place}") for place in range(60)))

    live = Live.open(tmp_path, recommender, Settings(waiting=2, max_batch=1, patience=60.0))
    try:
        with served(create_app(live)) as url:
            answers = asyncio.run(flood(url))
    finally:
        live.close()
    assert {answer.status_code for answer in answers} == {200, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.json()["error"]["code"] for answer in refused} == {"busy"}


def test_the_state_is_sqlite_and_whole(http: TestClient, folder: Path) -> None:
    assert "recllm_queue_length 0.0" in http.get("/metrics").text
    with sqlite3.connect(f"file:{folder / 'recllm.db'}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
