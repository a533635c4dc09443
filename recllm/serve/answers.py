"""What is asked of a server and what it answers, in plain types; `live` makes them, `web` and `page` show them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Ask:
    """How a list shall be; the words are those of `Recommender.recommend`.

    Attributes:
        n: Its length.
        offset: How many of the best are passed over.
        category: Only items with one of these values in the catalog's column `categories`.
        filters: Further columns and what is wanted of them.
        exclude: Items to leave out.
        exclude_seen: Leave out what the user already has.
        candidates: Only these items; None: all.
        explain: Give reasons.
        diversity: 0 for the best scores, up to 1 for the greatest variety.
        without: What is left out of the history, as if it had not happened: items, and values of columns.
        wishes: "more of Garden", "never of Candles".
        by: What orders the list: "history", "similarity" or "rating".
        rules: Further arguments: `caps`, `ceilings`, `pinned` …; see `recllm.ranking.asked.Rules`.
    """

    n: int = 10
    offset: int = 0
    category: tuple[str, ...] = ()
    filters: Mapping[str, Any] | None = None
    exclude: tuple[str, ...] = ()
    exclude_seen: bool = True
    candidates: tuple[str, ...] | None = None
    explain: bool = False
    diversity: float = 0.0
    without: tuple[str, ...] = ()
    wishes: tuple[str, ...] = ()
    by: Literal["history", "similarity", "rating"] = "history"
    rules: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Line:
    """One line of a list.

    Attributes:
        item_id: The item.
        rank: Its place in the whole list, from 1.
        score: On the scale of `Recommender.score`.
        title: For people.
        channel: Which channel did most for it.
        propensity: How probable it was at this place; 1 where nothing is drawn.
        reason: Why, in words; None unless reasons were asked for.
        reason_code: Its kind.
        evidence: What the words were made from.
    """

    item_id: str
    rank: int
    score: float
    title: str = ""
    channel: str = ""
    propensity: float = 1.0
    reason: str | None = None
    reason_code: str | None = None
    evidence: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """A list as it was answered.

    Attributes:
        recommendation_id: Its name; events that come of it bring it back.
        user_id: Whose it is; None for a session without a name.
        version: Of the model.
        as_of_event: Number of the newest event that it knows of.
        policy: What made it: `ranking`, `popular` (the server only watches), or `fallback`.
        at: When, unix seconds.
        items: The lines.
        notes: What is left out, in sentences.
    """

    recommendation_id: str
    user_id: str | None
    version: str
    as_of_event: int
    policy: str
    at: float
    items: tuple[Line, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A titled row of a page.

    Attributes:
        title: For people.
        kind: `for_you`, `because`, `popular`, `new` or `category`.
        about: The item or value that it is about; None where it is about none.
        items: The lines; none of them is in another row.
    """

    title: str
    kind: str
    about: str | None
    items: tuple[Line, ...]


@dataclass(frozen=True)
class Page:
    """Several rows for one user: see `Answer`."""

    recommendation_id: str
    user_id: str | None
    version: str
    as_of_event: int
    at: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Shift:
    """An item of a list before or after a change; a place of None: not in that list."""

    item_id: str
    title: str
    rank_before: int | None
    rank_after: int | None


@dataclass(frozen=True)
class Taken:
    """What became of events that were sent.

    Attributes:
        accepted: New ones, which are durable and count.
        known: Those that were here already, and were passed over.
        replaced: Those that took the place of an earlier one of the same id.
        waiting: Of the accepted: about items that are not in the catalog; they count as soon as the item comes.
        as_of_event: Number of the newest event that answers know of now.
    """

    accepted: int
    known: int
    replaced: int
    waiting: int
    as_of_event: int


@dataclass(frozen=True)
class Reason:
    """Why an item was in an answered list.

    Attributes:
        as_of_event: Of the list: the history is the one that it was made from.
        version: Of the model that explained it.
        same_state: Whether nothing that is counted has changed since the list was made; else the history is that of
            the list, and the counts are newer.
        row: A line of `Recommender.explain`, as a dictionary, with its proof.
    """

    recommendation_id: str
    item_id: str
    as_of_event: int
    version: str
    same_state: bool
    row: Mapping[str, Any] = field(default_factory=dict)
