"""What happens to every request before it finds its route, and to every answer: one small ASGI layer."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote_from_bytes

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recllm.serve.web.engine import Engine
from recllm.serve.web.guard import Gate, check_local
from recllm.serve.web.metrics import Metrics
from recllm.serve.web.reply import Refused, error_reply

SLOWEST = 30.0
"""Seconds that a body may take to arrive."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Unless the route says otherwise."""


class Edge:
    """Paths stay encoded until an id is read from them; bodies are bounded; everything is counted."""

    def __init__(self, app: ASGIApp, gate: Gate, metrics: Metrics, live: Engine) -> None:
        self.app, self.gate, self.metrics, self.max_body = app, gate, metrics, live.settings.max_body
        self.traffic = getattr(live, "traffic", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        if scope["path"].startswith("/api/"):
            scope["path"] = encoded_path(scope)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _with_headers(message)
            await send(message)

        try:
            try:
                if self.gate.keys is None:
                    check_local(HTTPConnection(scope))
                receive = await self._bounded(scope, receive)
            except Refused as refused:
                headers = dict(refused.headers or {})
                await error_reply(refused.status_code, str(refused.detail), headers)(scope, receive, sending)
                return
            await self.app(scope, receive, sending)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            seconds = time.perf_counter() - began
            self.metrics.request(method, _route(scope), status, seconds)
            if self.traffic is not None:
                self.traffic.note(status, seconds)

    async def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body, up to what is allowed; whoever wants it gets it in one piece."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if not length and b"transfer-encoding" not in headers:
            return receive
        if length.isdigit() and int(length[:20]) > self.max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(SLOWEST):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the connection ended before the body did; send it again.")
                    body += message.get("body", b"")
                    if len(body) > self.max_body:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Refused(408, f"the body did not arrive within {SLOWEST:g} s; send it again.") from None
        return _replay(bytes(body), receive)

    def _too_large(self) -> Refused:
        # What is still on its way is not read; the connection has to go with it.
        return Refused(413, f"a body has at most {self.max_body} bytes; send it in parts.", {"connection": "close"})


_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def encoded_path(scope: Scope) -> str:
    """The path as it was sent, in ASCII."""
    raw = scope.get("raw_path")
    if raw is None:
        raw = scope["path"].encode("utf-8", "surrogatepass")
        return quote_from_bytes(raw, safe="/:@!$&'()*+,;=-._~")
    raw = raw.partition(b"?")[0]
    return raw.decode("ascii") if raw.isascii() else quote_from_bytes(raw, safe="/:@!$&'()*+,;=-._~%")


def _with_headers(message: Message) -> None:
    headers = list(message.get("headers", ()))
    there = {name.lower() for name, _ in headers}
    message["headers"] = [*headers, *(pair for pair in HEADERS if pair[0] not in there)]


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path_format", None) or getattr(route, "path", None) or "none")
