"""What a catalog's columns are good for: read once, so that a prompt can say which it reads and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import polars as pl

from recllm.data.catalog import Catalog
from recllm.data.language import language_of
from recllm.texts import LONGEST_ATTRIBUTE

Role = Literal["title", "text", "categories", "value", "name", "prose", "number", "date", "flag", "link", "id", "idle"]

SAMPLE = 2_000
"""Items that are looked at, spread over the catalog."""

FULL, SHARED, SAID = 0.05, 1.5, 0.8
"""A column with fewer values than this share of the items is idle; items per value from which values are shared; share
of a column's values that stand in the item's text already from which they need not be said again."""

YEARS = (1800, 2100)

_ID = re.compile(r"(^|_)(id|ids|uid|uuid|guid|key|sku|isbn|ean|gtin|upc|hash)($|_)", re.IGNORECASE)
_LINK = re.compile(r"(^|_)(url|uri|link|href|image|img|picture|thumbnail|poster)s?($|_)", re.IGNORECASE)
_CODE = re.compile(r"(?=.*\d)[!-~]{4,}")


@final
@dataclass(frozen=True)
class ColumnProfile:
    """A column of a catalog.

    Attributes:
        name: As the catalog calls it.
        role: What it holds. `value`: short texts that several items share; `name`: short texts that few share;
            `prose`: long ones; `idle`: hardly any value, or one and the same.
        full: Share of the items that have a value.
        distinct: Distinct values among those looked at.
        words: Words of a value, the median.
        sharing: Items per distinct value.
        said: Share of the values that stand in the item's text already.
        coded: Share of the values that are codes, such as "X+0207", and no words.
    """

    name: str
    role: Role
    full: float
    distinct: int = 0
    words: float = 0.0
    sharing: float = 0.0
    said: float = 0.0
    coded: float = 0.0


@final
@dataclass(frozen=True)
class CatalogProfile:
    """What is known of a catalog before anybody has looked at events.

    Attributes:
        items: How many.
        columns: In the catalog's order, `item_id` left out.
        names: What the columns are called, also those that are called otherwise in the file, such as `course_title`.
        language: The language most items are written in, by its two letters; "" where that is not plain.
        sample: The texts looked at, one per item: title, categories and text.
    """

    items: int
    columns: tuple[ColumnProfile, ...]
    names: tuple[str, ...]
    language: str
    sample: tuple[str, ...]

    @classmethod
    def of(cls, catalog: Catalog) -> "CatalogProfile":
        """Look at up to 2,000 items."""
        frame = catalog.frame.gather_every(max(1, -(-len(catalog) // SAMPLE)))
        texts = [text.casefold() for text in frame["text"].to_list()]
        columns = tuple(_profile(frame[name], texts) for name in frame.columns if name != "item_id")
        entries = frame["categories"].list.join(", ").to_list()
        sample = tuple("\n".join(row) for row in zip(frame["title"], entries, frame["text"], strict=True))
        filled = (column.name for column in columns if column.full > 0)
        names = tuple(dict.fromkeys([*catalog.report.columns.values(), *filled]))
        return cls(len(catalog), columns, names, language_of(sample), sample)

    @cached_property
    def by_name(self) -> dict[str, ColumnProfile]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    def full(self, name: str) -> float:
        """Share of the items that have a value in a column; 0 for a column that is not there."""
        column = self.by_name.get(name)
        return 0.0 if column is None else column.full


def _profile(series: pl.Series, texts: Sequence[str]) -> ColumnProfile:
    if series.dtype == pl.List(pl.String):
        entries = [[value for value in row or () if value] for row in series.to_list()]
    elif series.dtype == pl.String:
        entries = [[value] if value else [] for value in series.to_list()]
    else:
        return _of_no_text(series)
    values = [value for row in entries for value in row]
    filled = sum(1 for row in entries if row)
    full, distinct = filled / max(len(entries), 1), len(set(values))
    words = float(pl.Series([len(value.split()) for value in values]).median() or 0) if values else 0.0  # type: ignore[arg-type]
    said = sum(all(value.casefold() in text for value in row) for row, text in zip(entries, texts, strict=True) if row)
    return ColumnProfile(
        series.name,
        _role(series.name, values, full, distinct),
        full,
        distinct,
        words,
        sharing=len(values) / max(distinct, 1),
        said=said / max(filled, 1),
        coded=sum(map(_is_code, values)) / max(len(values), 1),
    )


def _of_no_text(series: pl.Series) -> ColumnProfile:
    if series.dtype == pl.Boolean:
        role: Role = "flag"
    elif series.dtype.is_temporal():
        role = "date"
    else:
        role = "number"
    known = series.drop_nulls()
    if role == "number" and _are_years(known):
        role = "value"
    full, distinct = len(known) / max(len(series), 1), known.n_unique() if len(known) else 0
    if full < FULL or distinct < 2:
        role = "idle"
    return ColumnProfile(series.name, role, full, distinct, sharing=len(known) / max(distinct, 1))


def _are_years(values: pl.Series) -> bool:
    """Whole numbers of the last two centuries and the next: what a film or a wine is known by, and words know it."""
    inside = values.is_between(YEARS[0], YEARS[1]) & (values == values.round())
    return len(values) > 0 and float(inside.mean() or 0) > 0.95  # type: ignore[arg-type]


def _role(name: str, values: Sequence[str], full: float, distinct: int) -> Role:
    if name in ("title", "text", "categories") and distinct > 1:
        return name  # type: ignore[return-value]
    if full < FULL or distinct < 2:
        return "idle"
    if _LINK.search(name) or sum("://" in value for value in values) > 0.5 * len(values):
        return "link"
    if _ID.search(name):
        return "id"
    if sum(len(value) > LONGEST_ATTRIBUTE for value in values) > 0.5 * len(values):
        return "prose"
    return "value" if len(values) / distinct >= SHARED else "name"


def _is_code(value: str) -> bool:
    """No white space, and digits and signs for a third of it or more: a number in a list, and nothing to read."""
    return _CODE.fullmatch(value) is not None and 3 * sum(map(str.isalpha, value)) <= 2 * len(value)
