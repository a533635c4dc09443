import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from recllm.errors import BusyError, ConflictError, DataError, ServeError, StorageError, UnknownError
from recllm.serve.answers import Line
from recllm.serve.client import Client
from recllm.serve.state.records import Event
from recllm.serve.web.app import create_app
from recllm.serve.web.keys import Keys, Role, new_key
from tests.serve.fake import FakeLive
from tests.serve.served import served


@dataclasses.dataclass
class Place:
    live: FakeLive
    url: str
    secrets: dict[Role, str]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = {role: new_key(role.name, role) for role in Role}
    live = FakeLive()
    with served(create_app(live, Keys(key for _, key in made.values()))) as url:
        yield Place(live, url, {role: secret for role, (secret, _) in made.items()})


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    vars(place.live).clear()
    place.live.__init__()  # type: ignore[misc]
    with Client(place.url, place.secrets[Role.ADMIN], retries=0) as client:
        yield client


@pytest.mark.parametrize("user", ["mia", "a/b", "..", ".", "%2F", "🧁 ?#&", "x" * 1000])
def test_there_and_back(client: Client, user: str) -> None:
    assert client.feedback([{"user_id": user, "item_id": "spade", "kind": "view"}]).accepted == 1
    answer = client.recommend(user, 3, explain=True, exclude=["hose"], category=["Garden", "Living"])
    assert answer.user_id == user
    assert [line.item_id for line in answer.items] == ["seeds", "lamp", "candle"]
    assert isinstance(answer.items[0], Line)
    assert answer.items[0].reason == "Because you have Steel spade."
    reason = client.explain(answer.recommendation_id, "seeds")
    assert reason.row["explanation"] == answer.items[0].reason
    assert client.user(user)["events"][0]["item_id"] == "spade"
    assert client.erase(user)["events"] == 1
    with pytest.raises(UnknownError, match="nothing is known"):
        client.user(user)


def test_the_other_lists(client: Client) -> None:
    assert [line.item_id for line in client.session(["bear"], 2).items] == ["blocks", "kite"]
    assert [line.item_id for line in client.session([{"item_id": "bear", "kind": "view"}], n=1).items] == ["blocks"]
    assert [line.item_id for line in client.rank(["kite", "lamp"], wishes=["more of Toys"]).items] == ["kite", "lamp"]
    page = client.page(have=["bear"], rows=2, n=2)
    assert [row.kind for row in page.rows] == ["for_you", "category"]
    assert page.rows[0].items[0].item_id == "blocks"
    assert client.whatif("mia", add=["bear"], n=1)[0].item_id == "blocks"
    assert [line.item_id for line in client.neighbors("a/b")] == ["mug", "100% 🧁"]
    assert [line.item_id for line in client.search("lamp")] == ["lamp"]
    assert client.recommend("mia", 1, wishes=["never of Living"]).items[0].item_id == "spade"
    assert client.recommend("mia", 1, candidates=["kite"], caps={"categories": 1}).items[0].item_id == "kite"
    client.feedback([{"user_id": "mia", "item_id": "spade"}])
    assert client.recommend("mia", 1, without=["spade"]).items[0].item_id == "lamp"
    assert client.recommend("mia", 20, include_seen=True).items[0].item_id == "spade"


def test_what_is_sent_is_there(client: Client, place: Place) -> None:
    event = Event("e", "mia", "bear", 1.5, "view", rating=4.0)
    assert client.feedback([event]).accepted == 1
    assert client.feedback([event]).known == 1
    assert place.live.events[0].event == event
    with pytest.raises(ConflictError):
        client.feedback([dataclasses.replace(event, kind="buy")])
    assert client.feedback([dataclasses.replace(event, kind="buy")], replace=True).replaced == 1
    assert client.put_items([{"item_id": "new", "title": "New", "price": 2}]) == {"added": 1, "changed": 0}
    assert client.item("new")["fields"] == {"title": "New", "price": 2}
    client.put_users([{"user_id": "mia", "exclude": ["lamp"]}])
    assert client.user("mia")["exclude"] == ["lamp"]
    assert client.refit() == {"started": True}


def test_errors_are_the_library_s(client: Client, place: Place) -> None:
    with pytest.raises(UnknownError, match="no item 'nope'"):
        client.neighbors("nope")
    with pytest.raises(DataError, match="n is at most 100"):
        client.recommend("mia", 101)
    for error in (BusyError("too much."), StorageError("full."), DataError("no wish.")):
        place.live.fault = error
        with pytest.raises(type(error), match=str(error)):
            client.search("x")
    place.live.fault = RuntimeError("secret")
    with pytest.raises(ServeError, match="log says why"):
        client.search("x")
    place.live.fault = None
    with (
        Client(place.url, place.secrets[Role.READ], retries=0) as reader,
        pytest.raises(ServeError, match="role write"),
    ):
        reader.feedback([{"user_id": "a", "item_id": "b"}])
    with Client(place.url, "wrong", retries=0) as stranger, pytest.raises(ServeError, match="needs a key"):
        stranger.search("x")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("http://127.0.0.1:9", retries=1) as client:
        slept = waits(client)
        with pytest.raises(ServeError, match=r"127\.0\.0\.1:9.*recllm serve"):
            client.refit()
    assert len(slept) == 1, "who was not reached did nothing, so it may be asked again"


# --- again -----------------------------------------------------------------------------------------------------------

TAKEN = {"accepted": 1, "known": 0, "replaced": 0, "waiting": 0, "as_of_event": 1, "of_a_newer_server": True}


def waits(client: Client) -> list[float]:
    slept: list[float] = []
    client._sleep = slept.append
    return slept


def answering(*answers: Callable[[httpx.Request], httpx.Response]) -> tuple[Client, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answers[min(len(seen), len(answers)) - 1](request)

    return Client(transport=httpx.MockTransport(handle)), seen


def busy(status: int, after: str | None = None) -> Callable[[httpx.Request], httpx.Response]:
    body = {"error": {"code": "busy" if status == 503 else "rate", "message": "later."}}
    return lambda request: httpx.Response(status, json=body, headers={} if after is None else {"retry-after": after})


def good(body: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(200, json=body)


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the connection broke", request=request)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(status: int) -> None:
    client, seen = answering(busy(status, "2"), busy(status), good({"started": True}))
    slept = waits(client)
    assert client.refit() == {"started": True}
    assert len(seen) == 3
    assert slept[0] == 2
    assert 0.05 < slept[1] < 1


def test_patience_ends() -> None:
    client, seen = answering(busy(503, "1"))
    slept = waits(client)
    with pytest.raises(BusyError, match="later"):
        client.search("x")
    assert (len(seen), slept) == (4, [1, 1, 1])
    client, seen = answering(busy(429, "3600"))
    slept = waits(client)
    with pytest.raises(BusyError):
        client.search("x")
    assert (len(seen), slept) == (1, [])


def test_only_what_does_no_harm_is_sent_twice_when_an_answer_is_lost() -> None:
    client, seen = answering(broken, good(TAKEN))
    waits(client)
    assert client.feedback([{"user_id": "a", "item_id": "b"}]).accepted == 1
    first, again = (json.loads(request.content) for request in seen)
    assert first == again
    assert first[0]["event_id"]
    assert abs(first[0]["timestamp"] - time.time()) < 60
    client, seen = answering(broken, good({"started": True}))
    waits(client)
    with pytest.raises(ServeError, match="ReadError"):
        client.refit()
    assert len(seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error": 1}', b"[]"])
def test_another_server_s_errors(body: bytes) -> None:
    client, _ = answering(lambda request: httpx.Response(502, content=body))
    with pytest.raises(ServeError, match="502"):
        client.search("x")
