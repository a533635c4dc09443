"""Takes events into what answers: durable first, then counted, and only then acknowledged."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

from recllm.errors import BusyError
from recllm.model.fitted import Fitted
from recllm.model.weights import taking_weights, weights_due, with_renewed_weights
from recllm.serve.answers import Taken
from recllm.serve.live.history import as_of, interactions
from recllm.serve.live.now import Now
from recllm.serve.live.waiting import give_way
from recllm.serve.state.records import Added, Event, Stored
from recllm.serve.state.store import Store
from recllm.serve.state.writing import Transaction

T = TypeVar("T")

log = logging.getLogger("recllm.serve")

MOST_WAITING = 5_000
"""Requests that may wait to be taken in."""


@dataclass(frozen=True, eq=False)
class _Came:
    """Events that are durable."""

    added: Added
    told: "Future[Taken]"


@dataclass(frozen=True, eq=False)
class _Change:
    """Something else that makes the next `Now`."""

    make: Callable[[Now], tuple[Now, Any]]
    told: "Future[Any]"


@final
class Taking:
    """The one thread that makes the next `Now`. What was acknowledged is in every answer that begins afterwards.

    Args:
        now: What answers at the start.
        store: Where events are kept.
    """

    def __init__(self, now: Now, store: Store) -> None:
        self.now = now
        self._store = store
        self._steps: deque[_Came | _Change] = deque()
        self._there = threading.Condition()
        self._open, self._done, self._being_written = True, False, 0
        self._renewing: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="recllm-taking", daemon=True)
        self._thread.start()

    def feedback(
        self, events: Sequence[Event], *, replace: bool = False, also: Callable[[Transaction], None] | None = None
    ) -> "Future[Taken]":
        """Keep events and take them in.

        Args:
            events: In the order in which they are to count.
            replace: Whether one takes the place of an earlier one with the same id.
            also: What else becomes durable with them, or not at all.

        Raises:
            BusyError: Too many wait already.
        """
        if len(self._steps) >= MOST_WAITING:
            raise BusyError(
                f"{len(self._steps)} requests are waiting to be taken in; send the events again in a moment."
            )
        with self._there:
            if not self._open:
                raise BusyError("the server is being stopped; send the events again in a moment.")
            self._being_written += 1
        told = _begun()

        def durable(written: "Future[Added]") -> None:
            error = written.exception()
            if error is None:
                self._put(_Came(written.result(), told))
            with self._there:
                self._being_written -= 1
                self._there.notify_all()
            if error is not None:
                told.set_exception(error)

        try:
            written = self._store.write(lambda change: _kept(change, events, replace, also))
        except BaseException:
            with self._there:
                self._being_written -= 1
            raise
        written.add_done_callback(durable)
        return told

    def change(self, make: Callable[[Now], tuple[Now, T]]) -> "Future[T]":
        """Make the next `Now` in another way, between events."""
        told = _begun()
        self._put(_Change(make, told))
        return told

    def close(self) -> None:
        """Take in what waits, and stop."""
        with self._there:
            self._open = False
            self._there.wait_for(lambda: not self._being_written)
            self._done = True
            self._there.notify_all()
        self._thread.join()
        if self._renewing is not None:
            self._renewing.join()

    def _put(self, step: _Came | _Change) -> None:
        with self._there:
            self._steps.append(step)
            self._there.notify_all()

    def _run(self) -> None:
        give_way()
        while steps := self._next():
            if isinstance(first := steps[0], _Change):
                self._changed(first)
            else:
                self._came([one for one in steps if isinstance(one, _Came)])
            self._renew_weights()

    def _next(self) -> list[_Came | _Change]:
        """What came of events up to the next change, or the change."""
        with self._there:
            self._there.wait_for(lambda: self._steps or self._done)
            found: list[_Came | _Change] = []
            while self._steps and not (found and _Change in (type(found[0]), type(self._steps[0]))):
                found.append(self._steps.popleft())
            return found

    def _changed(self, change: _Change) -> None:
        try:
            self.now, result = change.make(self.now)
        except BaseException as error:
            change.told.set_exception(error)
        else:
            change.told.set_result(result)

    def _came(self, steps: Sequence[_Came]) -> None:
        waiting = [0] * len(steps)
        try:
            self.now, waiting = _with(self.now, steps)
        except Exception:
            log.exception("events could not be taken in together; they are taken in one by one.")
            for number, step in enumerate(steps):
                try:
                    self.now, [waiting[number]] = _with(self.now, [step])
                except Exception:  # they are kept, and taken in again when the server starts
                    log.exception("events that are kept could not be taken in.")
                    waiting[number] = len(step.added.new)
        for step, left in zip(steps, waiting, strict=True):
            added = step.added
            told = Taken(len(added.new), added.known, len(added.replaced), left, self.now.as_of_event)
            step.told.set_result(told)

    # -- weights between items ----------------------------------------------------------------------------------------

    def _renew_weights(self) -> None:
        """Fit weights anew beside what goes on, where it is time to."""
        if not self._open or not weights_due(self.now.state):
            return
        if self._renewing is None or not self._renewing.is_alive():
            since = self.now.state
            self._renewing = threading.Thread(target=self._renew, args=[since], name="recllm-weights", daemon=True)
            self._renewing.start()

    def _renew(self, since: Fitted) -> None:
        give_way()
        try:
            renewed = with_renewed_weights(since)
        except Exception:
            log.exception("weights between items could not be fitted anew; those of before go on serving.")
            return

        def take(now: Now) -> tuple[Now, None]:
            if now.state.fingerprint != since.fingerprint:  # another model answers by now
                return now, None
            return replace(now, state=taking_weights(now.state, renewed, since)), None

        self.change(take)


def _kept(
    change: Transaction, events: Sequence[Event], replace: bool, also: Callable[[Transaction], None] | None
) -> Added:
    added = change.add_events(events, replace=replace)
    if also is not None:
        also(change)
    return added


def _begun() -> "Future[Any]":
    """What is told later, whoever waits: a client that goes away can cancel it no more, and stops nobody."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _with(now: Now, steps: Sequence[_Came]) -> tuple[Now, list[int]]:
    """The next `Now`, and how many events of each step wait for their item."""
    new = [one for step in steps for one in step.added.new]
    replaced = [pair for step in steps for pair in step.added.replaced]
    state = taken_in(now.state, new) if new else now.state
    for old, stored in replaced:
        state = exchanged(state, old, stored.event)
    newest = max((one.number for one in new), default=now.as_of_event)
    rows = now.state.model.catalog.rows
    waiting = [int((rows([one.event.item_id for one in step.added.new]) < 0).sum()) for step in steps]
    return replace(now, state=state, as_of_event=max(now.as_of_event, newest)), waiting


def taken_in(state: Fitted, events: Sequence[Stored]) -> Fitted:
    """The same with these events; those about unknown items are left for the time when the item comes."""
    found = [one.event for one in events]
    known = state.model.catalog.rows([one.item_id for one in found]) >= 0
    counted = [event for event, is_known in zip(found, known, strict=True) if is_known]
    return state.updated(interactions(counted), weights=False)[0] if counted else state


def exchanged(state: Fitted, old: Event, new: Event) -> Fitted:
    """The same with one event in the place of another; the user's history is taken out and put in again."""
    theirs = state.memory.of_users([old.user_id])
    if old.user_id in state.memory:
        state = state.without([old.user_id], weights=False)
    left = as_of(theirs, [Stored(0, old)])
    if len(left):
        state = state.updated(left, weights=False)[0]
    return taken_in(state, [Stored(0, new)])
