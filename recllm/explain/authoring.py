"""New clauses: proposed by a person or by any model, verified on evidence of every shape, sealed with a digest.

This happens offline. What is chosen from when a reason is given (`recllm.explain.clauses`) has passed here.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import Any

from recllm.errors import PromptError
from recllm.explain.clauses import FOLDER, KINDS, ClauseFile, bank, load_clauses, parse_clauses
from recllm.explain.evidence import Cause, Counterfactual, Evidence, ReasonCode, SharedAttribute
from recllm.explain.verify.complaints import complaints
from recllm.explain.wording import VERBS, facts_of
from recllm.prompting.generator import Generator
from recllm.prompting.template import list_prompts, load_prompt, prompt_domains
from recllm.resources import data_folder

_TOKENS = 40  # for one sentence
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.):])?\s*")
_VERIFIED = re.compile(r"^verified:.*\n", re.MULTILINE)


def verify_bank(folder: Path | None = None) -> tuple[str, ...]:
    """What is wrong with the clauses of `folder`, by default those that come with recllm; empty if nothing is.

    Raises:
        PromptError: A file is not well formed, or was changed after it was verified.
    """
    names = list_prompts(folder or data_folder("prompts") / FOLDER)
    files = (load_clauses(name, folder) for name in names)
    return tuple(f"{place}: {wrong}" for file in files for place, wrong in clause_complaints(file).items() if wrong)


def clause_complaints(file: ClauseFile) -> dict[str, str | None]:
    """For each sentence of `file` the verifier's first complaint, None if it has none.

    Each is filled in from every sample that it is true of, and, where it is a neutral one, read in every domain.
    """
    domains = prompt_domains() if file.domain == "neutral" else (file.domain,)
    wrong: dict[str, str] = {}
    filled: set[str] = set()
    for evidence in samples():
        for clause in file.clauses(facts_of(evidence)):
            filled.add(clause.prompt)
            for domain in domains if clause.prompt not in wrong else ():
                if said := complaints(clause.text, evidence, domain=domain):
                    wrong[clause.prompt] = f"{said[0]}, in: {clause.text}"
    places = map(file.reference, file.lines)
    return {place: wrong.get(place, None if place in filled else "no sample fills its slots") for place in places}


def seal_clauses(source: str, name: str) -> str:
    """The text of a clause file, marked as verified.

    Args:
        source: Front matter and sentences; what it says of ``verified`` is replaced.
        name: The file's name without ``.prompt``.

    Raises:
        PromptError: It is not well formed, or the verifier has a complaint.
    """
    file = parse_clauses(source, name)
    wrong = [f"{place}: {said}" for place, said in clause_complaints(file).items() if said]
    if wrong:
        raise PromptError(f"clauses '{name}' are not true of all evidence; change or remove the sentence at {wrong[0]}")
    return _VERIFIED.sub("", source, count=1).replace("\n---\n", f"\nverified: {file.seal}\n---\n", 1)


def write_clauses(generator: Generator, kind: str, domain: str = "neutral", n: int = 8) -> str:
    """Ask a model for `n` new sentences and keep those that are well formed and pass the verifier.

    Args:
        generator: Any model that writes.
        kind: A key of `recllm.explain.clauses.KINDS`.
        domain: As in ``reason.<domain>.prompt``.
        n: How many to ask for.

    Returns:
        The text of a file ``<kind>.<domain>.prompt``, sealed, with the model's name as ``made_by``.

    Raises:
        PromptError: There is no such kind or domain, or no sentence passes.
        GenerationError: The model does not answer.
    """
    known = {file.kind: file for file in bank(domain)}
    if kind not in known:
        raise PromptError(f"there are no clauses of the kind '{kind}'; the kinds are: {', '.join(KINDS)}")
    examples = [line.source for line in known[kind].lines]
    slots = [f"{{{{{slot}}}}}" for slot in (*KINDS[kind].needs, *KINDS[kind].may)]
    about = known[kind].description
    answer = generator.generate(
        load_prompt("write.clauses").render(about=about, slots=slots, domain=domain),
        load_prompt("examples.clauses").render(examples=examples, n=n),
        max_tokens=_TOKENS * n,
    )
    proposals = dict.fromkeys(_BULLET.sub("", line, count=1).strip() for line in answer.splitlines() if line.strip())
    kept, refused = [], []
    for proposal in proposals:
        try:
            seal_clauses(_file_text([proposal], kind, domain, about, generator.name), f"{kind}.{domain}")
        except PromptError as error:
            refused.append(str(error))
        else:
            kept += [proposal] if proposal not in examples else []
    if not kept:
        why = refused[0] if refused else "nothing new was proposed"
        raise PromptError(f"'{generator.name}' wrote no clause that can be kept; ask again or another model ({why})")
    return seal_clauses(_file_text(kept[:n], kind, domain, about, generator.name), f"{kind}.{domain}")


def _file_text(sentences: list[str], kind: str, domain: str, description: str, made_by: str) -> str:
    slots = dict.fromkeys(re.findall(r"{{\s*([a-z_]+)\s*}}", "\n".join(sentences)))
    schema = "input:\n  schema:\n" + "".join(f"    {slot}: string\n" for slot in slots) if slots else ""
    # JSON's strings are YAML's: whatever the model is called, it stays one value.
    front = f"description: {json.dumps(description)}\ndomain: {domain}\n{schema}made_by: {json.dumps(made_by)}\n"
    return f"---\n{front}---\n" + "\n".join(sentences) + "\n"


@cache
def samples() -> tuple[Evidence, ...]:
    """Evidence of every shape that clauses speak of: numbers of causes, verbs, attributes, counterfactuals, reasons."""
    return tuple(_samples())


def _samples() -> Iterator[Evidence]:
    titles = ("Oak shelf", "Paper lantern", "Tea caddy")
    ids = ("a", "b", "c")
    verbs = {verb: event for event, verb in VERBS.items()}
    kinds = (("categories", "Garden"), ("brand_name", "Oxbow"), ("title", "small oak"))
    shapes = product((1, 2, 3), (*verbs.values(), None), (None, "Cake tin"))
    for (count, event, instead), (kind, value) in zip(shapes, cycle(kinds)):
        causes = tuple(Cause(ids[i], titles[i], 1.0, 0.3, event) for i in range(count))
        # Not the cited items, or a clause that mistakes one role for the other would pass.
        removed = count % 3 + 1
        yield _sample(
            "history",
            causes=causes,
            attributes=(SharedAttribute(kind, value, ids[: 1 + count // 2], ()),),
            counterfactual=Counterfactual(ids[:removed], titles[:removed], instead and "d", instead),
            against=Cause("e", "Office chair", -0.4, 1.0, event),
        )
    for count in (1, 2, 3):
        yield _sample("asked", wishes=("Garden", "something warm", "tea")[:count])
    for count in (0, 1, 2, 3):
        owned = tuple(Cause(ids[i], titles[i], 1.0, 0.3, "purchase") for i in range(count))
        yield _sample("owned", causes=owned)
    yield _sample("popular", popular=True)
    yield _sample("weak")
    yield _sample("weak", popular=True)
    yield _sample("cold_start")
    yield _sample("cold_start", popular=True)


def _sample(code: ReasonCode, *, causes: tuple[Cause, ...] = (), popular: bool = False, **more: Any) -> Evidence:
    events = 0 if code == "cold_start" else 9
    return Evidence("u", "i", "Fairy lights", code, causes, None, 0.6, 0.95, popular, events, **more)
