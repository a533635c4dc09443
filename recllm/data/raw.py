"""A table as it was found, before any cleaning."""

from dataclasses import dataclass, field

import polars as pl


@dataclass
class RawTable:
    """A table as it was found.

    Attributes:
        frame: [rows, columns]; text columns for csv, native types otherwise.
        source: Name for the report and for errors.
        rows: Rows found, the dropped ones included.
        dropped: Reason -> rows that never reached `frame`.
        notes: Sentences for the report.
        undecodable: Whether bytes that are no UTF-8 were replaced by U+FFFD.
    """

    frame: pl.DataFrame
    source: str
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    undecodable: bool = False
