"""The one handler of all errors."""

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recllm.serve.page.failing import error_page
from recllm.serve.web.reply import LOG, PAGES, Refused, error_reply, problem_of
from recllm.serve.web.routing import routes_of


async def on_error(request: Request, error: Exception) -> Response:
    """A code and a sentence; a page where a person looks, or the way to the login."""
    status, message, headers = problem_of(error)
    if isinstance(error, HTTPException) and not isinstance(error, Refused):
        message = _routing(request, status, message)
        if status == 405:
            headers = {"allow": ", ".join(_possible(request))}
    if status == 500:
        route = getattr(request.scope.get("route"), "path_format", "?")
        LOG.error("%s %s failed", request.method, route, exc_info=error)
    if not _wants_page(request):
        return error_reply(status, message, headers)
    if status == 401:
        path = request.url.path
        return RedirectResponse(f"/login?next={path if path in PAGES else '/'}", 303)
    return error_page(request, status, message, headers)


def _wants_page(request: Request) -> bool:
    """Whether a person looks, not a program."""
    is_page = not request.url.path.startswith(("/api", "/mcp", "/metrics", "/static"))
    return request.method == "GET" and is_page and "text/html" in request.headers.get("accept", "")


def _possible(request: Request) -> list[str]:
    """All methods of the path: the router names those of the first route that has it."""
    path = getattr(request.scope.get("route"), "path_format", None)
    found = [methods for other, methods, _ in routes_of(request.app) if other == path]
    return sorted(set[str]().union(*found))


def _routing(request: Request, status: int, message: str) -> str:
    if status == 404:
        return f"there is nothing at {request.url.path[:80]!r}; /api/openapi.json says what there is."
    if status == 405:
        return f"{request.method[:20]} is not possible here; /api/openapi.json says what is."
    return message
