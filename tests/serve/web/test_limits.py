"""Over a real connection: how large a request may be, and that paths arrive as they were sent."""

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from recllm.serve.settings import Settings
from recllm.serve.web.app import create_app
from tests.serve.fake import FakeLive
from tests.serve.served import served

BODY = json.dumps([{"user_id": "mia", "item_id": "lamp"}]).encode()


@pytest.fixture(scope="module")
def live() -> FakeLive:
    return FakeLive(Settings(max_body=10_000))


@pytest.fixture(scope="module")
def url(live: FakeLive) -> Iterator[str]:
    with served(create_app(live)) as url:
        yield url


@pytest.fixture
def wire(url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    yield connection
    connection.close()


def start(wire: http.client.HTTPConnection, *headers: tuple[str, str]) -> None:
    wire.putrequest("POST", "/api/feedback")
    for name, value in (("content-type", "application/json"), *headers):
        wire.putheader(name, value)
    wire.endheaders()


def error(wire: http.client.HTTPConnection) -> tuple[int, str]:
    response = wire.getresponse()
    return response.status, json.loads(response.read())["error"]["code"]


def test_a_large_body_is_refused_before_it_is_sent(wire: http.client.HTTPConnection, live: FakeLive) -> None:
    start(wire, ("content-length", str(10**12)))
    assert error(wire) == (413, "too_large")
    assert live.calls["feedback"] == 0


@pytest.mark.parametrize("length", ["9" * 4000, "-1", "ten", "1, 2"])
def test_a_length_that_is_none_is_refused(wire: http.client.HTTPConnection, length: str) -> None:
    start(wire, ("content-length", length))
    assert wire.getresponse().status in (400, 413)


def test_a_body_of_unknown_length_is_read_no_further_than_allowed(
    wire: http.client.HTTPConnection, live: FakeLive
) -> None:
    start(wire, ("transfer-encoding", "chunked"))
    chunk = b"%x\r\n%s\r\n" % (2_000, b"x" * 2_000)
    for _ in range(6):  # never the last one
        wire.send(chunk)
    assert error(wire) == (413, "too_large")
    assert live.calls["feedback"] == 0


def test_a_body_in_chunks_is_one_body(wire: http.client.HTTPConnection) -> None:
    start(wire, ("transfer-encoding", "chunked"))
    for part in (BODY[:7], BODY[7:]):
        wire.send(b"%x\r\n%s\r\n" % (len(part), part))
    wire.send(b"0\r\n\r\n")
    response = wire.getresponse()
    assert (response.status, json.loads(response.read())["accepted"]) == (200, 1)


def test_a_body_that_does_not_come_is_given_up(
    wire: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recllm.serve.web.edge.SLOWEST", 0.2)
    began = time.monotonic()
    start(wire, ("content-length", "100"))
    wire.send(b"[")
    assert error(wire) == (408, "slow")
    assert time.monotonic() - began < 5


def test_small_answers_go_out_at_once(wire: http.client.HTTPConnection) -> None:
    """Not after the 40 ms that the other side's system waits before it acknowledges."""
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        wire.request("GET", "/api/recommend/mia?n=1")
        wire.getresponse().read()
        seconds.append(time.perf_counter() - began)
    assert sorted(seconds)[7] < 0.03


@pytest.mark.parametrize(
    ("sent", "user"),
    [("..", ".."), ("a/../b", "a/../b"), ("a%2Fb", "a/b"), ("%2e%2e", ".."), ("%25%32%46", "%2F"), ("a//b", "a//b")],
)
def test_a_path_arrives_as_it_was_sent(wire: http.client.HTTPConnection, sent: str, user: str) -> None:
    wire.request("GET", f"/api/recommend/{sent}?n=1")
    assert json.loads(wire.getresponse().read())["user_id"] == user


def test_a_path_in_raw_utf_8_is_read(wire: http.client.HTTPConnection) -> None:
    wire.putrequest("GET", "/", skip_host=True)
    wire._buffer[0] = "GET /api/recommend/mü HTTP/1.1".encode()  # type: ignore[attr-defined]
    wire.putheader("host", "127.0.0.1")
    wire.endheaders()
    response = wire.getresponse()
    if response.status != 400:  # the server's own parser may refuse it
        assert json.loads(response.read())["user_id"] == "mü"
