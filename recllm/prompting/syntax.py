"""The tags of a prompt's body: text to nodes, nodes to text. `recllm.prompting.template` describes the language."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from recllm.errors import PromptError
from recllm.texts import clean_text

Value = str | int | float | bool | tuple[str, ...] | None
Scope = dict[str, Value]

_LONG_COMMENT = r"!--(?:(?!--\}\}).)*--"
# The first alternative is a tag alone on its line, which leaves no empty line behind.
_TAG = re.compile(
    r"^(?P<indent>[ \t]*)\{\{(?P<line>"
    + _LONG_COMMENT
    + r"|\s*[#/!>][^{}]*|\s*else\s*)\}\}[ \t]*(?:\n|\Z)|\{\{(?P<inline>"
    + _LONG_COMMENT
    + r"|[^{}]*)\}\}",
    re.MULTILINE | re.DOTALL,
)
_ARGUMENTS = {"if": 1, "unless": 1, "each": 1, "ifEquals": 2, "unlessEquals": 2}
_IN_EACH = ("this", "@first", "@last", "@index")
_HELPERS = ("role", "history", "media", "section", "json", "lookup", "log", "with", "if", "unless", "each")
_LITERALS = ("true", "false", "null", "undefined")
RESERVED = frozenset({"this", "else", *_HELPERS, *_LITERALS})
"""What cannot be a variable: it means something else here, or to others who read such files."""

# What Handlebars or dotprompt know and this language does not: it must never be taken for something else.
_OUTSIDE = (
    (r"~.*|.*~", "white space control ('~'); a tag alone on its line takes the line with it"),
    (r"else\s.*", "a chain of conditions; put the second block into the first one's '{{else}}'"),
    (r"\^.*", "an inverted section; write '#unless' or '{{else}}'"),
    (r"[&*].*", "a tag of a kind that is not supported"),
    (rf"[\"'\d-].*|{'|'.join(_LITERALS)}", "a literal; write the text itself"),
    (rf"({'|'.join(_HELPERS)})(\s.*)?", "a helper that is not supported; a prompt is one text"),
    (r"@.*", f"a name that is not supported; within '#each' there are {', '.join(_IN_EACH)}"),
    (r".*[\s=|()].*", "a helper with arguments, which is not supported"),
    (r".*[./\[\]].*", "a path; variables have no fields"),
)
_DEEPEST_PARTIAL = 8


@dataclass(frozen=True)
class Variable:
    """A declared variable; `type` is string, number, boolean or list."""

    name: str
    type: str
    optional: bool = False
    description: str = ""


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
        self._own_depth = 0

    def read(self, body: str, first_line: int = 1, *, depth: int = 0) -> tuple[Node, ...]:
        """Compile `body`, whose first line is line `first_line` of its file, and which stands in `depth` lists."""
        for number, line in enumerate(body.split("\n"), first_line):
            if "".join(line.split()) != "".join(clean_text(line).split()):
                self._fail("a character that cannot be seen, or half of one; leave it out", number)
        tokens = self._tokens(body, first_line)
        return self._sequence(tokens, depth, opened=None)[0]

    def _tokens(self, body: str, first_line: int) -> "list[str | _Tag]":
        tokens: list[str | _Tag] = []
        position = 0
        for match in [*_TAG.finditer(body), None]:
            text = body[position : match.start() if match else len(body)]
            if "<<<dotprompt:" in text:
                line = first_line + body.count("\n", 0, position + text.index("<<<dotprompt:"))
                self._fail("the marker '<<<dotprompt:', which other readers take for a role; leave it out", line)
            if "{{" in text:
                line = first_line + body.count("\n", 0, position + text.index("{{"))
                self._fail("a tag that is not closed; write '{{…}}' without braces inside", line)
            if match and text.endswith(("{", "\\")):
                line = first_line + body.count("\n", 0, match.start())
                if text.endswith("{"):
                    self._fail("a tag with three braces; write '{{…}}', nothing is escaped anyway", line)
                self._fail("a backslash before a tag; no tag can be shown as text", line)
            if text:
                tokens.append(text)
            if match:
                inside = match["line"] if match["line"] is not None else match["inline"]
                tag = _Tag(inside.strip(), first_line + body.count("\n", 0, match.start()))
                if tag.text.startswith("!--") and not re.fullmatch(_LONG_COMMENT, tag.text, re.DOTALL):
                    self._fail("a comment '{{!--' that is not closed; end it with '--}}'", tag.line)
                if tag.text.startswith(">") and match["indent"]:
                    self._fail(f"the partial '{tag.text[1:].strip()}' indented; begin the line with it", tag.line)
                tokens.append(tag)
                position = match.end()
        tokens.reverse()
        return tokens

    def _sequence(
        self, tokens: "list[str | _Tag]", depth: int, opened: _Tag | None
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
                nodes.append(self._block(token, tokens, depth))
            elif token.text.startswith(">"):
                nodes.extend(self._partial(token, depth))
            elif not token.text.startswith("!"):
                name = self._use(token.text, token.line, depth, ("string", "number", "boolean"))
                nodes.append(Print(name))
        if opened is not None:
            self._fail(f"the block '{{{{{opened.text}}}}}', which is never closed", opened.line)
        return tuple(nodes), None

    def _block(self, opened: _Tag, tokens: "list[str | _Tag]", depth: int) -> Block:
        kind, *names = opened.text[1:].split() or [""]
        if kind not in _ARGUMENTS:
            self._fail(f"the unknown block '#{kind}'; known: {', '.join(_ARGUMENTS)}", opened.line)
        if len(names) != _ARGUMENTS[kind]:
            self._fail(f"'#{kind}' with {len(names)} variables; it takes {_ARGUMENTS[kind]}", opened.line)
        types = {"each": ("list",), "if": (), "unless": ()}.get(kind, ("string", "number", "boolean"))
        names = [self._use(name, opened.line, depth, types) for name in names]
        body, end = self._sequence(tokens, depth + (kind == "each"), opened)
        otherwise: tuple[Node, ...] = ()
        if end is not None and end.text == "else":
            otherwise, end = self._sequence(tokens, depth, opened)
        if end is None or end.text[1:].strip() != kind or end.text == "else":
            line = end.line if end else opened.line
            self._fail(f"'{{{{{end.text if end else ''}}}}}' where '{{{{/{kind}}}}}' should close the block", line)
        return Block(kind, tuple(names), body, otherwise)

    def _partial(self, tag: _Tag, depth: int) -> tuple[Node, ...]:
        name = tag.text[1:].strip()
        if re.search(r"[\s=()]", name):
            self._fail(f"'{{{{{tag.text}}}}}'; a partial takes no values, it has those of the prompt", tag.line)
        if not re.fullmatch(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*", name):
            self._fail(f"the partial '{name}'; its name is lower-case letters, digits, '_', '-' and '.'", tag.line)
        if name in self._partials or len(self._partials) >= _DEEPEST_PARTIAL:
            self._fail(f"the partial '{name}', which includes itself", tag.line)
        text = self._read_partial(name)
        if text is None:
            self._fail(f"the partial '{name}', but there is no '_{name}.prompt'", tag.line)
        outer, self._own_depth = self._own_depth, depth
        self._partials.append(name)
        nodes = self.read(text, depth=depth)
        self._partials.pop()
        self._own_depth = outer
        return nodes

    def _use(self, written: str, line: int, depth: int, types: Iterable[str]) -> str:
        """Check a name at its place; within `depth` lists, a variable of the prompt has as many ``../`` before it."""
        name = written if written in _IN_EACH else re.sub(r"^(\.\./)+", "", written)
        if name in _IN_EACH:
            if not depth or name != written:
                self._fail(f"'{written}' outside of '#each'", line)
            if types == ("list",):
                self._fail(f"'#each {name}'; lists hold texts only", line)
            return name
        if name not in self._variables:
            self._fail(self._unknown(name), line)
        if self._own_depth:
            self._fail(f"'{written}' in a partial within '#each', which has only {', '.join(_IN_EACH)}", line)
        if depth > 1:
            # Handlebars counts no step outwards where an entry equals the one outside of it.
            self._fail(f"'{written}' within two lists, where others find it or not; take it out of the inner one", line)
        if written != "../" * depth + name:
            place = f"within '#each', where it is '{'../' * depth}{name}'" if depth else "outside of '#each'"
            self._fail(f"'{written}' {place}", line)
        self.used.add(name)
        kind = self._variables[name].type
        if types and kind not in types:
            advice = "go through it with '#each'" if kind == "list" else "only a list can be gone through with '#each'"
            self._fail(f"'{name}' of type {kind} where {' or '.join(types)} is wanted; {advice}", line)
        return name

    def _unknown(self, name: str) -> str:
        for form, what in _OUTSIDE:
            if re.fullmatch(form, name, re.DOTALL):
                return f"'{{{{{name}}}}}', {what}"
        known = ", ".join(self._variables) or "none"
        return f"the variable '{name}', which 'input.schema' does not declare (it has: {known})"

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
            render_nodes(block.body, {**scope, "this": entry, "@first": i == 0, "@last": i == last, "@index": i})
            for i, entry in enumerate(values[0])
        )
    match block.kind:
        case "if":
            chosen = bool(values[0])
        case "unless":
            chosen = not values[0]
        case "ifEquals":
            chosen = _equal(*values)
        case "unlessEquals":
            chosen = not _equal(*values)
        case _:
            chosen = False
    return render_nodes(block.body if chosen else block.otherwise, scope)


def _equal(one: Value, other: Value) -> bool:
    # Python takes True for 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    return str(value)
