"""Answers about one user that are no plain list: pages, what if, why, neighbours."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recllm.data.interactions import Interactions
from recllm.explain.explainer import Explainer
from recllm.explain.reasons import explanations
from recllm.lists.request import ListRequest
from recllm.lists.results import Preview, Recommendations
from recllm.lists.serve import Lists
from recllm.serve.answers import Ask, Line, Row, Shift
from recllm.serve.live.history import as_of, interactions
from recllm.serve.live.lists import Question, asked_of, known_of, request_of
from recllm.serve.live.now import Now
from recllm.serve.live.rows import Rows
from recllm.serve.state.records import Event, Impression, Stored

SESSION = "session"
"""Stands for a visitor without a name where one is needed."""


def session_events(have: Sequence[str], end: float | None = None) -> tuple[Event, ...]:
    """What a visitor says to have, the newest last.

    Args:
        have: Items.
        end: When it ended, unix seconds, each a second after the other; None: they are in order and have no times, as
            in `Recommender.recommend({"visitor": have})`.
    """
    begin = 0.0 if end is None else end - len(have) + 1
    return tuple(Event("", SESSION, item, begin + number) for number, item in enumerate(have))


def page_of(now: Now, user_id: str | None, have: Sequence[str], rows: int, n: int) -> tuple[Row, ...]:
    """Titled rows for a user, or for a visitor who has these items."""
    name = SESSION if user_id is None else user_id
    events = interactions(session_events(have), [name]) if user_id is None else now.state.memory.of_users([name])
    seen, _ = now.state.histories(events)
    request = request_of(now, {name: Question("page", user_id, Ask(n=n))})
    return Rows(now, seen, request, n).make(rows)


def shifted(
    now: Now, user_id: str, add: Sequence[str], drop: Sequence[str], wishes: Sequence[str], n: int
) -> list[Shift]:
    """What a user's list would be with other events and wishes: every item of it before and after."""
    theirs = now.state.memory.of_users([user_id])
    after = theirs.select(~theirs.frame["item_id"].is_in(list(drop)).to_numpy(), [user_id]) if drop else theirs
    if add:
        more = [replace(event, user_id=user_id) for event in session_events(add, time.time())]
        after = after.extend(interactions(more, [user_id]))
    wanted = Ask(n=n, wishes=tuple(wishes))
    found = []
    for events, ask in ((theirs, Ask(n=n)), (after, wanted)):
        request = request_of(now, {user_id: Question("whatif", user_id, ask)})
        seen, _ = now.state.histories(events)
        found.append(Lists.of(now.state, request, seen, None).rows)
    catalog = now.state.model.catalog
    preview = Preview.of(catalog.item_ids, catalog.titles, [user_id], *found)
    return [Shift(row.item_id, row.title or row.item_id, row.rank_before, row.rank_after) for row in preview]


def reason_of(now: Now, impression: Impression, item_id: str, later: Sequence[Stored]) -> Mapping[str, Any]:
    """Why an item was in an answered list, from the history that the list was made from.

    Args:
        now: What answers.
        impression: The list.
        item_id: One of its items.
        later: The user's events that were taken in after it.
    """
    user = SESSION if impression.user_id is None else impression.user_id
    if impression.user_id is None:
        events: Sequence[Mapping[str, Any]] = impression.request.get("events", [])
        theirs = interactions([Event("", user, one["item_id"], one["timestamp"]) for one in events], [user])
    else:
        theirs = as_of(now.state.memory.of_users([user]), later)
    request = request_of(now, {user: Question(impression.kind, impression.user_id, asked_of(impression))})
    return _rows(now, theirs, [item_id], request)[0]


def session_reasons(
    now: Now, have: Sequence[str], item_ids: Sequence[str], without: Sequence[str], n: int
) -> list[Mapping[str, Any]]:
    """Why these items suit a visitor who has those."""
    theirs = interactions(session_events(have), [SESSION])
    return _rows(now, theirs, item_ids, ListRequest(n=n, without=known_of(now, without) or None))


def _rows(now: Now, theirs: Interactions, item_ids: Sequence[str], request: ListRequest) -> list[Mapping[str, Any]]:
    histories, _ = now.state.histories(theirs)
    words = Explainer(domain=now.state.config.domain, detail="full")
    return [*explanations(now.state, histories, list(item_ids), request, words).to_dicts()]


def lines_of(found: Recommendations) -> tuple[Line, ...]:
    """Neighbours or results of a search as lines."""
    return tuple(Line(row.item_id, row.rank, row.score, row.title or row.item_id) for row in found)
