"""What a recommended item has in common with what is cited, word by word, with the place in the catalog's text."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import final

from recllm.data.attributes import Attributes
from recllm.explain.evidence import SharedAttribute, Span
from recllm.model.config import ExplanationConfig

MOST_ATTRIBUTES = 3
COMMON_VALUE = 0.4
"""A value that more than this share of the catalog has is no reason: it fits almost every item."""
COMMON_WORD = 0.05
"""Words of more titles than this do not make a shared phrase on their own."""
_ALWAYS_RARE = 20
_COMPARED = 200
"""Words of a title that are looked at; longer ones are hardly titles."""
_WORD = re.compile(r"\w+(?:['’]\w+)?")


@final
class SharedText:
    """Finds shared attributes and shared words of titles.

    Args:
        attributes: The catalog's.
        config: What may not be named.
    """

    def __init__(self, attributes: Attributes, config: ExplanationConfig) -> None:
        self._attributes, self._config = attributes, config
        self._catalog = attributes.catalog

    def of(self, item: int, cited: Sequence[int]) -> tuple[SharedAttribute, ...]:
        """What item row `item` shares with the rows of `cited`: with most of them first, then the rarest.

        Words of titles come last, and only where some are shared that are rare in the catalog.
        """
        words = [shared for row in cited if (shared := self._title_words(item, row)) is not None][:1]
        found = []
        for column, entry, value, having in self._values(item, cited)[: MOST_ATTRIBUTES - len(words)]:
            spans = (self._span(item, column, entry), *(self._span(row, column, at) for row, at in having.items()))
            found.append(SharedAttribute(column, value, self._ids(list(having)), spans))
        return (*found, *words)

    def alike(self, item: int, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """Several of `rows` that have a value of item row `item`, for each such value, in the order of `rows`."""
        groups = (tuple(having) for *_, having in self._values(item, rows))
        return [group for group in dict.fromkeys(groups) if len(group) > 1]

    def _values(self, item: int, rows: Sequence[int]) -> list[tuple[str, int, str, dict[int, int]]]:
        """(column, entry, value, row -> its entry with the value) for values of `item` that some of `rows` have."""
        found: list[tuple[int, int, tuple[str, int, str, dict[int, int]]]] = []
        others = {row: {(c, v.casefold()): e for c, e, v in self._attributes.of(row)} for row in rows}
        for column, entry, value in self._attributes.of(item):
            key = (column, value.casefold())
            having = {row: others[row][key] for row in rows if key in others[row]}
            size = len(self._attributes.rows_of[key])
            if having and size <= COMMON_VALUE * len(self._catalog) and not self._config.forbids(value):
                found.append((-len(having), size, (column, entry, value, having)))
        return [one for *_, one in sorted(found, key=lambda one: one[:2])]

    def _ids(self, rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._catalog.item_ids[row] for row in rows)

    def _span(self, row: int, column: str, entry: int) -> Span:
        held = self._catalog.frame[column][row]
        is_list = not isinstance(held, str)
        text = held[entry] if is_list else held
        return Span(self._catalog.item_ids[row], column, 0, len(text), entry if is_list else None)

    def _title_words(self, item: int, row: int) -> SharedAttribute | None:
        """The longest run of words that both titles have, if one of them is rare."""
        titles = (self._catalog.frame["title"][r] for r in (item, row))
        ours, theirs = (list(islice(_WORD.finditer(title), _COMPARED)) for title in titles)
        best = max(self._runs(ours, theirs), key=lambda run: run[2], default=None)
        if best is None:
            return None
        (start, other, length) = best
        first, second = (_bounds(words[at : at + length]) for words, at in ((ours, start), (theirs, other)))
        value = self._catalog.frame["title"][item][first[0] : first[1]]
        if self._config.forbids(value):
            return None
        ids = self._catalog.item_ids
        spans = (Span(ids[item], "title", *first), Span(ids[row], "title", *second))
        return SharedAttribute("title", value, (ids[row],), spans)

    def _runs(self, ours: list[re.Match[str]], theirs: list[re.Match[str]]) -> list[tuple[int, int, int]]:
        """(place in ours, place in theirs, length) of maximal common runs that begin and end in a rare word."""
        runs = []
        their_words = [word[0].casefold() for word in theirs]
        our_words = [word[0].casefold() for word in ours]
        for i, word in enumerate(our_words):
            for j, other in enumerate(their_words):
                if word != other or not self._rare(word):
                    continue
                if (
                    i
                    and j
                    and self._rare(our_words[i - 1])
                    and _text(ours[i - 1 : i + 1]) == _text(theirs[j - 1 : j + 1])
                ):
                    continue  # part of the run that began a word before
                length = best = 1
                while i + length < len(ours) and j + length < len(theirs):
                    length += 1
                    if _text(ours[i : i + length]) != _text(theirs[j : j + length]):  # what is between words counts
                        break
                    best = length if self._rare(our_words[i + length - 1]) else best
                runs.append((i, j, best))
        return runs

    def _rare(self, word: str) -> bool:
        items = len(self._catalog)
        limit = max(COMMON_WORD * items, min(_ALWAYS_RARE, COMMON_VALUE * items))
        return len(word) > 2 and word.isalpha() and self._titles_with[word] <= limit

    @cached_property
    def _titles_with(self) -> Counter[str]:
        titles = self._catalog.frame["title"]
        return Counter(word for title in titles for word in {found[0].casefold() for found in _WORD.finditer(title)})


def _text(words: list[re.Match[str]]) -> str:
    """From the first to the last word, as it stands in the title but for case."""
    start, end = _bounds(words)
    return words[0].string[start:end].casefold()


def _bounds(words: list[re.Match[str]]) -> tuple[int, int]:
    return words[0].start(), words[-1].end()
