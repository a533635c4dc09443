"""What items can have in common: values of the catalog's columns, and words of their titles and texts."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.values import Values

LONGEST_VALUE = 60
"""A longer text in a column describes one item; it is no value that items share."""
LONGEST_NAME = 40
"""Of a column; a longer one is no word that people would read in a reason."""

_NOT_SHARED = re.compile(r"(^|_)(id|url|uri|link|image|img|thumbnail|sku|isbn|ean)s?($|_)", re.IGNORECASE)


@final
class Attributes:
    """The attributes of a catalog's items, by value.

    An attribute is an entry of a column that holds lists, such as categories, or a short text of a column other than
    title and text. Numbers, links and ids are none. Values are compared without case.

    Args:
        catalog: The items.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._values: dict[str, Values] = {}

    @cached_property
    def columns(self) -> dict[str, list[list[str]]]:
        """Column -> entries of every item; a column of texts has one entry an item at most."""
        found = {}
        for name, kind in self.catalog.frame.schema.items():
            if name in ("item_id", "title", "text") or _NOT_SHARED.search(name) or len(name) > LONGEST_NAME:
                continue
            if kind in (pl.String, pl.List(pl.String)):
                found[name] = [_entries(value) for value in self.catalog.frame[name].to_list()]
        return found

    @cached_property
    def rows_of(self) -> dict[tuple[str, str], NDArray[np.int64]]:
        """(column, value without case) -> rows of the items that have it, int64 [items of the value]."""
        rows: dict[tuple[str, str], list[int]] = {}
        for column, entries in self.columns.items():
            for row, values in enumerate(entries):
                for value in dict.fromkeys(value.casefold() for value in values if value):
                    rows.setdefault((column, value), []).append(row)
        return {key: np.array(found, dtype=np.int64) for key, found in rows.items()}

    def of(self, row: int) -> Iterator[tuple[str, int, str]]:
        """(column, entry, value) of one item."""
        for column, entries in self.columns.items():
            for entry, value in enumerate(entries[row]):
                if value:
                    yield column, entry, value

    def values(self, column: str) -> Values:
        """What items have in a column of the catalog, of whatever kind."""
        if column not in self._values:
            self._values[column] = Values.of(self.catalog.frame[column])
        return self._values[column]

    def items_valued(self, wanted: str) -> NDArray[np.bool_]:
        """bool [items]: who has this value in any column, or in a named one (``sector=Energy``)."""
        column, _, value = (part.strip() for part in wanted.partition("="))
        whole, found = wanted.strip().casefold(), np.zeros(len(self.catalog), dtype=bool)
        for (name, known), rows in self.rows_of.items():
            if known == whole or (name, known) == (column, value.casefold()):
                found[rows] = True
        return found

    def items_with(self, wanted: str) -> NDArray[np.bool_]:
        """bool [items]: who has this value; only if nobody has, who has it as whole words in title or text."""
        found = self.items_valued(wanted)
        return found if found.any() else self._with_words(wanted)

    def _with_words(self, wanted: str) -> NDArray[np.bool_]:
        words = wanted.split()
        if not words:
            return np.zeros(len(self.catalog), dtype=bool)
        pattern = r"(?i)(^|\W)" + r"\s+".join(map(re.escape, words)) + r"($|\W)"
        both = self.catalog.frame.select(pl.any_horizontal(pl.col("title", "text").str.contains(pattern)))
        return both.to_series().to_numpy().astype(bool)

    @cached_property
    def commonest(self) -> list[str]:
        """Values by the number of items that have them, most first; for messages."""
        sizes: dict[str, tuple[int, str]] = {}
        for entries in self.columns.values():
            for values in entries:
                for value in filter(None, values):
                    count, first = sizes.get(value.casefold(), (0, value))
                    sizes[value.casefold()] = (count + 1, first)
        return [first for count, first in sorted(sizes.values(), key=lambda pair: (-pair[0], pair[1]))]


def _entries(value: Any) -> list[str]:
    """Entries keep their place, for spans; those that are no attribute are empty."""
    values = [] if value is None else value if isinstance(value, list) else [value]
    return [text if _is_shared(text) else "" for text in values]


def _is_shared(text: str | None) -> bool:
    return text is not None and len(text) <= LONGEST_VALUE and "://" not in text and any(map(str.isalpha, text))
