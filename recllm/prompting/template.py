"""Prompt files: YAML front matter, then a logic-less subset of Handlebars.

A file ``item.neutral.prompt`` looks like this::

    ---
    description: An item, for a sentence encoder.
    domain: neutral
    input:
      schema:
        title: string
        categories: list?
    ---
    {{title}}
    {{#if categories}}
    {{#each categories}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}
    {{/if}}

Tags: ``{{x}}``, ``{{#if x}}…{{else}}…{{/if}}``, ``{{#unless x}}``, ``{{#each xs}}`` (with ``this``, ``@first``,
``@last``, ``@index``; a variable ``x`` of the prompt is ``../x`` there), ``{{#ifEquals x y}}`` and
``{{#unlessEquals x y}}``, ``{{! comment}}``, ``{{!-- comment --}}`` and ``{{> name}}``, which inserts
``_name.prompt`` of the same folder. A block tag, comment or partial alone on its line takes the line with it.
Types: ``string``, ``number``, ``boolean``, ``list`` (of strings); a type that ends in ``?`` may be left out.
Picoschema's ``title?: string, what it is`` and ``tags?(array, what they are): string`` are understood, too.

The language is a subset of dotprompt's (github.com/google/dotprompt): what a file means here it means there, but that
values and the whole lose needless white space. What dotprompt has and this has not is an error, never another meaning.

Further keys: ``config`` holds ``max_tokens``, how much of the rendered text an encoder reads, and nothing else;
``metadata`` holds plain data on where the prompt comes from, which is no part of its version.

Everything is checked when a file is loaded: an unknown key, an undeclared or unused variable, a list printed like a
text, an unclosed block are a PromptError. Values are inert: whatever they contain is printed as text, on one line, and
never read as a tag.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from recllm.errors import PromptError
from recllm.prompting.front_matter import (
    FrontMatter,
    declared_variables,
    most_tokens,
    normal_lines,
    plain_metadata,
    split_prompt,
    without_metadata,
)
from recllm.prompting.syntax import Node, Scope, SyntaxReader, Value, Variable, render_nodes
from recllm.resources import data_folder
from recllm.texts import clean_text

SUFFIX = ".prompt"
PROTECTED = {"finance": ("not_advice",)}
"""Domain -> the partials whose words stand in each of its reasons."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*")


@dataclass(frozen=True)
class Prompt:
    """A checked prompt, ready to be rendered. Made by `load_prompt` or `parse_prompt`.

    Attributes:
        name: the file's name without ``.prompt``.
        description: what the prompt is for, from the file.
        domain: the domain it is written for, from the file.
        variables: the declared variables by name.
        digest: SHA-256 over the file, but for its metadata, and the partials it uses.
        source: the file's text, its lines ended by a line feed.
        max_tokens: how much of the rendered text an encoder reads; None leaves that to the encoder.
        metadata: where the prompt comes from, from the file; no part of its version.
        partials: name -> text of the partials it uses, for a copy that needs no folder.
    """

    name: str
    description: str
    domain: str | None
    variables: Mapping[str, Variable]
    nodes: tuple[Node, ...]
    digest: str
    source: str
    max_tokens: int | None
    metadata: Mapping[str, Any]
    partials: Mapping[str, str]

    @property
    def reference(self) -> str:
        """Name and version in one word, such as ``item.neutral@1a2b3c4d``."""
        return f"{self.name}@{self.digest[:8]}"

    def render(self, **values: Any) -> str:
        """Fill the prompt in. Raises PromptError for a missing, unknown or wrongly typed value.

        None means "left out", which only an optional variable may be. Texts lose control characters and line breaks;
        empty entries of a list are skipped.
        """
        unknown = [name for name in values if name not in self.variables]
        if unknown:
            known = ", ".join(self.variables) or "none"
            raise PromptError(f"prompt '{self.name}' got unknown variable '{unknown[0]}'; its variables are: {known}")
        scope: Scope = {name: self._value(variable, values.get(name)) for name, variable in self.variables.items()}
        return render_nodes(self.nodes, scope).strip()

    def _value(self, variable: Variable, value: Any) -> Value:
        if value is None:
            if not variable.optional:
                raise PromptError(f"prompt '{self.name}' needs the variable '{variable.name}'; pass it to render()")
            return None
        match variable.type:
            case "string" if isinstance(value, str):
                return clean_text(value)
            case "boolean" if isinstance(value, bool):
                return value
            case "number" if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
                return value
            case "list" if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
                entries = list(value)
                if all(isinstance(entry, str) for entry in entries):
                    return tuple(text for entry in entries if (text := clean_text(entry)))
        wanted = "list of strings" if variable.type == "list" else variable.type
        raise PromptError(f"prompt '{self.name}' got {type(value).__name__} for '{variable.name}'; it wants a {wanted}")


def parse_prompt(source: str, name: str = "inline", folder: Path | Mapping[str, str] | None = None) -> Prompt:
    """Check and compile the text of a prompt file.

    Args:
        source: front matter and body.
        name: how messages and `Prompt.reference` call it.
        folder: where partials are, or they themselves by name; None allows no partials.

    Raises:
        PromptError: with the line, for anything the module's docstring does not allow.
    """
    meta, body, first_line = split_prompt(source, name)
    variables, tokens, metadata = declared_variables(meta), most_tokens(meta), plain_metadata(meta)
    source = normal_lines(source)
    parts: list[str] = [without_metadata(source, name) if "metadata" in meta else source]

    partials: dict[str, str] = {}

    def read_partial(partial: str) -> str | None:
        if isinstance(folder, Path):
            text = read_source(f"_{partial}", folder, name)
        else:
            text = None if folder is None else folder.get(partial)
        if text is not None:
            parts.append(text)
            partials[partial] = text
        return text

    reader = SyntaxReader(name, variables, read_partial)
    nodes = reader.read(body, first_line)
    unused = [v for v in variables if v not in reader.used]
    if unused:
        what = f"declares the variable '{unused[0]}' and never uses it; use it or remove it"
        meta.fail(what, "input", "schema", meta.written[unused[0]])
    _check_clauses(meta, nodes)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    description, domain = meta.get("description", ""), meta.get("domain")
    return Prompt(name, description, domain, variables, nodes, digest, source, tokens, metadata, partials)


def always_said(nodes: Iterable[Node]) -> str:
    """The words of a prompt that stand in every text, whatever its values are."""
    return clean_text("".join(node for node in nodes if isinstance(node, str)))


def protected_clauses(domain: str) -> dict[str, str]:
    """Partial -> words: what every reason of a domain has to say.

    Raises:
        PromptError: A partial that comes with recllm is missing or says nothing.
    """
    shipped, clauses = data_folder("prompts"), {}
    for partial in PROTECTED.get(domain, ()):
        clauses[partial] = clean_text(read_source(f"_{partial}", shipped, partial) or "")
        if not clauses[partial]:
            raise PromptError(f"'_{partial}{SUFFIX}' in {shipped} says nothing; restore it")
    return clauses


def _check_clauses(meta: FrontMatter, nodes: tuple[Node, ...]) -> None:
    task, *rest = meta.name.split(".")
    for domain in {str(meta.get("domain")), *rest[:1]} & set(PROTECTED) if task == "reason" else ():
        for partial, words in protected_clauses(domain).items():
            if words not in always_said(nodes):
                wanted = f"add '{{{{> {partial}}}}}', outside of every block"
                meta.fail(f"is a reason of the domain '{domain}' and does not always say “{words}”; {wanted}", "domain")


def load_prompt(name: str, folder: Path | str | None = None) -> Prompt:
    """Read ``<name>.prompt`` from `folder`, or from the prompts that come with recllm; or a file by its path.

    Raises:
        PromptError: when there is no such prompt or it is not well formed; it begins with the file's path.
    """
    if folder is None and name.endswith(SUFFIX):
        folder, name = Path(name).parent, Path(name).name.removesuffix(SUFFIX)
    where = Path(folder) if folder is not None else data_folder("prompts")
    source = read_source(name, where, name) if _NAME.fullmatch(name) else None
    if source is None:
        known = ", ".join(list_prompts(where)) or "none"
        raise PromptError(f"there is no prompt {name!r} in {where}; it has: {known}")
    try:
        return parse_prompt(source, name, where)
    except PromptError as error:
        file = where / f"{f'_{error.partial}' if error.partial else name}{SUFFIX}"
        raise PromptError(f"{file}: {error}", line=error.line, key=error.key, partial=error.partial) from error


def list_prompts(folder: Path | str | None = None) -> tuple[str, ...]:
    """Names of all prompts in `folder` (or of those that come with recllm), sorted; partials are left out."""
    where = Path(folder) if folder is not None else data_folder("prompts")
    names = (path.name.removesuffix(SUFFIX) for path in where.glob(f"*{SUFFIX}"))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def prompt_domains() -> tuple[str, ...]:
    """The domains that shipped prompts know words of."""
    return tuple(name.removeprefix("reason.") for name in list_prompts() if name.startswith("reason."))


def read_source(stem: str, folder: Path, name: str) -> str | None:
    """The text of ``<stem>.prompt`` in `folder`, None if there is none; `name` is what an error speaks of."""
    path = folder / f"{stem}{SUFFIX}"
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PromptError(f"prompt '{name}' cannot be read: '{path.name}' is not UTF-8; save it as UTF-8") from error
