"""From questions of many users to answers: those that ask alike are ranked together."""

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, final

from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.errors import RecllmError
from recllm.explain.explainer import Explainer
from recllm.explain.reasons import Reasons
from recllm.lists.request import ListRequest
from recllm.lists.serve import Lists, Served
from recllm.ranking.asked import Rules
from recllm.serve.answers import Answer, Ask, Line
from recllm.serve.live.adapters import OwnAdapters
from recllm.serve.live.history import interactions
from recllm.serve.live.now import Now
from recllm.serve.settings import Settings
from recllm.serve.state.records import Event, Impression

RANKING, POPULAR, FALLBACK = "ranking", "popular", "fallback"
"""What made an answer: the model; what is popular, since the server only watches; the same, since the model failed."""


@final
@dataclass(frozen=True, eq=False)
class Question:
    """A list that somebody waits for.

    Attributes:
        kind: The route.
        user_id: None for a session without a name.
        ask: How it shall be.
        events: Of a session.
        keep: Whether the answer is kept.
    """

    kind: str
    user_id: str | None
    ask: Ask
    events: tuple[Event, ...] = ()
    keep: bool = True


class Made(NamedTuple):
    """An answer, and what is kept of it.

    Attributes:
        reasons: Of items, where they were asked for: columns of reasons with their proof.
    """

    answer: Answer
    impression: Impression
    reasons: Mapping[str, Mapping[str, Any]]


def made(
    now: Now, questions: Sequence[Question], settings: Settings, adapters: OwnAdapters | None
) -> list[Made | BaseException]:
    """Answers to questions, in their order; what one of them has wrong is its own error.

    Args:
        now: What answers.
        questions: Of any users.
        settings: The server's.
        adapters: Users' own; None: made for each answer.
    """
    found: dict[int, Made | BaseException] = {}
    groups: dict[Any, list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault(_alike(question), []).append(number)
    for numbers in groups.values():
        while numbers:
            group: dict[str, int] = {}
            for number in numbers:  # one list for each user at a time
                group.setdefault(_name(questions[number], number), number)
            numbers = [number for number in numbers if number not in group.values()]
            try:
                answers: Sequence[Made | BaseException] = _together(
                    now, {name: questions[number] for name, number in group.items()}, settings, adapters
                )
            except RecllmError as error:
                answers = [error] * len(group)
            found.update(zip(group.values(), answers, strict=True))
    return [found[number] for number in range(len(questions))]


def _alike(question: Question) -> Any:
    """Questions with the same of it can be ranked together."""
    ask = question.ask
    length = ask.n + ask.offset if ask.diversity or ask.rules else 0
    shape = (ask.category, repr(ask.filters), ask.exclude_seen, ask.candidates, ask.diversity, ask.without, ask.wishes)
    return question.user_id is None, ask.explain, length, shape, ask.by, repr(ask.rules)


def _name(question: Question, number: int) -> str:
    return f"session {number}" if question.user_id is None else question.user_id


def request_of(now: Now, questions: Mapping[str, Question]) -> ListRequest:
    """What these questions, which are alike, ask the recommender for."""
    ask = next(iter(questions.values())).ask
    filters = dict(ask.filters or {})
    if ask.category:
        filters["categories"] = list(ask.category)
    own = {name: (*one.ask.exclude, *now.exclude.get(name, ())) for name, one in questions.items()}
    exclude: Any = tuple(now.hidden)
    if any(own.values()):
        exclude = {name: (*now.hidden, *items) for name, items in own.items()}
    return ListRequest(
        n=max(one.ask.n + one.ask.offset for one in questions.values()),
        candidates=ask.candidates,
        exclude_seen=ask.exclude_seen,
        filters=filters or None,
        diversity=ask.diversity,
        without=known_of(now, ask.without) or None,
        wishes=ask.wishes or None,
        exclude=exclude or None,
        by=ask.by,
        rules=Rules(**ask.rules or {}),
    )


def known_of(now: Now, without: Sequence[str]) -> tuple[str, ...]:
    """What of it the catalog knows; the rest is passed over, and its text gets into no log."""
    model = now.state.model
    rows = model.catalog.rows(without).tolist()
    return tuple(
        one for one, row in zip(without, rows, strict=True) if row >= 0 or model.attributes.items_valued(one).any()
    )


def _together(
    now: Now, questions: Mapping[str, Question], settings: Settings, adapters: OwnAdapters | None
) -> list[Made]:
    request = request_of(now, questions)
    seen, notes = now.state.histories(_events(now, questions))
    policy, instead = RANKING, None
    try:
        named = next(iter(questions.values())).user_id is not None
        kept = adapters.of(now, seen, named=named and not request.without) if adapters else None
        lists = Lists.of(now.state, request, seen, kept)
        if settings.log_only:
            policy, instead, lists = POPULAR, lists, popular(now, request, seen)
    except RecllmError:
        raise
    except Exception:  # a visitor gets a list whatever happens to the model
        policy, lists = FALLBACK, popular(now, request, seen)
    explain = policy == RANKING and next(iter(questions.values())).ask.explain
    reasons = _reasons(now, lists, seen) if explain else [[]] * len(questions)
    answers, ids = [], now.state.model.catalog.item_ids
    for row, question in enumerate(questions.values()):
        lines = _lines(now, lists, row, question.ask)
        if settings.explore and question.kind == "recommend" and policy == RANKING and not question.ask.rules:
            lines = explored(lines, settings.explore)
        answer = Answer(
            recommendation_id=secrets.token_hex(16),
            user_id=question.user_id,
            version=now.version,
            as_of_event=now.as_of_event,
            policy=policy,
            at=time.time(),
            items=lines,
            notes=(*notes, *lists.notes),
        )
        said = [] if instead is None else [ids[item] for item in instead.rows[row]]
        why = {ids[item]: reason for item, reason in zip(lists.rows[row], reasons[row], strict=False)}
        answers.append(Made(with_reasons(answer, why), impression_of(question, answer, said), why))
    return answers


def with_reasons(answer: Answer, reasons: Mapping[str, Mapping[str, Any]]) -> Answer:
    """The same with a reason in each line that there is one for."""
    if not reasons:
        return answer
    told = [
        replace(line, reason=why["explanation"], reason_code=why["reason_code"], evidence=why["evidence"])
        if (why := reasons.get(line.item_id))
        else line
        for line in answer.items
    ]
    return replace(answer, items=tuple(told))


def _events(now: Now, questions: Mapping[str, Question]) -> Interactions:
    """What is known of the users, or what their sessions say."""
    if next(iter(questions.values())).user_id is not None:
        return now.state.memory.of_users(questions)
    events = [replace(event, user_id=name) for name, one in questions.items() for event in one.events]
    return interactions(events, questions)


def popular(now: Now, request: ListRequest, seen: Histories) -> Lists:
    """Lists of what is popular, for users who have all of `seen`."""
    lists = Lists(Served(now.state.model, request))
    lists.add(seen, Histories.empty(seen.user_ids), None)
    return lists


def _reasons(now: Now, lists: Lists, seen: Histories) -> list[list[dict[str, Any]]]:
    """For each user, a reason for each line."""
    explainer = Explainer(domain=now.state.config.domain)
    columns = Reasons.by(now.state).of(lists.served, seen, lists.rows, explainer, lists=lists)
    rows = iter([dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])
    return [[next(rows) for _ in found] for found in lists.rows]


def _lines(now: Now, lists: Lists, row: int, ask: Ask) -> tuple[Line, ...]:
    catalog, names = now.state.model.catalog, now.state.model.channels.names
    wanted = slice(ask.offset, ask.offset + ask.n)
    found = zip(lists.rows[row][wanted], lists.scores[row][wanted], lists.leading[row][wanted], strict=True)
    return tuple(
        Line(catalog.item_ids[item], ask.offset + number, float(score), catalog.titles[item], names[channel])
        for number, (item, score, channel) in enumerate(found, 1)
    )


def explored(lines: Sequence[Line], share: float) -> tuple[Line, ...]:
    """Lines of which, in this share of answers, neighbours change places by chance, with how probable each place was.

    Radlinski & Joachims, Minimally invasive randomization, AAAI 2006.
    """
    chance = random.Random(secrets.randbits(64))
    shaken = chance.random() < share
    order = list(lines)
    for first in range(0, len(order) - 1, 2):
        changed = shaken and chance.random() < 0.5
        pair = [order[first + 1], order[first]] if changed else [order[first], order[first + 1]]
        probable = share / 2 if changed else 1 - share / 2
        order[first : first + 2] = [replace(line, propensity=probable) for line in pair]
    return tuple(replace(line, rank=lines[place].rank) for place, line in enumerate(order))


def _written(wanted: Any) -> Any:
    """What a filter wants, as JSON keeps it: a range is no list of two values."""
    return {"min": wanted[0], "max": wanted[1]} if isinstance(wanted, tuple) else wanted


def asked_of(impression: Impression) -> Ask:
    """How an answered list was to be, whether it comes from memory or from the disk."""
    asked = {name: value for name, value in impression.request.items() if name != "events"}
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    if "filters" in plain:
        plain["filters"] = {name: _read(value) for name, value in plain["filters"].items()}
    return replace(Ask(n=max(len(impression.items), 1)), **plain)


def _read(written: Any) -> Any:
    return (written["min"], written["max"]) if isinstance(written, Mapping) else written


def impression_of(question: Question, answer: Answer, instead: Sequence[str] = ()) -> Impression:
    """What is kept of an answer."""
    asked = {name: value for name, value in asdict(question.ask).items() if value != getattr(Ask(), name)}
    if question.ask.filters:
        asked["filters"] = {name: _written(value) for name, value in question.ask.filters.items()}
    if question.events:
        asked["events"] = [{"item_id": one.item_id, "timestamp": one.timestamp} for one in question.events]
    return Impression(
        recommendation_id=answer.recommendation_id,
        user_id=answer.user_id,
        at=answer.at,
        kind=question.kind,
        version=answer.version,
        as_of_event=answer.as_of_event,
        policy=answer.policy,
        request=asked,
        items=[
            {"item_id": one.item_id, "rank": one.rank, "score": one.score, "channel": one.channel}
            | ({} if one.propensity == 1 else {"propensity": one.propensity})
            for one in answer.items
        ],
        instead=instead,
    )
