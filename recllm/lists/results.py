"""What the recommender returns: lists with reasons, as rows, data frames, JSON, csv, HTML or a notebook table."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from recllm.data.cleaning import as_id
from recllm.errors import DataError, require
from recllm.lists.export import csv_text, escape, html_page, written
from recllm.texts import clean_text

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars

_SHOWN_USERS = 5
_SHOWN_ROWS = 60
_REASONS = ("explanation", "reason_code", "evidence")
_TEXTS = ("user_id", "item_id", "title", "explanation", "reason_code")


@dataclass(frozen=True)
class Recommendation:
    """One line of a user's list; `rank` begins at 1. The last four are None unless reasons were asked for."""

    user_id: str
    item_id: str
    rank: int
    score: float
    title: str | None = None
    explanation: str | None = None
    reason_code: str | None = None
    evidence: dict[str, Any] | None = None
    proof: dict[str, Any] | None = None


@dataclass(frozen=True)
class Explanation:
    """Why one item suits one user (or that nothing is known).

    Attributes:
        evidence: What the words were made from.
        method: The rung of the ladder of words: L0 template, L1 chosen clause, L2 clause bank, L3 free text.
        verified: Whether the words were checked against the evidence.
        fallback: Why it is a lower rung than the one asked for; None if it is not.
        share: How much of what speaks for the item the cited items carry, 0 to 1.
        prompt: Name and version of the prompt.
        proof: With the model, all that is needed to compute the explanation again.
    """

    user_id: str
    item_id: str
    explanation: str
    reason_code: str
    evidence: dict[str, Any]
    method: str = "L0"
    verified: bool = True
    fallback: str | None = None
    share: float = 0.0
    prompt: str = ""
    title: str | None = None
    proof: dict[str, Any] | None = None


Row = TypeVar("Row", bound="Recommendation | Explanation | Change")


class _Table(Generic[Row]):
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
        kinds = {"rank": "int64", "score": "float32", "rank_before": "Int64", "rank_after": "Int64"}
        types = {name: kind for name, kind in kinds.items() if name in frame}
        return frame.astype({**types, **{name: "str" for name in _TEXTS if name in frame}})

    def to_polars(self) -> "polars.DataFrame":
        """A polars frame; `evidence` is JSON text, because its fields differ between rows."""
        import polars

        kinds: dict[str, Any] = {
            "rank": polars.Int64,
            "score": polars.Float32,
            "verified": polars.Boolean,
            "share": polars.Float64,
            "rank_before": polars.Int64,
            "rank_after": polars.Int64,
        }
        columns = dict(self._columns)
        if "evidence" in columns:
            columns["evidence"] = [json.dumps(evidence, ensure_ascii=False) for evidence in columns["evidence"]]
        return polars.DataFrame(columns, schema={name: kinds.get(name, polars.String) for name in columns})

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

    def _cells(self, place: int) -> tuple[str, ...]:
        raise NotImplementedError


class Recommendations(_Table[Recommendation]):
    """Ranked lists.

    Iterate over it for `Recommendation` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
    """

    _row = Recommendation

    def __init__(
        self,
        user_id: Sequence[str],
        item_id: Sequence[str],
        rank: Sequence[int],
        score: Sequence[float],
        *,
        title: Sequence[str] | None = None,
        explanation: Sequence[str] | None = None,
        reason_code: Sequence[str] | None = None,
        evidence: Sequence[dict[str, Any]] | None = None,
        proof: Sequence[dict[str, Any]] | None = None,
        user_ids: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Build from columns, one value per row, in the order to be kept.

        Args:
            user_id: Users.
            item_id: Items.
            rank: Places in the user's list, from 1.
            score: Scores.
            title: Titles for display.
            explanation: Sentences. These and the next two come together or not at all.
            reason_code: As in `recllm.explain.Evidence`.
            evidence: `Evidence.to_dict()`, and the wording.
            proof: `Proof.to_dict()`.
            user_ids: All users asked for, if some may have no row.
            notes: What the lists leave out, in sentences.
        """
        self.notes = tuple(notes)
        columns: dict[str, Sequence[Any] | None] = {
            "user_id": user_id,
            "item_id": item_id,
            "rank": [int(value) for value in rank],
            "score": [float(value) for value in score],
            "title": title,
        }
        reasons = dict(zip(_REASONS, (explanation, reason_code, evidence), strict=True))
        given = {name: column for name, column in reasons.items() if column is not None}
        if given and len(given) < len(_REASONS):
            raise DataError(f"the reasons of a result came with {', '.join(given)} only; give {', '.join(_REASONS)}")
        super().__init__({**columns, **given}, user_ids, proof)

    def _cells(self, place: int) -> tuple[str, ...]:
        reason = str(self._columns["explanation"][place]) if "explanation" in self._columns else ""
        return str(self._columns["rank"][place]), self._name(place), f"{self._columns['score'][place]:.3f}", reason


class Explanations(_Table[Explanation]):
    """Reasons for given items.

    Iterate over it for `Explanation` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
    """

    _row = Explanation

    def __init__(
        self,
        user_id: Sequence[str],
        item_id: Sequence[str],
        explanation: Sequence[str],
        reason_code: Sequence[str],
        evidence: Sequence[dict[str, Any]],
        *,
        title: Sequence[str] | None = None,
        proof: Sequence[dict[str, Any]] | None = None,
        user_ids: Sequence[str] | None = None,
    ) -> None:
        """Build from columns, one value per row, in the order to be kept.

        Args:
            user_id: Users.
            item_id: Items.
            explanation: Sentences.
            reason_code: As in `recllm.explain.Evidence`.
            evidence: `Evidence.to_dict()`, and the wording.
            title: Titles for display.
            proof: `Proof.to_dict()`.
            user_ids: All users asked for, if some may have no row.
        """
        wordings = [found.get("wording", {}) for found in evidence]
        columns: dict[str, Sequence[Any] | None] = {
            "user_id": user_id,
            "item_id": item_id,
            "title": title,
            "explanation": explanation,
            "reason_code": reason_code,
            "evidence": evidence,
            "method": [wording.get("method", "L0") for wording in wordings],
            "verified": [wording.get("verified", True) for wording in wordings],
            "fallback": [wording.get("fallback") for wording in wordings],
            "share": [float(wording.get("share", 0.0)) for wording in wordings],
            "prompt": [wording.get("prompt", "") for wording in wordings],
        }
        super().__init__(columns, user_ids, proof)

    def _cells(self, place: int) -> tuple[str, ...]:
        return self._name(place), str(self._columns["explanation"][place]), str(self._columns["reason_code"][place])


@dataclass(frozen=True)
class Change:
    """One item of a list with or without wishes; a place of None: not in that list."""

    user_id: str
    item_id: str
    rank_before: int | None
    rank_after: int | None
    title: str | None = None


class Preview(_Table[Change]):
    """What wishes would change.

    Iterate over it for `Change` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
    """

    _row = Change

    @classmethod
    def of(
        cls,
        item_ids: Sequence[str],
        titles: Sequence[str],
        user_ids: Sequence[str],
        before: Sequence["np.ndarray"],
        after: Sequence["np.ndarray"],
    ) -> "Preview":
        """From each user's lists of item rows: the new list first, then what leaves it."""
        rows = []
        for user, old, new in zip(user_ids, before, after, strict=True):
            was, becomes = ({row: place for place, row in enumerate(line.tolist(), 1)} for line in (old, new))
            rows += [(user, row, was.get(row), becomes.get(row)) for row in dict.fromkeys([*becomes, *was])]
        columns = {
            "user_id": [user for user, *_ in rows],
            "item_id": [item_ids[row] for _, row, *_ in rows],
            "rank_before": [place for *_, place, _ in rows],
            "rank_after": [place for *_, place in rows],
            "title": [titles[row] for _, row, *_ in rows],
        }
        return cls(columns, user_ids)

    def _cells(self, place: int) -> tuple[str, ...]:
        was, becomes = (self._columns[name][place] for name in ("rank_before", "rank_after"))
        moved = "comes in" if was is None else "leaves" if becomes is None else f"{was} → {becomes}"
        return ("–" if becomes is None else str(becomes)), self._name(place), moved
