"""Events as they come: recllm's own shape, Gorse's, and that of User Behavior Insights (UBI)."""

import dataclasses
import hashlib
import json
import math
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from recllm.errors import DataError
from recllm.serve.state.records import Event
from recllm.serve.web.fields import Body, Id, Kind, LongText, Number

DAY = 86_400.0
MILLISECONDS = 1e11
"""Numbers from here on are milliseconds: as seconds they would lie in the year 5138."""

Time = (
    Annotated[float, Field(ge=0, allow_inf_nan=False)]
    | Annotated[str, StringConstraints(max_length=40), Field(json_schema_extra={"format": "date-time"})]
)
TIME = "Unix seconds, milliseconds (from 1e11 on), or ISO 8601; missing: now. At most a day ahead."


def seconds(value: float | str) -> float:
    """Unix seconds of a time that came from outside.

    Raises:
        DataError: It is no time, lies before 1970 or more than a day ahead.
    """
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value.strip())
            found = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise DataError(
                f"{value[:40]!r} is no time; write unix seconds, or ISO 8601 such as 2026-11-27T08:30:00Z."
            ) from None
    else:
        found = value / 1000 if value >= MILLISECONDS else float(value)
    if not math.isfinite(found) or not 0 <= found <= time.time() + DAY:
        raise DataError(f"the time {str(value)[:40]} lies before 1970 or more than a day ahead; send when it happened.")
    return found


def named(event: Event) -> Event:
    """The event with a name, if it has none: one that follows from its content where it was dated, else a new one."""
    if event.event_id:
        return event
    if event.dated:
        content = json.dumps([event.user_id, event.item_id, event.kind, event.timestamp])
        name = "c-" + hashlib.sha256(content.encode()).hexdigest()[:32]
    else:
        name = "r-" + uuid.uuid4().hex
    return dataclasses.replace(event, event_id=name)


def made(event_id: str | None, user_id: str, item_id: str, when: float | str | None, kind: str, **more: Any) -> Event:
    """An event with a time and a name."""
    at = time.time() if when is None else seconds(when)
    return named(Event(event_id or "", user_id, item_id, at, kind, **more, dated=when is not None))


class OwnEvent(Body):
    """Something a user did with an item."""

    event_id: Id | None = Field(
        None,
        description="Your name for it; sent twice, it counts once. Missing: it follows from user, item, kind and "
        "timestamp where there is a timestamp; else the event is taken for a new one.",
    )
    user_id: Id
    item_id: Id
    timestamp: Time | None = Field(None, description=TIME)
    kind: Kind = Field("", description="What happened.", examples=["purchase"])
    rating: Number | None = Field(None, description="Stars.")
    weight: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="How much it counts; null: as much as any."
    )
    recommendation_id: Id | None = Field(None, description="The answered list that it came of.")

    def event(self) -> Event:
        """As it is kept."""
        more = {"rating": self.rating, "weight": self.weight, "recommendation_id": self.recommendation_id}
        return made(self.event_id, self.user_id, self.item_id, self.timestamp, self.kind, **more)


class GorseEvent(Body):
    """Feedback as Gorse's clients send it; a `Value` of 0 says nothing, and a `Comment` is not kept."""

    FeedbackType: Kind
    UserId: Id
    ItemId: Id
    Value: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    Timestamp: Time | Literal[""] | None = Field(
        None, description=f"{TIME} Gorse's clients write an empty text for now."
    )
    Comment: LongText | None = None

    def event(self) -> Event:
        """As it is kept."""
        when = None if self.Timestamp == "" else self.Timestamp
        return made(None, self.UserId, self.ItemId, when, self.FeedbackType, weight=self.Value or None)


class UbiObject(Body):
    """What a UBI event is about; further fields are passed over."""

    model_config = ConfigDict(extra="ignore")

    object_id: Id


class UbiAttributes(Body):
    """Of a UBI event; further fields are passed over."""

    model_config = ConfigDict(extra="ignore")

    object: UbiObject


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


class UbiEvent(Body):
    """An event of User Behavior Insights; `query_id` is the `recommendation_id` of the list that it came of."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_given("user_id"), _given("client_id")]})

    action_name: Kind
    client_id: Id | None = None
    user_id: Id | None = Field(None, description="Wins over `client_id`; one of the two is needed.")
    query_id: Id | None = None
    timestamp: Time | None = Field(None, description=TIME)
    event_attributes: UbiAttributes
    application: LongText | None = None
    session_id: LongText | None = None
    message: LongText | None = None
    message_type: LongText | None = None
    user_query: LongText | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user_id is None and self.client_id is None:
            raise ValueError("user_id or client_id is needed; say whose event it is.")
        return self

    def event(self) -> Event:
        """As it is kept."""
        user_id = self.user_id or self.client_id or ""
        item_id = self.event_attributes.object.object_id
        return made(None, user_id, item_id, self.timestamp, self.action_name, recommendation_id=self.query_id)


def _shape(value: Any) -> str:
    names = value if isinstance(value, Mapping) else {}
    if "action_name" in names or "event_attributes" in names:
        return "ubi"
    return "gorse" if names and all(isinstance(name, str) and name[:1].isupper() for name in names) else "own"


AnyEvent = Annotated[
    Annotated[OwnEvent, Tag("own")] | Annotated[GorseEvent, Tag("gorse")] | Annotated[UbiEvent, Tag("ubi")],
    Discriminator(_shape),
]
