"""A language model behind a URL that speaks OpenAI's chat completions, such as vLLM, Ollama or llama.cpp.

The server is not trusted: one deadline covers the whole exchange, the answer's size is bounded, redirects are not
followed, only listed hosts are connected to, and nothing that a server or a key says appears in an error.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final
from urllib.parse import SplitResult, urlsplit

from recllm.errors import ConfigError, GenerationError, require
from recllm.prompting.generator import Generator
from recllm.prompting.replies import read_json

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""The hosts that an endpoint may be on when no others are allowed."""

KEY_VARIABLE = "RECLLM_API_KEY"
_NONE = "none"
_CHOICE_TOKENS = 32
_CHARACTERS_PER_TOKEN = 32  # far more than any tokenizer's; whoever sends more does not keep to max_tokens


@final
class EndpointGenerator(Generator):
    """Asks a server over HTTP. Safe to share between threads.

    Args:
        url: Where the API begins, such as `"http://localhost:8000/v1"`; `/chat/completions` is added.
        model: The model's name on that server.
        api_key: Sent as a bearer token; None takes it from the environment variable RECLLM_API_KEY, if it is set.
        allow_hosts: The hosts that prompts may be sent to, by default this machine: prompts hold events and catalog
            text.
        timeout: Seconds for one exchange, from connecting to the last byte; looking up a name in DNS is not bounded by
            it, and each further address of a host has the same time again.
        max_bytes: A longer answer is refused.
        failures_before_open: After so many failures in a row, no question is sent …
        rest_seconds: … for so long; then a single one is tried.
        writes: Whether it is trusted with free text.
        clock: Seconds that never go back, for the rest.

    Raises:
        ConfigError: The URL, the key or a limit cannot be used, or the host is not allowed.
        MissingExtraError: The library that speaks HTTP is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        allow_hosts: Sequence[str] = LOCAL_HOSTS,
        timeout: float = 20.0,
        max_bytes: int = 1_000_000,
        failures_before_open: int = 3,
        rest_seconds: float = 30.0,
        writes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = _checked_url(url, allow_hosts)
        if not model:
            raise ConfigError(f"no model is named for {self._place}; write 'http://host:port/v1#model'")
        if timeout <= 0 or max_bytes < 1 or failures_before_open < 1:
            raise ConfigError("timeout must be above 0, max_bytes and failures_before_open at least 1")
        require("httpcore2", extra="llm")
        self._model, self._key = model, _checked_key(api_key)
        self.name, self.writes = f"{model} at {self._place}", writes
        self._timeout, self._max_bytes = timeout, max_bytes
        self._breaker = _Breaker(failures_before_open, rest_seconds, clock)

    def __repr__(self) -> str:
        return f"EndpointGenerator({self._url.geturl()!r}, {self._model!r})"

    @property
    def _place(self) -> str:
        return self._url.netloc

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        """What the server answers; JSON is checked here, whatever the server promises."""
        text = self._ask(system, user, max_tokens, schema)
        if schema is not None:
            read_json(text, schema)
        return text

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """The option whose number the server answers."""
        if not options:
            return None
        schema = {
            "type": "object",
            "properties": {"choice": {"enum": [*range(1, len(options) + 1), _NONE]}},
            "required": ["choice"],
            "additionalProperties": False,
        }
        numbered = "\n".join(f"{number}. {option}" for number, option in enumerate(options, start=1))
        question = (
            f"{user}\n\n{numbered}\n\nWhich one fits best? Answer with JSON only: "
            f'{{"choice": its number}}, or {{"choice": "{_NONE}"}} if none fits.'
        )
        choice = read_json(self._ask(system, question, _CHOICE_TOKENS, schema), schema)["choice"]
        return None if choice == _NONE else choice - 1

    def _ask(self, system: str, user: str, max_tokens: int, schema: Mapping[str, Any] | None) -> str:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": False,
        }
        if schema is not None:
            wanted = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        self._breaker.check(self.name)
        try:
            text = self._text(self._exchange(json.dumps(body).encode()), max_tokens)
        except GenerationError:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return text

    def _exchange(self, body: bytes) -> bytes:
        """The body of the server's answer to `body`."""
        import httpcore2

        from recllm.prompting.deadline import DeadlineBackend

        kind = "application/json"
        headers: dict[bytes | str, bytes | str] = {"Content-Type": kind, "Accept": kind, "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        place = f"{self._url.geturl().rstrip('/')}/chat/completions"
        backend = DeadlineBackend(self._timeout)
        answer: bytearray | None = None
        try:
            # Neither follows redirects nor reads a proxy from the environment.
            with (
                httpcore2.ConnectionPool(network_backend=backend) as pool,
                pool.stream("POST", place, headers=headers, content=body) as response,
            ):
                self._check_head(response.status, response.headers)
                answer = bytearray()
                for part in response.iter_stream():
                    answer += part
                    if len(answer) > self._max_bytes:
                        limit = f"the limit is max_bytes={self._max_bytes}"
                        raise self._error("sends an answer without end", limit)
                return bytes(answer)
        except httpcore2.TimeoutException:
            raise self._error(f"gave no whole answer within {self._timeout:g} s", "raise timeout") from None
        except httpcore2.NetworkError as error:
            reason = getattr(error.__context__, "strerror", None) or type(error).__name__
            raise self._error(f"cannot be reached ({reason})", "start the server, or check the URL") from None
        except httpcore2.ProtocolError as error:
            if answer is not None:
                raise self._error("broke off in the middle of its answer", "look into its log") from None
            raise self._error(f"does not answer in HTTP ({type(error).__name__})", "check the URL") from None

    def _check_head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        if 300 <= status < 400:
            raise self._error(f"redirects (status {status}), which is not followed", "give the final URL")
        if status != 200:
            advice = {
                401: f"set {KEY_VARIABLE}",
                403: f"set {KEY_VARIABLE}",
                404: "check the URL's path and the model's name",
            }.get(status, "look into its log")
            raise self._error(f"answered with status {status} where 200 was wanted", advice)
        length = next((int(value) for name, value in headers if name.lower() == b"content-length"), 0)
        if length > self._max_bytes:
            raise self._error(f"announces an answer of {length} bytes", f"the limit is max_bytes={self._max_bytes}")

    def _text(self, answer: bytes, max_tokens: int) -> str:
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError):
            raise self._error("answered with something that is not JSON", "check the URL") from None
        try:
            text = document["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._error("answered with JSON that is no chat completion", "check the URL") from None
        if not isinstance(text, str) or not text.strip():
            raise self._error("answered with no text", "use another model, or more max_tokens")
        if len(text) > _CHARACTERS_PER_TOKEN * max_tokens:
            raise self._error(f"answered with {len(text)} characters for max_tokens={max_tokens}", "use another server")
        return text

    def _error(self, what: str, advice: str) -> GenerationError:
        return GenerationError(f"the language model {self.name} {what}; {advice}")


def _checked_url(url: str, allow_hosts: Sequence[str]) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        parts, host = SplitResult("", "", "", "", ""), None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("the URL of a language model is none; write it like 'http://localhost:8000/v1#model'")
    if "@" in parts.netloc or parts.query or parts.fragment or not re.fullmatch(r"[!-~]*", parts.netloc + parts.path):
        raise ConfigError(
            f"the URL of the language model on {host} has more than scheme, host, port and path, or a character that "
            f"a URL cannot have; write it like 'http://localhost:8000/v1', and give a key with {KEY_VARIABLE}"
        )
    if host not in {allowed.casefold() for allowed in allow_hosts}:
        raise ConfigError(
            f"the language model is on {host!r}, and prompts may only go to {', '.join(allow_hosts) or 'no host'}; "
            f"to send it events and catalog text, allow it: allow_hosts=({host!r},), or --allow-host {host}"
        )
    return parts


def _checked_key(api_key: str | None) -> str:
    key = os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key
    if not re.fullmatch(r"[!-~]*", key):  # a line break would be another header
        raise ConfigError(f"the API key has a space or a character beyond ASCII; set {KEY_VARIABLE} again")
    return key


@final
class _Breaker:
    """A circuit breaker: a server that keeps failing gets no questions, or every recommendation would wait for it."""

    def __init__(self, failures: int, rest: float, clock: Callable[[], float]) -> None:
        self._allowed, self._rest, self._clock = failures, rest, clock
        self._failures, self._again = 0, 0.0
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Raise while resting; afterwards let one question through, and the others wait for how it goes."""
        with self._lock:
            if self._failures < self._allowed:
                return
            left = self._again - self._clock()
            if left > 0:
                raise GenerationError(
                    f"the language model {name} failed {self._failures} times in a row and gets no question for "
                    f"another {left:.0f} s; look into its log"
                )
            self._again = self._clock() + self._rest

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._again = self._clock() + self._rest

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0
