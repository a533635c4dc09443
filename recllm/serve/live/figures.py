"""How it goes: is it alive, is it fresh, is it any good, and what fell back."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from recllm.serve.live.now import Now
from recllm.serve.live.refitting import LastRefit
from recllm.serve.state.figures import ListFigures
from recllm.serve.state.store import Store

WINDOW = 7 * 86_400.0
"""Seconds that figures look back."""

MOST_LISTS = 20_000
"""Answered lists that figures are made from; the newest."""

AGREEING = 1_000
"""Lists of a server that only watches, of which it is asked whether the ranking would have said the same."""

_REMEMBERED = 4_096


@final
@dataclass(frozen=True)
class Rate:
    """A share, and what it is based on."""

    clicked: int
    shown: int

    @property
    def value(self) -> float:
        """The share; 0 where nothing was shown."""
        return self.clicked / self.shown if self.shown else 0.0


@final
@dataclass(frozen=True)
class Figures:
    """What a dashboard shows.

    Attributes:
        up_seconds: Since the server started.
        requests: By status class: "2xx", "4xx", "5xx".
        latency_ms: Of requests of late: "p50", "p95", "p99"; empty where there were none.
        waiting: Requests that wait for a list.
        events, users, items: What is counted and known.
        as_of_event: Number of the newest event.
        newest_event_age: Seconds since the newest event; None where there is none.
        events_since_fit, refit_due, refit_reason: See `Recommender.freshness`.
        refit: How the last fit went.
        window_days: How far the following look back.
        lists: Answered lists, by what made them.
        clicks: Events that came of a list.
        live_ndcg: Mean NDCG of lists of which something was clicked; None where there is none.
        hit_rate: Share of lists of which something was clicked.
        by_channel, by_rank: Click-through.
        coverage: Share of the catalog that was listed.
        cold_items: Share of lines with an item that nobody has.
        cold_users: Share of lists for users of whom nothing is known.
        agreement: For a server that only watches: mean share of its lists that the ranking would have listed, too.
        lost: Lists and adapters that could not be kept.
        rows: Of each table.
        bytes: On the disk.
        version: Of the model.
    """

    up_seconds: float
    requests: Mapping[str, int]
    latency_ms: Mapping[str, float]
    waiting: int
    events: int
    users: int
    items: int
    as_of_event: int
    newest_event_age: float | None
    events_since_fit: int
    refit_due: bool
    refit_reason: str
    refit: LastRefit
    window_days: float
    lists: Mapping[str, int]
    clicks: int
    live_ndcg: float | None
    hit_rate: Rate
    by_channel: Mapping[str, Rate]
    by_rank: Mapping[int, Rate]
    coverage: float
    cold_items: Rate
    cold_users: Rate
    agreement: float | None
    lost: int
    rows: Mapping[str, int]
    bytes: int
    version: str


@final
class Traffic:
    """What came and how it was answered, since the server started; may be told by several threads."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.lost = 0
        self._statuses: Counter[str] = Counter()
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def note(self, status: int, seconds: float) -> None:
        """One request was answered."""
        with self._lock:
            self._statuses[f"{status // 100}xx"] += 1
            self._seconds.append(seconds)

    @property
    def statuses(self) -> dict[str, int]:
        """Requests by status class."""
        with self._lock:
            return dict(self._statuses)

    @property
    def latency_ms(self) -> dict[str, float]:
        """Of requests of late."""
        with self._lock:
            seconds = np.array(self._seconds)
        if not len(seconds):
            return {}
        return {f"p{part}": float(np.percentile(seconds, part) * 1e3) for part in (50, 95, 99)}


def figures(now: Now, store: Store, traffic: Traffic, waiting: int, refit: LastRefit) -> Figures:
    """All of it, at this moment."""
    since = time.time() - WINDOW
    fresh, catalog = now.state.freshness(None), now.state.model.catalog
    found = store.figures(since, MOST_LISTS)
    counts = dict(store.counts())
    size = counts.pop("bytes", 0)
    users = {user: count for user, count in found.users.items() if user is not None}
    known = now.state.memory
    return Figures(
        up_seconds=time.monotonic() - traffic.begun,
        requests=traffic.statuses,
        latency_ms=traffic.latency_ms,
        waiting=waiting,
        events=fresh.events,
        users=len(now.state.memory),
        items=len(catalog),
        as_of_event=now.as_of_event,
        newest_event_age=fresh.age,
        events_since_fit=fresh.events_since_fit,
        refit_due=fresh.refit_due,
        refit_reason=fresh.reason,
        refit=refit,
        window_days=WINDOW / 86_400,
        lists=dict(found.lists),
        coverage=len(found.items) / max(len(catalog), 1),
        cold_items=_cold_items(now, found.items),
        cold_users=Rate(sum(count for user, count in users.items() if user not in known), sum(users.values())),
        agreement=_agreement(store, since) if "popular" in found.lists else None,
        lost=traffic.lost,
        rows=counts,
        bytes=size,
        version=now.version,
        **_clicks(found),
    )


def _clicks(found: ListFigures) -> dict[str, Any]:
    """What became of lists: which lines were clicked, by channel and by place."""
    shown: tuple[Counter[Any], Counter[Any]] = (Counter(), Counter())
    for line, count in found.lines.items():
        for tally, name in zip(shown, line, strict=True):
            tally[name] += count
    places: dict[str, list[int]] = {}
    for one in found.clicked:
        places.setdefault(one.recommendation_id, []).append(one.place)
    by_channel = _rates(Counter(one.channel for one in found.clicked), shown[0])
    by_rank = _rates(Counter(one.place for one in found.clicked), shown[1])
    return {
        "clicks": len(found.clicked),
        "live_ndcg": float(np.mean([_ndcg(one) for one in places.values()])) if places else None,
        "hit_rate": Rate(len(places), sum(found.lists.values())),
        "by_channel": by_channel,
        "by_rank": dict(sorted(by_rank.items())),
    }


def _rates(clicked: Counter[Any], shown: Counter[Any]) -> dict[Any, Rate]:
    return {name: Rate(clicked[name], count) for name, count in shown.items()}


def _ndcg(places: Sequence[int]) -> float:
    """Of a list of which these places, from 1, were clicked."""
    gain = sum(1 / math.log2(place + 1) for place in places)
    return gain / sum(1 / math.log2(place + 1) for place in range(1, len(places) + 1))


def _cold_items(now: Now, lines: Mapping[str, int]) -> Rate:
    """Lines with an item that nobody has, by how often each was listed."""
    liked = now.state.model.channels.popularity.liked
    rows = now.state.model.catalog.rows(list(lines))
    cold = sum(count for row, count in zip(rows, lines.values(), strict=True) if row >= 0 and liked[row] == 0)
    return Rate(cold, sum(lines.values()))


def _agreement(store: Store, since: float) -> float | None:
    shares = [
        len({line["item_id"] for line in one.items} & set(one.instead)) / len(one.items)
        for one in store.impressions_since(since, AGREEING)
        if one.instead and one.items
    ]
    return float(np.mean(shares)) if shares else None
