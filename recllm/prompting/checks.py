"""A folder of prompts looked through: what is wrong with its files, whether its cases pass, how two prompts differ."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recllm.errors import PromptError
from recllm.prompting import cases
from recllm.prompting.cases import Case, load_cases, read_cases
from recllm.prompting.floor import complaints, forbidden
from recllm.prompting.template import SUFFIX, Prompt, list_prompts, load_prompt
from recllm.resources import data_folder


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file of prompts or cases.

    Attributes:
        file: its name within the folder.
        line: where, None if it is no single line.
        key: of the front matter, None if it is none.
        message: what is wrong and what to do.
    """

    file: str
    line: int | None
    key: str | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What came of one case of one prompt.

    Attributes:
        prompt: name and version of the prompt.
        case: the case's name.
        file: the file that holds the case, without ``.yaml``.
        text: what the prompt made of it; None if it could not.
        faults: what is wrong with the text; none if the case passed.
    """

    prompt: str
    case: str
    file: str
    text: str | None
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"passed": self.passed, "faults": list(self.faults)}


@dataclass(frozen=True)
class Difference:
    """How a prompt differs from another.

    Attributes:
        one: name and version of the first.
        other: name and version of the second.
        source: lines of a unified diff of their files; none if they are alike.
        texts: (case, the first's text, the second's) where these differ; None where there is no text.
        complaints: why the second may not take the first's place.
    """

    one: str
    other: str
    source: tuple[str, ...]
    texts: tuple[tuple[str, str | None, str | None], ...]
    complaints: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        texts = [{"case": case, "one": one, "other": other} for case, one, other in self.texts]
        return asdict(self) | {"source": list(self.source), "texts": texts, "complaints": list(self.complaints)}


def render_prompt(name: str, values: Mapping[str, Any] | None = None, folder: Path | str | None = None) -> str:
    """The text that a prompt makes of values.

    Raises:
        PromptError: There is no such prompt, it is not well formed, or the values are not those that it wants.
    """
    prompt = load_prompt(name, folder)
    for one in values or {}:
        if not isinstance(one, str):
            raise PromptError(f"prompt '{name}' got {one!r} as the name of a value; names are texts")
    return prompt.render(**(values or {}))


def lint_prompts(folder: Path | str | None = None) -> tuple[Finding, ...]:
    """What is wrong with the prompts, partials and cases of a folder, or of those that come with recllm.

    Raises:
        PromptError: There is no such folder.
    """
    where = prompt_folder(folder)
    found: list[Finding] = []
    loaded: list[Prompt] = []
    for name in list_prompts(where):
        try:
            loaded.append(load_prompt(name, where))
        except PromptError as error:
            file = f"_{error.partial}{SUFFIX}" if error.partial else f"{name}{SUFFIX}"
            finding = Finding(file, error.line, error.key, str(error).removeprefix(f"{where / file}: "))
            found += [] if finding in found else [finding]
    for prompt in loaded:
        found += [Finding(f"{prompt.name}{SUFFIX}", None, None, fault) for fault in forbidden(prompt)]
        if not prompt.description:
            found.append(Finding(f"{prompt.name}{SUFFIX}", 1, "description", "it does not say what it is for"))
    used = set().union(*(_partials_named_in(path) for path in where.glob(f"*{SUFFIX}")))
    for path in sorted(where.glob(f"_*{SUFFIX}")):
        if path.name.removeprefix("_").removesuffix(SUFFIX) not in used:
            found.append(Finding(path.name, None, None, "no prompt uses this partial; use it or remove it"))
    return (*found, *_lint_cases(where))


def _lint_cases(where: Path) -> list[Finding]:
    found = []
    for path in sorted((where / cases.FOLDER).glob("*.yaml")):
        file = f"{cases.FOLDER}/{path.name}"
        try:
            read_cases(path)
        except PromptError as error:
            found.append(Finding(file, None, None, str(error).removeprefix(f"{path}: ")))
        if not any(f"{name}.".startswith(f"{path.stem}.") for name in list_prompts(where)):
            message = "there is no prompt that these cases are for; name the file after one"
            found.append(Finding(file, None, None, message))
    return found


def check_prompts(folder: Path | str | None = None, names: tuple[str, ...] = ()) -> tuple[Outcome, ...]:
    """Every case of the prompts of a folder, or of those that come with recllm.

    A folder without cases is measured by those that come with recllm, as far as they hold for its prompts; how they
    say it is theirs then.

    Args:
        folder: Where prompts are.
        names: Only of these prompts; all if empty.

    Raises:
        PromptError: A prompt or a file of cases is not well formed, or there is no such prompt.
    """
    where = prompt_folder(folder)
    own = (where / cases.FOLDER).is_dir()
    return tuple(
        Outcome(prompt.reference, case.name, case.file, _text(case, prompt), tuple(case.faults(prompt, exact=own)))
        for prompt in (load_prompt(name, where) for name in names or list_prompts(where))
        for case in load_cases(prompt.name, where if own else None)
    )


def diff_prompts(one: Prompt, other: Prompt, folder: Path | str | None = None) -> Difference:
    """How two prompts differ: in their files, in what they make of the frozen cases, in what may not be lost.

    Args:
        one: The first, such as the one in use.
        other: The second.
        folder: Where their cases are; None for those that come with recllm.

    Raises:
        PromptError: A file of cases is not well formed.
    """
    where = prompt_folder(folder)
    lines = difflib.unified_diff(
        one.source.splitlines(), other.source.splitlines(), one.reference, other.reference, lineterm=""
    )
    said = {
        (case.file, case.name): (case.name, _text(case, one), _text(case, other))
        for prompt in (one, other)
        for case in load_cases(prompt.name, where)
    }
    texts = tuple(found for found in said.values() if found[1] != found[2])
    return Difference(one.reference, other.reference, tuple(lines), texts, tuple(complaints(other, one, where)))


def prompt_folder(folder: Path | str | None) -> Path:
    """A folder of prompts, by default the shipped one.

    Raises:
        PromptError: It is not there.
    """
    where = Path(folder) if folder is not None else data_folder("prompts")
    if not where.is_dir():
        raise PromptError(f"there is no folder {where}; give one with files such as item.neutral{SUFFIX}")
    return where


def _text(case: Case, prompt: Prompt) -> str | None:
    try:
        return case.render(prompt)
    except PromptError:
        return None


def _partials_named_in(path: Path) -> set[str]:
    return set(re.findall(r"\{\{\s*>\s*([\w.-]+)\s*\}\}", path.read_text(encoding="utf-8", errors="replace")))
