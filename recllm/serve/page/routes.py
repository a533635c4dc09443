"""Which address is answered by what, and who may ask."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.params import Depends
from starlette.responses import HTMLResponse, Response

from recllm.errors import UnknownError
from recllm.serve.page.board import Board
from recllm.serve.page.render import STATIC, static
from recllm.serve.page.shop import Shop
from recllm.serve.web.guard import OPEN


def router(live: Any, *, read: Sequence[Depends] = (), admin: Sequence[Depends] = ()) -> APIRouter:
    """Page, fragments, dashboard and static files.

    Args:
        live: The engine, a `Live`.
        read: Dependencies of the pages that show lists; they refuse who may not read.
        admin: Dependencies of the dashboard.
    """
    shop = Shop(live)
    routes = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    for path, handler, allowed in (
        ("/", shop.visitor, read),
        ("/reasons", shop.reasons, read),
        ("/user/{user_id:path}", shop.user, read),
        ("/dashboard", Board(live).show, admin),
        ("/static/{name}", static_file, [OPEN]),
    ):
        routes.add_api_route(path, handler, methods=["GET"], dependencies=list(allowed), response_model=None)
    return routes


async def static_file(name: str) -> Response:
    """One of our own files; its address changes with its content, so a browser may keep it."""
    if name not in STATIC:
        raise UnknownError("there is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(static(name)[0], media_type=STATIC[name], headers=headers)
