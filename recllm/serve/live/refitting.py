"""A fit beside what is served, and the exchange of the model without a pause."""

import logging
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import final

from recllm.data.process import stay_in_process
from recllm.errors import ConflictError, RecllmError, ServeError
from recllm.model.fitted import Fitted
from recllm.model.weights import without_pairs
from recllm.recommender import Recommender
from recllm.serve.live.items import catalog_of
from recllm.serve.live.models import Models
from recllm.serve.live.now import Now
from recllm.serve.live.refit import finished, in_a_process
from recllm.serve.live.taking import Taking, taken_in
from recllm.serve.state.store import Store

log = logging.getLogger("recllm.serve")


@final
@dataclass(frozen=True)
class LastRefit:
    """How the last fit went.

    Attributes:
        state: `none`, `running`, `done` or `failed`.
        seconds: How long it took, or has taken.
        said: What went wrong.
    """

    state: str = "none"
    seconds: float = 0.0
    said: str = ""


@final
class Refitting:
    """One fit at a time.

    Args:
        taking: Makes the next `Now`.
        models: Where models are kept.
        store: Where events are kept.
    """

    def __init__(self, taking: Taking, models: Models, store: Store) -> None:
        self._taking, self._models, self._store = taking, models, store
        self._last = LastRefit()
        self._begun = 0.0
        self._erased: set[str] = set()
        self._again = self._stopped = False
        self._process: Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def last(self) -> LastRefit:
        """How it goes, or went."""
        last = self._last
        return replace(last, seconds=time.monotonic() - self._begun) if last.state == "running" else last

    def begin(self, budget: str | None = None) -> None:
        """Begin a fit.

        Raises:
            ConflictError: One is under way.
        """
        with self._lock:
            if self._last.state == "running":
                raise ConflictError("a fit is under way already; ask again when it is done.")
            self._last, self._begun = LastRefit("running"), time.monotonic()
        self._thread = threading.Thread(target=self._run, args=[budget], name="recllm-refit", daemon=True)
        self._thread.start()

    def forget(self, user_id: str) -> None:
        """A user is being erased: what a fit under way has of them is not taken over."""
        with self._lock:
            self._erased.add(user_id)

    def begin_anew(self) -> None:
        """Somebody was erased, whom the files of a fit under way may hold: it begins anew."""
        with self._lock:
            self._again = True
            if self._process is not None:
                self._process.kill()

    def wait(self) -> LastRefit:
        """For the end of what is under way."""
        if self._thread is not None:
            self._thread.join()
        return self._last

    def close(self) -> None:
        """Stop a fit that is under way."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
        self.wait()

    def _run(self, budget: str | None) -> None:
        try:
            self._fit(budget)
            done = LastRefit("done", time.monotonic() - self._begun)
        except RecllmError as error:
            done = LastRefit("failed", time.monotonic() - self._begun, str(error))
            log.warning("a fit failed: %s", error)
        except Exception as error:
            done = LastRefit("failed", time.monotonic() - self._begun, f"unexpected {type(error).__name__}")
            log.exception("a fit failed.")
        finally:
            self._process = None
        self._last = done

    def _fit(self, budget: str | None) -> None:
        workshop = self._models.workshop
        try:
            while (now := self._fitted_to(workshop, budget)) is None:
                shutil.rmtree(workshop)
            fitted = without_pairs(Recommender.load(workshop / "fitted").fitted.remembering())
            self._taking.change(lambda latest: (self._exchanged(latest, fitted, now.as_of_event), None)).result()
            self._models.adopt(workshop / "fitted", now.as_of_event)
            if self._again:  # somebody was erased in the last moment: what answers goes without them, the files do not
                latest = self._taking.now
                self._models.take(Recommender.of(latest.state), latest.as_of_event)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def _fitted_to(self, workshop: Path, budget: str | None) -> Now | None:
        """What a model was fitted to; None: somebody in it was erased meanwhile."""
        self._again = False
        now = self._taking.now
        Recommender.of(now.state).save(workshop / "snapshot")
        with self._lock:
            if self._stopped:
                raise ServeError("the server was stopped.")
            if self._again:
                return None
            self._process = in_a_process(workshop / "snapshot", workshop / "fitted", budget)
        try:
            finished(self._process)
        except ServeError:
            if not self._again:
                raise
        return None if self._again else now

    def _exchanged(self, latest: Now, fitted: Fitted, as_of_event: int) -> Now:
        """What answers next: the new model with what came while it was fitted."""
        stay_in_process()
        state = caught_up(fitted, self._store, as_of_event)
        return replace(latest, state=without_erased(state, self._erased, self._store))


def without_erased(state: Fitted, users: Iterable[str], store: Store) -> Fitted:
    """The same without what these users did before they were erased."""
    gone = [user for user in users if user in state.memory]
    if not gone:
        return state
    state = state.without(gone, weights=False)
    return taken_in(state, [one for user in gone for one in store.events_of(user)])


def caught_up(state: Fitted, store: Store, as_of_event: int) -> Fitted:
    """A state with all items and events that the store has and it has not.

    Args:
        state: That knows events up to a number.
        store: Knows more.
        as_of_event: The number.
    """
    after = None
    while records := store.items(after=after):
        after = records[-1].item_id
        rows = state.model.catalog.rows([record.item_id for record in records])
        fresh = [record for record, row in zip(records, rows, strict=True) if row < 0]
        if fresh:
            state, _ = state.with_items(catalog_of(fresh))
    number = as_of_event
    while events := store.events_after(number):
        number = events[-1].number
        state = taken_in(state, events)
    return state
