"""Small changes to a prompt that need no language model: a sentence less, another order, another label, less length.

A prompt's body is read as pieces: a block with all that is in it, a line with a tag, or a sentence. Only sentences
without tags are dropped; partials and variables stay. Every mutant is parsed and checked like any other prompt.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import yaml

from recllm.errors import PromptError
from recllm.prompting.floor import complaints as floor_complaints
from recllm.prompting.front_matter import FEWEST_TOKENS
from recllm.prompting.template import SUFFIX, Prompt, parse_prompt
from recllm.resources import data_folder
from recllm.tuning.slots import lost, parts_of

Floor = Callable[[Prompt, Prompt], Sequence[str]]
"""(candidate, parent) to what forbids that the candidate stands in for its parent; nothing: it may."""

LENGTHS = (64, 128)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-z])")
_LABEL = re.compile(r"^(?P<label>[^\W\d_][\w ]{0,40}): (?=\{\{)", re.MULTILINE)
_MAX_TOKENS = re.compile(r"^(?P<key>[ \t]+max_tokens:[ \t]*)(?P<tokens>\d+)[ \t]*$", re.MULTILINE)


class Mutation(NamedTuple):
    """What is changed, in words, and the file that this makes, without metadata."""

    change: str
    front: str
    body: str


def mutations(
    parent: Prompt,
    *,
    n: int | None = None,
    seed: int = 0,
    sentences: Sequence[str] = (),
    floor: Floor = floor_complaints,
) -> tuple[Prompt, ...]:
    """Prompts that differ from `parent` in one thing each; ``metadata`` says in which.

    Args:
        parent: Where they come from.
        n: How many at most; None: all there are.
        seed: Which, and in which order: kinds of change take turns.
        sentences: What may be added, where the parent is made of sentences.
        floor: Forbids mutants beyond what every revision has to keep.
    """
    rng = np.random.default_rng(seed)
    kinds = [list(kind(parent, sentences)) for kind in (_dropped, _reordered, _relabelled, _shortened, _added)]
    for kind in kinds:
        rng.shuffle(kind)
    turns = [kind[turn] for turn in range(max(map(len, kinds))) for kind in kinds if turn < len(kind)]
    made: dict[str, Prompt] = {}
    for mutation in turns:
        if n is not None and len(made) >= n:
            break
        front, body, change = mutation.front, mutation.body, mutation.change
        candidate, wrong = revised(parent, front, body, "mutated", change, floor=floor)
        if candidate is not None and not wrong and candidate.digest != parent.digest:
            made.setdefault(candidate.digest, candidate)
    return tuple(made.values())


def revised(
    parent: Prompt,
    front: str,
    body: str,
    made_by: str,
    change: str,
    *,
    floor: Floor = floor_complaints,
) -> tuple[Prompt | None, list[str]]:
    """A checked revision of `parent`, and what is wrong with it; None where it is no prompt at all.

    Args:
        parent: What it comes from; the lineage in ``metadata`` names it.
        front: Lines of the front matter, without ``metadata``.
        body: What follows the front matter.
        made_by: How it was made, in a word, for the lineage.
        change: What was changed, for the lineage.
        floor: As in `mutations`.
    """
    lineage = {"parent": parent.reference, "made_by": made_by, "change": change}
    told = yaml.safe_dump({"metadata": {"lineage": lineage}}, sort_keys=False, allow_unicode=True, width=1000)
    try:
        candidate = parse_prompt(f"---\n{front}{told}---\n{body}", parent.name, _partials() | dict(parent.partials))
    except PromptError as error:
        return None, [str(error)]
    return candidate, [*lost(candidate, parent), *floor(candidate, parent)]


@cache
def _partials() -> dict[str, str]:
    """Those that come with recllm, by name; a prompt's own have the same names or further ones."""
    paths = data_folder("prompts").glob(f"_*{SUFFIX}")
    return {path.name.removeprefix("_").removesuffix(SUFFIX): path.read_text(encoding="utf-8") for path in paths}


def pieces_of(body: str) -> list[str]:
    """What a body consists of: sentences, lines with tags, and whole blocks, in order, without the line breaks."""
    pieces: list[str] = []
    words: list[str] = []
    block: list[str] = []
    depth = 0
    for line in body.splitlines():
        if not depth and "{{" not in line:
            words.append(line.strip())
            continue
        pieces += _sentences(words)
        words.clear()
        block.append(line)
        depth += line.count("{{#") - line.count("{{/")
        if not depth:
            pieces.append("\n".join(block))
            block.clear()
    return [*pieces, *(["\n".join(block)] if block else []), *_sentences(words)]


def is_words(piece: str) -> bool:
    """Whether a piece is a sentence without tags and without what marks the facts."""
    return "{{" not in piece and "<" not in piece


def _sentences(lines: Iterable[str]) -> list[str]:
    return [sentence for sentence in _SENTENCE.split(" ".join(line for line in lines if line)) if sentence]


def _with(parent: Prompt, change: str, pieces: Iterable[str]) -> Mutation:
    return Mutation(change, parts_of(parent)[0], "".join(f"{piece}\n" for piece in pieces))


def _dropped(parent: Prompt, _: Sequence[str]) -> Iterator[Mutation]:
    pieces = pieces_of(parts_of(parent)[1])
    for place, piece in enumerate(pieces):
        if is_words(piece) and len(pieces) > 1:
            yield _with(parent, f"dropped: {piece}", pieces[:place] + pieces[place + 1 :])


def _added(parent: Prompt, sentences: Sequence[str]) -> Iterator[Mutation]:
    pieces = pieces_of(parts_of(parent)[1])
    if sum(map(is_words, pieces)) < 2:  # a layout of fields, which sentences would be noise in
        return
    for sentence in sentences:
        if sentence not in pieces:
            yield _with(parent, f"added: {sentence}", [*pieces[:-1], sentence, pieces[-1]])


def _reordered(parent: Prompt, _: Sequence[str]) -> Iterator[Mutation]:
    pieces = pieces_of(parts_of(parent)[1])
    for place in range(len(pieces) - 1):
        swapped = [*pieces[:place], pieces[place + 1], pieces[place], *pieces[place + 2 :]]
        yield _with(parent, f"earlier: {' '.join(pieces[place + 1].split())}", swapped)


def _relabelled(parent: Prompt, _: Sequence[str]) -> Iterator[Mutation]:
    front, body = parts_of(parent)
    for style, label in (("none", ""), ("lower case", "{label}: "), ("in brackets", "[{label}] ")):
        lower = style == "lower case"

        def styled(found: re.Match[str], label: str = label, lower: bool = lower) -> str:
            return label.format(label=found["label"].lower() if lower else found["label"])

        if (changed := _LABEL.sub(styled, body)) != body:
            yield Mutation(f"labels: {style}", front, changed)


def _shortened(parent: Prompt, _: Sequence[str]) -> Iterator[Mutation]:
    """Other lengths of what an encoder reads; what a language model reads is never cut."""
    front, body = parts_of(parent)
    found = _MAX_TOKENS.search(front)
    if found is not None:
        tokens = int(found["tokens"])
        for other in (tokens // 2, tokens * 2):
            if other >= FEWEST_TOKENS:
                yield Mutation(f"length: {other} tokens", _MAX_TOKENS.sub(rf"\g<key>{other}", front, count=1), body)
    elif parent.name.startswith("item."):
        for other in LENGTHS:
            yield Mutation(f"length: {other} tokens", f"{front}config:\n  max_tokens: {other}\n", body)
