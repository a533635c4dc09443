"""Clauses: sentences with slots, verified once when they are written, chosen from when a reason is given.

A file ``clauses/<kind>.<domain>.prompt`` looks like a prompt, but each line of its body is a sentence of its own, and
its front matter says who made it and that it was verified::

    ---
    description: The history items that made the recommendation.
    domain: neutral
    input:
      schema:
        cited: string
        verb: string
    made_by: hand
    verified: sha256:0123456789abcdef
    ---
    Because you {{verb}} {{cited}}.
    Because of {{cited}} in your history.

A clause is true of some evidence if all its slots can be filled from it (`KINDS` says which slots a kind has). A file
whose sentences are not those that were verified is a PromptError; `scripts/clauses.py` verifies and seals.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from recllm.errors import PromptError
from recllm.explain.evidence import Evidence
from recllm.explain.wording import Fact, facts_of, plain, shipped_prompt
from recllm.prompting.front_matter import KEYS, declared_variables, split_prompt
from recllm.prompting.syntax import Node, Print, SyntaxReader, render_nodes
from recllm.prompting.template import list_prompts, read_source
from recllm.resources import data_folder
from recllm.texts import clean_text

FOLDER = "clauses"
MOST_OPTIONS = 3
DETAILS = ("attribute", "counterfactual", "against")


@dataclass(frozen=True)
class Kind:
    """The slots that each clause of a kind has, and those that it may have."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


KINDS = {
    "cited": Kind(("cited",), ("verb",)),
    "whole": Kind((), ("leading",)),
    "asked": Kind(("wishes",)),
    "promoted": Kind(),
    "owned": Kind(),
    "owned.cited": Kind(("cited",)),
    "popular": Kind(),
    "weak": Kind(),
    "cold_start": Kind(),
    "cold_start.popular": Kind(),
    "profile": Kind(),
    "attribute.category": Kind(("sharing", "category")),
    "attribute.column": Kind(("sharing", "column", "value")),
    "attribute.title": Kind(("sharing", "title_words")),
    "counterfactual": Kind(("without",), ("instead",)),
    "against": Kind(("against",)),
}


@dataclass(frozen=True)
class Clause:
    """A verified clause, filled in.

    Attributes:
        kind: A key of `KINDS`; several joined by "+".
        text: One line.
        prompt: Where it stands: ``clauses/cited.ecommerce@1a2b3c4d#2`` is the second sentence of that file in the
            version 1a2b3c4d; several joined by "+".
    """

    kind: str
    text: str
    prompt: str


@dataclass(frozen=True)
class Line:
    """One sentence of a clause file, compiled; `source` is as it stands in the file."""

    number: int
    source: str
    nodes: tuple[Node, ...]
    slots: tuple[str, ...]


@dataclass(frozen=True)
class ClauseFile:
    """A checked clause file. `seal` is what its ``verified`` has to be, `verified` what it is."""

    kind: str
    domain: str
    description: str
    lines: tuple[Line, ...]
    digest: str
    seal: str
    verified: str

    @property
    def name(self) -> str:
        """The file's name without ``.prompt``."""
        return f"{self.kind}.{self.domain}"

    def clauses(self, facts: Mapping[str, Fact]) -> tuple[Clause, ...]:
        """The clauses that are true, filled in; `facts` as `recllm.explain.wording.facts_of` gives them."""
        if _detail_of(self.kind) is None and self.kind != _reason_kind(facts):
            return ()
        lines = (line for line in self.lines if all(facts[slot] for slot in line.slots))
        return tuple(
            Clause(self.kind, clean_text(render_nodes(line.nodes, dict(facts))), self.reference(line)) for line in lines
        )

    def reference(self, line: Line) -> str:
        """Which sentence in which version of the file."""
        return f"{FOLDER}/{self.name}@{self.digest[:8]}#{line.number}"


def clauses_for(evidence: Evidence, domain: str = "neutral") -> tuple[Clause, ...]:
    """All verified clauses that are true of `evidence`: those that give the reason, then those that add a detail.

    Raises:
        PromptError: There is no such domain, or a clause file is wrong or was changed after it was verified.
    """
    facts = facts_of(evidence)
    return tuple(clause for file in bank(domain) for clause in file.clauses(facts))


def compose(evidence: Evidence, domain: str = "neutral", details: Sequence[str] = ()) -> Clause:
    """A reason in verified clauses, with one sentence for each of `details` that the evidence knows of.

    Among clauses that say the same, a hash of the user and the item picks: the same for the same two, but a list of
    ten does not read like ten copies.
    """
    return _composed(_by_detail(evidence, domain), evidence, details)


def _by_detail(evidence: Evidence, domain: str) -> dict[str | None, list[Clause]]:
    """`clauses_for` by the detail that they add; under None those that give the reason."""
    grouped: dict[str | None, list[Clause]] = {}
    for clause in clauses_for(evidence, domain):
        grouped.setdefault(_detail_of(clause.kind), []).append(clause)
    return grouped


def _composed(grouped: Mapping[str | None, Sequence[Clause]], evidence: Evidence, details: Sequence[str]) -> Clause:
    parts = [_pick(grouped[detail], evidence) for detail in (None, *details) if detail in grouped]
    return Clause(
        "+".join(part.kind for part in parts),
        " ".join(part.text for part in parts),
        "+".join(part.prompt for part in parts),
    )


class Option(NamedTuple):
    """Something to say, for a model to choose: the whole of it, and the part that the model has to read."""

    clause: Clause
    offered: str


def options_for(evidence: Evidence, domain: str = "neutral") -> tuple[Option, ...]:
    """Up to `MOST_OPTIONS` things to say: the reason with each of the details that the evidence knows.

    Of these the model reads the detail only, which is a third of the words. Where there are not two details to choose
    from, the options are the reason with and without the one, or wordings of the reason.
    """
    grouped = _by_detail(evidence, domain)
    known = [detail for detail in DETAILS if detail in grouped]
    if len(known) > 1:
        whole = [_composed(grouped, evidence, (detail,)) for detail in known]
        return tuple(map(Option, whole, [_pick(grouped[detail], evidence).text for detail in known]))
    plans = [(), *((detail,) for detail in known)]
    options = dict.fromkeys(_composed(grouped, evidence, plan) for plan in plans)
    if len(options) == 1:
        options |= dict.fromkeys(grouped[None])
    return tuple(Option(clause, clause.text) for clause in options)[:MOST_OPTIONS]


def bank(domain: str = "neutral", folder: Path | None = None) -> tuple[ClauseFile, ...]:
    """The clause files of `domain`, one per kind; where it has none of its own, the neutral one.

    Args:
        domain: As in ``reason.<domain>.prompt``.
        folder: Where the files are; by default those that come with recllm.
    """
    return _bank(domain, folder or data_folder("prompts") / FOLDER)


@cache
def _bank(domain: str, folder: Path) -> tuple[ClauseFile, ...]:
    shipped_prompt(f"reason.{domain}")  # an unknown domain is an error here, too
    own = list_prompts(folder)
    names = (f"{kind}.{domain}" if f"{kind}.{domain}" in own else f"{kind}.neutral" for kind in KINDS)
    return tuple(load_clauses(name, folder) for name in names)


def load_clauses(name: str, folder: Path | None = None) -> ClauseFile:
    """Read ``<name>.prompt`` from `folder`, or from the clauses that come with recllm.

    Raises:
        PromptError: There is no such file, it is not well formed, or it was changed after it was verified.
    """
    folder = folder or data_folder("prompts") / FOLDER
    source = read_source(name, folder, name) if name in list_prompts(folder) else None
    if source is None:
        raise PromptError(f"there are no clauses {name!r} in {folder}; it has: {', '.join(list_prompts(folder))}")
    file = parse_clauses(source, name)
    if file.verified != file.seal:
        raise PromptError(
            f"clauses '{name}' are not the ones that were verified; restore the file, or verify and seal it with "
            "scripts/clauses.py"
        )
    return file


def parse_clauses(source: str, name: str) -> ClauseFile:
    """Check and compile the text of a clause file; whether its sentences were verified is not looked at.

    Raises:
        PromptError: With the line, for anything that the module's docstring does not allow.
    """
    kind, _, domain = name.rpartition(".")
    if kind not in KINDS:
        raise PromptError(f"clauses '{name}' are of no known kind; call the file <kind>.<domain>: {', '.join(KINDS)}")
    meta, body, first = split_prompt(source, name, (*KEYS, "made_by", "verified"))
    if meta.get("domain") != domain:
        raise PromptError(
            f"clauses '{name}' have the domain {meta.get('domain')!r}; it must be that of the file's name"
        )
    variables = declared_variables(meta)
    sentences = [(number, text.strip()) for number, text in enumerate(body.splitlines(), first) if text.strip()]
    lines: list[Line] = []
    for number, text in sentences:
        reader = SyntaxReader(name, variables, _no_partial)
        nodes = reader.read(text, number)
        _check_sentence(nodes, reader.used, KINDS[kind], f"clauses '{name}', line {number},")
        lines.append(Line(len(lines) + 1, text, nodes, tuple(sorted(reader.used))))
    unused = set(variables) - {slot for line in lines for slot in line.slots}
    if unused or not lines:
        what = f"declare '{min(unused)}' and never use it" if unused else "hold no sentence"
        raise PromptError(f"clauses '{name}' {what}; write one sentence a line, each with the slots it needs")
    seal = "sha256:" + _digest("\0".join([name, *(text for _, text in sentences)]))[:16]
    return ClauseFile(
        kind, domain, meta.get("description", ""), tuple(lines), _digest(source), seal, meta.get("verified", "")
    )


def _check_sentence(nodes: Sequence[Node], slots: set[str], kind: Kind, where: str) -> None:
    if any(not isinstance(node, str | Print) for node in nodes):
        raise PromptError(f"{where} have a tag other than {{{{slot}}}}; write another sentence instead of a condition")
    wrong = sorted(slots - {*kind.needs, *kind.may}) + sorted(set(kind.needs) - slots)
    if wrong:
        raise PromptError(
            f"{where} have a slot too few or too many: {', '.join(wrong)}; needed: {', '.join(kind.needs) or 'none'}"
            f"{', allowed: ' + ', '.join(kind.may) if kind.may else ''}"
        )
    words = " ".join(node for node in nodes if isinstance(node, str))
    if plain(words) != clean_text(words) or not words.endswith("."):
        raise PromptError(f"{where} are not a plain sentence with a full stop; quotation marks come with the slots")


def _no_partial(partial: str) -> str:
    raise PromptError(f"clauses use the partial '{partial}'; a clause stands for itself")


def _reason_kind(facts: Mapping[str, Fact]) -> str:
    if facts["promoted"]:
        return "promoted"
    if facts["owned"]:
        return "owned.cited" if facts["cited"] else "owned"
    for kind, slot in (("cited", "cited"), ("whole", "whole"), ("asked", "wishes")):
        if facts[slot]:
            return kind
    if facts["profiled"]:
        return "profile"
    if facts["cold_start"]:
        return "cold_start.popular" if facts["popular"] else "cold_start"
    return "popular" if facts["popular"] else "weak"


def _detail_of(kind: str) -> str | None:
    """Which detail clauses of this kind add; None: they give the reason."""
    topic = kind.partition(".")[0]
    return topic if topic in DETAILS else None


def _pick(clauses: Sequence[Clause], evidence: Evidence) -> Clause:
    """One of `clauses`, which say the same."""
    key = "\0".join((evidence.user_id, evidence.item_id, clauses[0].kind))
    return clauses[int(_digest(key), 16) % len(clauses)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
