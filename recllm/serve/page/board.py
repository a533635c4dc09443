"""The dashboard: figures in words, with their units and what they are based on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from recllm.retrieval.channels import CHANNELS
from recllm.serve.page.render import respond

MOST_RANKS = 10
"""Places whose click-through is drawn."""

ENOUGH = 100
"""Shown lines from which an interval is narrow enough to set the scale of a drawing."""

_POLICIES = {
    "ranking": "by the ranking",
    "popular": "by popularity, while the server only watches",
    "fallback": "by popularity, because the ranking could not answer",
}
_CLASSES = {"2xx": "answered", "3xx": "sent on", "4xx": "refused", "5xx": "failed"}
_TONES = {"2xx": "good", "ranking": "good", "5xx": "bad", "fallback": "bad"}
_THINNEST = 0.8
"""Per cent of a bar's width: what is rare is still seen."""

_UNITS = ((31_557_600, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class Bar:
    """A figure that is drawn; widths are in per cent of the longest.

    Attributes:
        name: What it is of.
        value: In words.
        based: On how many.
        width: Of the bar.
        low, high: Ends of the interval around it; None where it is exact.
    """

    name: str
    value: str
    based: str
    width: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Share:
    """A part of the whole, for one bar of several parts; `start` and `width` are in per cent."""

    tone: str
    name: str
    count: int
    start: float
    width: float


class Board:
    """The dashboard of one engine."""

    def __init__(self, live: Any) -> None:
        self.live = live

    async def show(self, request: Request) -> HTMLResponse:
        """The page."""
        figures = await run_in_threadpool(self.live.figures)
        is_ready, said = self.live.ready()
        lists = sum(figures.lists.values())
        return respond(
            request,
            "dashboard.html.jinja",
            figures=figures,
            is_ready=is_ready,
            said=said,
            up=span(figures.up_seconds),
            age=None if figures.newest_event_age is None else span(figures.newest_event_age),
            window=span(figures.window_days * 86_400),
            requests=parts(figures.requests, _CLASSES),
            latency=_latency(figures.latency_ms),
            lists=lists,
            shown=sum(rate.shown for rate in figures.by_rank.values()),
            policies=parts(figures.lists, _POLICIES),
            channels=_channels(figures.by_channel),
            ranks=_rates({f"Place {rank}": rate for rank, rate in [*figures.by_rank.items()][:MOST_RANKS]}),
            unranked=max(0, len(figures.by_rank) - MOST_RANKS),
            hits=in_words(figures.hit_rate),
            cold_items=in_words(figures.cold_items),
            cold_users=in_words(figures.cold_users),
            coverage=percent(figures.coverage),
            agreement=None if figures.agreement is None else percent(figures.agreement),
            refit_took=span(figures.refit.seconds),
            size=size(figures.bytes),
            card=await run_in_threadpool(self.live.card),
        )


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for length, unit in _UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number:,} {unit}{'s' if number != 1 else ''}"
    return "less than a second"


def size(count: int) -> str:
    """Bytes in the unit that people would use."""
    number, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1_000:
            break
        number, unit = number / 1_000, larger
    return f"{number:,.0f} {unit}" if number >= 100 or unit == "bytes" else f"{number:.1f} {unit}"


def percent(value: float) -> str:
    """A share; small ones with a decimal."""
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def in_words(rate: Any) -> str | None:
    """A share and what it is based on; None where it is based on nothing."""
    return f"{percent(rate.value)} of {rate.shown:,}" if rate.shown else None


def interval(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, hits / of
    middle, width = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (middle - width) / (1 + z * z / of)), min(1.0, (middle + width) / (1 + z * z / of))


def parts(counts: Mapping[str, int], names: Mapping[str, str]) -> list[Share]:
    """Counts as parts of one bar, in the order of `names`, others last."""
    order = [kind for kind in dict.fromkeys((*names, *counts)) if counts.get(kind)]
    whole = sum(counts[kind] for kind in order)
    widths = [max(_THINNEST, 100 * counts[kind] / whole) for kind in order]
    made, start = [], 0.0
    for kind, width in zip(order, widths, strict=True):
        part = 100 * width / sum(widths)
        made.append(Share(_TONES.get(kind, "so"), names.get(kind, kind), counts[kind], round(start, 2), round(part, 2)))
        start += part
    return made


def _rates(named: Mapping[str, Any]) -> list[Bar]:
    """Click-through, drawn with its interval; one that is wide ends at the edge."""
    shown = {name: rate for name, rate in named.items() if rate.shown}
    ends = {name: interval(rate.clicked, rate.shown) for name, rate in shown.items()}
    known = [high for name, (_, high) in ends.items() if shown[name].shown >= ENOUGH]
    longest = max([*known, *(rate.value for rate in shown.values())], default=1.0) or 1.0

    def drawn(value: float) -> float:
        return round(min(100.0, 100 * value / longest), 2)

    return [
        Bar(
            name=name,
            value=percent(rate.value),
            based=f"{rate.clicked:,} of {rate.shown:,}",
            width=drawn(rate.value),
            low=drawn(ends[name][0]),
            high=drawn(ends[name][1]),
        )
        for name, rate in shown.items()
    ]


def _channels(by_channel: Mapping[str, Any]) -> list[Bar]:
    """Those that list most come first."""
    words = {name: channel.words for name, channel in CHANNELS.items()}
    order = sorted(by_channel.items(), key=lambda pair: -pair[1].shown)
    return _rates({_first_upper(words.get(name) or name.replace("_", " ") or "not said"): rate for name, rate in order})


def _latency(milliseconds: Mapping[str, float]) -> list[Bar]:
    names = {"p50": "Half of them within", "p95": "95 of 100 within", "p99": "99 of 100 within"}
    longest = max(milliseconds.values(), default=1.0) or 1.0
    return [
        Bar(names[name], f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms", "", round(100 * value / longest, 2))
        for name, value in milliseconds.items()
        if name in names
    ]


def _first_upper(words: str) -> str:
    return words[:1].upper() + words[1:]
