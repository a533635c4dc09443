"""What the recommender returns: ranked lists, reasons for items, what wishes would change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recllm.errors import DataError
from recllm.lists.table import Table

if TYPE_CHECKING:
    import numpy as np

_REASONS = ("explanation", "reason_code", "evidence")


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
        method: How the words were made: L0 template, L1 chosen clause, L2 clause bank, L3 free text.
        verified: Whether the words were checked against the evidence.
        fallback: Why `method` is a lower level than the one wanted; None if it is not.
        share: The cited items' share of all positive contributions to the score, 0 to 1.
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


class Recommendations(Table[Recommendation]):
    """Ranked lists.

    Iterate over it for `Recommendation` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_arrow`, `to_dataset`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
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


class Explanations(Table[Explanation]):
    """Reasons for given items.

    Iterate over it for `Explanation` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_arrow`, `to_dataset`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
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


class Preview(Table[Change]):
    """What wishes would change.

    Iterate over it for `Change` rows, take one user's with `result["mia"]`, or all of them with `to_pandas`,
    `to_polars`, `to_arrow`, `to_dataset`, `to_dicts`, `to_json`, `to_csv` or `to_html`.
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
