"""The description of all routes: roles, keys, this server's limits, and what each field means."""

import dataclasses
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from recllm import resources
from recllm.serve import answers
from recllm.serve.settings import Settings
from recllm.serve.state import records
from recllm.serve.web import kept, lists, reply
from recllm.serve.web.routing import routes_of

TITLE = "recllm"
ABOUT = """Events in, lists with reasons out.

An acknowledged event is durable and counts in the next answer. Ids are any text of 1 to 1,000 characters; in a path,
percent-encode them whole, so that `a/b` is `a%2Fb`. Every error is `{"error": {"code": …, "message": …}}`.
"""
TAGS = [
    {"name": "lists", "description": "What suits whom, and why."},
    {"name": "events", "description": "What users did."},
    {"name": "catalog", "description": "Items."},
    {"name": "users", "description": "What is kept of a user, to be read and erased."},
    {"name": "server", "description": "Health, figures, learning anew."},
]
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, as Gorse's clients do."},
}


def describe(app: FastAPI, settings: Settings, *, has_keys: bool) -> dict[str, Any]:
    """OpenAPI of an app."""
    found = get_openapi(
        title=TITLE,
        version=resources.__version__,
        summary="A recommender that knows each event in its next answer.",
        description=ABOUT,
        routes=app.routes,
        tags=TAGS,
    )
    needs = {(path, method): one for path, methods, one in routes_of(app) for method in methods}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            one = needs[path, method.upper()]
            role = one.role if one else None
            operation["x-role"] = role.name.lower() if role else "none"
            if has_keys and role:
                operation["security"] = [{name: []} for name in _SCHEMES]
    if has_keys:
        found["components"]["securitySchemes"] = _SCHEMES
    _explain(found["components"]["schemas"])
    _limit(found, settings)
    return found


def _limit(node: Any, settings: Settings) -> None:
    """Write this server's limits where a schema names a setting."""
    if isinstance(node, dict):
        if isinstance(name := node.pop("x-limit", None), str):
            key = {"array": "maxItems", "integer": "maximum"}.get(str(node.get("type")))
            if key is not None:
                node[key] = min(node.get(key, 10**9), getattr(settings, name))
        for child in node.values():
            _limit(child, settings)
    elif isinstance(node, list):
        for child in node:
            _limit(child, settings)


def _explain(schemas: dict[str, Any]) -> None:
    """Give the fields of answers the descriptions that stand in the docstrings of their classes."""
    for module in (answers, records, lists, kept, reply):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and name in schemas:
                text = kind.__doc__ or ""
                head, _, rest = text.partition("Attributes:")
                schemas[name]["description"] = " ".join(head.split())
                said = dict(re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", rest, flags=re.MULTILINE))
                fields = schemas[name].get("properties", {})
                for field in said.keys() & fields.keys():
                    fields[field].setdefault("description", " ".join(said[field].split()))
                if dataclasses.is_dataclass(kind):
                    # Answers always hold every field.
                    schemas[name]["required"] = [field.name for field in dataclasses.fields(kind)]
