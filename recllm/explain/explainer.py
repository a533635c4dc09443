"""From evidence to the words that a user reads: a ladder on which every rung is checked and the lowest always holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from recllm.errors import ConfigError, GenerationError
from recllm.explain.asking import choices_of, text_of
from recllm.explain.clauses import DETAILS, Clause, compose, options_for
from recllm.explain.evidence import Evidence
from recllm.explain.verify.complaints import complaints
from recllm.explain.verify.reading import LONGEST_TEXT
from recllm.explain.wording import (
    LIKEWISE,
    Detail,
    Fact,
    facts_of,
    is_plain,
    likewise,
    listed,
    plain,
    reason_facts,
    shipped_prompt,
    shorten,
    word,
)
from recllm.prompting.generator import Generator
from recllm.prompting.template import Prompt, list_prompts, prompt_domains

Level = Literal["L0", "L1", "L2", "L3"]
Audience = Literal["customer", "owner"]

LONGEST_FALLBACK = 200
TRIES = 2
PATIENCE = 3
GENERATOR, FALLBACK, PROMPT = "generator", "fallback", "prompt"
_PROMPTS = re.compile(r"[a-z][a-z0-9._-]{0,80}@[0-9a-f]{8}\+facts\.reason@[0-9a-f]{8}")


@dataclass(frozen=True)
class Wording:
    """What a user reads, and how it came about.

    Attributes:
        text: One line of plain text.
        method: What really made it: "L0" a template, "L1" a model that chose among verified clauses, "L2" verified
            clauses, "L3" a model that wrote freely.
        verified: Whether the verifier read it against the evidence and had no complaint; always so above L0.
        fallback: Why the text was made on a lower level than the one wanted, in one sentence; None if it was not.
        share: The cited items' share of all positive contributions to the score, 0 to 1.
        prompt: The files it was made from, as name@hash, several joined by "+".
        generator: The model that chose or wrote it; None if none did.
    """

    text: str
    method: Level
    verified: bool
    fallback: str | None
    share: float
    prompt: str
    generator: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields in types that JSON knows."""
        return asdict(self)


@dataclass(frozen=True)
class Retold:
    """Words computed again.

    Attributes:
        wording: What they have to be.
        taken: What of it was taken from the words that were checked, because nothing else tells it.
        complaints: Against those words.
    """

    wording: Wording
    taken: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


class Explainer:
    """Words for recommendations. Whatever a model does, a reason comes out, and it is true of the evidence.

    Args:
        generator: A language model, which L1 and L3 need.
        domain: As in ``reason.<domain>.prompt``.
        level: The rung to stand on. "L0": templates. "L1": the model chooses among verified clauses, and so how much
            to say. "L2": verified clauses, varied from item to item, without a model. "L3": the model writes, the
            verifier reads. L1 and L3 fall back to L0. By default L0 without a generator, L3 with one that is trusted
            with free text, L1 with another.
        detail: How much L0 and L2 say: "short" is the reason alone, "full" adds what else the evidence knows.
        instructions: What a model is told at L3, in place of ``write.reason``; a prompt without variables.
        audience: Who reads it: a "customer" is not told what speaks against a recommendation, the "owner" of the
            recommender is.

    Raises:
        ConfigError: There is no such domain, level, detail or audience, the generator cannot serve the level, or the
            instructions want values.
    """

    def __init__(
        self,
        generator: Generator | None = None,
        *,
        domain: str = "neutral",
        level: Level | None = None,
        detail: Detail = "short",
        instructions: Prompt | None = None,
        audience: Audience = "customer",
    ) -> None:
        if level is None:
            level = "L0" if generator is None else "L3" if generator.writes else "L1"
        _check("domain", domain, prompt_domains())
        _check("level", level, get_args(Level))
        _check("detail", detail, get_args(Detail))
        _check("audience", audience, get_args(Audience))
        if level in ("L1", "L3") and generator is None:
            raise ConfigError(f"level {level} needs a generator; pass one, or choose level L0 or L2")
        if level == "L3" and generator is not None and not generator.writes:
            raise ConfigError(
                f"level L3 needs a generator that is trusted with free text; {generator.name!r} only chooses: "
                "choose level L1, or pass another generator"
            )
        self.instructions = instructions or shipped_prompt("write.reason")
        if wanted := list(self.instructions.variables):
            raise ConfigError(
                f"the instructions {self.instructions.name!r} want a value for {wanted[0]!r}; the facts follow them, "
                "so pass a prompt without variables"
            )
        self.generator, self.domain, self.level, self.detail, self.audience = generator, domain, level, detail, audience
        ending = f"disclaimer.{domain}"
        self._ending = shipped_prompt(ending).render() if ending in list_prompts() else ""

    def explain(self, evidence: Sequence[Evidence]) -> list[Wording]:
        """One wording for each piece of evidence, in its order. No trouble with the model is raised."""
        evidence = [self._for_reader(one) for one in evidence]
        if self.generator is not None and self.level == "L1":
            return self._choose(self.generator, evidence)
        if self.generator is not None and self.level == "L3":
            return self._write(self.generator, evidence)
        if self.level == "L2":
            details = DETAILS if self.detail == "full" else ()
            return [self._say(one, compose(one, self.domain, details), "L2") for one in evidence]
        return [self._template(one) for one in evidence]

    def retold(self, evidence: Evidence, text: str, wording: Mapping[str, Any], level: Level) -> "Retold":
        """What `text` and its `wording` have to be if they were made on `level`; no language model is called.

        Templates and the clause bank say it again. What a model chose has to be one of the options, and what it wrote
        has to pass the verifier. The model's name, instructions of somebody's own, and why the model was not followed,
        cannot be found out again.
        """
        evidence = self._for_reader(evidence)
        if level in ("L0", "L2"):
            own = Explainer(domain=self.domain, level=level, detail=self.detail, audience=self.audience)
            return Retold(own.explain([evidence])[0])
        name, fallback = wording.get("generator"), wording.get("fallback")
        if wording.get("method") == level and isinstance(name, str) and name:
            if level == "L3":
                bare = self._bare(text, evidence)
                if wrong := self.wrong_with(bare, evidence):
                    return Retold(self._template(evidence), complaints=wrong)
                words = self._worded(bare, "L3", evidence, self._written_with(), name)
                claimed = wording.get("prompt")
                if isinstance(claimed, str) and claimed != words.prompt:
                    theirs = claimed.removeprefix(_sources("", evidence))
                    if _PROMPTS.fullmatch(theirs):
                        return Retold(replace(words, prompt=_sources(theirs, evidence)), (GENERATOR, PROMPT))
                return Retold(words, (GENERATOR,))
            for option in options_for(evidence, self.domain) if names_something(evidence) else ():
                words = self._say(evidence, option.clause, "L1", name)
                if words.text == text:
                    return Retold(words, (GENERATOR,))
        template = self._template(evidence)
        if isinstance(fallback, str) and 0 < len(fallback) <= LONGEST_FALLBACK + 1:
            return Retold(replace(template, fallback=fallback), (FALLBACK,))
        return Retold(template, complaints=(f"the wording says neither that {level} was made nor why it was not",))

    def _template(self, evidence: Evidence, fallback: str | None = None) -> Wording:
        text = likewise(word(evidence, self.domain, detail=self.detail), evidence)
        verified = not complaints(text, evidence, domain=self.domain)
        prompt = _sources(shipped_prompt(f"reason.{self.domain}").reference, evidence)
        return Wording(text, "L0", verified, fallback and _sentence(fallback), evidence.share, prompt)

    def _for_reader(self, evidence: Evidence) -> Evidence:
        """What of `evidence` this audience is told."""
        return evidence if self.audience == "owner" else replace(evidence, against=None)

    def _worded(
        self, text: str, method: Level, evidence: Evidence, prompt: str, generator: str | None = None
    ) -> Wording:
        """`text`, which was verified, with what comes before and behind it."""
        whole = f"{likewise(text, evidence)} {self._ending}".strip()
        return Wording(whole, method, True, None, evidence.share, _sources(prompt, evidence), generator)

    def _say(self, evidence: Evidence, clause: Clause, method: Level, generator: str | None = None) -> Wording:
        """`clause`, though it was verified on samples, is read against this evidence, too."""
        if wrong := self.wrong_with(clause.text, evidence):
            return self._template(evidence, f"The clause {clause.prompt} did not pass the check: {wrong[0]}")
        return self._worded(clause.text, method, evidence, clause.prompt, generator)

    def _choose(self, generator: Generator, evidence: Sequence[Evidence]) -> list[Wording]:
        """L1, with one call for all that have something to choose from."""
        options = [options_for(one, self.domain) if names_something(one) else () for one in evidence]
        system = shipped_prompt("choose.reason").render()
        requests = [
            (system, _facts_prompt(one, reason_facts(one)), [option.offered for option in some])
            for one, some in zip(evidence, options, strict=True)
            if some
        ]
        try:
            answers, why = choices_of(generator, requests), "The model abstained"
        except GenerationError as error:
            answers, why = [None] * len(requests), str(error)
        choices = iter(answers)
        words = []
        for one, some in zip(evidence, options, strict=True):
            choice = next(choices) if some else None
            if choice is None:
                words.append(self._template(one, why if some else _NOTHING))
            else:
                words.append(self._say(one, some[choice].clause, "L1", generator.name))
        return words

    def _write(self, generator: Generator, evidence: Sequence[Evidence]) -> list[Wording]:
        """L3, one after the other; a model that keeps failing is given up."""
        words, silent = [], 0
        for one in evidence:
            if not names_something(one):
                words.append(self._template(one, _NOTHING))
            elif silent == PATIENCE:
                words.append(self._template(one, f"The model failed {PATIENCE} times in a row and was not asked again"))
            else:
                try:
                    words.append(self._write_one(generator, one))
                    silent = 0
                except GenerationError as error:
                    words.append(self._template(one, str(error)))
                    silent += 1
        return words

    def _write_one(self, generator: Generator, evidence: Evidence) -> Wording:
        wrong: tuple[str, ...] = ()
        for _ in range(TRIES):
            text = self.draft(generator, evidence, wrong)
            wrong = self.wrong_with(text, evidence)
            if not wrong:
                return self._worded(text, "L3", evidence, self._written_with(), generator.name)
        return self._template(evidence, f"The model's text did not pass the check {TRIES} times: {wrong[0]}")

    def draft(self, generator: Generator, evidence: Evidence, wrong: Sequence[str] = ()) -> str:
        """What a model writes of `evidence`, unchecked and without the domain's ending.

        Args:
            generator: The model.
            evidence: What may be said.
            wrong: What the verifier said of its last text.

        Raises:
            GenerationError: There is no answer.
        """
        facts = _facts_prompt(evidence, facts_of(evidence), wrong)
        return self._bare(text_of(generator, self.instructions.render(), facts), evidence)

    def wrong_with(self, text: str, evidence: Evidence) -> tuple[str, ...]:
        """What is wrong with a text, before its ending; the cheap checks keep the verifier from absurd ones."""
        if not text or len(text) > LONGEST_TEXT:
            return (f"it has {len(text)} characters; 1 to {LONGEST_TEXT} are wanted",)
        if not is_plain(text):
            return ("it has a link, markup or a line break; plain text is wanted",)
        return complaints(text, evidence, domain=self.domain)

    def _written_with(self) -> str:
        """The prompts of L3."""
        return f"{self.instructions.reference}+{shipped_prompt('facts.reason').reference}"

    def _bare(self, text: str, evidence: Evidence) -> str:
        """`text` without what `_worded` puts before and behind it."""
        before = likewise("", evidence)
        text = text.removeprefix(before).lstrip() if before else text
        while self._ending and text.endswith(self._ending):
            text = text.removesuffix(self._ending).rstrip()
        return text


_NOTHING = "The evidence names nothing that a model could put into words"


def names_something(evidence: Evidence) -> bool:
    """Whether a model has something to put into words; that the user has the item already is said by a template."""
    facts = facts_of(evidence)
    return bool(facts["cited"] or facts["wishes"]) and not facts["owned"]


def _sources(prompt: str, evidence: Evidence) -> str:
    """The files of a wording: those of its sentence, and that which joins it to another recommendation."""
    return prompt if evidence.same_as is None else f"{shipped_prompt(LIKEWISE).reference}+{prompt}"


def _facts_prompt(evidence: Evidence, known: Mapping[str, Fact], wrong: Sequence[str] = ()) -> str:
    prompt = shipped_prompt("facts.reason")
    facts = {name: fact for name, fact in known.items() if name in prompt.variables}
    return prompt.render(**facts, title=listed([evidence.title]), complaints=[_sentence(one) for one in wrong])


def _sentence(text: str) -> str:
    text = shorten(plain(text), LONGEST_FALLBACK)
    return text if text.endswith(("…", ".")) else f"{text}."


def _check(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"there is no {what} {value!r}; choose one of: {', '.join(known)}")
