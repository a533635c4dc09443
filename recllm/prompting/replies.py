"""Reading what a language model wrote as JSON.

By hand, because a model's 1.0 is no 1 and true is none either (to the library `jsonschema` they are), and because what
the model wrote may appear in an error only in part.
"""

import json
from collections.abc import Mapping
from typing import Any

from recllm.errors import GenerationError

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of a model's JSON text, checked against the part of JSON schema that prompts use.

    That part is type, enum, required, properties, additionalProperties=false, items, minItems, maxItems and maxLength.

    Raises:
        GenerationError: The text is not JSON and nothing else, or it does not obey the schema.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise GenerationError(
            f"the model answered {_shown(text)} where JSON and nothing else was wanted; ask again, or use another model"
        ) from None
    wrong = _mismatch(value, schema, "the value")
    if wrong:
        raise GenerationError(f"the model's JSON does not obey the schema: {wrong}; ask again, or use another model")
    return value


def _mismatch(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    """What is wrong with `value`, or None."""
    kind = schema.get("type")
    if isinstance(kind, str):
        misread = isinstance(value, bool) and kind in ("integer", "number")  # to Python, True is an int
        if not isinstance(value, _TYPES[kind]) or misread:
            return f"{where} is not of type {kind}"
    # By JSON's own notion of equality: 1 and true differ.
    if "enum" in schema and json.dumps(value) not in map(json.dumps, schema["enum"]):
        return f"{where} is none of those offered"
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return f"{where} is longer than {schema['maxLength']} characters"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)} entries"
        inside = [(entry, schema.get("items", {}), f"entry {row} of {where}") for row, entry in enumerate(value)]
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{where} lacks {missing[0]!r}"
        unknown = [name for name in value if name not in properties]
        if unknown and schema.get("additionalProperties") is False:
            return f"{where} has the unknown key {_shown(unknown[0])}"
        inside = [(value[name], properties[name], f"{name!r} of {where}") for name in value if name in properties]
    else:
        return None
    return next((wrong for entry in inside if (wrong := _mismatch(*entry))), None)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
