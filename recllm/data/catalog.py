"""The catalog: items with text, in a fixed order (their rows)."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from os import PathLike
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.artifact import fingerprint
from recllm.data.categories import category_lists
from recllm.data.cleaning import (
    CleaningReport,
    Sieve,
    as_id_list,
    as_ids,
    decode_damage,
    fingerprint_frame,
)
from recllm.data.columns import ITEM_COLUMNS, ColumnMapping, match_columns
from recllm.data.content import holds_text, unread
from recllm.data.exported import Framed
from recllm.data.frames import table_of_frame
from recllm.data.kinds import TEXT, TEXTS, Column, aligned, column_of, fitted_to, notes_of, settled, texts_of
from recllm.data.raw import RawTable
from recllm.data.reading import Columns, named_columns, read_table
from recllm.data.vectors import read_vectors, stacked_vectors
from recllm.errors import DataError
from recllm.texts import clean_texts, one_line_texts

_TITLE_CHARACTERS = 80
_OWN = ("item_id", "title", "text", "categories")


class Catalog(Framed):
    """Items with a title, text, categories and whatever else the file held. Immutable.

    Attributes:
        frame: [items, columns] `item_id` str, `title` str, `text` str, `categories` list[str], then the others, each
            of one of the types in `recllm.data.kinds`. Title and text are "" where the file has none.
        report: What was read, dropped and why.
        vectors: Of the items, by the name of the sense ("image"), float32 [items, dim]; a row of NaN where an item has
            none. See `with_vectors`.
    """

    def __init__(
        self, frame: pl.DataFrame, report: CleaningReport, vectors: Mapping[str, NDArray[np.float32]] | None = None
    ) -> None:
        """For frames that are clean already; use `read` or `from_frame` for anything else."""
        self.frame = frame
        self.report = report
        self.vectors = dict(vectors or {})

    @classmethod
    def read(
        cls,
        path: str | PathLike[str] | IO[Any],
        columns: Columns | None = None,
        encoding: str | None = None,
        *,
        max_bytes: int | None = None,
    ) -> "Catalog":
        """Read items from csv with any separator, JSON, parquet, Arrow or RecBole's `.item`, packed or not.

        Args:
            path: A file, a folder or pattern (`items/*.parquet`) of files with the same columns, or an open file.
            columns: recllm's names -> yours, where the aliases do not find them: `{"item_id": "sku"}`. Or the names
                of all columns of a file without a header: `["item_id", "title", "categories"]`.
            encoding: Of text files; UTF-8 if not given.
            max_bytes: What a packed file may unpack to, if that is unusually much.

        Raises:
            DataError: The file cannot be read, has no item id column, or no usable row.
        """
        mapping, names = named_columns(columns)
        return cls._from_raw(read_table(path, encoding, names, max_bytes), mapping)

    @classmethod
    def from_frame(cls, frame: Any, columns: Columns | None = None) -> "Catalog":
        """Take items from a pandas, polars or pyarrow table, a Hugging Face data set, or a list of records.

        The table is not changed. For the columns see `read`.

        Raises:
            DataError: It is no table, has no item id column, or has rows but no usable one.
        """
        mapping, names = named_columns(columns)
        return cls._from_raw(table_of_frame(frame, names), mapping)

    @classmethod
    def _from_raw(cls, raw: RawTable, columns: Mapping[str, str] | None) -> "Catalog":
        mapping, guesses = _with_guessed_text(
            raw, match_columns(raw.frame.columns, ITEM_COLUMNS, ["item_id"], columns, raw.source)
        )
        own, extras = _canonical(raw.frame, mapping)
        frame = pl.DataFrame(own + [column.values for column in extras])
        sieve = Sieve(frame, CleaningReport.of(raw, mapping, guesses))
        decode_damage(sieve, raw.undecodable or pl.Binary in raw.frame.dtypes, ["item_id"])
        sieve.drop("missing_item_id", sieve.frame["item_id"].is_null())
        sieve.drop("duplicate_item", ~sieve.frame["item_id"].is_first_distinct())
        sieve.notice("empty_title", int((sieve.frame["title"] == "").sum()))
        sieve.notice("empty_text", int((sieve.frame["text"] == "").sum()))
        sieve.notice("misfit_value", sum(column.lost for column in extras))
        sieve.note(*notes_of(extras))
        if not {"title", "text", "categories"} & set(mapping.found):
            sieve.note("no column for title, text or categories: these items are known by their ids only")
        if idle := unread(sieve.frame, _OWN):
            sieve.note(f"kept for filters, but not read by the model: {', '.join(idle)}")
        return cls(*sieve.result())

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Catalog({len(self):,} items, columns {', '.join(self.frame.columns)})"

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """The ids; position = row."""
        return tuple(self.frame["item_id"].to_list())

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def rows(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Rows of items: int64 [ids], -1 for an unknown id; numbers count as their text (1 and 1.0 as "1").

        Raises:
            DataError: It is a single string, or an id is missing.
        """
        return np.fromiter((self.row_of.get(item_id, -1) for item_id in as_id_list(ids)), dtype=np.int64)

    @cached_property
    def in_words(self) -> NDArray[np.bool_]:
        """bool [items]: whether an item has a title or a text of its own."""
        return self.frame.select((pl.col("title") != "") | (pl.col("text") != "")).to_series().to_numpy()

    @cached_property
    def titles(self) -> list[str]:
        """A title for every item: its title, else the first 80 characters of its text, else its id."""
        return self._first_of("title", pl.col("text").str.replace_all(r"\s+", " ").str.slice(0, _TITLE_CHARACTERS))

    @cached_property
    def texts(self) -> list[str]:
        """A text for every item: its text, else its title, else its id."""
        return self._first_of("text", pl.col("title"))

    def _first_of(self, column: str, second: pl.Expr) -> list[str]:
        first = pl.when(pl.col(column) != "").then(pl.col(column))
        chosen = first.when(second != "").then(second).otherwise(pl.col("item_id"))
        return list(self.frame.select(chosen.alias("chosen"))["chosen"])

    def item(self, row: int) -> dict[str, Any]:
        """The fields of one item for a prompt: every column, empty ones left out; `title` is always there.

        Raises:
            DataError: There is no such row.
        """
        if not 0 <= row < len(self):
            raise DataError(f"there is no item row {row}; the catalog has rows 0 to {len(self) - 1}")
        fields = self.frame.row(row, named=True)
        fields["title"] = self.titles[row]
        return {name: value for name, value in fields.items() if value is not None and value != "" and value != []}

    def with_vectors(self, name: str, vectors: Any) -> "Catalog":
        """The same catalog with vectors of a sense: of images, sounds, or another model.

        Args:
            name: Of the sense, such as "image"; vectors that it had are replaced.
            vectors: An array [items, dim] with a row for each item in the catalog's order, or a mapping item id ->
                vector for those that have one.

        Raises:
            DataError: They are of different lengths, not finite, not as many as the items, or of an unknown item.
        """
        return Catalog(self.frame, self.report, self.vectors | {name: read_vectors(name, vectors, self.item_ids)})

    def extend(self, other: "Catalog") -> "Catalog":
        """A catalog with the unseen items of `other` appended; items that are here already keep row and text.

        Columns keep their types: values of new items that do not fit are null, and the report says how many. Columns
        that are new here are null for the items that were here before.
        """
        seen = other.frame["item_id"].is_in(self.frame["item_id"].implode())
        known, added, fitted = aligned(self.frame, other.frame.filter(~seen))
        lost = other.report.noticed.get("misfit_value", 0)
        notes = (*(other.report.notes if lost else ()), *notes_of(fitted))
        noticed = {"misfit_value": total} if (total := lost + sum(column.lost for column in fitted)) else {}
        rows = len(self) + len(other)
        report = CleaningReport("extended catalog", rows, rows, {}, noticed, self.report.columns, notes)
        vectors = stacked_vectors(self.vectors, len(self), other.vectors, ~seen.to_numpy())
        frame = pl.concat([known, added], how="diagonal")
        return Catalog(frame, report.drop("duplicate_item", int(seen.sum())), vectors)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every cell in row order, and the vectors."""
        cells = fingerprint_frame(self.frame)
        named = (part for name, array in sorted(self.vectors.items()) for part in (name, array))
        return fingerprint(cells, *named) if self.vectors else cells


def _with_guessed_text(raw: RawTable, mapping: ColumnMapping) -> tuple[ColumnMapping, list[str]]:
    """The mapping with the longest free text as text, where no name says which column that is."""
    if "text" in mapping.found:
        return mapping, []
    theirs = holds_text([raw.frame[name] for name in mapping.extras.values()])
    if theirs is None:
        return mapping, []
    note = f"column {theirs!r} holds long texts and was taken as text; columns={{'text': …}} takes another one"
    return mapping.with_role("text", theirs), [note]


def _canonical(frame: pl.DataFrame, mapping: ColumnMapping) -> tuple[list[pl.Series], list[Column]]:
    """The raw frame under recllm's names: its own columns, and the further ones, all of one of `KINDS`."""
    found = mapping.found
    readers: dict[str, Callable[[pl.Series], pl.Series]] = {
        "item_id": as_ids,
        "title": lambda series: one_line_texts(texts_of(series)),
        "text": lambda series: clean_texts(texts_of(series)),
        "categories": lambda series: _categories(series, found.get("categories") in mapping.space_separated),
    }
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    columns = [read(frame[found[name]] if name in found else absent).alias(name) for name, read in readers.items()]
    return columns, [column_of(frame[theirs].alias(name)) for name, theirs in mapping.extras.items()]


def _categories(series: pl.Series, space_separated: bool) -> pl.Series:
    values = settled(series).values
    return category_lists(values if values.dtype == TEXT else fitted_to(values, TEXTS).values, space_separated)
