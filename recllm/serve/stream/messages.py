"""What a message of a stream says: an event or an array of them, in any shape that `/api/feedback` takes."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import FailFast, Field, TypeAdapter, ValidationError

from recllm.errors import DataError
from recllm.serve.state.records import Event
from recllm.serve.web.events import AnyEvent
from recllm.serve.web.reply import sentence

MOST = 1_000
"""Events in one message."""

LARGEST = 1_000_000
"""Bytes of a message."""

_ONE: TypeAdapter[Any] = TypeAdapter(AnyEvent)
_MANY: TypeAdapter[Any] = TypeAdapter(Annotated[list[AnyEvent], FailFast(), Field(max_length=MOST)])


def events_of(value: bytes | None, source: str, at: float) -> Sequence[Event]:
    """The events of a message. Read again, they are the same.

    Args:
        value: As it came.
        source: Which message of all it is; an event without a name and a time of its own is named after it.
        at: When it was sent, unix seconds: the time of events that have none.

    Raises:
        DataError: It is none.
    """
    if not value:
        raise DataError("the message is empty; send an event as JSON.")
    if len(value) > LARGEST:
        raise DataError(f"the message has {len(value):,} bytes; send at most {LARGEST:,}.")
    try:
        found = _MANY.validate_json(value) if value.lstrip()[:1] == b"[" else [_ONE.validate_json(value)]
    except ValidationError as error:
        errors: list[Any] = [{**one, "loc": ("message", *one["loc"])} for one in error.errors()]
        raise DataError(sentence(errors).replace("the body is no JSON", "the message is no JSON")) from error
    return [_placed(one, source, number, at) for number, one in enumerate(found)]


def _placed(one: Any, source: str, number: int, at: float) -> Event:
    event: Event = one.event()
    if event.dated:
        return event
    name = event.event_id
    if getattr(one, "event_id", None) is None:
        name = "k-" + hashlib.sha256(f"{source}#{number}".encode()).hexdigest()[:32]
    return dataclasses.replace(event, event_id=name, timestamp=at)
