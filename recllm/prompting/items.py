"""From a catalog item to the variables of an ``item.*`` prompt."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from recllm.errors import PromptError
from recllm.prompting.syntax import RESERVED, Variable
from recllm.prompting.template import Prompt
from recllm.texts import LONGEST_ATTRIBUTE

OWN = ("title", "text", "categories", "attributes")
"""The variables that stand for the same in every catalog."""

_NO_VARIABLES = RESERVED | set(OWN)


@lru_cache(maxsize=4096)
def variable_of(column: str) -> str:
    """The variable of an item prompt that stands for a catalog's column.

    Lower case, every run of other characters than a-z and 0-9 an underscore. What would be no variable or one that
    means something else gets ``column_`` before it; a name of which nothing is left, 6 digits of its hash.
    """
    if column in OWN[:3]:
        return column
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    if not plain:
        return f"column_{hashlib.sha256(column.encode()).hexdigest()[:6]}"
    return f"column_{plain}" if plain[0].isdigit() or plain in _NO_VARIABLES else plain


def check_columns(prompt: Prompt, columns: Iterable[str]) -> None:
    """See whether a catalog gives the columns that an item prompt asks for.

    Raises:
        PromptError: A variable is given by no column, or by two, or it may not be left out, which an item may do.
    """
    columns = [column for column in columns if column != "item_id"]
    for variable in prompt.variables.values():
        if variable.name in OWN:
            continue
        given = [column for column in columns if variable_of(column) == variable.name]
        if not given:
            known = ", ".join(dict.fromkeys(map(variable_of, columns)))
            raise PromptError(
                f"prompt '{prompt.name}' has the variable '{variable.name}', which no column of the catalog gives; "
                f"its columns give: {known}",
                key=f"input.schema.{variable.name}",
            )
        if len(given) > 1:
            raise PromptError(
                f"prompt '{prompt.name}' has the variable '{variable.name}', which the columns "
                f"{' and '.join(map(repr, given))} both give; rename one of them",
                key=f"input.schema.{variable.name}",
            )
        if not variable.optional:
            raise PromptError(
                f"prompt '{prompt.name}' needs the variable '{variable.name}', a column that an item may leave empty; "
                f"declare it as '{variable.type}?'",
                key=f"input.schema.{variable.name}",
            )


def item_values(fields: Mapping[str, Any], prompt: Prompt | None = None) -> dict[str, Any]:
    """The variables of an item prompt: title, text, categories, attributes, and the columns that it names.

    Args:
        fields: an item's fields, as `Catalog.item` returns them; ``item_id`` is left out, every further field becomes
            an attribute ``name: value``. Links and values of more than 120 characters are no attributes: they would
            crowd out the text that follows.
        prompt: what the variables are for: it gets those that it declares, and a column that it names (see
            `variable_of`) is no attribute. A text is the entries of a field joined by commas, a list its entries; a
            field that holds no number is left out where a number is wanted.
    """
    if prompt is None:
        values: dict[str, Any] = {name: str(fields[name]) for name in ("title", "text") if fields.get(name)}
        if categories := fields.get("categories"):
            values["categories"] = [str(category) for category in _entries(categories)]
        declared: Mapping[str, Variable] = {}
    else:
        declared = prompt.variables
        values = {}
        for name, field in fields.items():
            variable = None if name == "item_id" else declared.get(variable_of(name))
            if variable is not None and (value := _typed(field, variable.type)) not in (None, "", []):
                values.setdefault(variable.name, value)
    if prompt is None or "attributes" in declared:
        attributes = [line for name, value in fields.items() if (line := _attribute(name, value, declared))]
        if attributes:
            values["attributes"] = attributes
            if prompt is not None and declared["attributes"].type == "string":
                values["attributes"] = "; ".join(attributes)
    return values


def _attribute(name: str, value: Any, named: Mapping[str, Variable]) -> str | None:
    """A field as ``name: value``, None if it is none."""
    if name in OWN[:3] or name == "item_id" or value is None or variable_of(name) in named:
        return None
    text = ", ".join(_text(entry) for entry in _entries(value)).strip()
    if not text or len(text) > LONGEST_ATTRIBUTE or "://" in text:
        return None
    return f"{name.replace('_', ' ').strip()}: {text}"


def _typed(value: Any, kind: str) -> Any:
    """A field as a variable of a type, None where it cannot be one."""
    match kind:
        case "number":
            fits = isinstance(value, int | float) and not isinstance(value, bool) and value == value
            return value if fits else None
        case "boolean":
            return value if isinstance(value, bool) else None
    entries = [] if value is None else [_text(entry) for entry in _entries(value) if entry is not None]
    return entries if kind == "list" else ", ".join(entries)


def _entries(value: Any) -> Iterable[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (value,)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
