"""Saves what answers now and then, so that a start takes in little."""

import logging
import threading
from collections.abc import Callable
from typing import final

from recllm.errors import RecllmError
from recllm.serve.live.now import Now

log = logging.getLogger("recllm.serve")

EVENTS = 20_000
"""So many events are taken in at a start in a second or two."""

EVERY = 60.0
"""Seconds between two looks."""


@final
class Snapshots:
    """A thread that saves the model when much is new, or an item, whose text a start would have to read again.

    Args:
        now: What answers.
        save: Saves it.
        every: Seconds between two looks.
    """

    def __init__(self, now: Callable[[], Now], save: Callable[[], None], every: float = EVERY) -> None:
        self._now, self._save, self._every = now, save, every
        self._done = threading.Event()
        self._saved = self._sizes()
        self._thread = threading.Thread(target=self._run, name="recllm-snapshots", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save what is new, and stop."""
        self._done.set()
        self._thread.join()
        if self._sizes() != self._saved:
            self._look(0)

    def _run(self) -> None:
        while not self._done.wait(self._every):
            self._look(EVENTS)

    def _look(self, most: int) -> None:
        items, event = self._sizes()
        if items == self._saved[0] and event - self._saved[1] < most:
            return
        try:
            self._save()
            self._saved = (items, event)
        except RecllmError as error:  # the next start has more to take in
            log.warning("what answers could not be saved: %s", error)

    def _sizes(self) -> tuple[int, int]:
        now = self._now()
        return len(now.state.model.catalog), now.as_of_event
