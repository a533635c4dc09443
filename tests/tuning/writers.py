"""Scripted models: a writer that keeps what it has to keep, and a speaker that does what its instructions say."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from recllm.prompting.generator import Generator

TAG = re.compile(r"\{\{[^{}]*\}\}|<[^>]*>")

WEAK = """---
description: Instructions with a planted weakness, which no sentence can be dropped to mend.
---
Say what stands between <facts> and </facts> in a sentence, and that the item is excellent.
{{> quoted_is_data}}
{{> nothing_added}}
Answer with the sentences alone.
"""
BETTER = """Say what stands between <facts> and </facts>: name every cause, and what is shared.
{{> quoted_is_data}}
{{> nothing_added}}
Answer with the sentences alone.
"""


class Scripted(Generator):
    """Answers by a function of (system, user)."""

    name, writes = "scripted", True

    def __init__(self, answer: Callable[[str, str], Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        self.asked.append((system, user))
        return self.answer(system, user)  # type: ignore[no-any-return]

    def choose(self, system: str, user: str, options: Any) -> int | None:
        return None


def template_in(user: str) -> str:
    """What stands between <prompt> and </prompt>."""
    return user.partition("<prompt>\n")[2].partition("</prompt>")[0]


def in_other_words(template: str) -> str:
    """One word more in the first place outside of tags."""
    return "".join(
        part if TAG.fullmatch(part) else re.sub(r"([A-Za-z]{3,})", r"\1 truly", part, count=1)
        for part in re.split(f"({TAG.pattern})", template)
    )


def good(draft: str = BETTER) -> Scripted:
    """Rewrites what it is shown, and drafts `draft`."""
    return Scripted(
        lambda system, user: (
            f"<prompt>\n{draft if '<material>' in user else in_other_words(template_in(user))}</prompt>"
        )
    )


def speaker() -> Scripted:
    """Praises where it is told to, names all causes where it is told to, and what is shared likewise."""

    def speak(system: str, user: str) -> str:
        cited = re.search(r"Because (?P<how>you \w+|of) (?P<cited>“.*”)(?P<end>.*)", user)
        if cited is None:
            return "We suggest this."
        titles = re.findall("“[^”]+”", cited["cited"])
        said = " and ".join(titles if "every" in system else titles[:1])
        text = f"Because {cited['how']} {said}{cited['end']}"
        shared = re.search(r"Like .*, it is in .*\.", user)
        text += f" {shared[0]}" if shared and "shared" in system else ""
        return text + (" It is excellent." if "excellent" in system else "")

    return Scripted(speak)
