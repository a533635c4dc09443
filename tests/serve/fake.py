"""A server's engine without a model: a dozen items, lists by shared departments, everything in memory and at once."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from recllm.errors import ConflictError, DataError, UnknownError
from recllm.serve.answers import Answer, Ask, Line, Page, Reason, Row, Shift, Taken
from recllm.serve.settings import Settings
from recllm.serve.state.records import Event, ItemRecord, Stored, UserRecord

ITEMS = {
    "lamp": ("Warm lamp", "Living"),
    "candle": ("Pillar candle", "Living"),
    "cushion": ("Linen cushion", "Living"),
    "spade": ("Steel spade", "Garden"),
    "seeds": ("Tomato seeds", "Garden"),
    "hose": ("Garden hose", "Garden"),
    "bear": ("Brown bear", "Toys"),
    "blocks": ("Wooden blocks", "Toys"),
    "kite": ("Red kite", "Toys"),
    "mug": ("Blue <b>mug</b> & saucer", "Kitchen"),
    "a/b": ("Salt / pepper", "Kitchen"),
    "100% 🧁": ("Cake tin", "Kitchen"),
}
"""Item id -> title, department; some ids are not what a path would like."""


class FakeStore:
    """Small settings in a dictionary; what is written is there at once."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def fact(self, name: str) -> Any:
        return self.facts.get(name)

    def write(self, change: Callable[[Any], Any]) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(change(SimpleNamespace(put_fact=self.facts.__setitem__)))
        return done


class FakeLive:
    """Answers like `Live`.

    Attributes:
        fault: Raised by whatever is asked next, and by everything until it is None again.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.version = "fake-1"
        self.store = FakeStore()
        self.fault: Exception | None = None
        self.calls: Counter[str] = Counter()
        self.events: list[Stored] = []
        self.records = {
            item_id: ItemRecord(item_id, {"title": title, "categories": [department], "description": f"{title}."})
            for item_id, (title, department) in ITEMS.items()
        }
        self.profiles: dict[str, UserRecord] = {}
        self.answers: dict[str, Answer] = {}

    @property
    def as_of_event(self) -> int:
        return self.events[-1].number if self.events else 0

    # -- lists --------------------------------------------------------------------------------------------------------

    async def recommend(self, user_id: str, ask: Ask) -> Answer:
        return self._answer("recommend", user_id, self._have(user_id), ask)

    async def session(self, events: Sequence[Mapping[str, Any]], ask: Ask, *, keep: bool = True) -> Answer:
        return self._answer("session", None, [event["item_id"] for event in events], ask)

    async def rank(self, user_id: str | None, item_ids: Sequence[str], ask: Ask) -> Answer:
        known = tuple(item_id for item_id in item_ids if item_id in self.records)
        ask = dataclasses.replace(ask, candidates=known, n=max(1, len(known)), exclude_seen=False)
        return self._answer("rank", user_id, self._have(user_id), ask)

    async def page(self, user_id: str | None, have: Sequence[str], rows: int, n: int) -> Page:
        history = [*self._have(user_id), *have]
        used, made = set(history), []
        kinds = [("For you", "for_you", None), *((name, "category", name) for name in self._departments())]
        for title, kind, about in kinds[:rows]:
            ask = Ask(n, exclude=tuple(used), category=(about,) if about else ())
            lines = self._answer("page", user_id, history, ask).items
            used |= {line.item_id for line in lines}
            if lines:
                made.append(Row(title, kind, about, lines))
        name, now = self._name("page"), time.time()
        shown = tuple(line for row in made for line in row.items)
        self.answers[name] = Answer(name, user_id, self.version, self.as_of_event, "ranking", now, shown)
        return Page(name, user_id, self.version, self.as_of_event, now, tuple(made))

    async def whatif(
        self, user_id: str, *, add: Sequence[str], drop: Sequence[str], wishes: Sequence[str], n: int
    ) -> list[Shift]:
        have = self._have(user_id)
        for item_id in (*add, *drop):
            self._known(item_id)
        after = [item_id for item_id in have if item_id not in drop] + list(add)
        places = [
            {line.item_id: line.rank for line in self._answer("whatif", user_id, history, Ask(n, wishes=said)).items}
            for history, said in ((have, ()), (after, tuple(wishes)))
        ]
        both = dict.fromkeys([*places[1], *places[0]])
        return [Shift(one, self._title(one), places[0].get(one), places[1].get(one)) for one in both]

    async def explain(self, recommendation_id: str, item_id: str) -> Reason:
        self._called("explain")
        answer = self.answers.get(recommendation_id)
        if answer is None or item_id not in {line.item_id for line in answer.items}:
            raise UnknownError(f"no list {recommendation_id[:80]!r} with {item_id[:80]!r} was answered; ask for one.")
        same = answer.as_of_event == self.as_of_event
        row = self._row(item_id, self._have(answer.user_id))
        return Reason(recommendation_id, item_id, answer.as_of_event, self.version, same, row)

    async def explain_session(
        self, have: Sequence[str], item_ids: Sequence[str], without: Sequence[str]
    ) -> list[Mapping[str, Any]]:
        self._called("explain_session")
        kept = [item_id for item_id in have if item_id not in without and self._department(item_id) not in without]
        return [self._row(self._known(item_id).item_id, kept) for item_id in item_ids]

    async def neighbors(self, item_id: str, n: int) -> tuple[Line, ...]:
        self._called("neighbors")
        department = self._department(self._known(item_id).item_id)
        near = [one for one in self.records if one != item_id and self._department(one) == department]
        return self._lines(near[:n])

    async def search(self, text: str, n: int) -> tuple[Line, ...]:
        self._called("search")
        words = text.casefold().split()
        found = [one for one in self.records if any(word in self._title(one).casefold() for word in words)]
        return self._lines(found[:n])

    # -- what is kept -------------------------------------------------------------------------------------------------

    async def feedback(self, events: Sequence[Event], *, replace: bool = False) -> Taken:
        self._called("feedback")
        here = {stored.event.event_id: place for place, stored in enumerate(self.events)}
        known = replaced = 0
        fresh: list[Event] = []
        for event in events:
            place = here.get(event.event_id)
            if place is None:
                fresh.append(event)
            elif self.events[place].event == event:
                known += 1
            elif replace:
                self.events[place] = Stored(self.events[place].number, event)
                replaced += 1
            else:
                raise ConflictError(f"event {event.event_id[:80]!r} is known with other content; PUT replaces it.")
        self.events += [Stored(self.as_of_event + place + 1, event) for place, event in enumerate(fresh)]
        waiting = sum(event.item_id not in self.records for event in fresh)
        return Taken(len(fresh), known, replaced, waiting, self.as_of_event)

    async def put_items(self, items: Sequence[ItemRecord]) -> dict[str, int]:
        self._called("put_items")
        known = sum(item.item_id in self.records for item in items)
        self.records |= {item.item_id: item for item in items}
        return {"added": len(items) - known, "changed": known}

    def item(self, item_id: str) -> ItemRecord:
        self._called("item")
        return self._known(item_id)

    def items(self, after: str | None, n: int) -> list[ItemRecord]:
        self._called("items")
        return [self.records[one] for one in sorted(self.records) if after is None or one > after][:n]

    async def put_users(self, users: Sequence[UserRecord]) -> None:
        self._called("put_users")
        self.profiles |= {user.user_id: user for user in users}

    def user(self, user_id: str) -> dict[str, Any]:
        self._called("user")
        events = [dataclasses.asdict(stored.event) for stored in self.events if stored.event.user_id == user_id]
        profile = self.profiles.get(user_id)
        if profile is None and not events:
            raise UnknownError(f"nothing is known of user {user_id[:80]!r}; send events or a profile first.")
        fields, exclude = (dict(profile.fields), list(profile.exclude)) if profile else ({}, [])
        return {"user_id": user_id, "fields": fields, "exclude": exclude, "events": events, "adapter": None}

    async def erase(self, user_id: str) -> dict[str, int]:
        self._called("erase")
        kept = [stored for stored in self.events if stored.event.user_id != user_id]
        gone = {"events": len(self.events) - len(kept), "users": int(self.profiles.pop(user_id, None) is not None)}
        self.events = kept
        return gone

    async def refit(self) -> dict[str, Any]:
        self._called("refit")
        return {"started": True}

    def ready(self) -> tuple[bool, str]:
        return True, "ready"

    def figures(self) -> Any:
        return SimpleNamespace()

    def titles(self, item_ids: Sequence[str]) -> dict[str, str]:
        return {item_id: self._title(item_id) for item_id in item_ids if item_id in self.records}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if self.fault is not None:
            raise self.fault

    def _name(self, kind: str) -> str:
        return f"{kind}-{self.calls[kind]}"

    def _known(self, item_id: str) -> ItemRecord:
        if item_id not in self.records:
            raise UnknownError(f"the catalog has no item {item_id[:80]!r}; send it to /api/items first.")
        return self.records[item_id]

    def _title(self, item_id: str) -> str:
        return str(self.records[item_id].fields.get("title", item_id))

    def _department(self, item_id: str) -> str:
        record = self.records.get(item_id)
        return str((record.fields.get("categories") or [""])[0]) if record else ""

    def _departments(self) -> list[str]:
        return list(dict.fromkeys(map(self._department, self.records)))

    def _have(self, user_id: str | None) -> list[str]:
        return [stored.event.item_id for stored in self.events if stored.event.user_id == user_id]

    def _lines(self, item_ids: Sequence[str]) -> tuple[Line, ...]:
        return tuple(Line(one, place + 1, 1 / (place + 1), self._title(one)) for place, one in enumerate(item_ids))

    def _row(self, item_id: str, have: Sequence[str]) -> dict[str, Any]:
        cited = [one for one in have if self._department(one) == self._department(item_id)]
        titles = ", ".join(self._title(one) for one in cited if one in self.records)
        words = f"Because you have {titles}." if cited else "Popular with everyone; not based on your history."
        evidence = {"cited": [{"item_id": one, "contribution": 1.0} for one in cited]}
        code = "history" if cited else "popular"
        return {"item_id": item_id, "title": self._title(item_id), "explanation": words, "reason_code": code} | {
            "evidence": evidence
        }

    def _answer(self, kind: str, user_id: str | None, have: Sequence[str], ask: Ask) -> Answer:
        self._called(kind)
        kept = [one for one in have if one not in ask.without and self._department(one) not in ask.without]
        liked = Counter(map(self._department, kept))
        for wish in ask.wishes:
            direction, _, name = wish.partition(" of ")
            direction = direction.lower()
            if direction not in ("more", "less", "never") or not name:
                raise DataError(f"{wish[:80]!r} is no wish; write 'more of …', 'less of …' or 'never of …'.")
            liked[name] += {"more": 10, "less": -10, "never": -1000}[direction]
        profile = self.profiles.get(user_id or "")
        out = {*ask.exclude, *(have if ask.exclude_seen else ()), *(profile.exclude if profile else ())}
        allowed = [
            one
            for one, record in self.records.items()
            if one not in out
            and not record.hidden
            and (not ask.category or self._department(one) in ask.category)
            and (ask.candidates is None or one in ask.candidates)
            and liked[self._department(one)] > -500
        ]
        ranked = sorted(allowed, key=lambda one: -liked[self._department(one)])
        lines = []
        for rank, item_id in enumerate(ranked[ask.offset : ask.offset + ask.n], ask.offset + 1):
            row = self._row(item_id, kept)
            reason = (row["explanation"], row["reason_code"], row["evidence"]) if ask.explain else (None, None, None)
            lines.append(Line(item_id, rank, 1 / rank, self._title(item_id), "text", 1.0, *reason))
        policy = "popular" if self.settings.log_only else "ranking"
        answer = Answer(self._name(kind), user_id, self.version, self.as_of_event, policy, time.time(), tuple(lines))
        self.answers[answer.recommendation_id] = answer
        return answer
