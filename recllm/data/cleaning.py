"""What cleaning does to a table, and the report that counts it.

Every row that is read is either kept or counted under exactly one reason: `read == kept + sum(dropped)`.
"""

import hashlib
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from recllm.data.columns import ColumnMapping
from recllm.data.frames import refused
from recllm.data.kinds import texts_of
from recllm.data.raw import RawTable
from recllm.data.series import computed, decoded, finite
from recllm.errors import DataError

REASONS: dict[str, str] = {
    "ragged_row": "row with another number of fields than the header, or broken quotes",
    "bad_json": "line that is not a JSON object",
    "id_not_utf8": "id with bytes that are not UTF-8",
    "missing_user_id": "no user id",
    "missing_item_id": "no item id",
    "duplicate_item": "item id seen before (the first row stays)",
    "duplicate_user": "user id seen before (the first row stays)",
    "missing_timestamp": "no timestamp",
    "bad_timestamp": "timestamp that is neither a number nor a date",
    "negative_timestamp": "timestamp before 1970",
    "future_timestamp": "timestamp more than a day ahead of now",
    "bad_rating": "rating that is not a finite number",
    "bad_weight": "weight that is not a finite number",
    "duplicate_event": "copy of an earlier event (same user, item, time, event, rating and weight)",
    "unknown_item": "item that is not in the catalog",
    # kept, but worth knowing
    "empty_text": "item without text (its title, else its id, stands in)",
    "empty_title": "item without title (the start of its text, else its id, stands in)",
    "misfit_value": "value that does not fit the type of its column (left empty)",
    "text_not_utf8": "row with bytes that are not UTF-8 (shown as \ufffd)",
    "missing_rating": "event without rating in a rated log",
    "missing_weight": "event without weight in a weighted log",
    "missing_event": "event without event name",
    "early_timestamp": "timestamp in 1970 (0 for an unknown time?), where others are later",
}


@dataclass(frozen=True)
class CleaningReport:
    """What was read, kept and dropped, and why. `print(report)` shows it in a few lines.

    Attributes:
        source: File name or kind of frame.
        read: Rows read.
        kept: Rows kept; always `read - sum(dropped.values())`.
        dropped: Reason -> rows dropped; each row has one reason. `REASONS` has the words.
        noticed: Reason -> rows kept in spite of it.
        columns: recllm's column name -> the name found.
        notes: Further sentences (units of time, encodings, delimiters).
    """

    source: str
    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    noticed: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: RawTable, mapping: ColumnMapping, guesses: Iterable[str]) -> "CleaningReport":
        """Of a table as it was found, before its rows are looked at."""
        notes = (*raw.notes, *mapping.notes, *guesses)
        report = cls(raw.source, raw.rows, raw.rows, columns=mapping.found, notes=notes)
        for reason, count in raw.dropped.items():
            report = report.drop(reason, count)
        return report

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.read:,} rows read, {self.kept:,} kept, {self.read - self.kept:,} dropped"]
        lines += [f"  dropped {n:,}: {REASONS.get(reason, reason)}" for reason, n in self.dropped.items()]
        lines += [f"  kept {n:,}: {REASONS.get(reason, reason)}" for reason, n in self.noticed.items()]
        if self.columns:
            lines.append("  columns: " + ", ".join(f"{ours} <- {found!r}" for ours, found in self.columns.items()))
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON-able values."""
        return asdict(self) | {"notes": list(self.notes)}

    def drop(self, reason: str, count: int, note: str | None = None) -> "CleaningReport":
        """A new report in which `count` more of the kept rows are dropped for `reason`."""
        if not count:
            return self
        dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + count}
        notes = self.notes + ((note,) if note else ())
        return replace(self, kept=self.kept - count, dropped=dropped, notes=notes)


class Sieve:
    """Filters a frame reason by reason and counts what each reason took."""

    def __init__(self, frame: pl.DataFrame, report: CleaningReport) -> None:
        self.frame = frame
        self.report = report

    def drop(self, reason: str, bad: pl.Series) -> None:
        """Drop the rows where `bad` is true (bool [rows]; null counts as false)."""
        bad = bad.fill_null(False)
        count = int(bad.sum())
        if count:
            self.frame = self.frame.filter(~bad)
            self.report = self.report.drop(reason, count)

    def notice(self, reason: str, count: int) -> None:
        """Count rows that are kept in spite of `reason`."""
        if count:
            self.report = replace(self.report, noticed={**self.report.noticed, reason: count})

    def note(self, *sentences: str) -> None:
        """Add sentences to the report."""
        self.report = replace(self.report, notes=(*self.report.notes, *sentences))

    def result(self) -> tuple[pl.DataFrame, CleaningReport]:
        """The rows that are left and the report.

        Raises:
            DataError: Rows were read and none was left.
        """
        if self.report.read and not self.report.kept:
            why = ", ".join(f"{n:,} {REASONS[r]}" for r, n in self.report.dropped.items())
            raise DataError(f"{self.report.source}: none of the {self.report.read:,} rows can be used ({why})")
        return self.frame, self.report


def as_id(value: Any) -> str:
    """One id as a string, by the same rule as `as_ids`; bytes are text in UTF-8.

    Raises:
        DataError: It is missing (None, NaN or ""), a truth value, or nothing that names one thing.
    """
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, bytes):
        text = value.decode("utf-8", "ignore")
        text = text if text.encode() == value else ""
    elif isinstance(value, bool | np.bool_) or not isinstance(value, _NAMES) or value != value:
        text = ""
    elif isinstance(value, numbers.Number):
        text = _number_id(value)
    else:
        text = str(value)
    if not text or not _is_unicode(text):
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        raise DataError(f"an id was expected, got {shown}; ids are texts or numbers")
    return text


_NAMES = (numbers.Number, np.generic, date, UUID)
"""Types beside texts whose values are written as ids."""


def _is_unicode(text: str) -> bool:
    """Whether it can be written at all: halves of characters (lone surrogates) cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _number_id(value: Any) -> str:
    """3.0 is "3"; "" for what is no finite number."""
    if isinstance(value, complex | np.complexfloating) or not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) else str(value)


def as_id_list(ids: Iterable[Any]) -> list[str]:
    """Ids as strings, in order.

    Raises:
        DataError: It is a single string, or an id is missing.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise DataError(f"a list of ids was expected, got {ids!r}; write [{ids!r}]")
    return [as_id(value) for value in ids]


def as_ids(series: pl.Series) -> pl.Series:
    """Ids as strings, each as `as_id` writes it; what is missing (null, "", NaN and infinity) is null.

    Raises:
        DataError: The column holds truth values, lists or records.
    """
    kind, column = series.dtype, pl.col(series.name)
    if kind.is_nested() or kind == pl.Boolean:
        raise DataError(f"column {series.name!r} holds {kind}; plain text or numbers were expected")
    if kind.is_float():
        whole = (column == column.floor()) & (column.abs() < 2**53)
        integer = column.cast(pl.Int64, strict=False).cast(pl.String)
        text = pl.when(whole).then(integer).otherwise(_float_texts(series, whole))
    elif kind.is_decimal():
        text = column.cast(pl.String).str.replace(r"\.0+$", "")
    elif kind == pl.Binary:
        text = pl.lit(decoded(series))
    else:
        text = column.cast(pl.String)
    with refused(lambda _: f"column {series.name!r} ({kind}) cannot be read as text", pl.exceptions.PolarsError):
        return computed(series, pl.when(text != "").then(text))


def _float_texts(series: pl.Series, whole: pl.Expr) -> pl.Expr:
    """The few that are not whole, as Python writes them: 1e-07, not 1e-7."""
    exact = series if series.dtype == pl.Float64 else series.cast(pl.String).cast(pl.Float64)
    rest = exact.filter(computed(series, series.is_finite() & ~whole).fill_null(False)).unique()
    written = pl.Series([str(int(v)) if v.is_integer() else str(v) for v in rest.to_list()], dtype=pl.String)
    return pl.lit(exact.replace_strict(rest, written, default=None, return_dtype=pl.String))


def as_numbers(series: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Parse numbers.

    Returns:
        float32 [rows] (null where missing), and bool [rows]: there is something, but no finite number.

    Raises:
        DataError: The column holds lists, records, times or bytes that are no text.
    """
    if isinstance(series.dtype, pl.Categorical | pl.Enum) or series.dtype == pl.Binary:
        series = texts_of(series)
    elif series.dtype.is_nested() or series.dtype.is_temporal() or series.dtype == pl.Object:
        raise DataError(f"column {series.name!r} holds {series.dtype}; numbers were expected")
    present = series.is_not_null()
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        present &= series != ""
    elif series.dtype == pl.Boolean:
        series = series.cast(pl.Int8)
    number = finite(series.cast(pl.Float32, strict=False))
    return number, present & number.is_null()


def decode_damage(sieve: Sieve, undecodable: bool, id_columns: list[str]) -> None:
    """Drop rows whose id lost bytes in decoding (two ids could have become one) and count those whose text did."""
    if not undecodable:
        return
    lost = "\ufffd"

    def hit(columns: list[str]) -> pl.Series:
        parts = [pl.col(c).str.contains(lost, literal=True) for c in columns]
        return sieve.frame.select(pl.any_horizontal(parts)).to_series().fill_null(False)

    sieve.drop("id_not_utf8", hit(id_columns))
    sieve.notice("text_not_utf8", int(hit([c for c, t in sieve.frame.schema.items() if t == pl.String]).sum()))


def fingerprint_frame(*frames: pl.DataFrame) -> str:
    """SHA-256 over column names and cells, in row order; independent of where the frame came from."""
    digest = hashlib.sha256()
    for series in (series for frame in frames for series in frame):
        nested = series.dtype.is_nested()
        text = pl.Series([repr(v) for v in series.to_list()], dtype=pl.String) if nested else series.cast(pl.String)
        lengths = text.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy()
        for part in (series.name.encode(), lengths.tobytes(), "".join(text.fill_null("")).encode()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()
