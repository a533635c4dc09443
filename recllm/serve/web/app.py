"""The app: all routes with their roles, in one place."""

import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from recllm.errors import ConfigError, RecllmError, ServeError
from recllm.serve.page import routes as page
from recllm.serve.web import kept, lists, login, reference, running
from recllm.serve.web.edge import Edge
from recllm.serve.web.engine import Engine
from recllm.serve.web.failing import on_error
from recllm.serve.web.guard import ADMIN, READ, Gate, is_loopback
from recllm.serve.web.keys import Keys
from recllm.serve.web.metrics import Metrics
from recllm.serve.web.openapi import describe
from recllm.serve.web.routing import routes_of


def create_app(live: Engine, keys: Keys | None = None) -> FastAPI:
    """Everything that speaks HTTP, for an engine.

    Args:
        live: What answers; the app does not close it.
        keys: Who may ask; None: whoever is on this machine may do everything, and nobody else is let in.

    Raises:
        ConfigError: There are no keys, and the server is to be reached from other machines.
        ServeError: A route states no role.
    """
    settings = live.settings
    if keys is None and not is_loopback(settings.host):
        raise ConfigError(
            f"{settings.host!r} can be reached from other machines, and there are no keys; make one with "
            "`recllm serve --new-key admin`, or listen on 127.0.0.1."
        )
    gate, metrics = Gate(keys, settings.rate), Metrics(live)
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        exception_handlers=dict.fromkeys((RecllmError, RequestValidationError, HTTPException, Exception), on_error),
    )
    app.state.live, app.state.gate, app.state.metrics, app.state.running = live, gate, metrics, []
    for module in (lists, kept, running, login, reference):
        app.include_router(module.router)
    app.include_router(page.router(live, read=[READ], admin=[ADMIN]))
    if importlib.util.find_spec("mcp") is not None:
        from recllm.serve.web.door import mount

        mount(app, live, gate)
    app.add_middleware(Edge, gate=gate, metrics=metrics, live=live)
    bare = sorted(path for path, _, needs in routes_of(app) if needs is None)
    if bare:
        raise ServeError(f"{', '.join(bare)} state no role; put READ, WRITE, ADMIN or OPEN into their dependencies.")
    description: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not description:
            description.update(describe(app, settings, has_keys=keys is not None))
        return description

    app.openapi = openapi  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run what was put into `app.state.running` as long as the app runs."""
    async with contextlib.AsyncExitStack() as stack:
        for start in app.state.running:
            await stack.enter_async_context(start())
        yield
