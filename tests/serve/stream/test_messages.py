"""What a message may be, and what is said of one that is none."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import ConfigError, DataError
from recllm.serve.state.records import Event
from recllm.serve.stream.address import StreamAddress
from recllm.serve.stream.messages import LARGEST, events_of


def read(value: Any, source: str = "shop[0]@7", at: float = 5.0) -> list[Event]:
    return list(events_of(json.dumps(value).encode(), source, at))


def test_events_in_every_shape_and_arrays_of_them() -> None:
    own = {"event_id": "e", "user_id": "ann", "item_id": "lamp", "timestamp": 3, "kind": "view", "rating": 4}
    gorse = {"FeedbackType": "buy", "UserId": "bob", "ItemId": "mug", "Timestamp": "2026-01-01T00:00:00Z"}
    assert read(own) == [Event("e", "ann", "lamp", 3.0, "view", 4.0)]
    assert [one.user_id for one in read([own, gorse])] == ["ann", "bob"]


def test_what_has_no_name_and_no_time_gets_both_from_its_place() -> None:
    plain = {"user_id": "ann", "item_id": "lamp"}
    first, second = read([plain, plain])
    assert (first.timestamp, first.dated) == (5.0, False)
    assert first.event_id != second.event_id
    assert read([plain, plain]) == [first, second], "read again, they are the same"
    assert read(plain, "shop[0]@8")[0].event_id != first.event_id
    assert read({**plain, "event_id": "mine"})[0].event_id == "mine"
    dated = {**plain, "timestamp": 3}
    assert read(dated, "shop[0]@8") == read(dated), "what follows from the content counts once, wherever it stands"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the message is empty"),
        (b"", "the message is empty"),
        (b"\xff\xfe", "the message is no JSON"),
        (b"{", "the message is no JSON"),
        (b"7", "message"),
        (b'{"user_id": "ann"}', "item_id is missing"),
        (b'{"user_id": "ann", "item_id": "lamp", "colour": 1}', "colour is not known here"),
        (b'{"user_id": "ann", "item_id": "lamp", "timestamp": -1}', "timestamp"),
        (b'{"user_id": "a\\u0000", "item_id": "lamp"}', "user_id"),
        (b'[{"user_id": "ann", "item_id": "lamp"}, 3]', r"^\[1\]: should be an object; got 3"),
        (json.dumps([{"user_id": "ann", "item_id": "lamp"}] * 1_001).encode(), "1000 items"),
        (b" " * (LARGEST + 1), "bytes; send at most 1,000,000"),
    ],
)
def test_what_is_no_event_is_said_in_a_sentence(value: bytes | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        events_of(value, "shop[0]@7", 5.0)
    assert "\n" not in str(caught.value)


@given(st.one_of(st.binary(max_size=60), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_bytes_are_events_or_a_sentence(value: bytes | str) -> None:
    with contextlib.suppress(DataError):
        events_of(value if isinstance(value, bytes) else value.encode(), "shop[0]@7", 5.0)


def test_addresses() -> None:
    address = StreamAddress.of("kafka://a:1,b.example:9092/shop.events?sasl.username=u&sasl.password=s3cret")
    assert (address.hosts, address.topic, address.settings["sasl.username"]) == (
        "a:1,b.example:9092",
        "shop.events",
        "u",
    )
    assert "s3cret" not in f"{address} {address.name}"


@pytest.mark.parametrize(
    "text",
    [
        "http://a:1/shop",
        "a:1/shop",
        "kafka://a/shop",
        "kafka://a:1",
        "kafka://a:1/",
        "kafka://a:1/x/y",
        "kafka://me@a:1/x",
        "kafka://a:1/shop?group.id=mine",
        "kafka://a:1/shop?plugin.library.paths=evil.so",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        StreamAddress.of(text)
