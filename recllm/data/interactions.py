"""The event log: who did what with which item, and when."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport, as_id_list, fingerprint_frame
from recllm.data.events import CleanEvents, are_copies, clean_events, clean_mapping
from recllm.data.exported import Framed
from recllm.data.frames import table_of_frame
from recllm.data.kinds import aligned, notes_of
from recllm.data.reading import Columns, named_columns, read_table
from recllm.data.timestamps import Notation

FEW = 1000
"""Events that are looked up one by one."""


class Interactions(Framed):
    """Validated events. Immutable.

    Attributes:
        frame: [events, columns] `user_id` str, `item_id` str, `timestamp` float64 unix seconds (to the
            millisecond), then, where the log has
            them, `rating` float32, `event` str, `weight` float32, `review_text` str, then all further columns.
            The order of the input is kept.
        user_ids: Users in order of first appearance, those without events included.
        report: What was read, dropped and why. Selections start a report of their own.
        timed: Whether timestamps are times; False: there were none, and they are positions 0, 1, 2 … per user.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        report: CleaningReport,
        user_ids: Iterable[str] | None = None,
        timed: bool = True,
    ) -> None:
        """For frames that are clean already; use `read`, `from_frame` or `from_mapping` for anything else."""
        self.frame = frame
        self.report = report
        found = frame["user_id"].unique(maintain_order=True).to_list() if user_ids is None else user_ids
        self.user_ids: tuple[str, ...] = tuple(found)
        self.timed = timed

    @classmethod
    def read(
        cls,
        path: str | PathLike[str] | IO[Any],
        columns: Columns | None = None,
        encoding: str | None = None,
        *,
        dates: str | Sequence[str] | None = None,
        dayfirst: bool | None = None,
        max_bytes: int | None = None,
    ) -> "Interactions":
        """Read events from csv with any separator, JSON, parquet, Arrow or RecBole's `.inter`, packed or not.

        Args:
            path: A file, a folder or pattern (`logs/*.parquet`) of files with the same columns, or an open file.
            columns: recllm's names -> yours, where the aliases do not find them: `{"user_id": "client"}`. Or the
                names of all columns of a file without a header: `["user_id", "item_id", "rating", "timestamp"]`.
            encoding: Of text files; UTF-8 if not given.
            dates: Format of the times, as `strptime` has it (`"%d/%m/%Y %H:%M"`), or several; `"excel"` for the day
                numbers of spreadsheets. Any usual notation if not given.
            dayfirst: Whether 01/02/2024 is in February, where no date of the log tells.
            max_bytes: What a packed file may unpack to, if that is unusually much.

        Raises:
            DataError: The file cannot be read, lacks user or item ids, has dates that can be read in two ways, or no
                usable row.
        """
        mapping, names = named_columns(columns)
        notation = Notation.of(dates, dayfirst)
        return cls._of(clean_events(read_table(path, encoding, names, max_bytes), mapping, notation))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        columns: Columns | None = None,
        *,
        dates: str | Sequence[str] | None = None,
        dayfirst: bool | None = None,
    ) -> "Interactions":
        """Take events from a pandas, polars or pyarrow table, a Hugging Face data set, or a list of records.

        The table is not changed. For the arguments see `read`.

        Raises:
            DataError: It is no table, lacks user or item ids, or has rows but no usable one.
        """
        mapping, names = named_columns(columns)
        return cls._of(clean_events(table_of_frame(frame, names), mapping, Notation.of(dates, dayfirst)))

    @classmethod
    def from_mapping(cls, events: Mapping[Any, Any]) -> "Interactions":
        """Take events from `{user_id: [item_id, …]}`; the order of a list is the order of time (0, 1, 2 …).

        A list may also hold mappings (`{"item_id": …, "rating": …}`), and a value may be another `Interactions`.
        A user with an empty list is a user without events and is in `user_ids`.
        Either all events of a user have a `timestamp` or none has.

        Raises:
            DataError: A value is no list of ids or events.
        """
        clean, user_ids = clean_mapping(events)
        return cls._of(clean, user_ids)

    @classmethod
    def _of(cls, clean: CleanEvents, user_ids: Iterable[str] | None = None) -> "Interactions":
        return cls(clean.frame, clean.report, user_ids, clean.timed)

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        columns = ", ".join(self.frame.columns)
        return f"Interactions({len(self):,} events of {len(self.user_ids):,} users, columns {columns})"

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The position of each user in `user_ids`."""
        return {user: row for row, user in enumerate(self.user_ids)}

    @cached_property
    def user_rows(self) -> NDArray[np.int64]:
        """int64 [events]: the position of each event's user in `user_ids`."""
        users = self.frame["user_id"]
        if len(users) < FEW:  # a visitor's events: setting up a join would be most of the work
            return np.fromiter((self.row_of.get(user, -1) for user in users.to_list()), dtype=np.int64)
        return _positions(users, self.user_ids)

    @cached_property
    def _by_user(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 [events]: rows of the frame, user by user; and int64 [users + 1]: where each user's begin."""
        counts = np.bincount(self.user_rows, minlength=len(self.user_ids))
        return np.argsort(self.user_rows, kind="stable"), np.concatenate([[0], np.cumsum(counts)])

    def select(
        self, keep: NDArray[np.bool_] | NDArray[np.int64], user_ids: Iterable[str] | None = None
    ) -> "Interactions":
        """The events where a mask (bool [events]) is true, or those in these rows, in their order.

        Args:
            keep: Mask or rows.
            user_ids: All users of the result; those of its events if not given.
        """
        frame = self.frame.filter(keep) if keep.dtype == np.bool_ else self.frame[keep]
        report = CleaningReport(f"selection of {self.report.source}", frame.height, frame.height)
        return Interactions(frame, report, user_ids, self.timed)

    def of_users(self, user_ids: Iterable[Any]) -> "Interactions":
        """The events of these users, users in the order asked for; an id without events is a user without events."""
        wanted = tuple(dict.fromkeys(as_id_list(user_ids)))
        rows, starts = self._by_user
        known = np.array([self.row_of[user] for user in wanted if user in self.row_of], dtype=np.int64)
        lengths = starts[known + 1] - starts[known]
        ends = np.cumsum(lengths)
        within = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
        return self.select(rows[np.repeat(starts[known], lengths) + within], wanted)

    def without_users(self, user_ids: Iterable[Any]) -> "Interactions":
        """The events of all other users."""
        gone = set(as_id_list(user_ids))
        keep = np.array([u not in gone for u in self.user_ids], dtype=bool)
        return self.select(keep[self.user_rows], [u for u in self.user_ids if u not in gone])

    def before(self, timestamp: float) -> "Interactions":
        """The events before a moment (unix seconds); users without any are left out."""
        return self.select((self.frame["timestamp"] < timestamp).to_numpy(), None)

    def known_items(self, catalog: Catalog) -> "Interactions":
        """The events with items of the catalog; the others are counted in the report. All users stay."""
        rows = self.item_rows(catalog)
        keep = rows >= 0
        lost = int((~keep).sum())
        note = None
        if lost:
            example = self.frame["item_id"][int(np.argmin(keep))]
            known = f", while the catalog has ids such as {catalog.item_ids[0]!r}" if len(catalog) else ""
            note = f"unknown items, for example {example!r}{known}"
        report = self.report.drop("unknown_item", lost, note)
        return Interactions(self.frame.filter(keep), report, self.user_ids, self.timed)

    def item_rows(self, catalog: Catalog) -> NDArray[np.int64]:
        """int64 [events]: the catalog's row of each event's item, -1 for unknown ones."""
        items = self.frame["item_id"]
        # A few events are looked up one by one: going through the catalog would be most of the work.
        return catalog.rows(items) if 8 * len(items) < len(catalog) else _positions(items, catalog.item_ids)

    def extend(self, other: "Interactions") -> "Interactions":
        """Both logs as one; events of `other` that are here already are dropped and counted.

        Columns keep their types: values of `other` that do not fit are null.
        If `other` has no real times, its events count as later than everything the user has here.
        """
        mine, later, fitted = aligned(self.frame, other.frame)
        theirs = mine.filter(pl.col("user_id").is_in(pl.Series(other.user_ids, dtype=pl.String).implode()))
        if not other.timed:
            end = theirs.group_by("user_id").agg(pl.col("timestamp").max().alias("\x00end"))
            shifted = pl.col("timestamp") + (pl.col("\x00end") + 1).fill_null(0)
            later = later.join(end, on="user_id", how="left", maintain_order="left")
            later = later.with_columns(shifted.alias("timestamp")).drop("\x00end")
        both = pl.concat([theirs, later], how="diagonal")
        fresh = both.filter(~are_copies(both) | (pl.int_range(pl.len()) < theirs.height))[theirs.height :]
        joined = self.join(Interactions(fresh, other.report, other.user_ids, other.timed))
        rows = len(self) + len(other)
        report = CleaningReport("joined logs", rows, rows, notes=notes_of(fitted))
        joined.report = report.drop("duplicate_event", len(other) - fresh.height)
        return joined

    def join(self, other: "Interactions") -> "Interactions":
        """Both logs, one after the other, as they are: for logs that have no event in common."""
        mine, later, fitted = aligned(self.frame, other.frame)
        frame = pl.concat([mine, later], how="diagonal", rechunk=False)
        report = CleaningReport("joined logs", frame.height, frame.height, notes=notes_of(fitted))
        fresh = [user for user in other.user_ids if user not in self.row_of]
        return Interactions(frame, report, (*self.user_ids, *fresh), self.timed or other.timed)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over users and every cell in row order."""
        users = pl.DataFrame({"user_ids": pl.Series(self.user_ids, dtype=pl.String)})
        return fingerprint_frame(self.frame, users)


def _positions(ids: pl.Series, known: Sequence[str]) -> NDArray[np.int64]:
    """int64 [ids]: the position of each id in `known`, -1 if it is not there."""
    if not known:
        return np.full(len(ids), -1, dtype=np.int64)
    old, new = pl.Series(known, dtype=pl.String), pl.Series(range(len(known)), dtype=pl.Int64)
    return ids.replace_strict(old, new, default=-1, return_dtype=pl.Int64).to_numpy()


def load_demo() -> tuple[Catalog, Interactions]:
    """The shipped shop, UCI Online Retail (CC BY 4.0): 3,852 items, 396,337 purchase lines of 4,334 customers."""
    from recllm.resources import demo_folder

    folder = demo_folder()
    return Catalog.read(folder / "items.csv.gz"), Interactions.read(folder / "interactions.parquet")
