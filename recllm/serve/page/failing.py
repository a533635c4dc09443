"""What a browser is shown when something cannot be answered."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recllm.errors import BusyError, ConfigError, DataError, RecllmError, StorageError, UnknownError
from recllm.serve.page.render import respond

_KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownError, 404, "Not found"),
    (BusyError, 503, "Busy for a moment"),
    (StorageError, 507, "The disk is full"),
    (DataError, 422, "That cannot be shown"),
    (ConfigError, 422, "That cannot be shown"),
    (RecllmError, 500, "Something went wrong"),
)


class PageRoute(APIRoute):
    """A route whose errors are pages too: htmx puts their content where the answer would have been."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler; what it raises on purpose, and what it did not expect, becomes a page."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except RecllmError as error:
                status, title = next((status, title) for kind, status, title in _KINDS if isinstance(error, kind))
                return error_page(request, status, title, str(error))
            except Exception as error:
                if hasattr(error, "status_code") or hasattr(error, "errors"):  # the application's own, with a status
                    raise
                logging.getLogger(__name__).exception("a page could not be made")
                return error_page(request, 500, "Something went wrong", "The server could not make this page.")

        return guarded


def error_page(request: Request, status: int, title: str, message: str) -> HTMLResponse:
    """A whole page about an error, with a way back.

    Args:
        request: Where it happened.
        status: Of the response.
        title: A few words.
        message: A sentence.
    """
    page = respond(request, "error.html.jinja", status, title=title, message=message, here=str(request.url.path))
    if status in (429, 503):
        page.headers["Retry-After"] = "1"
    return page
