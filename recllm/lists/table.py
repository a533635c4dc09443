"""A result as a table: rows, data frames, JSON, csv, HTML, or a few lines in a terminal or notebook."""

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from recllm.data.cleaning import as_id
from recllm.data.exported import Exported
from recllm.errors import DataError, require
from recllm.lists.export import csv_text, escape, html_page, written
from recllm.texts import clean_text

if TYPE_CHECKING:
    import pandas
    import polars

_SHOWN_USERS = 5
_SHOWN_ROWS = 60
_IN_PANDAS = {
    **dict.fromkeys(("user_id", "item_id", "title", "explanation", "reason_code"), "str"),
    **{"rank": "int64", "score": "float32", "rank_before": "Int64", "rank_after": "Int64"},
}
_IN_POLARS = {
    **dict.fromkeys(("rank", "rank_before", "rank_after"), "Int64"),
    **{"score": "Float32", "verified": "Boolean", "share": "Float64"},
}

Row = TypeVar("Row")


class Table(Exported, Generic[Row]):
    """Rows kept as columns of equal length. `proof` is in JSON, but in no data frame."""

    _row: type[Row]
    notes: tuple[str, ...] = ()
    """What the result leaves out, in sentences; each was a warning, too."""

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any] | None],
        user_ids: Sequence[str] | None,
        proof: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self._columns = {name: list(column) for name, column in columns.items() if column is not None}
        self._proofs = None if proof is None else list(proof)
        lengths = {name: len(column) for name, column in self._columns.items()}
        lengths |= {} if self._proofs is None else {"proof": len(self._proofs)}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the columns of a result have different lengths: {lengths}; give one value per row")
        self._places: dict[str, list[int]] = {user: [] for user in user_ids or ()}
        for place, user in enumerate(self._columns["user_id"]):
            self._places.setdefault(user, []).append(place)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """All users asked for, in that order, also those without a row."""
        return tuple(self._places)

    def for_user(self, user_id: Any) -> Self:
        """The rows of one user, whose id may be a text or a number; also as `result[user_id]`.

        Raises:
            DataError: The user was not asked for.
        """
        if isinstance(user_id, slice | list | tuple):
            raise DataError(f"a result is asked for one user's id; got {user_id!r}; list(result) has the rows.")
        user = as_id(user_id)
        if user not in self._places:
            some = ", ".join(map(repr, islice(self._places, 3))) or "nobody"
            raise DataError(f"the result has no user {user!r}; it has {some}, {len(self._places)} in all, see user_ids")
        chosen = object.__new__(type(self))
        places = self._places[user]
        chosen._columns = {name: [column[i] for i in places] for name, column in self._columns.items()}
        chosen._proofs = None if self._proofs is None else [self._proofs[i] for i in places]
        chosen._places = {user: list(range(len(places)))}
        chosen.notes = self.notes
        return chosen

    def __getitem__(self, user_id: Any) -> Self:
        return self.for_user(user_id)

    def __contains__(self, one: object) -> bool:
        """Whether it is one of the rows, or the id of a user asked for."""
        return any(row == one for row in self) if isinstance(one, self._row) else as_id(one) in self._places

    def __len__(self) -> int:
        return len(self._columns["user_id"])

    def __iter__(self) -> Iterator[Row]:
        return (self._row(**row) for row in self.to_dicts())

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row: the columns of `to_pandas`, and the proof if there is one."""
        columns = self._columns if self._proofs is None else {**self._columns, "proof": self._proofs}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_json(self, path: str | PathLike[str] | None = None, *, indent: int | None = None) -> str:
        """A JSON list of `to_dicts`, also written to `path` if there is one; a score that is not finite becomes null.

        Raises:
            ArtifactError: The file cannot be written.
        """
        rows = self.to_dicts()
        for row in rows:
            if not math.isfinite(row.get("score", 0.0)):
                row["score"] = None
        return written(path, json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=indent))

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """The columns of `to_polars` as csv, also written to `path` if there is one.

        A spreadsheet can open it safely: a text that it would run as a formula has an apostrophe in front of it.

        Raises:
            ArtifactError: The file cannot be written.
        """
        import polars

        score = polars.col(polars.Float32)  # as short as a float32 can be written, not as long as a float64
        frame = self.to_polars().with_columns(polars.when(score.is_finite()).then(score.cast(polars.String)))
        return written(path, csv_text(frame.columns, frame.iter_rows()))

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """A page with all rows, also written to `path` if there is one; it needs nothing else, and runs nothing.

        Raises:
            ArtifactError: The file cannot be written.
        """
        names = [name for name in self._columns if name != "evidence"]
        rows = zip(*(self._columns[name] for name in names), strict=True)
        return written(path, html_page(type(self).__name__, names, rows, self.notes))

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas frame, one line per row; `evidence` holds dictionaries."""
        pandas = require("pandas", extra="pandas")
        frame = pandas.DataFrame(self._columns, columns=list(self._columns))
        return frame.astype({name: kind for name, kind in _IN_PANDAS.items() if name in frame})

    def to_polars(self) -> "polars.DataFrame":
        """A polars frame; `evidence` is JSON text, because its fields differ between rows."""
        import polars

        columns = dict(self._columns)
        if "evidence" in columns:
            columns["evidence"] = [json.dumps(evidence, ensure_ascii=False) for evidence in columns["evidence"]]
        kinds = {name: getattr(polars, _IN_POLARS.get(name, "String")) for name in columns}
        return polars.DataFrame(columns, schema=kinds)

    def __repr__(self) -> str:
        lines: list[str] = [f"{type(self).__name__}: {len(self)} rows, {len(self._places)} users"]
        for user, cells in self._shown():
            lines.append(f"user {clean_text(user)}")
            lines += ["  " + "  ".join(cell for cell in row if cell) for row in cells] or ["  (none)"]
        return "\n".join([*lines, *self._rest(), *map(clean_text, self.notes)])

    def _repr_html_(self) -> str:
        parts: list[str] = ["<table>"]
        for user, cells in self._shown():
            parts.append(f'<tr><th colspan="4" style="text-align:left">user {escape(user)}</th></tr>')
            for row in cells:
                parts.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</table>")
        parts += [f"<p>{escape(line)}</p>" for line in (*self._rest(), *self.notes)]
        return "".join(parts)

    def _shown(self) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
        for user, places in islice(self._places.items(), _SHOWN_USERS):
            yield user, [tuple(clean_text(cell) for cell in self._cells(i)) for i in places[:_SHOWN_ROWS]]

    def _rest(self) -> list[str]:
        shown = list(islice(self._places.values(), _SHOWN_USERS))
        users = len(self._places) - len(shown)
        rows = sum(max(0, len(places) - _SHOWN_ROWS) for places in shown)
        rest = [(rows, "rows of these users"), (users, "users")]
        return [f"… and {number} more {what}" for number, what in rest if number]

    def _name(self, place: int) -> str:
        item = str(self._columns["item_id"][place])
        title = self._columns["title"][place] if "title" in self._columns else ""
        return f"{title} [{item}]" if title and title != item else item

    @abstractmethod
    def _cells(self, place: int) -> tuple[str, ...]:
        """What is shown of a row beside its user."""
