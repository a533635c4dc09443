"""The tags of a prompt's body: text to nodes, nodes to text. `recllm.prompting.template` describes the language."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from recllm.errors import PromptError

Value = str | int | float | bool | tuple[str, ...] | None
Scope = dict[str, Value]

# The first alternative is a tag alone on its line, which leaves no empty line behind.
_TAG = re.compile(
    r"^[ \t]*\{\{(?P<line>\s*[#/!>][^{}]*|\s*else\s*)\}\}[ \t]*(?:\n|\Z)|\{\{(?P<inline>[^{}]*)\}\}", re.MULTILINE
)
_ARGUMENTS = {"if": 1, "unless": 1, "each": 1, "ifEquals": 2, "unlessEquals": 2}
_IN_EACH = ("this", "@first", "@last")
_DEEPEST_PARTIAL = 8


@dataclass(frozen=True)
class Variable:
    """A declared variable; `type` is string, number, boolean or list."""

    name: str
    type: str
    optional: bool = False


@dataclass(frozen=True)
class Print:
    """A variable's value as text."""

    name: str


@dataclass(frozen=True)
class Block:
    """``{{#kind names}} body {{else}} otherwise {{/kind}}``."""

    kind: str
    names: tuple[str, ...]
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


Node = str | Print | Block


@dataclass(frozen=True)
class _Tag:
    text: str
    line: int


class SyntaxReader:
    """Reads one prompt's body; `used` collects the variables met, partials included."""

    def __init__(self, name: str, variables: Mapping[str, Variable], read_partial: Callable[[str], str | None]) -> None:
        self.used: set[str] = set()
        self._name = name
        self._variables = variables
        self._read_partial = read_partial
        self._partials: list[str] = []

    def read(self, body: str, first_line: int = 1, *, in_each: bool = False) -> tuple[Node, ...]:
        """Compile `body`, whose first line is line `first_line` of its file."""
        tokens = self._tokens(body, first_line)
        return self._sequence(tokens, in_each, opened=None)[0]

    def _tokens(self, body: str, first_line: int) -> "list[str | _Tag]":
        tokens: list[str | _Tag] = []
        position = 0
        for match in [*_TAG.finditer(body), None]:
            text = body[position : match.start() if match else len(body)]
            if "{{" in text:
                line = first_line + body.count("\n", 0, position + text.index("{{"))
                self._fail("a tag that is not closed; write '{{…}}' without braces inside", line)
            if match and text.endswith("{"):
                line = first_line + body.count("\n", 0, match.start())
                self._fail("a tag with three braces; write '{{…}}', nothing is escaped anyway", line)
            if text:
                tokens.append(text)
            if match:
                inside = match["line"] if match["line"] is not None else match["inline"]
                tokens.append(_Tag(inside.strip(), first_line + body.count("\n", 0, match.start())))
                position = match.end()
        tokens.reverse()
        return tokens

    def _sequence(
        self, tokens: "list[str | _Tag]", in_each: bool, opened: _Tag | None
    ) -> tuple[tuple[Node, ...], _Tag | None]:
        """Nodes up to the tag that ends the block `opened` (its ``else`` or its close), and that tag."""
        nodes: list[Node] = []
        while tokens:
            token = tokens.pop()
            if isinstance(token, str):
                nodes.append(token)
            elif token.text == "else" or token.text.startswith("/"):
                if opened is None:
                    self._fail(f"'{{{{{token.text}}}}}' without a block that it belongs to", token.line)
                return tuple(nodes), token
            elif token.text.startswith("#"):
                nodes.append(self._block(token, tokens, in_each))
            elif token.text.startswith(">"):
                nodes.extend(self._partial(token, in_each))
            elif not token.text.startswith("!"):
                self._use(token.text, token.line, in_each, ("string", "number", "boolean"))
                nodes.append(Print(token.text))
        if opened is not None:
            self._fail(f"the block '{{{{{opened.text}}}}}', which is never closed", opened.line)
        return tuple(nodes), None

    def _block(self, opened: _Tag, tokens: "list[str | _Tag]", in_each: bool) -> Block:
        kind, *names = opened.text[1:].split() or [""]
        if kind not in _ARGUMENTS:
            self._fail(f"the unknown block '#{kind}'; known: {', '.join(_ARGUMENTS)}", opened.line)
        if len(names) != _ARGUMENTS[kind]:
            self._fail(f"'#{kind}' with {len(names)} variables; it takes {_ARGUMENTS[kind]}", opened.line)
        types = {"each": ("list",), "if": (), "unless": ()}.get(kind, ("string", "number", "boolean"))
        for name in names:
            self._use(name, opened.line, in_each, types)
        body, end = self._sequence(tokens, in_each or kind == "each", opened)
        otherwise: tuple[Node, ...] = ()
        if end is not None and end.text == "else":
            otherwise, end = self._sequence(tokens, in_each, opened)
        if end is None or end.text[1:].strip() != kind or end.text == "else":
            line = end.line if end else opened.line
            self._fail(f"'{{{{{end.text if end else ''}}}}}' where '{{{{/{kind}}}}}' should close the block", line)
        return Block(kind, tuple(names), body, otherwise)

    def _partial(self, tag: _Tag, in_each: bool) -> tuple[Node, ...]:
        name = tag.text[1:].strip()
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            self._fail(f"the partial '{name}'; its name is lower-case letters, digits, '_' and '-'", tag.line)
        if name in self._partials or len(self._partials) >= _DEEPEST_PARTIAL:
            self._fail(f"the partial '{name}', which includes itself", tag.line)
        text = self._read_partial(name)
        if text is None:
            self._fail(f"the partial '{name}', but there is no '_{name}.prompt'", tag.line)
        self._partials.append(name)
        nodes = self.read(text, in_each=in_each)
        self._partials.pop()
        return nodes

    def _use(self, name: str, line: int, in_each: bool, types: Iterable[str]) -> None:
        if name in _IN_EACH:
            if not in_each:
                self._fail(f"'{name}' outside of '#each'", line)
            if types == ("list",):
                self._fail(f"'#each {name}'; lists hold texts only", line)
            return
        if name not in self._variables:
            known = ", ".join(self._variables) or "none"
            self._fail(f"the variable '{name}', which 'input.schema' does not declare (it has: {known})", line)
        self.used.add(name)
        kind = self._variables[name].type
        if types and kind not in types:
            advice = "go through it with '#each'" if kind == "list" else "only a list can be gone through with '#each'"
            self._fail(f"'{name}' of type {kind} where {' or '.join(types)} is wanted; {advice}", line)

    def _fail(self, what: str, line: int) -> NoReturn:
        partial = self._partials[-1] if self._partials else None
        inside = f"partial '{partial}' of " if partial else ""
        raise PromptError(f"{inside}prompt '{self._name}', line {line}, has {what}", line=line, partial=partial)


def render_nodes(nodes: Iterable[Node], scope: Scope) -> str:
    """The text of `nodes` with the values of `scope`, which must hold every variable they use."""
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, Print):
            parts.append(_text(scope[node.name]))
        else:
            parts.append(_render_block(node, scope))
    return "".join(parts)


def _render_block(block: Block, scope: Scope) -> str:
    values = [scope[name] for name in block.names]
    if block.kind == "each" and isinstance(values[0], tuple) and values[0]:
        last = len(values[0]) - 1
        return "".join(
            render_nodes(block.body, {**scope, "this": entry, "@first": i == 0, "@last": i == last})
            for i, entry in enumerate(values[0])
        )
    match block.kind:
        case "if":
            chosen = bool(values[0])
        case "unless":
            chosen = not values[0]
        case "ifEquals":
            chosen = values[0] == values[1]
        case "unlessEquals":
            chosen = values[0] != values[1]
        case _:
            chosen = False
    return render_nodes(block.body if chosen else block.otherwise, scope)


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
