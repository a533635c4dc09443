"""What goes out: JSON, and every error as a code and one sentence."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recllm.errors import (
    BusyError,
    ConfigError,
    ConflictError,
    DataError,
    RecllmError,
    ServeError,
    StorageError,
    UnknownError,
    UnreachableError,
)

LOG = logging.getLogger("recllm.serve")

LONGEST = 400
"""Characters of an error's sentence: what came is quoted in part, never echoed."""

CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "unknown",
    405: "method",
    408: "slow",
    409: "conflict",
    413: "too_large",
    415: "invalid",
    422: "invalid",
    429: "rate",
    500: "internal",
    503: "busy",
    507: "storage",
}

STATUS: tuple[tuple[type[RecllmError], int], ...] = (
    (UnknownError, 404),
    (ConflictError, 409),
    (BusyError, 503),
    (UnreachableError, 503),
    (StorageError, 507),
    (DataError, 422),
    (ConfigError, 422),
    (ServeError, 503),
)

PAGES = ("/", "/dashboard", "/docs")
"""Where a browser may be sent to after it showed its key; nowhere else."""

_A_TYPE = re.compile(
    r"(own|gorse|ubi|int|float|str|bool|\[key\])$|(constrained|nullable|function|literal|list|dict|union)[-\[]"
)
"""Where pydantic names the branch of a choice between the fields."""

RETRY_AFTER = 1
"""Seconds after which a busy server may be asked again."""


class Problem(BaseModel):
    """What went wrong.

    Attributes:
        code: For programs.
        message: One sentence for people: what came, what was wanted, what to do.
    """

    code: str = Field(examples=["unknown"])
    message: str = Field(examples=["the catalog has no item 'x'; send it to /api/items first."])


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: Problem


class Refused(HTTPException):
    """The request is turned down before it reaches the engine."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON of plain types and dataclasses; what is no number is null."""
    body = to_json(content, inf_nan_mode="null", fallback=_plain)
    return Response(body, status, headers, "application/json")


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's; whatever else there is, as a text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def error_reply(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as a code and a sentence."""
    words = " ".join(message.encode("utf-8", "backslashreplace").decode().split())
    if len(words) > LONGEST:
        words = f"{words[: LONGEST // 2]} … {words[-LONGEST // 2 :]}"
    content = {"error": {"code": CODES.get(status, "invalid" if status < 500 else "internal"), "message": words}}
    return reply(content, status, headers)


def problem_of(error: Exception) -> tuple[int, str, dict[str, str] | None]:
    """Status, sentence and headers of whatever was raised; what was not raised on purpose tells nothing of itself."""
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status, str(error), {"retry-after": str(RETRY_AFTER)} if status == 503 else None
    if isinstance(error, RequestValidationError):
        return 422, sentence(error.errors()), None
    if isinstance(error, HTTPException):
        headers = dict(error.headers) if error.headers else None
        return error.status_code, str(error.detail), headers
    return 500, "the server failed at this; its log says why.", None


def sentence(errors: Sequence[Any]) -> str:
    """The first thing that is wrong, in words, and how many more there are."""
    first = errors[0]
    where, kind, text = _where(first["loc"]), first["type"], str(first["msg"])
    if kind == "json_invalid":
        return f"the body is no JSON: {first.get('ctx', {}).get('error', text)}; send a JSON document."
    if tuple(first["loc"]) == ("body",) and isinstance(first.get("input"), bytes):
        return "the body is not sent as JSON; set the header 'Content-Type: application/json'."
    if kind == "missing":
        words = f"{where} is missing; it is needed."
    elif kind == "extra_forbidden":
        words = f"{where} is not known here; /api/openapi.json says what is."
    elif kind == "value_error":
        words = f"{where}: {text.removeprefix('Value error, ')}"
    else:
        words = f"{where}: {_plain_words(text)}; got {_came(first.get('input'))}."
    return words if len(errors) == 1 else f"{words} ({len(errors) - 1} more)"


def _where(loc: Sequence[str | int]) -> str:
    """`events[3].item_id` of `("body", "events", 3, "own", "item_id")`."""
    parts = [part for part in loc[1:] if isinstance(part, int) or not _A_TYPE.match(part)]
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:60]}" for part in parts).lstrip(".")
    return words or {"body": "the body", "query": "the query"}.get(str(loc[0]), str(loc[0])) if loc else "the request"


def _plain_words(text: str) -> str:
    """Pydantic's sentence as the end of ours."""
    words = text.removeprefix("Input ")
    return words[:1].lower() + words[1:]


def _came(value: Any) -> str:
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, int | float | bool) or value is None:
        return str(value)[:40] if not isinstance(value, int) or abs(value) < 10**40 else "a huge number"
    return {"dict": "an object", "list": "an array"}.get(type(value).__name__, "something else")
