"""What is asked of a server and changes nothing: lists, pages, neighbours, reasons."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from recllm.errors import UnknownError
from recllm.lists.answers import search
from recllm.lists.similar import similar_items
from recllm.serve.answers import Answer, Ask, Line, Page, Reason, Shift
from recllm.serve.live.adapters import OwnAdapters
from recllm.serve.live.figures import Traffic
from recllm.serve.live.kept import KeptAnswers
from recllm.serve.live.lists import RANKING, Made, Question, impression_of, made
from recllm.serve.live.now import Now
from recllm.serve.live.personal import lines_of, page_of, reason_of, session_events, session_reasons, shifted
from recllm.serve.live.taking import Taking
from recllm.serve.live.waiting import Queue
from recllm.serve.settings import Settings
from recllm.serve.state.records import Event
from recllm.serve.state.store import Store

T = TypeVar("T")


class Answering:
    """Answers from what there is at the moment; what it answered is kept.

    Args:
        store: Where it is kept.
        now: What answers first.
        settings: Limits.
    """

    def __init__(self, store: Store, now: Now, settings: Settings) -> None:
        self.store, self.settings, self.traffic = store, settings, Traffic()
        self._taking = Taking(now, store)
        self._adapters = OwnAdapters(store)
        self._kept = KeptAnswers(store, self.traffic)
        self._lists: Queue[Question, Made] = Queue(
            "recllm-lists",
            self._made,
            batch=settings.max_batch,
            waiting=settings.waiting,
            patience=settings.patience,
        )
        # What takes a hundred times as long as a list waits in a queue of its own.
        self._slow: Queue[Callable[[], Any], Any] = Queue("recllm-slow", _called, batch=1, waiting=settings.waiting)

    @property
    def now(self) -> Now:
        """What answers at this moment."""
        return self._taking.now

    @property
    def waiting(self) -> int:
        """Requests that wait for a list."""
        return len(self._lists)

    # -- lists --------------------------------------------------------------------------------------------------------

    async def recommend(self, user_id: str, ask: Ask) -> Answer:
        """A list for a user, known or new."""
        return await self._answered(Question("recommend", user_id, ask))

    async def session(self, events: Sequence[Mapping[str, Any]], ask: Ask, *, keep: bool = True) -> Answer:
        """A list for a visitor without a name, from what they did; nothing of it counts.

        Args:
            events: What they did.
            ask: How the list shall be.
            keep: Whether the answer is kept; else it cannot be explained later.
        """
        done = [
            Event("", "", str(one["item_id"]), float(stamp), str(one.get("kind") or ""), one.get("rating"))
            for one, stamp in zip(events, _stamps(events), strict=True)
        ]
        return await self._answered(Question("session", None, ask, tuple(done), keep))

    async def rank(self, user_id: str | None, item_ids: Sequence[str], ask: Ask) -> Answer:
        """The given items in a user's order; unknown ones are left out."""
        wanted = replace(ask, n=max(len(item_ids), 1), offset=0, candidates=tuple(item_ids), exclude_seen=False)
        return await self._answered(Question("rank", user_id, wanted))

    async def page(self, user_id: str | None, have: Sequence[str], rows: int, n: int) -> Page:
        """Titled rows; no item stands twice."""
        now = self.now
        found = await self._in_slow(lambda: page_of(now, user_id, have, rows, n))
        page = Page(secrets.token_hex(16), user_id, now.version, now.as_of_event, time.time(), found)
        done = () if user_id is not None else session_events(have)
        lines = tuple(line for row in found for line in row.items)
        answer = Answer(page.recommendation_id, user_id, page.version, page.as_of_event, RANKING, page.at, lines)
        self._kept.keep([Made(answer, impression_of(Question("page", user_id, Ask(n=n), done), answer), {})])
        return page

    async def whatif(
        self,
        user_id: str,
        *,
        add: Sequence[str] = (),
        drop: Sequence[str] = (),
        wishes: Sequence[str] = (),
        n: int = 10,
    ) -> list[Shift]:
        """What a list would be with other events and wishes; nothing of it is kept."""
        now = self.now
        return await self._in_slow(lambda: shifted(now, user_id, add, drop, wishes, n))

    async def neighbors(self, item_id: str, n: int) -> tuple[Line, ...]:
        """Items whose text is alike."""
        now = self.now
        if now.state.model.catalog.rows([item_id])[0] < 0:
            raise no_item(item_id)
        found = await self._in_slow(lambda: similar_items(now.state, [item_id], n + len(now.hidden)))
        return _shown(lines_of(found), now, n)

    async def search(self, text: str, n: int) -> tuple[Line, ...]:
        """Items by a few words."""
        now = self.now
        found = await self._in_slow(lambda: search(now.state, text, n + len(now.hidden)))
        return _shown(lines_of(found), now, n)

    # -- reasons ------------------------------------------------------------------------------------------------------

    async def explain(self, recommendation_id: str, item_id: str) -> Reason:
        """Why an item was in an answered list; asked again, the same."""
        return await self._in_slow(lambda: self._explained(recommendation_id, item_id))

    async def explain_session(
        self, have: Sequence[str], item_ids: Sequence[str], without: Sequence[str] = (), n: int = 10
    ) -> list[Mapping[str, Any]]:
        """Why these items suit a visitor who has those: rows of `Recommender.explain`."""
        now = self.now
        return await self._in_slow(lambda: session_reasons(now, have, item_ids, without, n))

    def _explained(self, recommendation_id: str, item_id: str) -> Reason:
        kept = self._kept.reason(recommendation_id, item_id)
        if kept is not None:
            return Reason(recommendation_id, item_id, **kept)
        impression = self._kept.impression(recommendation_id)
        if impression is None:
            raise UnknownError(
                f"there is no list {shortened(recommendation_id)}; it was never answered, or was erased."
            )
        if all(line["item_id"] != item_id for line in impression.items):
            raise UnknownError(f"item {shortened(item_id)} is not in the list {shortened(recommendation_id)}.")
        now, user = self.now, impression.user_id
        later = [] if user is None else [s for s in self.store.events_of(user) if s.number > impression.as_of_event]
        row = reason_of(now, impression, item_id, later)
        same = (now.version, now.as_of_event) == (impression.version, impression.as_of_event)
        reason = Reason(recommendation_id, item_id, impression.as_of_event, now.version, same, dict(row))
        told = {name: value for name, value in asdict(reason).items() if name not in ("recommendation_id", "item_id")}
        self._kept.keep_reason(recommendation_id, item_id, told)
        return reason

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _answered(self, question: Question) -> Answer:
        if question.ask.explain:
            found = await self._in_slow(lambda: self._made([question])[0])
            if isinstance(found, BaseException):
                raise found
            return found.answer
        return (await asyncio.wrap_future(self._lists.ask(question))).answer

    async def _in_slow(self, call: Callable[[], T]) -> T:
        found: T = await asyncio.wrap_future(self._slow.ask(call))
        return found

    def _made(self, questions: Sequence[Question]) -> list[Made | BaseException]:
        found = made(self.now, questions, self.settings, self._adapters)
        pairs = zip(questions, found, strict=True)
        self._kept.keep([one for question, one in pairs if question.keep and not isinstance(one, BaseException)])
        return found


def _called(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    found: list[Any] = []
    for call in calls:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)
    return found


def _stamps(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """When events happened; those without a time right after the one before."""
    stamps: list[float] = []
    for one in events:
        given = one.get("timestamp")
        stamps.append(float(given) if given is not None else stamps[-1] + 1 if stamps else 0.0)
    return stamps


def _shown(lines: Sequence[Line], now: Now, n: int) -> tuple[Line, ...]:
    kept = [line for line in lines if line.item_id not in now.hidden][:n]
    return tuple(replace(line, rank=place) for place, line in enumerate(kept, 1))


def no_item(item_id: str) -> UnknownError:
    """There is no such item."""
    return UnknownError(f"there is no item {shortened(item_id)}; send it to /api/items first.")


def shortened(name: str) -> str:
    """An id for a sentence."""
    return repr(name if len(name) <= 60 else name[:59] + "…")
