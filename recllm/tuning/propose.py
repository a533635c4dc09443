"""A language model drafts better prompts from what went wrong; where it cannot, mutations that need no model go on.

What a writer returns is data: read as a prompt, checked against what its parent has to keep, never run, and no better
than it measures. A writer is asked for drafts only if it can say known prompts in other words without breaking them.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from recllm.errors import ConfigError, GenerationError
from recllm.explain.wording import plain, shorten
from recllm.prompting.floor import complaints as floor_complaints
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt, load_prompt
from recllm.resources import data_folder
from recllm.texts import clean_text
from recllm.tuning.mutations import Floor, mutations, revised
from recllm.tuning.slots import gained, parts_of, repeated

LEAST, KNOWN = 8, 10
"""Rewrites of known prompts that have to hold, and how many are asked for."""
PATIENCE = 3
"""Failures in a row after which a writer is not asked again."""

_KNOWN = (
    *(f"item.{domain}" for domain in ("ecommerce", "education", "finance", "social")),
    *("choose.reason", "write.reason", "facts.reason", "reason.ecommerce", "reason.finance", "reason.social"),
)
_SHOWN = 8
_LONGEST = 200
_FENCE = re.compile(r"```[a-z]*\n(?P<body>.*?)```", re.DOTALL)
_FRAME = re.compile(r"<prompt>(?P<body>.*?)(?:</prompt>|\Z)", re.DOTALL)
_FRONT = re.compile(r"\A---[ \t]*\n.*?^---[ \t]*\n", re.DOTALL | re.MULTILINE)


@final
@dataclass(frozen=True)
class Budget:
    """What a writer may cost; a single question is bounded by the writer's own timeout.

    Attributes:
        calls: Questions, the probe's included.
        seconds: After so many, nothing more is asked.
    """

    calls: int = 40
    seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.calls < 0 or self.seconds < 0:
            raise ConfigError(f"a budget has 0 or more calls and seconds, got {self.calls} and {self.seconds}")


@final
@dataclass(frozen=True)
class Probe:
    """Whether a writer can write prompts.

    Attributes:
        held: Rewrites of known prompts that parse and keep all slots.
        asked: How many were asked for; fewer than ten where it was clear before.
        notes: What was wrong with the others.
    """

    held: int
    asked: int
    notes: tuple[str, ...] = ()

    @property
    def on(self) -> bool:
        """Whether it is asked for drafts."""
        return self.held >= LEAST

    def __str__(self) -> str:
        if self.on:
            return "on"
        why = f"; such as: {self.notes[0]}" if self.notes else ""
        return f"off: {self.held} of {self.asked} rewrites keep the slots and parse, {LEAST} of {KNOWN} are wanted{why}"


@final
@dataclass(frozen=True)
class Proposal:
    """What to try instead of a prompt.

    Attributes:
        arms: Prompts that passed all checks, a writer's drafts first; none of them is the parent.
        writer: ``"on"``, or ``"off: …"`` with the reason.
        notes: What was refused or failed, and why; one line each.
        drafted: How many of the arms a writer wrote.
    """

    arms: tuple[Prompt, ...]
    writer: str
    notes: tuple[str, ...] = ()
    drafted: int = 0


def propose(
    parent: Prompt,
    complaints: Sequence[str],
    writer: Generator | None,
    *,
    n: int = 8,
    seed: int = 0,
    misses: Sequence[str] = (),
    sentences: Sequence[str] = (),
    budget: Budget | None = None,
    probe: Probe | None = None,
    floor: Floor = floor_complaints,
) -> Proposal:
    """Up to `n` prompts to try instead of `parent`. Nothing that a writer does is raised.

    Args:
        parent: The prompt that is to be improved.
        complaints: What the verifier said of the texts made with it, once for each time.
        writer: Drafts prompts; None: only mutations.
        n: How many are wanted; half of them a writer's at most, so that mutations are always tried, too.
        seed: Chooses the mutations, and which complaints a draft is to mend.
        misses: What the lists missed worst, a sentence each.
        sentences: What mutations may add.
        budget: Of the writer.
        probe: What is known of the writer already, from `probe_writer`.
        floor: Forbids candidates beyond what every revision has to keep.
    """
    drafts: dict[str, Prompt] = {}
    notes: list[str] = []
    state = "off: no writer was given"
    if writer is not None:
        asking = _Asking(writer, budget or Budget())
        found = probe if probe is not None else _probed(asking)
        state = str(found)
        if found.on:
            shown = _Material(parent, tuple(complaints), tuple(misses), seed)
            drafts = _drafts(asking, shown, (n + 1) // 2, floor)
        notes = [*found.notes, *asking.notes]
    others = mutations(parent, n=n, seed=seed, sentences=sentences, floor=floor)
    arms = {**drafts, **{one.digest: one for one in others if one.digest not in drafts}}
    return Proposal(tuple(arms.values())[:n], state, tuple(notes), len(drafts))


def probe_writer(writer: Generator, *, budget: Budget | None = None) -> Probe:
    """Have ten known prompts said in other words; stops as soon as it is clear that eight cannot hold."""
    return _probed(_Asking(writer, budget or Budget()))


class _Spent(Exception):
    """The budget is used up, or the writer failed too often."""


@dataclass
class _Asking:
    """A writer, and what is left of its budget."""

    writer: Generator
    budget: Budget
    calls: int = 0
    failures: int = 0
    notes: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._until = self.clock() + self.budget.seconds

    def __call__(self, task: str, material: str, characters: int) -> str | None:
        """The answer; None if there is none, which costs a note.

        Raises:
            _Spent: Nothing more may be asked.
        """
        if self.calls >= self.budget.calls or self.clock() >= self._until:
            limit = f"{self.budget.calls} calls, {self.budget.seconds:g} s"
            raise _Spent(f"the writer's budget is used up ({limit})")
        if self.failures >= PATIENCE:
            raise _Spent(f"the writer failed {PATIENCE} times in a row and was not asked again")
        self.calls += 1
        try:
            answer = self.writer.generate(task, material, max_tokens=64 + characters // 2)
            if not isinstance(answer, str):
                raise GenerationError(f"it answered with {type(answer).__name__} instead of a text")
        except Exception as error:  # a backend may raise anything, and drafts are no reason to stop
            self.failures += 1
            self.notes.append(_note(f"the writer did not answer: {error}"))
            return None
        self.failures = 0
        return answer


@dataclass(frozen=True)
class _Material:
    """What a writer is shown: a prompt, and quotations of what went wrong."""

    parent: Prompt
    complaints: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()
    seed: int = 0

    def of(self, draft: int | None = None) -> str:
        """As text; each draft has other complaints at the head of its list."""
        prompt, turn = load_prompt("material", _folder()), self.seed + (draft or 0)
        often = [f"{text} ({count} times)" for text, count in Counter(map(_quotable, self.complaints)).most_common()]
        return prompt.render(
            lines=parts_of(self.parent)[1].splitlines(),
            complaints=_turned(often, turn)[:_SHOWN] if draft else None,
            misses=_turned([_quotable(miss) for miss in self.misses], turn)[:_SHOWN] if draft else None,
            draft=draft,
        )


def _probed(asking: _Asking) -> Probe:
    held, notes = 0, []
    for number, name in enumerate(_KNOWN):
        known = load_prompt(name)
        wrong = _rewrite(asking, known)
        held += not wrong
        notes += [_note(f"{name}: {wrong}")] if wrong else []
        if held + KNOWN - (number + 1) < LEAST:
            return Probe(held, number + 1, tuple(notes))
    return Probe(held, KNOWN, tuple(notes))


def _rewrite(asking: _Asking, known: Prompt) -> str:
    """What is wrong with how a writer says a known prompt in other words; nothing: it holds."""
    try:
        answer = asking(load_prompt("rewrite", _folder()).render(), _Material(known).of(), len(parts_of(known)[1]))
    except _Spent as error:
        return str(error)
    if answer is None:
        return asking.notes.pop()
    front, body = parts_of(known)
    candidate, wrong = revised(known, front, body_of(answer), "rewritten", "said in other words", floor=lambda *_: ())
    if candidate is not None and not wrong and _words(body_of(answer)) == _words(body):
        return "it says the same in the same words"
    return "; ".join(wrong)


def _drafts(asking: _Asking, shown: _Material, n: int, floor: Floor) -> dict[str, Prompt]:
    """Drafts that passed all checks, by digest."""
    task, parent = load_prompt("draft", _folder()).render(), shown.parent
    drafts: dict[str, Prompt] = {}
    for number in range(1, n + 1):
        try:
            answer = asking(task, shown.of(number), 2 * len(parts_of(parent)[1]))
        except _Spent as error:
            asking.notes.append(str(error))
            break
        if answer is None:
            continue
        body, by = body_of(answer), plain(asking.writer.name)
        candidate, wrong = revised(parent, parts_of(parent)[0], body, "drafted", f"draft {number} by {by}", floor=floor)
        if candidate is not None:
            wrong += gained(candidate, parent) + repeated(candidate, parent, [*shown.complaints, *shown.misses])
            if candidate.digest == parent.digest or candidate.digest in drafts:
                wrong.append("it is there already")
        if candidate is None or wrong:
            asking.notes.append(_note(f"draft {number} was refused: {'; '.join(wrong)}"))
        else:
            drafts[candidate.digest] = candidate
    return drafts


def body_of(answer: str) -> str:
    """The template in a writer's answer, its lines cleaned, without what stands around it and without front matter."""
    for frame in (_FRAME, _FENCE):
        if found := frame.search(answer):
            answer = found["body"]
    answer = _FRONT.sub("", answer.strip() + "\n")
    lines = (clean_text(line) for line in answer.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def _words(body: str) -> str:
    return " ".join(body.split())


def _quotable(text: str) -> str:
    """Text of strangers as it may stand between quotation marks: inert, on one line, short."""
    return shorten(plain(text), _LONGEST)


def _turned(lines: Sequence[str], by: int) -> list[str]:
    start = by % len(lines) if lines else 0
    return [*lines[start:], *lines[:start]]


def _note(text: str) -> str:
    return shorten(plain(text), _LONGEST)


def _folder() -> Path:
    return data_folder("prompts") / "writing"
