"""A table as it was found, before any cleaning."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from recllm.errors import DataError


@dataclass
class RawTable:
    """A table as it was found.

    Attributes:
        frame: [rows, columns]; text columns for csv, native types otherwise.
        source: Name for the report and for errors.
        rows: Rows found, the dropped ones included.
        dropped: Reason -> rows that never reached `frame`.
        notes: Sentences for the report.
        undecodable: Whether what is no valid text was replaced by U+FFFD.
    """

    frame: pl.DataFrame
    source: str
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    undecodable: bool = False

    def note_repaired(self, columns: Sequence[str]) -> None:
        """Say in which columns text was no valid Unicode."""
        if columns:
            names = ", ".join(repr(name) for name in dict.fromkeys(columns))
            self.undecodable = True
            self.notes.append(f"text in {names} is no valid Unicode (lone surrogates); \ufffd stands for what is not")

    def rename(self, names: Sequence[str | None] | None) -> None:
        """Give the columns these names, in their order; those named None are left out.

        Raises:
            DataError: They are not as many as the columns, or one comes twice.
        """
        if names is None:
            return
        check_names(names)
        if len(names) != self.frame.width:
            raise DataError(
                f"{self.source} has {self.frame.width} columns ({', '.join(map(repr, self.frame.columns[:10]))}), and "
                f"columns= names {len(names)}; name each, with None for those to leave out"
            )
        kept = [(old, new) for old, new in zip(self.frame.columns, names, strict=True) if new is not None]
        self.frame = pl.DataFrame([self.frame[old].alias(new) for old, new in kept])


def check_names(names: Sequence[str | None]) -> None:
    """Refuse names that are no texts, or that come twice.

    Raises:
        DataError: There is such a name.
    """
    for name in names:
        if name is not None and (not isinstance(name, str) or not name or names.count(name) > 1):
            raise DataError(f"columns= wants a different name for every column, got {name!r} in {list(names)!r}"[:400])
