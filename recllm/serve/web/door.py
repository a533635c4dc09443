"""The door to the tools for agents, `/mcp`: by the same keys as everything else.

The protocol's package takes a second to import, so that happens when the server answers already.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from recllm.serve.web.engine import Engine
from recllm.serve.web.guard import Gate, Needs
from recllm.serve.web.keys import Role
from recllm.serve.web.reply import Refused, error_reply

PATIENCE = 10.0
"""Seconds that a call waits for the tools to be there."""


class Door:
    """An ASGI app that lets callers with a key that may read through to the tools."""

    needs = Needs(Role.READ)

    def __init__(self, live: Engine, gate: Gate) -> None:
        self._live, self._gate = live, gate
        self._manager: Any = None
        self._there = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open as long as the app runs, from a moment after its start."""
        closing = asyncio.Event()
        opened = asyncio.create_task(self._open(closing))
        try:
            yield
        finally:
            closing.set()
            await opened

    async def _open(self, closing: asyncio.Event) -> None:
        tools = await asyncio.to_thread(importlib.import_module, "recllm.serve.web.mcp")
        manager = tools.manager_of(self._live)
        try:
            async with manager.run():
                self._manager = manager
                self._there.set()
                await closing.wait()
        finally:
            self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            scope["recllm.role"] = self._gate.admit(HTTPConnection(scope), Role.READ)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._there.wait(), PATIENCE)
            if self._manager is None:
                raise Refused(503, "the server is starting or stopping; ask again in a moment.", {"retry-after": "1"})
        except Refused as refused:
            headers = dict(refused.headers or {})
            await error_reply(refused.status_code, str(refused.detail), headers)(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)


def mount(app: FastAPI, live: Engine, gate: Gate) -> None:
    """Put the door at `/mcp`."""
    door = Door(live, gate)
    app.router.routes.append(Route("/mcp", door, methods=["POST"], include_in_schema=False))
    app.state.running.append(door.running)
