"""What a revised prompt must keep of the one it comes from, whoever revised it: checked, not hoped for."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from recllm.prompting.front_matter import split_prompt, without_metadata
from recllm.prompting.syntax import Variable
from recllm.prompting.template import Prompt

_PARTIAL = re.compile(r"\{\{\s*>\s*([^{}\s]+)\s*\}\}")
_MARKER = re.compile(r"</?[a-z][a-z_]*>")
_FOREIGN = re.compile(r"[\w+.-]{1,30}:/{2}\S*|\bwww\.\S+|\]\(|<\|[^|]{0,40}\|>|javascript:|!\[", re.IGNORECASE)
_QUOTED = re.compile(r"[“‘]([^“”‘’]{6,})[”’]")
_ROOM = 600
"""Characters that a prompt may grow by, beside growing to twice its length."""


def parts_of(prompt: Prompt) -> tuple[str, str]:
    """(front matter, body) of a prompt, as text; the front matter without its fence and without ``metadata``."""
    source = without_metadata(prompt.source, prompt.name)
    body = split_prompt(source, prompt.name)[1]
    front = source[: len(source) - len(body)]
    return front.removeprefix("---").lstrip(" \t").removeprefix("\n").rstrip().removesuffix("---"), body


def lost(candidate: Prompt, parent: Prompt) -> list[str]:
    """What of its parent's slots a prompt lost; nothing: all are kept.

    Slots are variables, which have to be printed wherever the parent prints them, partials, and markers such as
    ``<facts>``. A slot behind another condition is no longer kept, so both are rendered: with everything there, with
    each optional value left out, with all flags up and all down.
    """
    if dict(candidate.variables) != dict(parent.variables):
        return ["it declares other variables"]
    found = [f"{{{{{name}}}}} is not printed wherever it was" for name in _unprinted(candidate, parent)]
    before, after = parts_of(parent)[1], parts_of(candidate)[1]
    gone = Counter(_PARTIAL.findall(before)) - Counter(_PARTIAL.findall(after))
    found += [f"{{{{> {name}}}}} is gone" for name in gone]
    found += [f"{marker} is gone" for marker in sorted(set(_MARKER.findall(before)) - set(_MARKER.findall(after)))]
    return found


def gained(candidate: Prompt, parent: Prompt) -> list[str]:
    """What a prompt has that nobody asked a writer for: other partials, links, control tags, much more text."""
    before, after = parts_of(parent)[1], parts_of(candidate)[1]
    further = Counter(_PARTIAL.findall(after)) - Counter(_PARTIAL.findall(before))
    found = [f"{{{{> {name}}}}} was not there" for name in further]
    foreign = sorted(set(_FOREIGN.findall(after)) - set(_FOREIGN.findall(before)))
    found += [f"it has a link or a control tag, {foreign[0][:40]!r}"] if foreign else []
    if len(after) > max(2 * len(before), len(before) + _ROOM):  # what encoders and models read has its price
        found.append(f"it has {len(after)} characters where its parent has {len(before)}")
    return found


def repeated(candidate: Prompt, parent: Prompt, shown: Iterable[str]) -> list[str]:
    """Quotations of `shown` that a prompt took up: titles and histories are people's data, no part of a prompt."""
    text, before = parts_of(candidate)[1].casefold(), parts_of(parent)[1].casefold()
    quoted = {found for line in shown for found in _QUOTED.findall(line)}
    taken = sorted(one for one in quoted if one.casefold() in text and one.casefold() not in before)
    return [f"it repeats {one[:60]!r}, which it was shown as data" for one in taken]


def _unprinted(candidate: Prompt, parent: Prompt) -> list[str]:
    missing: dict[str, None] = {}
    for values in _assignments(parent.variables):
        before, after = parent.render(**values), candidate.render(**values)
        for name, value in values.items():
            wanted = value if isinstance(value, list) else [_shown(value)]
            if any(one in before and one not in after for one in wanted if one):
                missing[name] = None
    return list(missing)


def _assignments(variables: Mapping[str, Variable]) -> Iterator[dict[str, Any]]:
    """Values that are recognised in what is rendered."""
    for flag in (True, False):
        everything = {name: _sample(variable, place, flag) for place, (name, variable) in enumerate(variables.items())}
        yield everything
        for name, variable in variables.items():
            if variable.optional:
                yield {key: value for key, value in everything.items() if key != name}


def _sample(variable: Variable, place: int, flag: bool) -> Any:
    if variable.type == "boolean":
        return flag
    if variable.type == "number":
        return 700_001 + place
    texts = [f"value{place}of{variable.name}", f"another{place}of{variable.name}"]
    return texts if variable.type == "list" else texts[0]


def _shown(value: Any) -> str:
    return "" if isinstance(value, bool) else str(value)
