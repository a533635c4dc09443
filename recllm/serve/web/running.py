"""Routes of how the server runs: health, figures, a new model, OpenAPI."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from recllm.serve.web.guard import ADMIN, OPEN, READ
from recllm.serve.web.reply import RETRY_AFTER, error_reply, reply
from recllm.serve.web.routing import ALWAYS, KEPT, LISTED, StrictRoute, errors, example, live_of, metrics_of, success

router = APIRouter(route_class=StrictRoute, tags=["server"])


@router.get(
    "/api/health/live",
    summary="Is the process alive",
    dependencies=[OPEN],
    response_model=dict[str, bool],
    responses=example({"live": True}, "It is.") | errors(403),
)
async def alive(request: Request) -> Response:
    """Answers as long as the process does."""
    return reply({"live": True})


@router.get(
    "/api/health/ready",
    summary="Does the server answer",
    dependencies=[OPEN],
    response_model=dict[str, Any],
    responses=example({"ready": True, "message": "ready"}, "It does.") | errors(403, 503),
)
async def ready(request: Request) -> Response:
    """Whether lists are answered and events are taken in; 503 with a sentence where they are not."""
    is_ready, message = live_of(request).ready()
    if not is_ready:
        return error_reply(503, message, {"retry-after": str(RETRY_AFTER)})
    return reply({"ready": True, "message": message})


@router.post(
    "/api/refit",
    status_code=202,
    summary="Learn anew",
    dependencies=[ADMIN],
    response_model=dict[str, Any],
    responses=example(
        {"started": True}, "It has begun, in the background; the new model takes over without a pause.", 202
    )
    | errors(*set(KEPT) - {408, 413}, 409),
)
async def refit(request: Request) -> Response:
    """Learn a new model from all that is kept; until it is ready the old one answers."""
    return reply(await live_of(request).refit(), 202)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    dependencies=[READ],
    response_class=Response,
    responses=success("In Prometheus' text format.", "text/plain", schema={"type": "string"}) | errors(*ALWAYS),
)
async def figures(request: Request) -> Response:
    """Requests, seconds, events, lists by policy, the queue, the age of the newest event, the model."""
    return Response(metrics_of(request).text(), headers={"content-type": CONTENT_TYPE_LATEST})


@router.get(
    "/api/openapi.json",
    summary="This description",
    dependencies=[READ],
    response_model=dict[str, Any],
    responses=example({"openapi": "3.1.0"}, "OpenAPI.") | errors(*LISTED),
)
async def openapi(request: Request) -> Response:
    """What there is, in OpenAPI."""
    return reply(await run_in_threadpool(request.app.openapi))
