"""A language model behind a URL, against a real server on this machine that answers well, badly, or never."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recllm.errors import ConfigError, GenerationError, MissingExtraError
from recllm.prompting import open_generator
from recllm.prompting.endpoint import EndpointGenerator

KEY = "sk-very-secret"
Script = Callable[[socket.socket], None]


class Server:
    """Reads one request per connection, then does what the script says with the socket."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.done = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(5)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self.done.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                if self.done.is_set():
                    return
                try:
                    self.requests.append(read_request(connection))
                    self.script(connection)
                except (OSError, ValueError, IndexError):  # the client has had enough, or speaks TLS
                    pass

    def close(self) -> None:
        self.done.set()
        with socket.create_connection(self._listener.getsockname()):  # wakes accept
            pass
        self._thread.join(timeout=5)
        self._listener.close()
        assert not self._thread.is_alive()


def read_request(connection: socket.socket) -> tuple[str, dict[str, str], Any]:
    with connection.makefile("rb") as file:
        line = file.readline().decode()
        headers = {}
        while (header := file.readline().decode().strip()) != "":
            name, _, value = header.partition(": ")
            headers[name] = value
        return line.strip(), headers, json.loads(file.read(int(headers["Content-Length"])))


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    server = Server(script)
    try:
        yield server
    finally:
        server.close()


def answer(body: str | bytes, status: str = "200 OK", headers: str = "") -> Script:
    content = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode()
    return lambda connection: connection.sendall(head + content)


def say(text: Any) -> Script:
    return answer(json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}))


def generator(server: Server, **options: Any) -> EndpointGenerator:
    return EndpointGenerator(server.url, "tiny", **{"timeout": 2.0, "api_key": KEY, **options})


# --- it answers well ---------------------------------------------------------------------------------------------


def test_text() -> None:
    with serving(say("It is for dogs, too.")) as server:
        model = generator(server)
        assert model.generate("Be brief.", "A leash", max_tokens=40) == "It is for dogs, too."
        ((line, headers, body),) = server.requests
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers["Host"] == server.url.split("/")[2]
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A leash"}],
        "max_tokens": 40,
        "temperature": 0,
        "stream": False,
    }
    assert model.name == f"tiny at {server.url.split('/')[2]}"
    assert KEY not in repr(model) + str(vars(model)).replace(f"'_key': '{KEY}'", "")


def test_an_answer_in_chunks() -> None:
    body = json.dumps({"choices": [{"message": {"content": "fine"}}]}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with serving(lambda connection: connection.sendall(chunked)) as server:
        assert generator(server).generate("s", "u") == "fine"


SCHEMA = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}


def test_json() -> None:
    with serving(say('{"reason": "dogs"}')) as server:
        assert generator(server).generate("s", "u", schema=SCHEMA) == '{"reason": "dogs"}'
        body = server.requests[0][2]
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("said", "chosen"), [('{"choice": 1}', 0), ('{"choice": 2}', 1), (' {"choice": "none"}\n', None)]
)
def test_choosing(said: str, chosen: int | None) -> None:
    with serving(say(said)) as server:
        assert generator(server).choose("s", "u", ["first", "second"]) == chosen
        body = server.requests[0][2]
    assert "1. first\n2. second" in body["messages"][1]["content"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["choice"]["enum"] == [1, 2, "none"]


def test_without_options_nobody_is_asked() -> None:
    assert EndpointGenerator("http://localhost:1/v1", "tiny").choose("s", "u", []) is None


# --- it lies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        '{"choice": 3}',
        '{"choice": 0}',
        '{"choice": -1}',
        '{"choice": true}',
        '{"choice": 1.0}',
        '{"choice": "1"}',
        '{"choice": null}',
        '{"choice": [1]}',
        '{"choice": 1, "why": "x"}',
        '{"choice": 1} is my answer',
        '```json\n{"choice": 1}\n```',
        "1",
        "[1]",
        "{}",
        "the first",
        "[" * 100_000,
    ],
)
def test_no_other_choice_passes(said: str) -> None:
    with serving(say(said[:900])) as server, pytest.raises(GenerationError):
        generator(server).choose("s", "u", ["first", "second"])


@pytest.mark.parametrize("said", ['{"reason": 1}', "{}", '"reason"', "reason: dogs", '{"reason": "x"'])
def test_json_is_checked_here(said: str) -> None:
    with serving(say(said)) as server, pytest.raises(GenerationError, match="JSON"):
        generator(server).generate("s", "u", schema=SCHEMA)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (answer("<html>It works!</html>"), "not JSON"),
        (answer(""), "not JSON"),
        (answer(b"\xff\xfe\x00"), "not JSON"),
        (answer("[" * 200_000), "not JSON"),
        (answer("1" * 10_000), "not JSON"),
        (answer("[]"), "no chat completion"),
        (answer("null"), "no chat completion"),
        (answer('{"error": "no such model"}'), "no chat completion"),
        (answer('{"choices": []}'), "no chat completion"),
        (answer('{"choices": {"0": 1}}'), "no chat completion"),
        (answer('{"choices": [{"text": "old style"}]}'), "no chat completion"),
        (say(None), "no text"),
        (say("  \n"), "no text"),
        (say(["parts"]), "no text"),
        (say("on and on " * 1000), "10000 characters for max_tokens=160"),
        (answer("moved", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "redirects .status 302."),
        (answer("gone", "308 Permanent Redirect", "Location: https://example.org/\r\n"), "redirects"),
        (answer("oops " + KEY, "500 Internal Server Error"), "status 500"),
        (answer("who?", "401 Unauthorized"), "status 401 .*set RECLLM_API_KEY"),
        (answer("what?", "404 Not Found"), "status 404 .*model's name"),
        (answer("", "204 No Content"), "status 204"),
        (lambda connection: None, "does not answer in HTTP"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9\r\n"), "does not answer in HTTP"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), "broke off"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
            "broke off",
        ),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000), "does not answer in HTTP"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"),
            "announces an answer of 999999999999 bytes",
        ),
    ],
)
def test_every_failure_is_one_sentence(script: Script, message: str) -> None:
    with serving(script) as server, pytest.raises(GenerationError, match=message) as caught:
        generator(server).generate("s", "u")
    assert str(caught.value).startswith("the language model tiny at 127.0.0.1:")
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def test_an_endless_answer_is_cut() -> None:
    with serving(flood) as server, pytest.raises(GenerationError, match="without end"):
        generator(server, max_bytes=200_000).generate("s", "u")


# --- it is slow, or not there ------------------------------------------------------------------------------------


def drip(start: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"y")
            time.sleep(0.05)

    return script


@pytest.mark.parametrize(
    "script",
    [
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n"),
        lambda connection: time.sleep(0.6),
    ],
    ids=["body", "header", "chunk", "hangs"],
)
def test_one_deadline_covers_the_whole_answer(script: Script) -> None:
    with serving(script) as server:
        began = time.monotonic()
        with pytest.raises(GenerationError, match=r"no whole answer within 0\.3 s; raise timeout"):
            generator(server, timeout=0.3).generate("s", "u")
        assert time.monotonic() - began < 2  # it would drip for ever


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_nobody_there() -> None:
    with pytest.raises(GenerationError, match=r"cannot be reached \(Connection refused\); start the server"):
        EndpointGenerator(f"http://127.0.0.1:{closed_port()}/v1", "tiny").generate("s", "u")


def test_tls_against_a_plain_server() -> None:
    with serving(say("fine")) as server:
        model = EndpointGenerator(server.url.replace("http:", "https:"), "tiny", timeout=0.3)
        with pytest.raises(GenerationError, match=r"cannot be reached|no whole answer"):
            model.generate("s", "u")


def test_no_proxy_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with serving(say("fine")) as server:
        assert generator(server).generate("s", "u") == "fine"


# --- the breaker -------------------------------------------------------------------------------------------------


def test_a_server_that_keeps_failing_is_left_alone() -> None:
    now = 100.0
    good, bad = say("fine"), answer("oops", "500 Internal Server Error")
    with serving(bad) as server:
        model = generator(server, failures_before_open=2, rest_seconds=30, clock=lambda: now)
        for _ in range(2):
            with pytest.raises(GenerationError, match="status 500"):
                model.generate("s", "u")
        with pytest.raises(GenerationError, match="failed 2 times in a row and gets no question for another 30 s"):
            model.choose("s", "u", ["a"])
        assert len(server.requests) == 2

        now += 31  # one try, which fails: it rests again at once
        with pytest.raises(GenerationError, match="status 500"):
            model.generate("s", "u")
        with pytest.raises(GenerationError, match="gets no question"):
            model.generate("s", "u")
        assert len(server.requests) == 3

        now += 31
        server.script = good
        assert model.generate("s", "u") == "fine"
        server.script = bad  # a success counts from nought again
        with pytest.raises(GenerationError, match="status 500"):
            model.generate("s", "u")
        server.script = good
        assert model.generate("s", "u") == "fine"


def test_only_one_question_tries_a_rested_server() -> None:
    now = 0.0
    model = EndpointGenerator(
        f"http://127.0.0.1:{closed_port()}/v1", "tiny", failures_before_open=1, clock=lambda: now, rest_seconds=10
    )
    with pytest.raises(GenerationError, match="cannot be reached"):
        model.generate("s", "u")
    now = 11.0
    model._breaker.check("first")
    with pytest.raises(GenerationError, match="gets no question"):
        model._breaker.check("second")


# --- what is refused before anybody is asked ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "localhost.example.org", "169.254.169.254"])
def test_other_hosts_have_to_be_allowed(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"may only go to localhost, .*allow_hosts=\('{host}',\)"):
        EndpointGenerator(f"http://{host}/v1", "tiny")
    assert EndpointGenerator(f"https://{host.upper()}/v1", "tiny", allow_hosts=[host]).name.startswith("tiny at ")


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://127.0.0.1/", "http://[::1]:8000", "HTTP://LocalHost/v1"]
)
def test_this_machine_is_allowed(url: str) -> None:
    EndpointGenerator(url, "tiny")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/v1",
        "file:///etc/passwd",
        "localhost:8000",
        "http://",
        "http://localhost:port/v1",
        "http://localhost:99999/v1",
        f"http://user:{KEY}@localhost/v1",
        f"http://localhost/v1?key={KEY}",
        "http://localhost/v 1",
        "http://[::1/v1",
        f"http://{'x' * 70}.example/v1",
    ],
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EndpointGenerator(url, "tiny")
    assert KEY not in str(caught.value)


def test_a_key_cannot_smuggle_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="RECLLM_API_KEY") as caught:
        EndpointGenerator("http://localhost/v1", "tiny", api_key=f"{KEY}\r\nX-Evil: 1")
    assert KEY not in str(caught.value)
    monkeypatch.setenv("RECLLM_API_KEY", KEY)
    with serving(say("fine")) as server:
        EndpointGenerator(server.url, "tiny").generate("s", "u")
        assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"
        EndpointGenerator(server.url, "tiny", api_key="").generate("s", "u")
        assert "Authorization" not in server.requests[1][1]


def test_what_is_not_installed_is_said_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    with pytest.raises(
        MissingExtraError, match=r"'httpcore2', which is not installed; run: pip install 'recllm\[llm\]'"
    ):
        EndpointGenerator("http://localhost/v1", "tiny")


def test_limits_have_to_make_sense() -> None:
    for limit in ({"timeout": 0}, {"max_bytes": 0}, {"failures_before_open": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            EndpointGenerator("http://localhost/v1", "tiny", **limit)  # type: ignore[arg-type]


def test_opening_by_url() -> None:
    with serving(say("fine")) as server:
        model = open_generator(f"{server.url}#tiny")
        assert model.writes
        assert model.generate("s", "u") == "fine"
        assert server.requests[0][2]["model"] == "tiny"
    with pytest.raises(ConfigError, match="no model is named"):
        open_generator("http://localhost:8000/v1")
    with pytest.raises(ConfigError, match="allow_hosts"):
        open_generator("https://example.org/v1#tiny")
    assert open_generator("https://example.org/v1#tiny", allow_hosts=["example.org"]).name == "tiny at example.org"
