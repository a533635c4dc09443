"""What a browser is shown when something cannot be answered."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recllm.serve.page.render import respond
from recllm.serve.web.reply import LOG, problem_of

_TITLES = {
    403: "Not allowed",
    404: "Not found",
    422: "That cannot be shown",
    429: "Too many requests",
    503: "Busy for a moment",
    507: "The disk is full",
}


class PageRoute(APIRoute):
    """A route whose errors are pages too: htmx puts their content where the answer would have been."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler; what it raises becomes a page, but for 401, which the application sends to the login."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                status, message, headers = problem_of(error)
                if status == 401:
                    raise
                if status == 500:
                    LOG.exception("a page could not be made")
                return error_page(request, status, message, headers)

        return guarded


def error_page(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A whole page about an error, with a way back.

    Args:
        request: Where it happened.
        status: Of the response.
        message: A sentence.
        headers: Further ones.
    """
    title = _TITLES.get(status, "Something went wrong")
    page = respond(request, "error.html.jinja", status, title=title, message=f"{message[:1].upper()}{message[1:]}")
    page.headers.update(headers or {})
    return page
