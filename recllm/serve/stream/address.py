"""Which stream."""

import re
from dataclasses import dataclass, field
from typing import Self, final
from urllib.parse import parse_qsl

from recllm.errors import ConfigError

_WRITE = "write kafka://host:9092/topic; several hosts with commas between them"
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_HOSTS = re.compile(r"[^/@,\s]+:\d+(,[^/@,\s]+:\d+)*")

ALLOWED = ("security.", "sasl.", "ssl.", "client.", "socket.", "fetch.", "broker.address.family")
"""What an address may set of librdkafka, such as `security.protocol=SASL_SSL`."""


@final
@dataclass(frozen=True)
class StreamAddress:
    """A topic of a cluster.

    Attributes:
        hosts: Where to ask for the cluster.
        topic: What is read, all of its partitions.
        settings: Of librdkafka; they may hold a password.
    """

    hosts: str
    topic: str
    settings: dict[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Self:
        """Read `kafka://host:9092,host:9092/topic?security.protocol=SASL_SSL&sasl.username=…`.

        Raises:
            ConfigError: It is none.
        """
        place, _, query = text.partition("?")
        kind, _, rest = place.partition("://")
        hosts, _, topic = rest.partition("/")
        if kind != "kafka":
            raise ConfigError(f"{kind[:20]!r} names no kind of stream; {_WRITE}.")
        if not _HOSTS.fullmatch(hosts):
            raise ConfigError(f"the hosts of the stream are not written as host:port; {_WRITE}.")
        if not _TOPIC.fullmatch(topic):
            raise ConfigError(f"{topic[:40]!r} is no topic; {_WRITE}.")
        settings = dict(parse_qsl(query, keep_blank_values=True))
        for name in settings:
            if not name.startswith(ALLOWED):
                raise ConfigError(
                    f"{name[:40]!r} is no setting of a stream's connection; those of librdkafka that begin with "
                    f"{', '.join(ALLOWED)} are."
                )
        return cls(hosts, topic, settings)

    @property
    def name(self) -> str:
        """For sentences; it holds no password."""
        return f"{self.topic} at {self.hosts}"
