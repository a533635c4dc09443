"""Users with a profile: what is known of somebody before they have done anything."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import IO, Any, final

import polars as pl

from recllm.data.cleaning import CleaningReport, Sieve, as_ids
from recllm.data.columns import INTERACTION_COLUMNS, match_columns
from recllm.data.exported import Framed
from recllm.data.frames import table_of_frame
from recllm.data.kinds import aligned, column_of, notes_of
from recllm.data.raw import RawTable
from recllm.data.reading import Columns, named_columns, read_table

USER_COLUMNS = {"user_id": (*INTERACTION_COLUMNS["user_id"], "id")}

HEADERLESS = {
    "users.dat": ["user_id", "gender", "age", "occupation", "zip_code"],
    "u.user": ["user_id", "age", "gender", "occupation", "zip_code"],
}
"""Columns of files without a header that many have, by name: the users of MovieLens 1M and 100k."""


@final
class Users(Framed):
    """Users and the fields of their profiles. Immutable.

    Attributes:
        frame: [users, columns] `user_id` str, then the fields, each of one of the types in `recllm.data.kinds`.
        report: What was read, dropped and why.
    """

    def __init__(self, frame: pl.DataFrame, report: CleaningReport) -> None:
        """For frames that are clean already; use `read` or `from_frame` for anything else."""
        self.frame, self.report = frame, report

    @classmethod
    def read(
        cls,
        path: str | PathLike[str] | IO[Any],
        columns: Columns | None = None,
        encoding: str | None = None,
        *,
        max_bytes: int | None = None,
    ) -> "Users":
        """Read users from a file of any kind that `Catalog.read` reads.

        The files `users.dat` and `u.user` of MovieLens, which have no header, are known by their names.

        Args:
            path: A file, a folder or pattern of files, or an open file.
            columns: recllm's names -> yours: `{"user_id": "customer"}`; or the names of all columns of a file without a
                header.
            encoding: Of text files; UTF-8 if not given.
            max_bytes: What a packed file may unpack to, if that is unusually much.

        Raises:
            DataError: The file cannot be read, has no user id column, or no usable row.
        """
        if columns is None and isinstance(path, str | PathLike):
            columns = HEADERLESS.get(Path(path).name.removesuffix(".gz"))
        mapping, names = named_columns(columns)
        return cls._from_raw(read_table(path, encoding, names, max_bytes), mapping)

    @classmethod
    def from_frame(cls, frame: Any, columns: Columns | None = None) -> "Users":
        """Take users from a pandas, polars or pyarrow table, a Hugging Face data set, or a list of records.

        Raises:
            DataError: It is no table, has no user id column, or has rows but no usable one.
        """
        mapping, names = named_columns(columns)
        return cls._from_raw(table_of_frame(frame, names), mapping)

    @classmethod
    def _from_raw(cls, raw: RawTable, columns: Mapping[str, str] | None) -> "Users":
        mapping = match_columns(raw.frame.columns, USER_COLUMNS, ["user_id"], columns, raw.source)
        ids = as_ids(raw.frame[mapping.found["user_id"]]).alias("user_id")
        fields = [column_of(raw.frame[theirs].alias(name)) for name, theirs in mapping.extras.items()]
        sieve = Sieve(pl.DataFrame([ids, *(one.values for one in fields)]), CleaningReport.of(raw, mapping, []))
        sieve.drop("missing_user_id", sieve.frame["user_id"].is_null())
        sieve.drop("duplicate_user", ~sieve.frame["user_id"].is_first_distinct())
        sieve.notice("misfit_value", sum(one.lost for one in fields))
        sieve.note(*notes_of(fields))
        if not fields:
            sieve.note("no column but the ids: these users have no profile")
        return cls(*sieve.result())

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the profiles' fields."""
        return tuple(name for name in self.frame.columns if name != "user_id")

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each user."""
        return {user: row for row, user in enumerate(self.frame["user_id"].to_list())}

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.row_of

    def __repr__(self) -> str:
        return f"Users({len(self):,} users, fields {', '.join(self.fields) or 'none'})"

    def of(self, user_ids: Iterable[str]) -> "Users":
        """Those of these users who are here."""
        return Users(self.frame.filter(pl.col("user_id").is_in(list(user_ids))), self.report)

    def without(self, user_ids: Iterable[str]) -> "Users":
        """All but these users."""
        return Users(self.frame.filter(~pl.col("user_id").is_in(list(user_ids))), self.report)

    def updated(self, other: "Users") -> "Users":
        """With further users, and with what `other` says of users who are here in place of what was known."""
        kept = self.without(other.frame["user_id"].to_list())
        known, added, _ = aligned(kept.frame, other.frame)
        return Users(pl.concat([known, added], how="diagonal"), other.report)
