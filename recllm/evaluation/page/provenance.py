"""How something was measured, as tables: whatever an evaluation says of itself, tidied."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recllm.evaluation.page.blocks import Block, Cell
from recllm.evaluation.verdicts import number

_NOT_SHOWN = ("title", "ours", "command", "variety")
_MOST_ROWS = 12
"""A longer table is folded away."""

_HASH = re.compile(r"[0-9a-f]{32,}")


def provenance(about: Mapping[str, Any]) -> Iterator[Block]:
    """The command, then single facts, then one table for each thing that has parts."""
    if about.get("command"):
        yield Block(code=str(about["command"]))
    shown = {str(name): value for name, value in about.items() if name not in _NOT_SHOWN and not _is_empty(value)}
    facts = [(_spaced(name), [Cell(_text(value))]) for name, value in shown.items() if not _has_parts(value)]
    if facts:
        yield Block(rows=facts, words=True)
    for name, value in shown.items():
        if _has_parts(value):
            yield _table(_spaced(name), [_whole_split(row) for row in _rows(value)])


def _has_parts(value: Any) -> bool:
    """Whether it has rows of its own: a list of mappings, or a mapping of something with parts."""
    if isinstance(value, Mapping):
        return any(isinstance(one, Mapping) or _has_parts(one) for one in value.values())
    return _is_list(value) and any(isinstance(one, Mapping) for one in value)


def _rows(value: Any) -> list[dict[str, Any]]:
    """Dictionaries of cells, the name of a row under the empty key."""
    if not isinstance(value, Mapping):
        return [{"": str(place), **_as_mapping(one)} for place, one in enumerate(value, start=1)]
    rows = []
    for name, one in value.items():
        parts = one if _is_list(one) and _has_parts(one) else [one]
        rows += [{"": str(name), **_as_mapping(part)} for part in parts]
    return rows


def _as_mapping(value: Any) -> dict[str, Any]:
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else {"value": value}


def _whole_split(row: Mapping[str, Any]) -> dict[str, Any]:
    """A split lists its arms; for readers the number of users asked is enough."""
    arms = row.get("arms")
    if not _is_list(arms) or not arms or not all(isinstance(arm, Mapping) for arm in arms):
        return dict(row)
    asked = [int(arm.get("users", 0)) for arm in arms if arm.get("part", "test") == "test"]
    return {key: value for key, value in row.items() if key not in ("arms", "format")} | {
        "users asked": max(asked, default=0)
    }


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Block:
    keys = list(dict.fromkeys(key for row in rows for key in row if key))
    if len(rows) == 1 and len(keys) > 1:  # one line of many columns is read as lines
        return Block(title=title, rows=[(_spaced(key), [Cell(_text(rows[0].get(key)))]) for key in keys], words=True)
    folded = len(rows) > _MOST_ROWS
    head = ["", *(_spaced(key) for key in keys)] if keys != ["value"] else ["", ""]
    return Block(
        title="" if folded else title,
        summary=title if folded else "",
        head=head,
        rows=[(str(row[""]), [Cell(_text(row.get(key))) for key in keys]) for row in rows],
        words=True,
    )


def _text(value: Any) -> str:
    """One line for a value; the parts of a mapping behind each other."""
    if _is_empty(value):
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{_spaced(str(key))} {_text(one)}" for key, one in value.items())
    if _is_list(value):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, float):
        return number(value)
    text = str(value)
    return _HASH.sub(lambda match: match[0][:16] + "…", text)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_empty(value: Any) -> bool:
    return value is None or ((isinstance(value, Mapping | str) or _is_list(value)) and not len(value))


def _spaced(name: str) -> str:
    return name.replace("_", " ")
