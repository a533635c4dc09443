"""A reason as the page shows it: in words, with its causes, and what would be there without them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHORT = {
    "popular": "Popular with everyone",
    "cold_start": "Popular with everyone",
    "profile": "Taken by people with a profile like yours",
    "promoted": "Promoted",
    "weak": "A guess: nothing you picked stands out as the cause",
}


@dataclass(frozen=True)
class Cause:
    """A pick that lifts the item.

    Attributes:
        percent: Its share of all that lifts it, 0 to 100.
        strike: The address in which it does not count.
    """

    title: str
    percent: int
    strike: str


@dataclass(frozen=True)
class Told:
    """Why an item is in the list.

    Attributes:
        words: The reason as it was checked.
        causes: Strongest first.
        alike: What its text shares with theirs, word by word.
        without: Titles of the causes without which it would not be in the list.
        instead: What would then come in; None if that is not known.
        place: In the whole ranking, from 1; None if it has none.
        place_without: The same without any pick.
        n: Length of the list that `without` speaks of.
    """

    words: str
    causes: tuple[Cause, ...] = ()
    alike: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    instead: str | None = None
    place: int | None = None
    place_without: int | None = None
    n: int = 0

    def says(self, text: str) -> bool:
        """Whether the words name it already."""
        return text.casefold() in self.words.casefold()


def tell(row: Mapping[str, Any], strike: Callable[[Sequence[str]], str]) -> Told:
    """From a row of `Recommender.explain`; `strike` makes the address in which items do not count."""
    evidence = row.get("evidence") or {}
    causes = tuple(
        Cause(
            title=_named(cause),
            percent=round(100 * float(cause.get("share", 0))),
            strike=strike((str(cause["item_id"]), *map(str, cause.get("editions") or ()))),
        )
        for cause in evidence.get("causes") or ()
    )
    fall = evidence.get("counterfactual") or {}
    return Told(
        words=str(row.get("explanation") or ""),
        causes=causes,
        alike=tuple(dict.fromkeys(str(shared["value"]) for shared in evidence.get("attributes") or ())),
        without=tuple(map(str, fall.get("titles") or ())),
        instead=fall.get("instead_title") or None,
        place=evidence.get("place"),
        place_without=evidence.get("place_without_history"),
        n=int(evidence.get("n") or 0),
    )


def in_short(row: Mapping[str, Any]) -> str:
    """A few words for a line of the list; the whole reason stands behind "why?"."""
    evidence = row.get("evidence") or {}
    causes = [_named(cause) for cause in evidence.get("causes") or ()]
    code = row.get("reason_code")
    if code == "asked" and evidence.get("wishes"):
        return "You asked: " + ", ".join(map(str, evidence["wishes"]))
    if evidence.get("whole"):
        return "From your picks as a whole"
    if causes:
        more = f" and {len(causes) - 1} more" if len(causes) > 1 else ""
        return f"Because of “{causes[0]}”{more}"
    if code == "cold_start" and not evidence.get("popular"):
        return "A first guess"
    return _SHORT.get(str(code)) or str(row.get("explanation") or "")


def _named(cause: Mapping[str, Any]) -> str:
    return str(cause.get("title") or cause["item_id"])
