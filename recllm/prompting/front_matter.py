"""The front matter of a prompt file: its keys, its lines, and what they may hold.

`recllm.prompting.template` describes the keys. Whatever is not understood is a PromptError with its line: an unknown
or repeated key, a value of another type, an anchor; nothing is passed over.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from recllm.errors import PromptError
from recllm.prompting.syntax import RESERVED, Variable

KEYS = ("description", "domain", "input")
PROMPT_KEYS = (*KEYS, "config", "metadata")
FEWEST_TOKENS = 8
_FRONT = re.compile(r"---[ \t]*\n(?P<front>.*?)(?:^---[ \t]*(?:\n|\Z))(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_FIRST_LINE = 2
_VARIABLE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(?P<optional>\?)?(?P<array>\(array(?:,(?P<about>[^()]*))?\))?")
_TYPES = ("string", "number", "boolean", "list")
_MAPPINGS = ("input", "config", "metadata")


class FrontMatter(dict[str, Any]):
    """The values by key, the prompt's `name`, and the file's `lines` by path such as ``("input", "schema")``."""

    def __init__(self, values: dict[str, Any], name: str, lines: dict[tuple[Any, ...], int]) -> None:
        super().__init__(values)
        self.name, self.lines = name, lines
        self.written: dict[str, str] = {}  # variable -> its key, such as `tags?(array)`

    def fail(self, what: str, *path: Any) -> NoReturn:
        """Raise a PromptError about the key at `path`, such as "has the unknown key …"."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        line = _FIRST_LINE if known is None else self.lines[known]
        key = ".".join(map(str, path)) or None
        raise PromptError(f"prompt '{self.name}', line {line}, {what}", line=line, key=key)

    def check_keys(self, known: tuple[str, ...], *path: str) -> None:
        """Refuse what is no mapping, and every key that is not among `known`."""
        mapping: Any = self
        for key in path:
            mapping = mapping[key]
        where = f"'{'.'.join(path)}'" if path else "the front matter"
        if not isinstance(mapping, dict):
            self.fail(f"has {type(mapping).__name__} as {where}; it must hold: {', '.join(known)}", *path)
        unknown = [key for key in mapping if key not in known]
        if unknown:
            self.fail(f"has the unknown key {unknown[0]!r} in {where}; known: {', '.join(known)}", *path, unknown[0])


def normal_lines(source: str) -> str:
    """A file's text without byte order mark, lines ended by a line feed."""
    return source.removeprefix("\ufeff").replace("\r\n", "\n")


def split_prompt(source: str, name: str, keys: tuple[str, ...] = PROMPT_KEYS) -> tuple[FrontMatter, str, int]:
    """The front matter of a prompt file, which may hold `keys`; the body; and the body's first line.

    Raises:
        PromptError: There is no front matter, it is not YAML, or it holds another key.
    """
    source = normal_lines(source)
    found = _FRONT.match(source)
    if found is None:
        raise PromptError(
            f"prompt '{name}', line 1, has no front matter; begin the file with '---', its keys and '---'", line=1
        )
    meta = _read(found["front"], name)
    meta.check_keys(keys)
    for key in keys:
        if key not in _MAPPINGS and not isinstance(meta.get(key, ""), str):
            meta.fail(f"has {type(meta[key]).__name__} as '{key}'; it must be a text", key)
    return meta, found["body"], source[: found.start("body")].count("\n") + 1


def _read(text: str, name: str) -> FrontMatter:
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                line = event.start_mark.line + _FIRST_LINE
                what = "an anchor, an alias or a tag (&, *, !) in its front matter; write plain values"
                raise PromptError(f"prompt '{name}', line {line}, has {what}", line=line)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = _FIRST_LINE + (mark.line if mark else 0)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise PromptError(
            f"prompt '{name}', line {line}, has front matter that is not YAML: {reason}", line=line
        ) from error
    meta = FrontMatter({}, name, {})
    if values is None:
        return meta
    if not isinstance(values, dict):
        meta.fail(f"has {type(values).__name__} as the front matter; it must hold: {', '.join(PROMPT_KEYS)}")
    meta.update(values)
    for path, line, is_text in _lines(root):
        twice = path in meta.lines
        meta.lines[path] = line
        if not is_text:
            meta.fail(f"has the key {path[-1]}, which is no text; put it in quotes", *path)
        if twice:
            meta.fail(f"has the key {path[-1]!r} for the second time; keep one of them", *path)
    return meta


def _lines(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int, bool]]:
    """(path, line in the file, whether it is a text) of every key below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, key.value)
            yield below, key.start_mark.line + _FIRST_LINE, key.tag == "tag:yaml.org,2002:str"
            yield from _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, (*path, number))


def declared_variables(meta: FrontMatter) -> dict[str, Variable]:
    """The variables that a prompt's front matter declares, by name.

    Raises:
        PromptError: A name or a type is none that a variable can have.
    """
    if meta.get("input") is None:
        return {}
    meta.check_keys(("schema",), "input")
    schema = meta["input"].get("schema") or {}
    path = ("input", "schema")
    if not isinstance(schema, dict):
        meta.fail(f"has {type(schema).__name__} as 'input.schema'; write 'name: type' lines", *path)
    variables: dict[str, Variable] = {}
    for key, kind in schema.items():
        variable = _variable(meta, key, kind)
        if variable.name in variables:
            meta.fail(f"declares '{variable.name}' for the second time; keep one of them", *path, key)
        variables[variable.name] = variable
        meta.written[variable.name] = key
    return variables


def _variable(meta: FrontMatter, key: Any, kind: Any) -> Variable:
    """A line of the schema: ``name: type?``, or as Picoschema has it, ``name?: type, what it is``."""
    path = ("input", "schema", key)
    found = _VARIABLE.fullmatch(key) if isinstance(key, str) else None
    if found is None or found["name"] in RESERVED:
        meta.fail(
            f"declares {key!r}; a variable is lower-case letters, digits and '_', and not one of "
            f"{', '.join(sorted(RESERVED))}",
            *path,
        )
    base, _, description = kind.partition(",") if isinstance(kind, str) else (kind, "", "")
    optional = bool(found["optional"]) or (isinstance(base, str) and base.endswith("?"))
    base = base.removesuffix("?") if isinstance(base, str) else base
    if base not in _TYPES or (found["array"] and base != "string"):
        types = f"the types are {', '.join(_TYPES)}, with or without '?'; a list is of texts"
        meta.fail(f"declares '{key}' as {kind!r}; {types}", *path)
    said = (found["about"] or description).strip()
    return Variable(found["name"], "list" if found["array"] else base, optional, said)


def most_tokens(meta: FrontMatter) -> int | None:
    """``config.max_tokens``: how much of the rendered text an encoder reads.

    Raises:
        PromptError: It is not a whole number of at least 8, or ``config`` holds something else.
    """
    if "config" not in meta:
        return None
    meta.check_keys(("max_tokens",), "config")
    number = meta["config"].get("max_tokens", FEWEST_TOKENS)
    if not isinstance(number, int) or isinstance(number, bool) or number < FEWEST_TOKENS:
        path = ("config", "max_tokens")
        meta.fail(f"has {number!r} as 'config.max_tokens'; it must be a whole number of {FEWEST_TOKENS} or more", *path)
    return number if meta["config"] else None


def plain_metadata(meta: FrontMatter) -> dict[str, Any]:
    """``metadata``: plain data, which no part of recllm but its lineage reads.

    Raises:
        PromptError: It is no mapping, or holds something other than texts, numbers, booleans, null, lists and mappings.
    """
    if "metadata" not in meta:
        return {}
    if not isinstance(meta["metadata"], dict):
        meta.fail(f"has {type(meta['metadata']).__name__} as 'metadata'; it must hold keys and values", "metadata")
    for path, value in _leaves(meta["metadata"], ("metadata",)):
        if not isinstance(value, str | int | float | bool | None):
            meta.fail(
                f"has {type(value).__name__} at '{'.'.join(map(str, path))}'; metadata is plain data, "
                "so put a date or the like in quotes",
                *path,
            )
    return dict(meta["metadata"])


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(below, (*path, key))
    else:
        yield path, value


def without_metadata(source: str, name: str) -> str:
    """The text of a prompt file less the lines of its ``metadata`` block, if it has one.

    Raises:
        PromptError: The block does not stand on lines of its own.
    """
    found = _FRONT.match(source)
    if found is None:
        return source
    front = found["front"]
    root = yaml.compose(front, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    at = next((place for place, (key, _) in enumerate(pairs) if key.value == "metadata"), None)
    if at is None:
        return source
    key = pairs[at][0]
    if root.flow_style:
        line = key.start_mark.line + _FIRST_LINE
        message = f"prompt '{name}', line {line}, has 'metadata' within braces; write one key a line"
        raise PromptError(message, line=line, key="metadata")
    lines = front.splitlines(keepends=True)
    first = key.start_mark.line
    end = pairs[at + 1][0].start_mark.line if at + 1 < len(pairs) else len(lines)
    while end > first + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # a blank line or a comment behind the block is not of it
    return source[: found.start("front")] + "".join(lines[:first] + lines[end:]) + source[found.end("front") :]
