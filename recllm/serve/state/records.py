"""What is kept, in plain types."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did with an item.

    Attributes:
        event_id: The sender's name for it, or one that follows from its content; sent twice, it counts once.
        timestamp: When it happened, unix seconds.
        kind: What happened: "purchase", "view" …; "" where that is not said.
        rating: Stars; None where there are none.
        weight: How much it counts; None: as much as any.
        recommendation_id: The answered list that it came of; None if of none.
        dated: Whether the time was sent; else it is when the event came, and another one when it is sent again.
    """

    event_id: str
    user_id: str
    item_id: str
    timestamp: float
    kind: str = ""
    rating: float | None = None
    weight: float | None = None
    recommendation_id: str | None = None
    dated: bool = field(default=True, compare=False)


def fields_of(event: Event) -> dict[str, Any]:
    """What is kept of an event, by name."""
    return {name: value for name, value in asdict(event).items() if name != "dated"}


class Stored(NamedTuple):
    """An event with its number: 1, 2, 3 … in the order of being taken in, with gaps where some were erased."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Added:
    """What became of events: the new ones with their numbers, how many were known, and which were replaced.

    Attributes:
        replaced: Old and new events; the new one has the number of the old.
    """

    new: Sequence[Stored] = ()
    known: int = 0
    replaced: Sequence[tuple[Event, Stored]] = ()


@dataclass(frozen=True, slots=True)
class Aside:
    """A message of a stream that is no event, kept so that somebody can look at it.

    Attributes:
        source: Where it stands: topic, partition and offset.
        at: When it came, unix seconds.
        problem: What is wrong with it, in a sentence.
        message: What it was, or how it began.
    """

    source: str
    at: float
    problem: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Impression:
    """A list that was answered.

    Attributes:
        user_id: None for a session without a name.
        at: Unix seconds.
        kind: The route: "recommend", "session", "rank", "page" …
        version: Of the model.
        as_of_event: Number of the newest event that it knew of.
        policy: What made it.
        request: What was asked for.
        items: {"item_id", "rank", "score", "channel", "propensity"} of each line, in order.
        instead: For a server that only watches: the item ids that the ranking would have given.
    """

    recommendation_id: str
    user_id: str | None
    at: float
    kind: str
    version: str
    as_of_event: int
    policy: str
    request: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]
    instead: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item that was sent to the server.

    Attributes:
        fields: Its columns, as they came.
        hidden: Whether it stays out of lists.
    """

    item_id: str
    fields: Mapping[str, Any]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What is known of a user beside events.

    Attributes:
        fields: The profile, as it came.
        exclude: Items that are never listed to this user.
    """

    user_id: str
    fields: Mapping[str, Any]
    exclude: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """A user's own adapter.

    Attributes:
        base: Fingerprint of the model it belongs to.
        as_of_event: Number of the newest of the user's events in it.
        blob: A safetensors file.
        sha256: Of the blob.
    """

    user_id: str
    base: str
    as_of_event: int
    blob: bytes
    sha256: str
