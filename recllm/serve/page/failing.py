"""What a browser is shown when something cannot be answered."""

from starlette.requests import Request
from starlette.responses import HTMLResponse

from recllm.serve.page.render import respond

_TITLES = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    422: "That cannot be shown",
    429: "Too many requests",
    503: "Busy for a moment",
    507: "The disk is full",
}


def error_page(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A whole page about an error, with a way back; htmx puts its content where the answer would have been.

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
