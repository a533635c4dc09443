"""Which domain a catalog is of, by its columns' names and its items' words; neutral where that is not plain.

The words are data: `prompts/domains.yaml`.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, final

import yaml

from recllm.errors import ResourceError
from recllm.resources import data_folder
from recllm.tuning.profile import CatalogProfile

COLUMN, COLUMNS = 0.6, 1.2
"""What a column that tells the domain counts for, and all of them at most; an item's word counts for its share."""

ENOUGH, MARGIN = 0.5, 0.1
"""The least that a domain must have, and by how much it must be ahead of the second."""

NEUTRAL = "neutral"
_UNSPACED = re.compile("[\u0e00-\u9fff\uac00-\ud7af]")
_QUESTION = re.compile(r"[?？]\s*$")
_MENTION = re.compile(r"(?:^|\s)[#@＃]\w{2,}")


@final
@dataclass(frozen=True)
class Domain:
    """A catalog's domain.

    Attributes:
        name: `neutral` where nothing else is plain.
        evidence: Domain -> what speaks for it; from 0, `ENOUGH` is enough.
        why: In words.
    """

    name: str
    evidence: dict[str, float]
    why: str


@final
@dataclass(frozen=True)
class _Signs:
    columns: frozenset[str]
    words: re.Pattern[str]
    talk: bool


def choose_domain(profile: CatalogProfile) -> Domain:
    """The domain that the columns and the words speak for."""
    evidence, reasons = {}, {}
    for name, signs in _signs().items():
        told = [name for name in profile.names if _tells(name, signs.columns)]
        with_word = sum(_says(text, signs) for text in profile.sample) / max(len(profile.sample), 1)
        evidence[name] = min(COLUMNS, COLUMN * len(told)) + with_word
        words = "say words of it" + (", ask a question or have a hashtag" if signs.talk else "")
        reasons[name] = f"{with_word:.0%} of the items {words}" + (f"; columns {', '.join(told)}" if told else "")
    first, second = sorted(evidence, key=lambda name: -evidence[name])[:2]
    if evidence[first] < ENOUGH or evidence[first] - evidence[second] < MARGIN:
        near = f"the nearest is {first}: {reasons[first]}"
        return Domain(NEUTRAL, evidence, f"no domain is plain; {near}")
    return Domain(first, evidence, reasons[first])


def _says(text: str, signs: _Signs) -> bool:
    talks = signs.talk and (_QUESTION.search(text.partition("\n")[0]) or _MENTION.search(text)) is not None
    return talks or signs.words.search(text.casefold()) is not None


def _tells(column: str, known: frozenset[str]) -> bool:
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", column).casefold().replace("_", " ").replace("-", " ").split()
    pairs = (f"{first} {second}" for first, second in pairwise(words))
    return bool(known & {*words, *pairs})


@cache
def _signs() -> dict[str, _Signs]:
    path = data_folder("prompts") / "domains.yaml"
    try:
        read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ResourceError(f"what tells a catalog's domain cannot be read: {path}; install recllm again") from error
    return {
        name: _Signs(frozenset(signs["columns"]), _pattern(signs["words"]), bool(signs.get("talk")))
        for name, signs in read.items()
    }


def _pattern(words: list[str]) -> re.Pattern[str]:
    others = [re.escape(word) for word in words if _UNSPACED.search(word)]
    spaced = [re.escape(word) for word in words if not _UNSPACED.search(word)]
    return re.compile("|".join([rf"\b(?:{'|'.join(spaced)})\b", *others]))
