"""From a catalog item to the variables of an ``item.*`` prompt."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from recllm.texts import LONGEST_ATTRIBUTE

_OWN = ("title", "text", "categories")


def item_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The variables title, text, categories and attributes of an item prompt.

    Args:
        fields: an item's fields, as `Catalog.item` returns them; ``item_id`` is left out, every further field becomes
            an attribute ``name: value``. Links and values of more than 120 characters are no attributes: they would
            crowd out the text that follows.
    """
    values: dict[str, Any] = {name: str(fields[name]) for name in ("title", "text") if fields.get(name)}
    if categories := fields.get("categories"):
        values["categories"] = [str(category) for category in _entries(categories)]
    attributes = []
    for name, value in fields.items():
        if name in _OWN or name == "item_id" or value is None:
            continue
        text = ", ".join(_text(entry) for entry in _entries(value)).strip()
        if text and len(text) <= LONGEST_ATTRIBUTE and "://" not in text:
            attributes.append(f"{name.replace('_', ' ').strip()}: {text}")
    if attributes:
        values["attributes"] = attributes
    return values


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
