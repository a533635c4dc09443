"""What a server says of itself, as `recllm.serve.live.figures.Figures` has it."""

from types import SimpleNamespace
from typing import Any


class Rate(SimpleNamespace):
    clicked: int
    shown: int

    @property
    def value(self) -> float:
        return self.clicked / self.shown if self.shown else 0.0


def rate(clicked: int, shown: int) -> Rate:
    return Rate(clicked=clicked, shown=shown)


EMPTY: dict[str, Any] = {
    "up_seconds": 42.0,
    "requests": {},
    "latency_ms": {},
    "waiting": 0,
    "events": 0,
    "users": 0,
    "items": 3_852,
    "as_of_event": 0,
    "newest_event_age": None,
    "events_since_fit": 0,
    "refit_due": False,
    "refit_reason": "no event is counted yet.",
    "refit": SimpleNamespace(state="none", seconds=0.0, said=""),
    "window_days": 7.0,
    "lists": {},
    "clicks": 0,
    "live_ndcg": None,
    "hit_rate": rate(0, 0),
    "by_channel": {},
    "by_rank": {},
    "coverage": 0.0,
    "cold_items": rate(0, 0),
    "cold_users": rate(0, 0),
    "agreement": None,
    "lost": 0,
    "rows": {"events": 0, "impressions": 0},
    "bytes": 4_096,
    "version": "3f2a9c41",
}

FULL: dict[str, Any] = EMPTY | {
    "up_seconds": 11_520.0,
    "requests": {"2xx": 48_211, "4xx": 37, "5xx": 1},
    "latency_ms": {"p50": 8.4, "p95": 31.0, "p99": 74.0},
    "waiting": 2,
    "events": 269_102,
    "users": 4_391,
    "as_of_event": 1_636,
    "newest_event_age": 96.0,
    "events_since_fit": 1_636,
    "refit_due": True,
    "refit_reason": "52 % of the events came after the fit; 50 % make it due.",
    "refit": SimpleNamespace(state="failed", seconds=312.0, said="the disk is full."),
    "lists": {"ranking": 9_120, "fallback": 14},
    "clicks": 812,
    "live_ndcg": 0.4312,
    "hit_rate": rate(655, 9_134),
    "by_channel": {
        "cooccurrence": rate(402, 38_210),
        "next_liked": rate(251, 27_004),
        "text": rate(96, 14_870),
        "popular_now": rate(61, 10_900),
        "": rate(2, 356),
    },
    "by_rank": {place: rate(160 // place, 9_134) for place in range(1, 21)},
    "coverage": 0.4137,
    "cold_items": rate(310, 91_340),
    "cold_users": rate(2_011, 9_134),
    "agreement": 0.31,
    "lost": 1,
    "rows": {"events": 1_636, "impressions": 9_134, "items": 12, "users": 58, "adapters": 41, "reasons": 77},
    "bytes": 48_300_112,
}


def figures(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**EMPTY | changes)
