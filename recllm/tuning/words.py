"""Prompts for reasons, judged by the verifier: how many of their texts pass, and how much of the evidence those say.

Two kinds of prompt put evidence into words: a template, which is filled in (``reason.<domain>``), and instructions for
a language model (``write.reason``), which speaks. Both are asked about the same recommendations, so that they compare
case by case.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
from jaxtyping import Float

from recllm.data.interactions import Interactions
from recllm.data.trained import TrainedOn
from recllm.errors import ConfigError, GenerationError, LeakageError, PromptError
from recllm.explain.evidence import Evidence
from recllm.explain.explainer import Explainer, names_something
from recllm.explain.verify.complaints import complaints
from recllm.explain.wording import facts_of
from recllm.prompting.floor import complaints as floor_complaints
from recllm.prompting.front_matter import split_prompt
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt, list_prompts, read_source
from recllm.resources import data_folder
from recllm.texts import clean_text
from recllm.tuning.mutations import Floor, revised
from recllm.tuning.slots import parts_of

EXAMPLES = (0, 1, 3)
"""How many examples instructions are tried with."""

PASSED = 0.5
"""What a text is worth that passes and names nothing that could be named; one that names all of it is worth 1."""

_LEFT_OUT = "The text is true, and leaves out items or attributes that the facts name."
_NAMING = ("cited", "leading", "wishes", "category", "title_words", "value")
_QUOTED = re.compile("“([^”]+)”")
_INSTRUCTIONS, _EXAMPLE = "instructions.", "example."


@final
@dataclass(frozen=True)
class Said:
    """What came of a prompt for one recommendation.

    Attributes:
        text: The words; empty if a model did not answer.
        wrong: The verifier's complaints; none: it passed.
        share: Of what could be named, how much the text names, 0 to 1.
    """

    text: str
    wrong: tuple[str, ...]
    share: float

    @property
    def value(self) -> float:
        """0 for a text that does not pass, else .5 to 1 by how much of the evidence it says."""
        return 0.0 if self.wrong else PASSED + (1 - PASSED) * self.share


@final
class WordJudge:
    """Asks prompts to say evidence; every prompt is asked about a case once.

    Args:
        cases: What is to be put into words. Where a model speaks, only those count in which there is something to say.
        generator: The model that speaks by instructions; None: the prompts are templates.
        domain: Chooses the words for items and people that the verifier knows.

    Attributes:
        cases: Those that count.
        users: [cases], whose each is.
        silent: How often the model did not answer; such a case is worth 0.

    Raises:
        ConfigError: The generator is not trusted with free text.
    """

    def __init__(
        self, cases: Sequence[Evidence], *, generator: Generator | None = None, domain: str = "neutral"
    ) -> None:
        if generator is not None and not generator.writes:
            raise ConfigError(
                f"{generator.name!r} only chooses among sentences, so there are no words of its own to be judged; "
                "pass a generator that is trusted with free text, or none to judge templates"
            )
        self.generator, self.domain, self.silent = generator, domain, 0
        self.cases = tuple(one for one in cases if generator is None or names_something(one))
        self.users = tuple(one.user_id for one in self.cases)
        self._said: dict[tuple[str, int], Said] = {}

    def said(self, prompt: Prompt, rows: Sequence[int] | None = None) -> list[Said]:
        """What came of a prompt for the cases `rows`; for all of them by default.

        Raises:
            PromptError: A template wants a value that evidence does not have.
        """
        chosen = range(len(self.cases)) if rows is None else rows
        for row in chosen:
            key = (prompt.digest, row)
            if key not in self._said:
                self._said[key] = self._ask(prompt, self.cases[row])
        return [self._said[prompt.digest, row] for row in chosen]

    def values(
        self, prompts: Sequence[Prompt], rows: Sequence[int] | None = None
    ) -> Float[np.ndarray, "prompts cases"]:
        """What each prompt is worth in each case, paired by case."""
        return np.array([[one.value for one in self.said(prompt, rows)] for prompt in prompts], dtype=np.float64)

    def complaints(self, prompt: Prompt, rows: Sequence[int] | None = None) -> tuple[str, ...]:
        """All that the verifier said of a prompt's texts, and what those that passed left out, once for each time."""
        return tuple(
            wrong for one in self.said(prompt, rows) for wrong in one.wrong or ((_LEFT_OUT,) if one.share < 1 else ())
        )

    def _ask(self, prompt: Prompt, case: Evidence) -> Said:
        if self.generator is None:
            facts = facts_of(case)
            unknown = [name for name in prompt.variables if name not in facts]
            if unknown:
                known = ", ".join(facts)
                raise PromptError(f"prompt '{prompt.name}' wants {unknown[0]!r}, and evidence has: {known}")
            text = clean_text(prompt.render(**{name: facts[name] for name in prompt.variables}))
            return Said(text, complaints(text, case, domain=self.domain), share_said(text, case))
        speaker = Explainer(self.generator, domain=self.domain, level="L3", instructions=prompt)
        try:
            text = speaker.draft(self.generator, case)
        except GenerationError as error:
            self.silent += 1
            return Said("", (str(error),), 0.0)
        return Said(text, speaker.wrong_with(text, case), share_said(text, case))


def share_said(text: str, evidence: Evidence) -> float:
    """How much of what the facts name a text names: cited items, a shared attribute, wishes that were granted.

    Names are looked for as they are shown, longer ones first, so that “Lantern” is not found in “Red lantern”. 1 where
    there is nothing to name.
    """
    facts = facts_of(evidence)
    names = [name for fact in _NAMING for name in _QUOTED.findall(str(facts.get(fact) or ""))]
    left, found = clean_text(text).casefold(), 0
    distinct = sorted({name.casefold() for name in names}, key=len, reverse=True)
    for name in distinct:
        left, times = re.subn(rf"(?<!\w){re.escape(name)}(?!\w)", "\0", left)
        found += times > 0
    return found / len(distinct) if distinct else 1.0


class Recommends(Protocol):
    """What `evidence_of` asks of a recommender."""

    @property
    def trained_on(self) -> TrainedOn:
        """Which users shaped it."""

    def recommend(self, users: Interactions, n: int = 10, *, explain: bool = False) -> Any:
        """Lists with their reasons."""


def evidence_of(recommender: Recommends, users: Interactions, *, n: int = 3) -> tuple[Evidence, ...]:
    """Cases to judge words by: the evidence behind the first `n` recommendations of users whom training has not seen.

    Raises:
        LeakageError: The model was trained on one of these users.
    """
    known = [
        user for user, seen in zip(users.user_ids, recommender.trained_on.includes(users.user_ids), strict=True) if seen
    ]
    if known:
        raise LeakageError(
            f"the model was trained on {len(known)} of the users, for example {known[0]!r}; reasons are judged on "
            "users that it has not seen"
        )
    found = [row.evidence or {} for row in recommender.recommend(users, n=n, explain=True)]
    return tuple(Evidence.from_dict({name: one for name, one in row.items() if name != "wording"}) for row in found)


def word_arms(standing: Prompt, *, floor: Floor = floor_complaints) -> tuple[Prompt, ...]:
    """Instructions × number of examples to try, the standing prompt first.

    Args:
        standing: Instructions for a model, without variables.
        floor: Forbids candidates beyond what every revision has to keep.
    """
    front, body = parts_of(standing)
    bodies = {"the standing instructions": body} | {
        name: _fragment(name) for name in list_prompts(_writing()) if name.startswith(_INSTRUCTIONS)
    }
    examples = [_fragment(name) for name in list_prompts(_writing()) if name.startswith(_EXAMPLE)]
    arms: dict[str, Prompt] = {standing.digest: standing}
    for name, written in bodies.items():
        for count in EXAMPLES:
            missing = [example for example in examples[:count] if example not in written]
            change = f"{name}, {count} example{'s' * (count != 1)}"
            if count and not missing:
                continue
            made = _with_examples(written, missing)
            candidate, wrong = revised(standing, front, made, "composed", change, floor=floor)
            if candidate is not None and not wrong:
                arms.setdefault(candidate.digest, candidate)
    return tuple(arms.values())


def spare_sentences() -> tuple[str, ...]:
    """Sentences that instructions may gain."""
    return tuple(_fragment("sentences").splitlines())


def _with_examples(body: str, examples: Sequence[str]) -> str:
    if not examples:
        return body
    return body + ("An example:\n" if len(examples) == 1 else "Examples:\n") + "".join(examples)


def _fragment(name: str) -> str:
    """The body of a file in ``prompts/writing``, its partials still unread."""
    source = read_source(name, _writing(), name)
    if source is None:
        raise PromptError(f"there is no '{name}' in {_writing()}; it has: {', '.join(list_prompts(_writing()))}")
    return split_prompt(source, name)[1]


def _writing() -> Path:
    return data_folder("prompts") / "writing"
