"""How it goes: is it alive, is it fresh, is it any good, and what fell back."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from recllm.serve.live.now import Now
from recllm.serve.live.refitting import LastRefit
from recllm.serve.state.records import Impression
from recllm.serve.state.store import Store

WINDOW = 7 * 86_400.0
"""Seconds that figures look back."""

MOST_LISTS = 20_000
"""Answered lists that figures are made from; the newest."""

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
    lists = [one for one in store.impressions_since(since, MOST_LISTS) if one.items]
    clicked = store.clicks_since(since)
    counts = dict(store.counts())
    size = counts.pop("bytes", 0)
    shown = {line["item_id"] for one in lists for line in one.items}
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
        lists=dict(Counter(one.policy for one in lists)),
        coverage=len(shown) / max(len(catalog), 1),
        cold_items=_cold_items(now, lists),
        cold_users=Rate(sum(_is_new(now, one) for one in lists), len(lists)),
        agreement=_agreement(lists),
        lost=traffic.lost,
        rows=counts,
        bytes=size,
        version=now.version,
        **_clicks(lists, clicked),
    )


@dataclass
class _Tally:
    shown: Counter[Any] = field(default_factory=Counter)
    clicked: Counter[Any] = field(default_factory=Counter)

    def rates(self) -> dict[Any, Rate]:
        return {name: Rate(self.clicked[name], count) for name, count in self.shown.items()}


def _clicks(lists: Sequence[Impression], clicked: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """What became of lists: which lines were clicked, by channel and by place."""
    by_channel, by_rank, gains, hits, total = _Tally(), _Tally(), [], 0, 0
    for one in lists:
        theirs = clicked.get(one.recommendation_id, frozenset())
        gain, found = 0.0, 0
        for place, line in enumerate(one.items, 1):
            is_clicked = line["item_id"] in theirs
            for tally, name in ((by_channel, line["channel"]), (by_rank, place)):
                tally.shown[name] += 1
                tally.clicked[name] += is_clicked
            if is_clicked:
                gain, found = gain + 1 / math.log2(place + 1), found + 1
        if found:
            gains.append(gain / sum(1 / math.log2(place + 1) for place in range(1, found + 1)))
            hits, total = hits + 1, total + found
    return {
        "clicks": total,
        "live_ndcg": float(np.mean(gains)) if gains else None,
        "hit_rate": Rate(hits, len(lists)),
        "by_channel": by_channel.rates(),
        "by_rank": dict(sorted(by_rank.rates().items())),
    }


def _cold_items(now: Now, lists: Sequence[Impression]) -> Rate:
    catalog, liked = now.state.model.catalog, now.state.model.channels.popularity.liked
    ids = [line["item_id"] for one in lists for line in one.items]
    rows = catalog.rows(ids)
    return Rate(int((liked[rows[rows >= 0]] == 0).sum()), len(ids))


def _is_new(now: Now, one: Impression) -> bool:
    return not one.request.get("events") if one.user_id is None else one.user_id not in now.state.memory


def _agreement(lists: Sequence[Impression]) -> float | None:
    shares = [
        len({line["item_id"] for line in one.items} & set(one.instead)) / len(one.items) for one in lists if one.instead
    ]
    return float(np.mean(shares)) if shares else None
