"""Which items are the same thing twice: duplicates and editions, told by their titles.

Leaving one of two copies out of a history changes little, because the other still speaks; so they go together.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recllm.texts import clean_text

_FORMATS = "hardcover|hardback|paperback|audiobook|ebook|e-book|kindle|dvd|blu-?ray|vhs|vinyl|cd"
_WHICH = (
    r"\d+(?:st|nd|rd|th)|first|second|third|fourth|fifth|revised|updated|expanded|deluxe|special|limited|anniversary|"
    r"collector'?s|extended|remastered|unabridged|abridged|international|new|standard|premium"
)
_BRACKETED = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
_YEAR = re.compile(r"(?:18|19|20)\d\d")
_EDITION = re.compile(rf"\b(?:(?:{_WHICH})[\s,]+)+(?:edition|ed\b\.?|version)|\b(?:{_FORMATS})\b(?=\W*$)")
_LETTERS = re.compile(r"[^\w]+")


def edition_groups(titles: Sequence[str]) -> NDArray[np.int64]:
    """int64 [items]: items of the same group are one thing; the group is the row of its first item.

    Titles are compared without case, accents and punctuation, without what is in brackets (unless it is a year: films
    of one name differ by it) and without words that name an edition or a format. Volumes and parts stay apart.
    """
    first: dict[str, int] = {}
    groups = [first.setdefault(key, row) if (key := _key(title)) else row for row, title in enumerate(titles)]
    return np.array(groups, dtype=np.int64)


def _key(title: str) -> str:
    plain = unicodedata.normalize("NFKD", clean_text(title).casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    bare = _BRACKETED.sub(lambda found: found[0] if _YEAR.search(found[0]) else " ", plain)
    bare = _EDITION.sub(" ", bare)
    return _words(bare) or _words(plain)


def _words(text: str) -> str:
    return _LETTERS.sub(" ", text).strip()
