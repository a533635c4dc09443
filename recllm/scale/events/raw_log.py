"""A raw log under recllm's names, on disk, piece by piece."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from recllm.data.cleaning import CleaningReport, as_ids
from recllm.data.events import match_events, named_columns, timestamp_columns
from recllm.data.kinds import column_of
from recllm.data.timestamps import Notation
from recllm.scale.events.staged import Piece, Staged

ROW = "\x00row"
"""The working column that says which row of the raw log a row is."""


class RawLog:
    """A raw log under recllm's names, piece by piece.

    Args:
        staged: The log as it was found.
        work: A folder for columns that are read as a whole.
        columns: The caller's names for recllm's.
        notation: How times are written.

    Attributes:
        report: Before rows are looked at.
        notes: What was found in columns.
        undecodable: Whether bytes of the log were no valid text.

    Raises:
        DataError: As `clean_events`.
    """

    def __init__(self, staged: Staged, work: Path, columns: Mapping[str, str] | None, notation: Notation) -> None:
        self.staged, self.work = staged, work
        raw = staged.raw
        self.mapping, guesses = match_events(raw.frame.columns, staged.column, columns, raw.source)
        self.report = CleaningReport.of(raw, self.mapping, guesses)
        self.undecodable = raw.undecodable or pl.Binary in raw.frame.dtypes
        self._settled: dict[str, tuple[Path, list[str]]] = {}  # a column -> where it is, and what has come of it
        self.notes: list[str] = []
        self._settle(notation)

    def _settle(self, notation: Notation) -> None:
        """Columns that can only be read as a whole, each in its turn."""
        found, schema = self.mapping.found, self.staged.raw.frame.schema
        if "timestamp" in found:
            column = self.staged.column(found["timestamp"])
            self._keep("timestamp", timestamp_columns(column, notation, self.notes))
        for name in ("event", "review_text"):
            if name in found and schema[found[name]] != pl.String:
                self._keep(name, named_columns(name, self.staged.column(found[name])))
        for name, theirs in self.mapping.extras.items():
            extra = column_of(self.staged.column(theirs).alias(name))
            self.notes += extra.notes
            self._keep(name, [extra.values])
        if unused := [*self.mapping.extras]:
            self.notes.append(f"kept, but not read by the model: {', '.join(map(repr, unused))}")

    def _keep(self, name: str, columns: Sequence[pl.Series]) -> None:
        folder = self.work / f"column-{len(self._settled):03d}"
        folder.mkdir()
        self._settled[name] = (folder, [column.name for column in columns])
        start = 0
        for number, piece in enumerate(self.staged.pieces):
            part = pl.DataFrame([column[start : start + piece.rows] for column in columns])
            part.write_parquet(folder / f"{number:06d}.parquet", compression="lz4", statistics=False)
            start += piece.rows

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Frames with the columns of `canonical_columns` and `ROW`."""
        row = 0
        for number, piece in enumerate(self.staged.pieces):
            columns = [column for name in self._names() for column in self._columns(name, number, piece)]
            yield pl.DataFrame([*columns, pl.int_range(row, row + piece.rows, dtype=pl.Int64, eager=True).alias(ROW)])
            row += piece.rows

    def _names(self) -> list[str]:
        return [*self.mapping.found, *self.mapping.extras]

    def _columns(self, name: str, number: int, piece: Piece) -> list[pl.Series]:
        if name in self._settled:
            folder, names = self._settled[name]
            return pl.read_parquet(folder / f"{number:06d}.parquet", columns=names).get_columns() if names else []
        theirs = self.mapping.found[name]
        series = piece.read({theirs: self.staged.raw.frame.schema[theirs]})[theirs]
        return [as_ids(series).alias(name)] if name in ("user_id", "item_id") else named_columns(name, series)
