"""What may be said about a recommendation. Words are made from evidence and from nothing else."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from recllm.config import from_mapping, to_mapping

ReasonCode = Literal["history", "asked", "popular", "cold_start", "profile", "promoted", "weak", "owned"]


@dataclass(frozen=True)
class Cause:
    """A history item that pushes the recommendation up, or, as `Evidence.against`, down.

    Attributes:
        contribution: What it does to the recommended item's score: the mean of how much goes when this history item is
            taken out of the whole history, and how much comes when it is all that is known.
        share: The contribution over the sum of all contributions of its sign, 0 to 1.
        event: The name of the user's event with it, "rating" for a rating, None if the log does not say.
        editions: Other items of the history that are the same thing (duplicates, editions) and were left out with it.
    """

    item_id: str
    title: str
    contribution: float
    share: float
    event: str | None = None
    editions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Span:
    """Where a text stands in the catalog: characters `start` to `end` of an item's field.

    Attributes:
        field: A column of the catalog.
        entry: Which entry, where the column holds lists; else None.
    """

    item_id: str
    field: str
    start: int
    end: int
    entry: int | None = None


@dataclass(frozen=True)
class SharedAttribute:
    """Something that the recommended item has in common with cited items, word by word in the catalog.

    Attributes:
        kind: "title" for words that titles share, else the column whose value is shared.
        value: As it stands in the recommended item's text.
        item_ids: The cited items that share it.
        spans: Where it stands: first in the recommended item, then in each cited one.
    """

    kind: str
    value: str
    item_ids: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Counterfactual:
    """Without these history items, and everything computed anew, the item would not be in the list.

    Attributes:
        item_ids: What is taken out of the history.
        titles: Their titles.
        instead_id: The best item that would then be in the list and is not now; None if there is none.
        instead_title: Its title.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    instead_id: str | None = None
    instead_title: str | None = None


@dataclass(frozen=True)
class Likewise:
    """Another recommendation to the same user, of which the same is to be said."""

    item_id: str
    title: str


@dataclass(frozen=True)
class Evidence:
    """All that may be said about one recommendation.

    Attributes:
        title: Of the recommended item.
        reason_code: "history" (the history lifts it), "asked" (it is there because of a wish of the user's), "popular"
            (it would be there without the history, and is popular), "weak" (it is neither),
            "cold_start" (there is no history), "profile" (there is none, and without the user's profile it would not be
            in the list; which of its values, is not said), "promoted" (whoever runs the list has pinned it, or boosted
            it into the list; of the history nothing is said then), "owned" (the user has the item; the causes are other
            history items that raise its score).
        causes: The cited history items, strongest first; empty unless the reason is "history" or "owned".
        whole: Whether it is the history as a whole that carries the item: no small part of it does. The causes are then
            the strongest of it, where they may be named.
        attributes: What the item shares with them.
        counterfactual: A small set of history items without which it would not be in the list; None: no small set.
        against: The history item that lowers its score most, if by much.
        same_as: A recommendation that stands before this one and has the same reason, if there is one.
        wishes: The user's wishes that raised its score, in their words.
        channel: What retrieved the item, if known.
        confidence: 0 to 1, how strongly the history raises the score: x / (1 + x), where x is the sum of positive
            contributions in standard deviations of the user's scores. 0 without a history.
        popularity_rank: Share of the catalog's items that are less popular, 0 to 1.
        popular: Whether the item is in the most popular tenth of the catalog.
        n_events: Events of the history.
        n: Length of the list that the counterfactual speaks of.
        place: The item's place, from 1, in the user's list if that is long enough to hold everything that may be
            listed; `diversity` apart. None without a history, and for what may not be listed, such as what the user
            has.
        place_without_history: The same, had the user no history: as `recommend(…, without=…)` with all of it lists.
    """

    user_id: str
    item_id: str
    title: str
    reason_code: ReasonCode
    causes: tuple[Cause, ...]
    channel: str | None
    confidence: float
    popularity_rank: float
    popular: bool
    n_events: int
    n: int = 10
    attributes: tuple[SharedAttribute, ...] = ()
    counterfactual: Counterfactual | None = None
    against: Cause | None = None
    whole: bool = False
    same_as: Likewise | None = None
    wishes: tuple[str, ...] = ()
    place: int | None = None
    place_without_history: int | None = None

    @property
    def share(self) -> float:
        """The cited items' share of all positive contributions to the score, 0 to 1."""
        return min(1.0, sum((cause.share for cause in self.causes), 0.0))

    def to_dict(self) -> dict[str, Any]:
        """The evidence in types that JSON knows."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: A field is missing, unknown or of another type.
        """
        return from_mapping(cls, saved, "evidence")
