"""The description of all routes as a page that needs no script and nothing from elsewhere."""

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from recllm.serve.page.render import respond
from recllm.serve.web.guard import READ

router = APIRouter(include_in_schema=False)


@router.get("/docs", dependencies=[READ])
async def docs(request: Request) -> Response:
    """What there is, for people."""
    described = await run_in_threadpool(request.app.openapi)
    groups = [(tag["name"], tag["description"], operations(described, tag["name"])) for tag in described["tags"]]
    return respond(request, "reference.html.jinja", about=described["info"]["description"], groups=groups)


def operations(described: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """The operations of a tag, in the order in which they were written."""
    found = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                found.append(
                    {
                        "method": method.upper(),
                        "path": path,
                        "anchor": operation["operationId"],
                        "role": operation["x-role"],
                        "summary": operation["summary"],
                        "description": operation["description"],
                        "parameters": [_parameter(one) for one in operation.get("parameters", ())],
                        "examples": _examples(operation),
                        "answer": _answer(operation),
                        "responses": [(code, one["description"]) for code, one in operation["responses"].items()],
                    }
                )
    return found


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    kind = schema.get("type") or " or ".join(one.get("type", "?") for one in schema.get("anyOf", ()))
    bounds = [f"{name} {schema[name]:,}" for name in ("minimum", "maximum", "maxLength", "maxItems") if name in schema]
    return {
        "name": parameter["name"],
        "kind": kind,
        "bounds": ", ".join(bounds),
        "needed": parameter["required"],
        "default": json.dumps(schema["default"]) if schema.get("default") not in (None, []) else "",
        "description": parameter.get("description") or schema.get("description", ""),
    }


def _examples(operation: dict[str, Any]) -> list[tuple[str, str]]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return [(one.get("summary", name), _pretty(one["value"])) for name, one in content.get("examples", {}).items()]


def _answer(operation: dict[str, Any]) -> str:
    for code, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json", {})
        if int(code) < 400 and "example" in content:
            return _pretty(content["example"])
    return ""


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
