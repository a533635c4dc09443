"""Frozen cases: what a prompt says today, at its best and at its worst, so that no successor says something worse.

A file ``cases/reason.finance.yaml`` beside the prompts holds for ``reason.finance`` and for everything named
``reason.finance.…``; ``cases/reason.yaml`` for every reason::

    cases:
      - name: one thing is cited
        values: {cited: “Bond fund”, verb: viewed, owned: false, popular: false, cold_start: false}
        words: |-
          Because you viewed “Bond fund”.
          Not financial advice.
        contains: [“Bond fund”, not financial advice]
        never: [guess]

``values`` are a prompt's variables, a flag that is not there is false; ``item`` stands in their place where a catalog
item is put into words. ``words`` are those of the prompt beside the cases, to the letter; what it ``contains`` and what
it ``never`` contains (upper or lower case alike) is asked of every successor, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recllm.errors import PromptError
from recllm.prompting.items import item_values
from recllm.prompting.template import Prompt
from recllm.resources import data_folder

FOLDER = "cases"
_KEYS = ("name", "values", "item", "words", "contains", "never")


@dataclass(frozen=True)
class Case:
    """One frozen case.

    Attributes:
        file: the name of its file without ``.yaml``.
        name: what it is about.
        values: variables of the prompt; None for an item.
        item: fields of a catalog item; None for variables.
        words: the whole text, None where only parts of it matter.
        contains: what has to be in the text.
        never: what must not be in it.
    """

    file: str
    name: str
    values: Mapping[str, Any] | None
    item: Mapping[str, Any] | None
    words: str | None
    contains: tuple[str, ...]
    never: tuple[str, ...]

    def values_for(self, prompt: Prompt) -> dict[str, Any]:
        """The case as variables of a prompt; those that it does not declare are left out."""
        given = item_values(self.item, prompt) if self.item is not None else self.values or {}
        flags = {one.name: False for one in prompt.variables.values() if one.type == "boolean" and not one.optional}
        return flags | {name: value for name, value in given.items() if name in prompt.variables}

    def render(self, prompt: Prompt) -> str:
        """The text that a prompt makes of the case.

        Raises:
            PromptError: It needs something that the case does not have.
        """
        return prompt.render(**self.values_for(prompt))

    def faults(self, prompt: Prompt, *, exact: bool) -> list[str]:
        """What is wrong with the text that a prompt makes of the case.

        Args:
            prompt: Whose text.
            exact: Whether the words have to be those of the case; a successor may say it in others.
        """
        try:
            text = self.render(prompt)
        except PromptError as error:
            return [str(error)]
        read = text.casefold()
        faults = [f"it lacks {part!r}" for part in self.contains if part.casefold() not in read]
        faults += [f"it says {part!r}" for part in self.never if part.casefold() in read]
        if exact and self.words is not None and text != self.words:
            faults.append(f"it says {text!r} in place of {self.words!r}")
        return faults


def load_cases(name: str, folder: Path | str | None = None) -> tuple[Case, ...]:
    """The cases that hold for a prompt, those of its whole family first.

    Args:
        name: The prompt's.
        folder: Where prompts are, with a folder ``cases``; None for those that come with recllm.

    Raises:
        PromptError: A file of cases is not well formed.
    """
    where = (Path(folder) if folder is not None else data_folder("prompts")) / FOLDER
    parts = name.split(".")
    stems = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return tuple(case for stem in stems if (file := where / f"{stem}.yaml").is_file() for case in read_cases(file))


def read_cases(file: Path) -> tuple[Case, ...]:
    """The cases of a file.

    Raises:
        PromptError: It is not well formed.
    """
    try:
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PromptError(f"{file}: these cases cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(held, dict) or list(held) != ["cases"] or not isinstance(held["cases"], list):
        raise PromptError(f"{file}: cases are a list under the one key 'cases'")
    cases = tuple(_case(file, number, one) for number, one in enumerate(held["cases"], 1))
    names = [case.name for case in cases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PromptError(f"{file}: two cases are called {twice[0]!r}; give each a name of its own")
    return cases


def _case(file: Path, number: int, held: Any) -> Case:
    where = f"{file}: case {number}"
    if not isinstance(held, dict):
        raise PromptError(f"{where} is {type(held).__name__}; write its keys: {', '.join(_KEYS)}")
    if unknown := [key for key in held if key not in _KEYS]:
        raise PromptError(f"{where} has the unknown key {unknown[0]!r}; known: {', '.join(_KEYS)}")
    given = [key for key in ("values", "item") if key in held]
    if len(given) != 1 or not isinstance(held[given[0]], dict):
        raise PromptError(f"{where} has to hold either 'values' or 'item', with keys and values")
    asked = [key for key in ("words", "contains", "never") if key in held]
    texts = [held.get("name"), *([held["words"]] if "words" in held else [])]
    lists = [held.get(key, []) for key in ("contains", "never")]
    if not asked or not all(isinstance(text, str) for text in texts):
        raise PromptError(f"{where} has to hold a 'name' and what is asked: 'words', 'contains' or 'never'")
    if not all(isinstance(part, list) and all(isinstance(text, str) and text for text in part) for part in lists):
        raise PromptError(f"{where} has to hold lists of texts as 'contains' and 'never'")
    return Case(
        file.stem,
        held["name"],
        held.get("values"),
        held.get("item"),
        held.get("words"),
        tuple(held.get("contains", ())),
        tuple(held.get("never", ())),
    )
