"""Routes that answer lists."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from recllm.serve.answers import Answer, Line, Page, Reason, Shift
from recllm.serve.web import examples
from recllm.serve.web.asks import (
    NeighborsQuery,
    PageBody,
    RankBody,
    RecommendBody,
    RecommendQuery,
    SearchQuery,
    SessionBody,
    WhatifBody,
)
from recllm.serve.web.fields import PathId, check_limits
from recllm.serve.web.guard import READ
from recllm.serve.web.reply import reply
from recllm.serve.web.routing import LISTED, SENT, StrictRoute, errors, example, live_of, metrics_of

router = APIRouter(route_class=StrictRoute, tags=["lists"])


@dataclass(frozen=True)
class Found:
    """Items beside each other or found by words.

    Attributes:
        version: Of the model.
        items: The lines; the score is a cosine.
    """

    version: str
    items: tuple[Line, ...]


@dataclass(frozen=True)
class Shifts:
    """A list with and without a change.

    Attributes:
        version: Of the model.
        as_of_event: Number of the newest event that it knows of.
        items: Every item of the two lists, and its two places.
    """

    version: str
    as_of_event: int
    items: list[Shift]


@router.get(
    "/api/recommend/{user_id:path}",
    summary="A user's list",
    dependencies=[READ],
    response_model=Answer,
    responses=example(examples.ANSWER, "The list; unknown users get what is popular.") | errors(*LISTED),
)
async def recommend(
    request: Request,
    user_id: Annotated[PathId, Path(description="The user.", examples=["mia"])],
    query: Annotated[RecommendQuery, Query()],
) -> Response:
    """What suits a user, best first; every event that was acknowledged before counts."""
    live = live_of(request)
    check_limits(live.settings, query)
    answer = await live.recommend(user_id, query.ask())
    metrics_of(request).answered("recommend", answer)
    return reply(answer)


@router.post(
    "/api/recommend",
    summary="A user's list by rules",
    dependencies=[READ],
    response_model=Answer,
    responses=example(examples.ANSWER, "The list; unknown users get what is popular.") | errors(*SENT),
)
async def recommend_by_rules(
    request: Request, body: Annotated[RecommendBody, Body(openapi_examples=examples.RECOMMEND_BODY)]
) -> Response:
    """What suits a user, with filters and rules, none of which is ever violated."""
    live = live_of(request)
    check_limits(live.settings, body)
    answer = await live.recommend(body.user_id, body.ask())
    metrics_of(request).answered("recommend", answer)
    return reply(answer)


@router.post(
    "/api/session/recommend",
    summary="A list for somebody without a name",
    dependencies=[READ],
    response_model=Answer,
    responses=example(examples.SESSION_ANSWER, "The list.") | errors(*SENT),
)
async def session(
    request: Request, body: Annotated[SessionBody, Body(openapi_examples=examples.SESSION_BODY)]
) -> Response:
    """What suits somebody who just did this; nothing of it is stored but the list that was answered."""
    live = live_of(request)
    check_limits(live.settings, body)
    answer = await live.session([event.to_dict() for event in body.events], body.ask())
    metrics_of(request).answered("session", answer)
    return reply(answer)


@router.post(
    "/api/rank",
    summary="Given items in order",
    dependencies=[READ],
    response_model=Answer,
    responses=example(examples.ANSWER, "All given items that the catalog has, best first.") | errors(*SENT),
)
async def rank(request: Request, body: Annotated[RankBody, Body(openapi_examples=examples.RANK_BODY)]) -> Response:
    """Put items of your choice in a user's order."""
    live = live_of(request)
    check_limits(live.settings, body)
    answer = await live.rank(body.user_id, body.items, body.ask())
    metrics_of(request).answered("rank", answer)
    return reply(answer)


@router.post(
    "/api/page",
    summary="A page of titled rows",
    dependencies=[READ],
    response_model=Page,
    responses=example(examples.PAGE, "The rows; no item is in two of them.") | errors(*SENT),
)
async def page(request: Request, body: Annotated[PageBody, Body(openapi_examples=examples.PAGE_BODY)]) -> Response:
    """Rows such as “For you”, “Because you have …” and “New”, for a start page."""
    live = live_of(request)
    check_limits(live.settings, body)
    return reply(await live.page(body.user_id, body.have, body.rows, body.n))


@router.post(
    "/api/whatif",
    summary="A list if the history were another",
    dependencies=[READ],
    response_model=Shifts,
    responses=example(examples.SHIFTS, "Every item of the two lists, and its two places.") | errors(*SENT, 404),
)
async def whatif(
    request: Request, body: Annotated[WhatifBody, Body(openapi_examples=examples.WHATIF_BODY)]
) -> Response:
    """What adding and dropping items, or wishes, would change in a user's list. Nothing of it is stored."""
    live = live_of(request)
    check_limits(live.settings, body)
    shifts = await live.whatif(body.user_id, add=body.add, drop=body.drop, wishes=body.wishes, n=body.n)
    return reply(Shifts(live.version, live.as_of_event, list(shifts)))


@router.get(
    "/api/explain/{recommendation_id}/{item_id:path}",
    summary="Why an item was in a list",
    dependencies=[READ],
    response_model=Reason,
    responses=example(examples.REASON, "The reason, with the evidence and the proof.") | errors(*LISTED, 404),
)
async def explain(
    request: Request,
    recommendation_id: Annotated[PathId, Path(description="The list.", examples=["recommend-1"])],
    item_id: Annotated[PathId, Path(description="The item.", examples=["lamp"])],
) -> Response:
    """Why an item was in an answered list, computed from the history that the list was made from."""
    return reply(await live_of(request).explain(recommendation_id, item_id))


@router.get(
    "/api/item/{item_id:path}/neighbors",
    summary="Items alike",
    dependencies=[READ],
    response_model=Found,
    responses=example(examples.FOUND, "The nearest items, nearest first.") | errors(*LISTED, 404),
)
async def neighbors(
    request: Request,
    item_id: Annotated[PathId, Path(description="The item.", examples=["lamp"])],
    query: Annotated[NeighborsQuery, Query()],
) -> Response:
    """Items whose text is alike."""
    live = live_of(request)
    check_limits(live.settings, query)
    return reply(Found(live.version, await live.neighbors(item_id, query.n)))


@router.get(
    "/api/search",
    summary="Items by words",
    dependencies=[READ],
    response_model=Found,
    responses=example(examples.FOUND, "The items whose text is closest.") | errors(*LISTED),
)
async def search(request: Request, query: Annotated[SearchQuery, Query()]) -> Response:
    """Items whose text is closest to a few words."""
    live = live_of(request)
    check_limits(live.settings, query)
    return reply(Found(live.version, await live.search(query.q, query.n)))
