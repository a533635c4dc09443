"""What an explanation carries so that anybody with the model can compute it again, and what came of that."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from reprlib import Repr
from typing import Any, Literal, Self, final

import numpy as np

from recllm.config import from_mapping
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories
from recllm.errors import ConfigError, DataError
from recllm.explain.explainer import Audience, Level
from recllm.explain.plain import Request
from recllm.explain.wording import Detail
from recllm.lists.request import ListRequest

FORMAT = "recllm-proof-3"
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""How far figures may lie apart: other batches and other machines round differently."""
LATEST = 2**53
MOST_EVENTS = 100_000


About = Literal["line", "item"]
SEALED = ("user_id", "item_id", "rank", "score", "title", "explanation", "reason_code", "evidence")


def seal_of(row: Mapping[str, Any], proof: str | None = None) -> str:
    """SHA-256 over a row and its proof, however the numbers are written.

    Args:
        row: As `to_dicts` gives it.
        proof: `digest_of` its proof, if that is known.
    """
    sealed = {name: row[name] for name in SEALED if name in row}
    return _sha256([digest_of(row["proof"]) if proof is None else proof, sealed])


def digest_of(proof: Mapping[str, Any]) -> str:
    """SHA-256 over a proof without its seal."""
    return _sha256({name: value for name, value in proof.items() if name != "seal"})


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(_as_written(value), sort_keys=True).encode()).hexdigest()


def _as_written(value: Any) -> Any:
    """Numbers all as floats: a program that passes rows on may write 1.0 as 1."""
    if isinstance(value, Mapping):
        return {str(key): _as_written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@final
@dataclass(frozen=True)
class KnownEvent:
    """An event of the user's history, as the model reads it: `signal` +1 liked, 0 neutral, −1 disliked."""

    item_id: str
    timestamp: float
    signal: int
    token: int
    rating: float | None = None

    def __post_init__(self) -> None:
        if abs(self.timestamp) > LATEST or self.signal not in (-1, 0, 1) or self.token < 0:
            raise ConfigError(f"{self} is no event: its time, signal or token is out of range.")


@final
@dataclass(frozen=True)
class Proof:
    """Everything beside the model that an explanation follows from. It holds the user's history: it is theirs.

    Attributes:
        format: Of this record.
        model: SHA-256 of the model that was asked.
        user_id: Whose history it is.
        about: A "line" of the user's list, which has a rank and a score, or an "item" that was asked about.
        remade: Whether adapting to the history gives the list's scores; not so if ready-made adapters knew other
            events.
        level: The rung of the ladder of words that was asked for.
        detail: How much the words were to say.
        audience: Who was to read them.
        request: What list was asked for.
        history: All that the user had, oldest first.
        seal: As `seal_of` the row. There is no key to it: it tells what was changed without a thought, not by whom.
    """

    format: str
    model: str
    user_id: str
    about: About
    remade: bool
    level: Level
    detail: Detail
    audience: Audience
    request: Request
    history: tuple[KnownEvent, ...]
    seal: str = ""

    def __post_init__(self) -> None:
        if len(self.history) > MOST_EVENTS:
            raise ConfigError(f"a proof has {len(self.history)} events; up to {MOST_EVENTS} can be checked.")

    @classmethod
    def of(
        cls,
        model: str,
        request: ListRequest,
        history: Histories,
        catalog: Catalog,
        *,
        about: "About" = "item",
        remade: bool = True,
        level: Level = "L0",
        detail: Detail = "short",
        audience: Audience = "customer",
        steps: int | None = None,
    ) -> Self:
        """Of one user's request, adapted with so many steps (None: as the model is configured)."""
        user = history.user_ids[0]
        events = zip(
            (catalog.item_ids[row] for row in history.item_rows),
            history.timestamps.tolist(),
            history.signals.tolist(),
            history.tokens.tolist(),
            (rating if isfinite(rating) else None for rating in history.ratings.tolist()),
            strict=True,
        )
        plain = Request.of(request, user, catalog, steps)
        known = tuple(KnownEvent(*event) for event in events)
        return cls(FORMAT, model, user, about, remade, level, detail, audience, plain, known)

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON knows."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Any) -> Self:
        """The inverse of `to_dict`.

        Raises:
            DataError: It has another form.
        """
        try:
            proof = from_mapping(cls, saved, "proof")
        except ValueError as error:
            raise DataError(f"this is no proof that this version can read: {error}") from error
        if proof.format != FORMAT:
            raise DataError(f"this proof has the format {proof.format!r}; this version reads {FORMAT!r}.")
        return proof

    def histories(self, catalog: Catalog, feedback: Feedback) -> Histories:
        """The user's history again.

        Raises:
            DataError: It names an item that the catalog does not have, or a token that the model does not know.
        """
        if any(event.token >= feedback.n_tokens for event in self.history):
            raise DataError(
                f"the proof's history has a token that the model does not know; it has {feedback.n_tokens}."
            )
        rows = catalog.rows([event.item_id for event in self.history])
        if (rows < 0).any():
            unknown = self.history[int(np.argmin(rows))].item_id
            raise DataError(f"the proof's history has item {unknown!r}, which the model's catalog does not have.")
        return Histories(
            (self.user_id,),
            np.array([0, len(rows)], dtype=np.int64),
            rows,
            np.array([event.timestamp for event in self.history], dtype=np.float64),
            np.array([event.signal for event in self.history], dtype=np.int8),
            np.array([event.token for event in self.history], dtype=np.int64),
            ratings=np.array([event.rating for event in self.history], dtype=np.float32),
        )


@final
@dataclass(frozen=True)
class Check:
    """One thing that was computed again, and how it differs (empty: not at all)."""

    name: str
    complaints: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.complaints


@final
@dataclass(frozen=True)
class Verification:
    """What came of checking one explanation.

    Attributes:
        user_id: Whose it is.
        item_id: What it is about.
        checks: What was computed again, and how it differs.
        uncovered: Fields that nothing can be computed for; only the seal tells whether they were changed.
    """

    user_id: str
    item_id: str
    checks: tuple[Check, ...]
    uncovered: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON knows."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        lines = [f"{'PASS' if self.passed else 'FAIL'}  {self.item_id} for {self.user_id}"]
        lines += [f"      {check.name}: {one}" for check in self.checks for one in check.complaints]
        return "\n".join(lines + [f"      not computed again: {', '.join(self.uncovered)}"] * bool(self.uncovered))


def differences(claimed: Any, found: Any, where: str = "evidence") -> list[str]:
    """Where two plain values differ; figures may lie a little apart."""
    if isinstance(claimed, dict) and isinstance(found, dict):
        keys = dict.fromkeys([*found, *claimed])
        pairs = ((claimed.get(key, _MISSING), found.get(key, _MISSING), f"{where}.{key}") for key in keys)
        return [line for pair in pairs for line in differences(*pair)]
    if isinstance(claimed, list) and isinstance(found, list) and len(claimed) == len(found):
        pairs = ((a, b, f"{where}[{place}]") for place, (a, b) in enumerate(zip(claimed, found, strict=True)))
        return [line for pair in pairs for line in differences(*pair)]
    if isinstance(claimed, float | int) and isinstance(found, float) and not isinstance(claimed, bool):
        same = is_close(claimed, found)
    else:
        same = type(claimed) is type(found) and claimed == found
    return [] if same else [f"{where} is said to be {_shown(claimed)}, and is {_shown(found)}"]


def is_close(claimed: float, found: float) -> bool:
    """Whether two figures are the same but for rounding."""
    return math.isclose(claimed, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


class _Missing:
    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80


def _shown(value: Any) -> str:
    text = _BRIEF.repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
