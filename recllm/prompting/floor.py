"""The floor: what no successor of a prompt may lose, however much better it measures."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from recllm.prompting.cases import load_cases
from recllm.prompting.syntax import Block, Node
from recllm.prompting.template import PROTECTED, Prompt, always_said, protected_clauses
from recllm.texts import clean_text

MAY_DROP = "may_drop"
"""Key of a prompt's metadata: variables that a successor need not use. Item prompts may drop all but title or text."""

_PROMISES = (
    r"(?<!not )(?<!no )(?<!never )\bguarant\w*",
    r"\brisk[- ]free|\bno risk\b|\bcannot lose|\bnever los\w+|\bsure to\b|\b(get|make you) rich\b|\bdoubles? your\b",
    r"\b(will|is going to|are going to) (surely |certainly )?"
    r"(rise|grow|gain|earn|return|yield|pay|profit|outperform|increase|double|make you|make money)",
    r"\b(high|safe|secure|certain|steady) (return|profit|yield|gain|income)s?\b",
    r"\d ?(%|percent) (a year|p\.?a\.?|return|yield|profit|gain)",
)
_ADVICE = (
    r"\byou (should|must|ought to|need to) (buy|sell|invest|hold|take|get)\b",
    r"\b(buy|invest|order|sell) (it )?now\b",
    r"\bwe (advise|recommend) (you )?(to|that you) (buy|sell|invest|hold)",
)
_FORBIDDEN = {
    "a promise": "|".join(_PROMISES),
    "advice": "|".join(_ADVICE),
    "a role tag": r"<\|[^|]*\||\[/?INST\]|<</?SYS>>|</?(system|assistant|user)>|^\s*(system|assistant|user):",
    "a link": r"\b[a-z][\w+.-]*://|\bwww\.",
}


def complaints(candidate: Prompt, parent: Prompt, folder: Path | None = None) -> list[str]:
    """Why a prompt may not take its parent's place: one sentence for each reason, none if it may.

    Args:
        candidate: The successor.
        parent: What is in use.
        folder: Where prompts and their cases are; None for those that come with recllm.
    """
    return [
        *_slots(candidate, parent),
        *_protected(candidate, parent),
        *forbidden(candidate),
        *_cases(candidate, parent, folder),
    ]


def forbidden(prompt: Prompt) -> list[str]:
    """What a prompt says in its own words and no prompt may say: promises, advice, role tags, links."""
    said = {" ".join(_literals(prompt.nodes)), "".join(_literals(prompt.nodes))}
    found: dict[str, str] = {}
    for what, form in _FORBIDDEN.items():
        for text in said:
            if match := re.search(form, text, re.IGNORECASE | re.MULTILINE):
                found.setdefault(what, clean_text(match[0]))
    return [f"it holds {what}: '{words}'" for what, words in found.items()]


def _slots(candidate: Prompt, parent: Prompt) -> Iterator[str]:
    may_drop = parent.metadata.get(MAY_DROP, ())
    if _task(parent) == "item":
        may_drop = list(parent.variables)
        if not {"title", "text"} & set(candidate.variables):
            yield "it reads neither the title nor the text of an item"
    for name in parent.variables:
        if name not in candidate.variables and name not in may_drop:
            yield f"it lost the variable '{name}'"
    for name, variable in candidate.variables.items():
        before = parent.variables.get(name)
        if not variable.optional and (before is None or before.optional):
            yield f"it needs the variable '{name}', which may be missing"
        if before is not None and before.type != variable.type and _task(parent) != "item":
            yield f"it takes '{name}' as {variable.type}, which is {before.type}"


def _protected(candidate: Prompt, parent: Prompt) -> Iterator[str]:
    """Clauses that have to stand in every text, whatever its values are."""
    ours, theirs = always_said(candidate.nodes), always_said(parent.nodes)
    for domain in PROTECTED:
        reason = _task(parent) == "reason" and domain in (candidate.domain, parent.domain)
        for partial, words in protected_clauses(domain).items():
            if (reason or words in theirs) and words not in ours:
                yield f"it lost the clause '{{{{> {partial}}}}}', which stands in every text"
    if _task(parent) != "item" and parent.domain != candidate.domain:
        yield f"it is of the domain '{candidate.domain}' in place of '{parent.domain}'"


def _cases(candidate: Prompt, parent: Prompt, folder: Path | None) -> Iterator[str]:
    cases = (*load_cases(parent.name, folder), *load_cases(candidate.name, folder))
    for case in {(case.file, case.name): case for case in cases}.values():
        for fault in case.faults(candidate, exact=False):
            yield f"case '{case.name}' of {case.file}: {fault}"


def _task(prompt: Prompt) -> str:
    return prompt.name.partition(".")[0]


def _literals(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Block):
            yield from _literals(node.body)
            yield from _literals(node.otherwise)
