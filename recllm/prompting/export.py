"""Prompts for other tools: files that every reader of dotprompt takes, and a configuration of promptfoo."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from recllm.errors import PromptError
from recllm.prompting.cases import Case, load_cases
from recllm.prompting.checks import prompt_folder
from recllm.prompting.front_matter import split_prompt
from recllm.prompting.syntax import Block, Node, Variable
from recllm.prompting.template import SUFFIX, Prompt, list_prompts, load_prompt

Files = dict[str, str]
"""Name -> text."""


def export_prompts(to: str, target: Path | str, folder: Path | str | None = None) -> tuple[Path, ...]:
    """Write the prompts of a folder for another tool; files of the same name are replaced.

    Args:
        to: "dotprompt" or "promptfoo".
        target: The folder to write to.
        folder: Where prompts are; None for those that come with recllm.

    Raises:
        PromptError: No such tool is known, or a prompt is not well formed.
    """
    if to not in FORMATS:
        raise PromptError(f"prompts cannot be written for {to!r}; for: {', '.join(FORMATS)}")
    where, target = prompt_folder(folder), Path(target)
    if target.resolve() == where.resolve():
        raise PromptError(f"{target} holds the prompts themselves; choose another folder")
    files = FORMATS[to](where)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8", newline="\n")
    return tuple(target / name for name in files)


def to_dotprompt(where: Path) -> Files:
    """Each prompt with its schema in Picoschema, and the partials as they are."""
    files: Files = {}
    for name in list_prompts(where):
        prompt = load_prompt(name, where)
        front: dict[str, Any] = {"description": prompt.description} if prompt.description else {}
        if prompt.variables:
            front["input"] = {"schema": dict(_picoschema(one) for one in prompt.variables.values())}
        if prompt.domain is not None:
            front["recllm.domain"] = prompt.domain
        if prompt.max_tokens is not None:
            front["recllm.max_tokens"] = prompt.max_tokens  # their `config` is for the model that answers
        front["recllm.version"] = prompt.digest[:8]
        if prompt.metadata:
            front["metadata"] = dict(prompt.metadata)
        _, body, _ = split_prompt(prompt.source, name)
        files[f"{name}{SUFFIX}"] = f"---\n{_yaml(front)}---\n{body}"
    for path in sorted(where.glob(f"_*{SUFFIX}")):
        files[path.name] = path.read_text(encoding="utf-8")
    return files


def _picoschema(variable: Variable) -> tuple[str, str]:
    name = f"{variable.name}?" if variable.optional else variable.name
    # A schema with a key `type` and nothing but a type there is one of JSON Schema to them.
    about = variable.description or (variable.name if variable.name == "type" else "")
    if variable.type == "list":
        return f"{name}(array{f', {about}' if about else ''})", "string"
    return name, f"{variable.type}, {about}" if about else variable.type


def to_promptfoo(where: Path) -> Files:
    """One configuration: prompts in its template language, tests from the cases, the provider that echoes prompts."""
    prompts, tests = [], []
    for name in list_prompts(where):
        prompt = load_prompt(name, where)
        prompts.append({"id": prompt.reference, "label": name, "raw": nunjucks(prompt)})
        tests += [_test(prompt, case) for case in load_cases(name, where) if not _has_tags(case, prompt)]
    about = "Prompts of recllm and their frozen cases; put a model in place of `echo` to see what it answers."
    config = {
        "description": about,
        "providers": ["echo"],
        "prompts": prompts,
        "defaultTest": {"options": {"disableVarExpansion": True, "transform": "output.trim()"}},
        "tests": tests,
    }
    return {"promptfooconfig.yaml": _yaml(config)}


def _has_tags(case: Case, prompt: Prompt) -> bool:
    """Whether promptfoo, which reads values again, would take something in the case for a tag of its own."""
    texts = " ".join(map(str, (case.values_for(prompt), case.words, case.contains, case.never)))
    return any(tag in texts for tag in ("{{", "{%", "{#"))


def _test(prompt: Prompt, case: Case) -> dict[str, Any]:
    asked = [{"type": "icontains", "value": part} for part in case.contains]
    asked += [{"type": "not-icontains", "value": part} for part in case.never]
    if case.words is not None:
        asked.insert(0, {"type": "equals", "value": case.words})
    values = case.values_for(prompt)
    return {"description": f"{prompt.name}: {case.name}", "prompts": [prompt.name], "vars": values, "assert": asked}


def nunjucks(prompt: Prompt) -> str:
    """A prompt in promptfoo's template language, Nunjucks."""
    return "".join(_nunjucks(prompt.nodes, prompt.variables, 0)).strip()


def _nunjucks(nodes: Iterable[Node], variables: Mapping[str, Variable], depth: int) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node.replace("{%", '{{ "{%" }}').replace("{#", '{{ "{#" }}')
        elif isinstance(node, Block):
            yield _opened(node, variables, depth)
            yield from _nunjucks(node.body, variables, depth + (node.kind == "each"))
            if node.otherwise:
                yield "{% else %}"
                yield from _nunjucks(node.otherwise, variables, depth)
            yield "{% endfor %}" if node.kind == "each" else "{% endif %}"
        else:
            yield f"{{{{ {_name(node.name, depth)} }}}}"


def _opened(block: Block, variables: Mapping[str, Variable], depth: int) -> str:
    names = [_name(name, depth) for name in block.names]
    is_list = block.names[0] in variables and variables[block.names[0]].type == "list"
    # An empty list is true there.
    some = f"({names[0]} and {names[0]}.length)" if is_list else names[0]
    match block.kind:
        case "each":
            return f"{{% for entry{depth + 1} in {names[0]} %}}"
        case "if":
            return f"{{% if {some} %}}"
        case "unless":
            return f"{{% if not {some} %}}"
        case "ifEquals":
            return f"{{% if {names[0]} === {names[1]} %}}"
    return f"{{% if {names[0]} !== {names[1]} %}}"


def _name(name: str, depth: int) -> str:
    loop = {"this": f"entry{depth}", "@first": "loop.first", "@last": "loop.last", "@index": "loop.index0"}
    return loop.get(name, name)


def _yaml(data: Any) -> str:
    return str(yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)

FORMATS: dict[str, Callable[[Path], Files]] = {"dotprompt": to_dotprompt, "promptfoo": to_promptfoo}
