"""How a browser shows its key once, and is known by a cookie from then on."""

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from recllm.serve.page.render import static
from recllm.serve.web.guard import COOKIE, HOURS, OPEN, Gate, check_origin
from recllm.serve.web.reply import PAGES

router = APIRouter(include_in_schema=False)

_FORM = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in · recllm</title>
<link rel="stylesheet" href="/static/page.css?v={style}"></head>
<body><main><h1>Sign in</h1>
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<p><label for="key">API key</label></p>
<p><input id="key" name="key" type="password" autocomplete="current-password" required maxlength="200"></p>
<p><button type="submit">Sign in</button></p>
<p role="alert">{message}</p>
</form></main></body>
</html>
"""
_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def _form(target: str, message: str = "", status: int = 200) -> Response:
    text = _FORM.format(style=static("page.css")[1], next=escape(target, quote=True), message=escape(message))
    return HTMLResponse(text, status, {"content-security-policy": _POLICY})


def _target(target: str) -> str:
    return target if target in PAGES else "/"


@router.get("/login", dependencies=[OPEN])
async def form(request: Request) -> Response:
    """The form."""
    gate: Gate = request.app.state.gate
    target = _target(request.query_params.get("next", "/"))
    return RedirectResponse(target, 303) if gate.keys is None else _form(target)


@router.post("/login", dependencies=[OPEN])
async def login(request: Request) -> Response:
    """Check the key; a session's token goes to the browser, where no script can read it."""
    gate: Gate = request.app.state.gate
    check_origin(request)
    if gate.keys is None:
        return RedirectResponse("/", 303)
    sent = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
    target = _target(sent.get("next", ["/"])[0])
    key = gate.keys.find(sent.get("key", [""])[0].strip())
    gate.count(request, key)
    if key is None:
        return _form(target, "The server does not know this key; ask whoever runs it for one.", 401)
    answer = RedirectResponse(target, 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, gate.sessions.open(key), HOURS * 3600, httponly=True, samesite="strict", secure=secure, path="/"
    )
    return answer


@router.post("/logout", dependencies=[OPEN])
async def logout(request: Request) -> Response:
    """End the session."""
    check_origin(request)
    gate: Gate = request.app.state.gate
    gate.sessions.close(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/")
    return answer
