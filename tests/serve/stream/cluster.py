"""A cluster that speaks Kafka's protocol, inside librdkafka: it is lost with its producer, and listens on loopback."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

PARTITIONS = 4


class Cluster:
    """What a stream is read from."""

    def __init__(self) -> None:
        self.producer: Any = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        brokers = self.producer.list_topics(timeout=10).brokers.values()
        self.hosts = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def address(self, topic: str) -> str:
        return f"kafka://{self.hosts}/{topic}"

    def send(self, topic: str, *values: Any, partition: int = 0, at: float | None = None) -> None:
        """Send messages; what is not of bytes, as JSON."""
        more = {} if at is None else {"timestamp": int(at * 1000)}
        for value in values:
            said = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            self.producer.produce(topic, said, partition=partition, **more)
        assert self.producer.flush(10) == 0


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    del cluster.producer
