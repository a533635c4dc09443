"""The pages that recommend: a visitor's, whose picks stand in the address, and a known user's."""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from recllm.errors import UnknownError
from recllm.retrieval.channels.popularity import Popular, PopularNow, PopularWhenLastSeen
from recllm.serve.answers import Answer, Ask, Line
from recllm.serve.page.render import respond, root_of
from recllm.serve.page.state import LONGEST_ID, Visit, marks
from recllm.serve.page.told import in_short, tell
from recllm.serve.page.view import chips, found, kinds_of, listed, row_of

N = 10
"""Lines of a list: as many as reasons speak of."""

FOUND = 6
"""Lines of a search."""

NEAR = 60
"""Items closest in meaning, of which those come first that have the words."""

NEWEST = 20
"""Items of a known user's history that are shown."""

_POPULAR = frozenset(channel.name for channel in (Popular, PopularNow, PopularWhenLastSeen))


class Shop:
    """The pages of one engine; they keep nothing."""

    def __init__(self, live: Any) -> None:
        self.live = live

    async def _looked(self, visit: Visit) -> Answer:
        events = [{"item_id": item} for item in visit.have]
        answer: Answer = await self.live.session(events, Ask(n=N, without=visit.without), keep=False)
        return answer

    async def visitor(self, request: Request) -> HTMLResponse:
        """The list of a visitor."""
        asked = Visit.read(f"{root_of(request)}/", request.query_params)
        titles = self.live.titles(asked.have)
        visit = asked.known(titles)
        answer, hits = await asyncio.gather(
            self._looked(visit),
            self.live.search(visit.q, min(NEAR, self.live.settings.max_n)) if visit.q else _nothing(),
        )
        hits = _those_with(visit.q, hits)[:FOUND]
        items = [line.item_id for line in answer.items]
        now, told = marks(items), None
        if visit.why in items:
            (row,) = await self.live.explain_session(visit.have, [visit.why], visit.without)
            told = tell(row, lambda causes: visit.strike(causes, now))
        kinds = await run_in_threadpool(kinds_of, self.live, [*items, *(line.item_id for line in hits)])
        return respond(
            request,
            "page.html.jinja",
            visit=visit,
            user=None,
            picks=chips(visit.have[::-1], titles, visit, now, dropped=True),
            answer=answer,
            popular=answer.policy != "ranking" or all(line.channel in _POPULAR for line in answer.items),
            lines=listed(answer.items, visit, told, kinds, pickable=True),
            hits=found(hits, visit, now, kinds),
            named=any(_words_in(visit.q, line.title) for line in hits),
            passed=len(asked.have) - len(visit.have),
            reasons=f"{root_of(request)}/reasons?{_asking(visit, items)}" if visit.counting else None,
        )

    async def reasons(self, request: Request) -> HTMLResponse:
        """The reasons of a visitor's lines in a few words, each for its place on the page."""
        visit = Visit.read(f"{root_of(request)}/", request.query_params)
        visit = visit.known(self.live.titles(visit.have))
        items = [item for item in request.query_params.getlist("item") if len(item) <= LONGEST_ID][:N]
        known = self.live.titles(items)
        asked = list(dict.fromkeys(item for item in items if item in known))
        rows = await self.live.explain_session(visit.have, asked, visit.without)
        words = {str(row["item_id"]): in_short(row) for row in rows}
        places = [(rank, words.get(item, "")) for rank, item in enumerate(items, 1)]
        return respond(request, "reasons.html.jinja", name=visit.name, places=places)

    async def user(self, request: Request, user_id: str) -> HTMLResponse:
        """The list of somebody who is known."""
        if len(user_id) > LONGEST_ID:
            raise UnknownError(f"user ids have at most {LONGEST_ID} characters; got {len(user_id)}.")
        visit = Visit.read(f"{root_of(request)}/user/{quote(user_id, safe='', errors='replace')}", request.query_params)
        known = await run_in_threadpool(self.live.user, user_id)
        history = list(dict.fromkeys(str(event["item_id"]) for event in reversed(known["events"])))
        titles = self.live.titles(history)
        answer = await self.live.recommend(user_id, Ask(n=N, without=visit.without, explain=True))
        items = [line.item_id for line in answer.items]
        now, told = marks(items), None
        if visit.why in items:
            told = tell(row_of(answer.items[items.index(visit.why)]), lambda causes: visit.strike(causes, now))
        kinds = await run_in_threadpool(kinds_of, self.live, items)
        left = [item for item in history if item in titles and item not in visit.without]
        return respond(
            request,
            "page.html.jinja",
            visit=visit,
            user=user_id,
            picks=chips([*visit.without, *left[:NEWEST]], titles, visit, now),
            more=len(left[NEWEST:]),
            answer=answer,
            popular=False,
            lines=listed(answer.items, visit, told, kinds),
            hits=[],
            named=True,
            passed=0,
            reasons=None,
        )


def _asking(visit: Visit, items: Sequence[str]) -> str:
    """The query that asks for the reasons of these items."""
    pairs = [pair for pair in visit.pairs() if pair[0] in ("have", "without")]
    # A long id would take the address's room; its line keeps its "why?".
    pairs += [("item", item if len(item) <= 100 else "") for item in items]
    return urlencode(pairs, quote_via=quote, errors="replace")


def _those_with(words: str, hits: Sequence[Line]) -> list[Line]:
    """Titles with most of the words first; the order of meaning otherwise."""
    return sorted(hits, key=lambda line: -_words_in(words, line.title))


def _words_in(words: str, title: str) -> int:
    """How many of the words a title has, or words that begin like them."""
    there = title.casefold().split()
    return sum(any(one.startswith(word) for one in there) for word in words.casefold().split())


async def _nothing() -> tuple[()]:
    return ()
