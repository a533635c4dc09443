"""Templates of our own, filled in; whatever comes from a catalog, a user or an address is text in them."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from recllm.errors import require
from recllm.texts import clean_text

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    # What somebody picked stands in the address.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every page: nothing runs but our two files, nothing comes from elsewhere, nobody frames it, nothing stays."""

STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files that a page may name, and what they are."""


def respond(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from a template of this package."""
    return HTMLResponse(render(template, root=root_of(request), **values), status_code=status, headers=HEADERS)


def render(template: str, **values: Any) -> str:
    """The text of a page."""
    return str(_environment().get_template(template).render(**values))


def root_of(request: Request) -> str:
    """Where the application is mounted: "" unless it is part of another."""
    return str(request.scope.get("root_path", "")).rstrip("/")


@cache
def static(name: str) -> tuple[bytes, str]:
    """A static file's bytes and a short name of them; `name` is one of `STATIC`."""
    content = files("recllm.serve.page").joinpath("static", name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


@cache
def _environment() -> Any:
    jinja2 = require("jinja2", extra="serve")
    folder = files("recllm.serve.page").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_cleaned,
    )
    environment.globals["static"] = lambda name: f"/static/{name}?v={static(name)[1]}"
    environment.filters["count"] = lambda number: f"{number:,}"
    escape = require("markupsafe", extra="serve").escape
    # The one text whose lines are kept.
    environment.filters["lines"] = lambda text: escape("\n".join(map(clean_text, text.splitlines())))
    return environment


def _cleaned(value: object) -> object:
    """Without characters that hide or reorder text; what is markup already comes from our templates."""
    if hasattr(value, "__html__") or not isinstance(value, str):
        return value
    # Spaces at the edges are our templates': they part words and classes.
    before, after = (" " if edge.isspace() else "" for edge in (value[:1], value[-1:]))
    return f"{before}{clean_text(value)}{after}" if value.strip() else before
