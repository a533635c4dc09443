"""Answered lists and their reasons: at hand at once, on the disk a little later."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any, final

from recllm.errors import ServeError
from recllm.serve.live.figures import Traffic
from recllm.serve.live.lists import Made
from recllm.serve.state.records import Impression
from recllm.serve.state.store import Store

log = logging.getLogger("recllm.serve")

RECENT = 5_000
"""Answered lists that are held in memory."""


@final
class KeptAnswers:
    """What was answered. Nobody waits for it to be written, so the newest may be lost with the process.

    Args:
        store: Where it is written.
        traffic: Counts what could not be.
    """

    def __init__(self, store: Store, traffic: Traffic) -> None:
        self._store, self._traffic = store, traffic
        self._recent: OrderedDict[str, tuple[Impression, dict[str, Mapping[str, Any]]]] = OrderedDict()
        self._erased: dict[str, float] = {}
        self._lock = Lock()

    def keep(self, done: Sequence[Made]) -> None:
        """Keep answers with their reasons."""
        told = {
            one.answer.recommendation_id: {item: _told(one, item, row) for item, row in one.reasons.items()}
            for one in done
        }
        with self._lock:
            for one in done:
                name = one.answer.recommendation_id
                self._recent[name] = (one.impression, dict(told[name]))
            while len(self._recent) > RECENT:
                self._recent.popitem(last=False)

        def write(change: Any) -> None:
            for one in done:
                if one.impression.at <= self._erased.get(one.impression.user_id or "", 0.0):
                    continue  # of somebody who was erased while this was being answered
                change.add_impression(one.impression)
                for item, reason in told[one.answer.recommendation_id].items():
                    change.put_reason(one.answer.recommendation_id, item, reason)

        self._write(write)

    def keep_reason(self, recommendation_id: str, item_id: str, told: Mapping[str, Any]) -> None:
        """Keep a reason that was asked for later."""
        with self._lock:
            if recommendation_id in self._recent:
                self._recent[recommendation_id][1][item_id] = told
        self._write(lambda change: change.put_reason(recommendation_id, item_id, told))

    def impression(self, recommendation_id: str) -> Impression | None:
        """A list that was answered."""
        with self._lock:
            recent = self._recent.get(recommendation_id)
        return self._store.impression(recommendation_id) if recent is None else recent[0]

    def reason(self, recommendation_id: str, item_id: str) -> Mapping[str, Any] | None:
        """A reason that was told."""
        with self._lock:
            recent = self._recent.get(recommendation_id)
        told = None if recent is None else recent[1].get(item_id)
        return told if told is not None else self._store.reason(recommendation_id, item_id)

    def forget(self, user_id: str) -> None:
        """Nothing of a user is at hand any more, nor written of what is being answered."""
        with self._lock:
            self._erased[user_id] = time.time()
            for name in [name for name, (one, _) in self._recent.items() if one.user_id == user_id]:
                del self._recent[name]

    def _write(self, change: Callable[[Any], None]) -> None:
        try:
            self._store.write(change).add_done_callback(self._written)
        except ServeError:
            self._traffic.lost += 1

    def _written(self, done: "Future[None]") -> None:
        if (error := done.exception()) is not None:
            self._traffic.lost += 1
            log.warning("an answered list was not kept: %s", error)


def _told(made: Made, item_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    answer = made.answer
    told = {"as_of_event": answer.as_of_event, "version": answer.version, "same_state": True}
    return {**told, "row": {**row, "item_id": item_id}}
