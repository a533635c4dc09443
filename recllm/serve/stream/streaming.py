"""Takes events from a stream into what answers."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final

from recllm.errors import ConflictError, DataError, RecllmError
from recllm.serve.state.reading import Reading
from recllm.serve.state.records import Aside, Event
from recllm.serve.state.writing import Transaction
from recllm.serve.stream.address import StreamAddress
from recllm.serve.stream.cluster import Topic, sent_at, source_of
from recllm.serve.stream.messages import events_of

if TYPE_CHECKING:
    from recllm.serve.live.taking import Taking

T = TypeVar("T")

log = logging.getLogger("recllm.serve")

AGAIN = 1.0
"""Seconds after which it is tried again, where the stream or what keeps events is away."""

_FACT = "stream:"

KEPT = 10_000
"""Bytes of a message that is kept aside."""


@final
@dataclass(frozen=True)
class StreamFigures:
    """How far a stream was read; a fact of the store, which changes in one transaction with the events.

    Attributes:
        offsets: Of the next message, by partition.
        events: How many were read, known ones included.
        aside: How many messages were none.
    """

    offsets: Mapping[int, int]
    events: int = 0
    aside: int = 0

    @classmethod
    def of(cls, store: Reading, topic: str) -> "StreamFigures":
        """As the store has them."""
        return cls.all(store).get(topic, cls({}))

    @classmethod
    def all(cls, store: Reading) -> "dict[str, StreamFigures]":
        """Of every topic that was read, by its name."""
        return {
            topic: cls({int(name): place for name, place in fact["offsets"].items()}, fact["events"], fact["aside"])
            for topic, fact in store.facts(_FACT).items()
        }

    def after(self, offsets: Mapping[int, int], events: int, aside: int) -> "StreamFigures":
        """When so much more was read."""
        return StreamFigures({**self.offsets, **offsets}, self.events + events, self.aside + aside)

    def keep(self, change: Transaction, topic: str) -> None:
        """Write them down."""
        offsets = {str(partition): offset for partition, offset in sorted(self.offsets.items())}
        change.put_fact(f"{_FACT}{topic}", {"offsets": offsets, "events": self.events, "aside": self.aside})


@final
class Streaming:
    """A thread that reads a topic. An event becomes durable together with the place after it: it counts once.

    Args:
        address: Of the stream.
        taking: Takes events in.
        store: Where they are kept.

    Attributes:
        figures: How far it was read.
        behind: Messages that are there and not taken in yet, as far as is known.
    """

    def __init__(self, address: StreamAddress, taking: "Taking", store: Reading) -> None:
        self._address, self._taking = address, taking
        self.figures = StreamFigures.of(store, address.topic)
        self._topic = Topic(address, self.figures.offsets)
        self.behind = 0
        self._done = threading.Event()
        self._troubles = {"reading": "", "keeping": ""}
        self._thread = threading.Thread(target=self._run, name="recllm-stream", daemon=True)
        self._thread.start()

    @property
    def topic(self) -> str:
        """What is read."""
        return self._address.topic

    @property
    def trouble(self) -> str:
        """Why nothing comes for now; empty where nothing is known to be in the way."""
        return self._troubles["keeping"] or self._troubles["reading"] or self._topic.trouble

    def close(self) -> None:
        """Take in what was read, and stop."""
        self._done.set()
        self._thread.join()
        self._topic.close()

    def _run(self) -> None:
        while not self._done.is_set():
            messages = self._tried("reading", self._read_on)
            if messages:
                self._tried("keeping", partial(self._take, messages))

    def _tried(self, what: str, call: Callable[[], T]) -> T | None:
        """Do it; where it fails, say once what is in the way, and begin again later after what was kept."""
        try:
            result = call()
        except Exception as error:
            ours = isinstance(error, RecllmError)
            trouble = str(error) if ours else f"{what} a stream failed ({type(error).__name__})."
            if trouble != self._troubles.get(what):
                log.warning("%s It is tried again every second.", trouble, exc_info=None if ours else error)
            self._troubles[what] = trouble
            self._done.wait(AGAIN)
            self._topic.go_back()
            return None
        self._troubles[what] = ""
        return result

    def _read_on(self) -> Sequence[Any]:
        lost = self._topic.lost
        messages = self._topic.read()
        if self._topic.lost > lost:
            log.warning(
                "%d messages of %s were deleted before they were read; let it keep them for longer.",
                self._topic.lost - lost,
                self._address.name,
            )
        self.behind = self._topic.behind()
        return messages

    def _take(self, messages: Sequence[Any]) -> None:
        try:
            self._keep(messages)
        except (ConflictError, DataError):
            # One of them cannot be kept beside what is: each stands alone, then.
            for message in messages:
                try:
                    self._keep([message])
                except (ConflictError, DataError) as error:
                    self._keep([message], error)

    def _keep(self, messages: Sequence[Any], problem: Exception | None = None) -> None:
        """Keep messages, all or none.

        Args:
            messages: As they came.
            problem: Why the one message has to be kept aside.

        Raises:
            ConflictError: An event is here already with another content.
            DataError: A text cannot be kept.
            ServeError: They are not kept, for now.
        """
        events: list[Event] = []
        aside: list[Aside] = []
        for message in messages:
            found = problem or self._read(message)
            if isinstance(found, Exception):
                value = (message.value() or b"")[:KEPT]
                aside.append(Aside(source_of(message), time.time(), " ".join(str(found).split()), value))
            else:
                events += found
        offsets = {message.partition(): message.offset() + 1 for message in messages}
        after = self.figures.after(offsets, len(events), len(aside))

        def also(change: Transaction) -> None:
            change.put_aside(aside)
            after.keep(change, self.topic)

        self._taking.feedback(events, also=also).result()
        self.figures = after
        self._topic.passed(offsets)
        self.behind = self._topic.behind()

    def _read(self, message: Any) -> Sequence[Event] | DataError:
        try:
            # In a topic that was made anew another message stands in the same place.
            source = f"{source_of(message)}#{message.timestamp()[1]}"
            return events_of(message.value(), source, sent_at(message))
        except DataError as error:
            return error
