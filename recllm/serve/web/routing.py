"""What all routes share: strict JSON, the engine of the app, and the errors that they document."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import Response

from recllm.serve.web.engine import Engine
from recllm.serve.web.guard import Needs, role_of
from recllm.serve.web.metrics import Metrics
from recllm.serve.web.reply import ErrorBody, Refused


def live_of(request: Request) -> Engine:
    """The engine that answers."""
    return cast(Engine, request.app.state.live)


def metrics_of(request: Request) -> Metrics:
    """Where it is counted."""
    return cast(Metrics, request.app.state.metrics)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def routes_of(app: FastAPI) -> list[tuple[str, set[str], Needs | None]]:
    """(path, methods, what it needs) of each route, those of included routers, too."""
    found = []
    for context in iter_route_contexts(app.routes):
        # A door of its own, which is no route of FastAPI's, says itself what it needs.
        needs = role_of(getattr(context, "dependencies", ())) or getattr(context.endpoint, "needs", None)
        found.append((str(context.path_format), set(context.methods or ()), needs))
    return found


class StrictRequest(Request):
    """A request whose JSON is JSON: UTF-8, no NaN, not nested without end."""

    async def json(self) -> Any:
        """The body.

        Raises:
            Refused: It is no JSON.
        """
        body = await self.body()
        try:
            return json.loads(body.decode("utf-8"), parse_constant=_no_number)
        except json.JSONDecodeError as error:
            words = f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos}"
        except UnicodeDecodeError:
            words = "it is not UTF-8"
        except RecursionError:
            words = "it is nested too deeply"
        except ValueError as error:
            words = str(error)[:100]
        raise Refused(422, f"the body cannot be read: {words}; send a JSON document.")


class StrictRoute(APIRoute):
    """A route that reads with `StrictRequest`, and nothing of those who may not ask."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which is handed the stricter request."""
        handle, needs = super().get_route_handler(), role_of(self.dependencies)

        async def strictly(request: Request) -> Response:
            if needs is not None:
                await needs(request)  # FastAPI would read the body as JSON first
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


_WHEN = {
    401: "The key is missing or not known.",
    403: "The key's role is too small, or the request comes from another site.",
    404: "There is no such user, item or list.",
    408: "The body did not arrive in time.",
    409: "It is known otherwise already.",
    413: "The body is too large.",
    422: "What came cannot be used; the sentence says why.",
    429: "Too many requests; `Retry-After` says when to ask again.",
    503: "More is asked than can be answered; `Retry-After` says when to ask again.",
    507: "The disk refuses; nothing of it was taken in.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}

ALWAYS = (401, 403, 422, 429)
LISTED = (*ALWAYS, 503)
SENT = (*LISTED, 408, 413)
KEPT = (*SENT, 507)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        found[status] = {"model": ErrorBody, "description": _WHEN[status]}
        if status in (429, 503):
            found[status]["headers"] = _RETRY
    return found


def success(description: str, media: str, status: int = 200, **content: Any) -> dict[int | str, dict[str, Any]]:
    """A success of a route, for OpenAPI; `content` says what its media type holds."""
    return {status: {"description": description, "content": {media: content}}}


def example(content: Any, description: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """A success of a route that answers JSON such as `content`."""
    return success(description, "application/json", status, example=content)
