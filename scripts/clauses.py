"""Clauses, whoever wrote them, are verified on evidence of every shape and sealed with a digest.

`python scripts/clauses.py` verifies those in prompts/clauses; `python scripts/clauses.py FILE…` seals the files named.
What is chosen from when a reason is given (`recllm.explain.clauses`) has passed here.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import Any

from recllm.errors import PromptError
from recllm.explain.clauses import FOLDER, ClauseFile, load_clauses, parse_clauses
from recllm.explain.evidence import Cause, Counterfactual, Evidence, ReasonCode, SharedAttribute
from recllm.explain.verify.complaints import complaints
from recllm.explain.wording import VERBS, facts_of
from recllm.prompting.template import list_prompts, prompt_domains
from recllm.resources import data_folder

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
    yield from _groups(verbs["bought"])
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
    yield _sample("profile")
    yield _sample("promoted")
    yield _sample("promoted", popular=True)
    yield _sample("profile", popular=True)


def _groups(event: str) -> Iterator[Evidence]:
    """More causes than are named, with and without something in common; and histories that count as a whole."""
    titles = ("Oak shelf", "Paper lantern", "Tea caddy", "Bread bin", "Wall clock", "Door mat")
    for count, what, code in product((4, 5, 6), (event, None), ("history", "owned")):
        causes = tuple(Cause(f"i{i}", titles[i], 1.0, 0.1, what) for i in range(count))
        for sharing in (count, count - 1):
            ids = tuple(cause.item_id for cause in causes[:sharing])
            yield _sample(code, causes=causes, attributes=(SharedAttribute("categories", "Garden", ids, ()),))
    for count in (0, 1, 2):
        causes = tuple(Cause(f"i{i}", titles[i], 1.0, 0.1, event) for i in range(count))
        yield _sample("history", causes=causes, whole=True)


def _sample(code: ReasonCode, *, causes: tuple[Cause, ...] = (), popular: bool = False, **more: Any) -> Evidence:
    events = 0 if code == "cold_start" else 9
    return Evidence("u", "i", "Fairy lights", code, causes, None, 0.6, 0.95, popular, events, **more)


def main(paths: list[str]) -> int:
    """Seal the files, or verify all that come with recllm; 1 if a sentence is refused."""
    try:
        for path in map(Path, paths):
            path.write_text(seal_clauses(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")
        wrong = () if paths else verify_bank()
    except PromptError as error:
        wrong = (str(error),)
    print("\n".join(wrong) or "every clause is true of every sample", file=sys.stderr if wrong else sys.stdout)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
