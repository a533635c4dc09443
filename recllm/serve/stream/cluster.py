"""A topic, partition by partition, from where each was left."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, final

from recllm.errors import ConfigError, DataError, UnreachableError, require
from recllm.serve.stream.address import StreamAddress

AT_ONCE = 500
"""Messages that are read together."""

HEARING = 0.5
"""Seconds to wait for the next message."""

LOOK = 30.0
"""Seconds after which new partitions are looked for."""

_ANSWERING = 5.0


@final
class Topic:
    """All partitions of a topic, read by one consumer that belongs to no group: where it stands is for others to keep.

    Args:
        address: Of the stream.
        offsets: Where to begin, by partition; a partition that is not named is read from its beginning.

    Attributes:
        lost: Messages that were gone when their turn came.
        trouble: Why nothing comes for now; empty where nothing is known to be in the way.

    Raises:
        ConfigError: A setting is none of librdkafka's.
    """

    def __init__(self, address: StreamAddress, offsets: Mapping[int, int]) -> None:
        self._kafka: Any = require("confluent_kafka", "scale")
        self._address = address
        self._next = dict(offsets)
        self._looked = -LOOK
        self._partitions: set[int] = set()
        self.lost = 0
        self.trouble = ""
        settings = {
            **address.settings,
            "bootstrap.servers": address.hosts,
            "group.id": "recllm",  # which librdkafka wants, and nothing is ever committed to
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "reconnect.backoff.max.ms": 2_000,
            "log_level": 0,
            "error_cb": self._noted,
        }
        try:
            self._consumer: Any = self._kafka.Consumer(settings)
        except self._kafka.KafkaException as error:
            raise ConfigError(f"the stream cannot be read with these settings ({error.args[0].str()}).") from error

    def read(self) -> Sequence[Any]:
        """The next messages, without errors; none if none came for a while.

        Raises:
            UnreachableError: The cluster cannot be asked, or has no such topic.
        """
        if self.trouble or time.monotonic() >= self._looked + LOOK:
            self._look()
        found = []
        for message in self._consumer.consume(AT_ONCE, HEARING):
            error = message.error()
            if error is None:
                # What was fetched before it was told to go elsewhere is passed over.
                if message.offset() >= self._next.get(message.partition(), 0):
                    found.append(message)
            elif error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:
                self._looked = -LOOK
        return found

    def passed(self, offsets: Mapping[int, int]) -> None:
        """Messages before these offsets are kept."""
        self._next |= offsets

    def go_back(self) -> None:
        """Read again what was not kept."""
        self._assign()

    def behind(self) -> int:
        """Messages that are there and not kept, as far as is known; asked by the thread that reads, and by no other."""
        left = 0
        for partition in self._partitions:
            place = self._kafka.TopicPartition(self._address.topic, partition)
            try:
                low, high = self._consumer.get_watermark_offsets(place, cached=True)
            except (self._kafka.KafkaException, RuntimeError):
                continue
            left += max(0, high - max(self._next.get(partition, 0), low, 0))
        return left

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _look(self) -> None:
        topic = self._address.topic
        try:
            found = self._consumer.list_topics(topic, _ANSWERING).topics[topic]
        except self._kafka.KafkaException as error:
            raise self._away(error.args[0].str()) from error
        if found.error is not None:
            raise self._away(found.error.str())
        self._check_places(set(found.partitions) & set(self._next))
        self._looked, self.trouble = time.monotonic(), ""
        if set(found.partitions) != self._partitions:
            self._partitions = set(found.partitions)
            self._assign()

    def _check_places(self, partitions: set[int]) -> None:
        """Some brokers wait in silence for a place that is not there: so it is asked for."""
        for partition in sorted(partitions):
            place = self._kafka.TopicPartition(self._address.topic, partition)
            try:
                low, high = self._consumer.get_watermark_offsets(place, _ANSWERING)
            except self._kafka.KafkaException as error:
                raise self._away(error.args[0].str()) from error
            if not low <= self._next[partition] <= high:
                self._begin_anew(partition, low)

    def _assign(self) -> None:
        beginning = self._kafka.OFFSET_BEGINNING
        self._consumer.assign(
            [
                self._kafka.TopicPartition(self._address.topic, partition, self._next.get(partition, beginning))
                for partition in sorted(self._partitions)
            ]
        )

    def _begin_anew(self, partition: int, low: int) -> None:
        """What is asked for is not there: it was deleted as too old, or the topic was made anew."""
        self.lost += max(0, low - self._next.get(partition, low))
        self._next[partition] = low
        self._assign()

    def _noted(self, error: Any) -> None:
        if error.code() == self._kafka.KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self.trouble = str(self._away(error.str()))

    def _away(self, said: str) -> UnreachableError:
        return UnreachableError(f"the stream {self._address.name} cannot be read ({said}).")


def source_of(message: Any) -> str:
    """Where a message stands, for people and for names."""
    return f"{message.topic()}[{message.partition()}]@{message.offset()}"


def sent_at(message: Any) -> float:
    """When a message was sent, unix seconds; where the cluster does not say, now.

    Raises:
        DataError: It lies before 1970 or more than a day ahead.
    """
    kind, milliseconds = message.timestamp()
    now = time.time()
    if kind == 0:
        return now
    if not 0 <= milliseconds / 1000 <= now + 86_400:
        raise DataError(f"the message was sent at {milliseconds} ms, which lies before 1970 or more than a day ahead.")
    return milliseconds / 1000
