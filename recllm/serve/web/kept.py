"""Routes of what is kept: events, items, users."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import FailFast
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from recllm.serve.answers import Taken
from recllm.serve.state.records import ItemRecord
from recllm.serve.web import examples
from recllm.serve.web.asks import ItemsQuery
from recllm.serve.web.events import AnyEvent
from recllm.serve.web.fields import Few, PathId, check_length, check_limits
from recllm.serve.web.guard import ADMIN, READ, WRITE
from recllm.serve.web.records import AnyItem, AnyUser, OwnUser
from recllm.serve.web.reply import reply
from recllm.serve.web.routing import KEPT, LISTED, StrictRoute, errors, example, live_of, metrics_of

router = APIRouter(route_class=StrictRoute)

Events = Annotated[
    list[AnyEvent], FailFast(), Body(openapi_examples=examples.EVENTS, description="In any shape.", **Few)
]
Items = Annotated[list[AnyItem], FailFast(), Body(openapi_examples=examples.ITEMS, description="In any shape.", **Few)]
Users = Annotated[list[AnyUser], FailFast(), Body(openapi_examples=examples.USERS, description="In any shape.", **Few)]


@dataclass(frozen=True)
class ItemPage:
    """A part of the catalog, in the order of ids.

    Attributes:
        items: Items.
        next: What to send as `after` for the next part; null at the end.
    """

    items: list[ItemRecord]
    next: str | None


@router.post(
    "/api/feedback",
    tags=["events"],
    summary="Take events in",
    dependencies=[WRITE],
    response_model=Taken,
    responses=example(examples.TAKEN, "They are durable, and in the next answer.") | errors(*KEPT, 409),
)
async def feedback(request: Request, body: Events) -> Response:
    """Take events in, all or none. One that is here already is passed over; with other content it is a conflict."""
    return await _take(request, body, replace=False)


@router.put(
    "/api/feedback",
    tags=["events"],
    summary="Take events in, or their new content",
    dependencies=[WRITE],
    response_model=Taken,
    responses=example(examples.TAKEN, "They are durable, and in the next answer.") | errors(*KEPT, 409),
)
async def replace_feedback(request: Request, body: Events) -> Response:
    """Take events in, all or none. One that is here already with other content gets the new one."""
    return await _take(request, body, replace=True)


async def _take(request: Request, body: list[Any], *, replace: bool) -> Response:
    live = live_of(request)
    check_length(live.settings, body, "the array")
    events = [one.event() for one in body]
    taken = await live.feedback(events, replace=replace)
    newest = max((event.timestamp for event in events), default=0.0)
    metrics_of(request).events(taken.accepted + taken.replaced, newest)
    return reply(taken)


async def _put_items(request: Request, body: Items) -> Response:
    """Take items in; a known id gets the new columns. They can be recommended from their text at once."""
    live = live_of(request)
    check_length(live.settings, body, "the array")
    return reply(await live.put_items([one.record() for one in body]))


async def _put_users(request: Request, body: Users) -> Response:
    """Take profiles in, and what is never to be listed to whom; a known id gets the new ones."""
    live = live_of(request)
    check_length(live.settings, body, "the array")
    for one in body:
        if isinstance(one, OwnUser):
            check_limits(live.settings, one)
    await live.put_users([one.record() for one in body])
    return reply({"users": len(body)})


for method in ("POST", "PUT"):
    router.add_api_route(
        "/api/items",
        _put_items,
        methods=[method],
        name=f"{method.lower()}_items",
        tags=["catalog"],
        summary="Take items in",
        dependencies=[WRITE],
        response_model=dict[str, int],
        responses=example({"added": 1, "changed": 0}, "They can be recommended.") | errors(*KEPT),
    )
    router.add_api_route(
        "/api/users",
        _put_users,
        methods=[method],
        name=f"{method.lower()}_users",
        tags=["users"],
        summary="Take users' profiles in",
        dependencies=[WRITE],
        response_model=dict[str, int],
        responses=example({"users": 1}, "They count in the next answer.") | errors(*KEPT),
    )


@router.get(
    "/api/items",
    tags=["catalog"],
    summary="The catalog, part by part",
    dependencies=[READ],
    response_model=ItemPage,
    responses=example({"items": [examples.ITEM], "next": "kite"}, "A part, in the order of ids.") | errors(*LISTED),
)
async def items(request: Request, query: Annotated[ItemsQuery, Query()]) -> Response:
    """Read the catalog in parts: send `next` of an answer as `after` of the next request."""
    live = live_of(request)
    check_limits(live.settings, query)
    found = await run_in_threadpool(live.items, query.after, query.n)
    return reply(ItemPage(found, found[-1].item_id if len(found) == query.n else None))


@router.get(
    "/api/item/{item_id:path}",
    tags=["catalog"],
    summary="An item",
    dependencies=[READ],
    response_model=ItemRecord,
    responses=example(examples.ITEM, "Its columns.") | errors(*LISTED, 404),
)
async def item(
    request: Request, item_id: Annotated[PathId, Path(description="The item.", examples=["lamp"])]
) -> Response:
    """An item as it was sent, or as the catalog has it."""
    return reply(await run_in_threadpool(live_of(request).item, item_id))


@router.get(
    "/api/user/{user_id:path}",
    tags=["users"],
    summary="All that is kept of a user",
    dependencies=[ADMIN],
    response_model=dict[str, Any],
    responses=example(examples.USER, "Profile, events, exclusions, and what is known of the adapter.")
    | errors(*LISTED, 404),
)
async def user(
    request: Request, user_id: Annotated[PathId, Path(description="The user.", examples=["mia"])]
) -> Response:
    """Everything that is kept of a user, for the user."""
    return reply(await run_in_threadpool(live_of(request).user, user_id))


@router.delete(
    "/api/user/{user_id:path}",
    tags=["users"],
    summary="Erase a user",
    dependencies=[ADMIN],
    response_model=dict[str, Any],
    responses=example({"events": 1, "impressions": 3}, "What was erased; zeros where nothing was known.")
    | errors(*LISTED, 507),
)
async def erase(
    request: Request, user_id: Annotated[PathId, Path(description="The user.", examples=["mia"])]
) -> Response:
    """Erase all that is kept of a user, on disk and in answers; backups that were taken are yours to erase."""
    return reply(await live_of(request).erase(user_id))
