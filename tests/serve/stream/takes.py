"""Stands for what takes events into the answers."""

from collections.abc import Callable
from typing import Any

from recllm.serve.state.records import Added, Event
from recllm.serve.state.store import Store


class Takes:
    """Keeps events, and notes what it was told of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.taken: list[Event] = []
        self.fault: Exception | None = None

    def feedback(self, events: Any, *, also: Callable[[Any], None]) -> Any:
        if self.fault is not None:
            raise self.fault

        def kept(change: Any) -> Added:
            added: Added = change.add_events(events)
            also(change)
            return added

        written = self._store.write(kept)
        written.add_done_callback(
            lambda done: None if done.exception() else self.taken.extend(one.event for one in done.result().new)
        )
        return written
