"""What the page shows: a verdict in words, drawings, tables."""

import math
from collections.abc import Callable, Iterator

from recllm.evaluation.figures import MAIN_METRIC, Place
from recllm.evaluation.page import plots, series
from recllm.evaluation.page.blocks import Block, Cell, Section
from recllm.evaluation.page.parts import (
    BANDS,
    MARKS,
    caption_of,
    chosen_for_drawing,
    column_of,
    curve,
    is_listed,
    lines_of,
    table_by_shots,
    title_of,
)
from recllm.evaluation.page.provenance import provenance
from recllm.evaluation.report import CANDIDATES, CHANNEL, CONTROL, NOTHING, SQUARE, Report, name_of
from recllm.evaluation.verdicts import LOWER_IS_BETTER, Comparison

CATALOG_METRIC = "Coverage@10"
COSTS = ("ms per user", "bytes per user")
_SQUARE = (
    "A: the base alone. B: the base with an inner loop, nothing meta-trained. C: meta-trained, no inner "
    "steps. D: meta-trained, with inner steps. The controls rank with an adapter that is not the user's own: if they "
    "beat A, against which they are compared, then the gain is not personal."
)


def make_sections(report: Report) -> list[Section]:
    """The sections that have something to show."""
    sections = [Section(anchor, title, list(make(report))) for anchor, (title, make) in _SECTIONS.items()]
    return [section for section in sections if section.blocks]


def make_summary(report: Report) -> list[str]:
    """What the page says first: one sentence per way of asking."""
    return [_summary(report, place) for place in report.main_places] or [NOTHING]


def _summary(report: Report, place: Place) -> str:
    name = name_of(place, report.main_places, ": ")
    words, users = report.headline(place), report.figures.users(place)
    if words == NOTHING:
        return name + words
    claim = [f"In the square, {_claim(report, place)}"] if report.square(place) else []
    return " ".join([f"{name}{words}", *claim, f"{users:,} user{'s were' if users != 1 else ' was'} asked."])


# --- accuracy ----------------------------------------------------------------------------------------------------


def _few_shot(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        yield from curve(report, place)


def _main_table(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        if methods := [name for name in report.figures.methods(place, MAIN_METRIC) if is_listed(name)]:
            yield Block(
                title=name_of(place, report.main_places),
                caption=MARKS,
                head=["method", *(f"K = {k}" for k in report.figures.shots(place, MAIN_METRIC))],
                rows=table_by_shots(report, place, methods, MAIN_METRIC),
            )


def _square(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        pairs = report.square(place)
        if not pairs:
            continue
        found = {
            (ours, theirs): [
                report.figures.comparison(place, ours, theirs, k)
                for k in report.figures.comparable(place, ours, theirs)
            ]
            for ours, theirs, _ in pairs
        }
        drawn = [
            plots.Line(_pair(ours, theirs), [c.shots for c in some], [c.ratio for c in some], True)
            for (ours, theirs), some in found.items()
            if not any(math.isnan(one.ratio.value) for one in some)
        ]
        shots = sorted({one.shots for some in found.values() for one in some})
        yield Block(
            title=name_of(place, report.main_places),
            paragraphs=[_claim(report, place), *(text for *_, text in pairs)],
            svg=plots.differences(
                drawn,
                title=f"The square: relative differences{title_of(place, report)}",
                x_label="events known of a user (K)",
                y_label=f"difference in {MAIN_METRIC}",
            )
            if drawn
            else "",
            legend=plots.legend(drawn),
            caption=_SQUARE,
        )
        yield Block(
            head=["difference", *(f"K = {k}" for k in shots)],
            rows=[
                (
                    f"{_pair(ours, theirs)} against A" if ours.startswith(CONTROL) else _pair(ours, theirs),
                    [_signed({one.shots: one for one in some}.get(k)) for k in shots],
                )
                for (ours, theirs), some in found.items()
            ],
            caption=f"Relative difference in {MAIN_METRIC}, paired by user; bold where its 95 % interval excludes 0.",
        )


def _coverage(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        k = report.figures.default_shots(place)
        chosen, left_out = chosen_for_drawing(report, place, k)
        width = {name: report.figures.estimate(place, name, k, CATALOG_METRIC).value for name in chosen}
        lines = [
            plots.Line(name, [width[name]], [report.figures.estimate(place, name, k)], name in report.ours(place))
            for name in chosen
            if not math.isnan(width[name])
        ]
        if lines:
            yield Block(
                title=name_of(place, report.main_places),
                svg=plots.scatter(
                    lines,
                    title=f"Accuracy against coverage at K = {k}{title_of(place, report)}",
                    x_label=f"{CATALOG_METRIC}: share of the catalog that is in anybody's list",
                    y_label=f"{MAIN_METRIC} at K = {k}",
                ),
                legend=plots.legend(lines),
                caption=caption_of("Further up is more accurate, further right uses more of the catalog.", left_out),
            )


def _all_metrics(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        default = report.figures.default_shots(place)
        for k in sorted(report.figures.shots(place), key=lambda k: (k != default, k)):
            methods = [name for name in report.figures.methods(place, shots=k) if is_listed(name)]
            metrics = [metric for metric in report.figures.metrics(place, k) if metric not in COSTS]
            if not methods or not metrics:
                continue
            columns = [column_of(report, place, methods, k, metric) for metric in metrics]
            name = name_of(place, report.main_places, ", ")
            yield Block(
                title=f"{name}K = {k}" if k == default else "",
                summary="" if k == default else f"{name}K = {k}",
                head=["method", *(f"{metric} ↓" if metric in LOWER_IS_BETTER else metric for metric in metrics)],
                rows=[(method, [column[row] for column in columns]) for row, method in enumerate(methods)],
                caption="Bold: the best figure. ↓ lower is better. Small: 95 % interval.",
            )


def _channels(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        methods = [m for m in report.figures.methods(place, CANDIDATES) if m.startswith(CHANNEL)]
        if methods:
            rows = table_by_shots(report, place, methods, CANDIDATES)
            yield Block(
                title=name_of(place, report.main_places),
                head=["channel", *(f"K = {k}" for k in report.figures.shots(place, CANDIDATES))],
                rows=[(name.removeprefix(CHANNEL), cells) for name, cells in rows],
                caption=f"{CANDIDATES}: share of what a user then liked among the first 200 candidates. {MARKS}",
            )


def _segments(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        k = report.figures.default_shots(place)
        chosen, left_out = chosen_for_drawing(report, place, k)
        segments = report.segments(shots=k, place=place)
        if len(segments) < 2 or not chosen:
            continue
        users = [max(one.n for one in found.values()) for found in segments.values()]
        places = range(len(segments))
        found = {name: (places, [values[name] for values in segments.values()]) for name in chosen}
        lines = lines_of(report, place, found)
        yield Block(
            title=name_of(place, report.main_places),
            svg=plots.curves(
                lines,
                title=f"{MAIN_METRIC} by users' activity at K = {k}{title_of(place, report)}",
                x_label="events that users had before the query",
                y_label=f"{MAIN_METRIC} at K = {k}",
                ticks=[
                    (row, f"{label.removesuffix(' events')}\n({n:,} users)")
                    for row, (label, n) in enumerate(zip(segments, users, strict=True))
                ],
            ),
            legend=plots.legend(lines),
            caption=caption_of(
                f"Users in thirds by how much they had done before, of which methods know {k} events at most. {BANDS}",
                left_out,
            ),
        )


def _claim(report: Report, place: Place) -> str:
    """Where adapters are worth their name: D has to beat A, B and C, all of them."""
    adapted, others = SQUARE[-1], SQUARE[:-1]
    shots = [set(report.figures.comparable(place, adapted, other)) for other in others]
    asked = sorted(set.intersection(*shots))
    if not asked:
        return "whether adapters help cannot be said: that needs D against A, B and C."
    holds = [k for k in asked if all(report.figures.comparison(place, adapted, o, k).outcome == "wins" for o in others)]
    if not holds:
        return "D beats A, B and C, all three, at no K."
    rest = [k for k in asked if k not in holds]
    text = f"D beats A, B and C, all three, at K={', '.join(map(str, holds))}"
    return text + (f"; not at K={', '.join(map(str, rest))}." if rest else ".")


def _pair(ours: str, theirs: str) -> str:
    """Short enough for a drawing; controls are compared with A."""
    return ours.removeprefix(CONTROL) if ours.startswith(CONTROL) else f"{ours[0]} against {theirs[0]}"


def _signed(comparison: Comparison | None) -> Cell:
    """A relative difference with its sign."""
    if comparison is None or math.isnan(comparison.ratio.value):
        return Cell("–")
    ratio = comparison.ratio
    if comparison.outcome == "same":
        return Cell("same")
    value, low, high = (f"{100 * part:+.1f}".replace("-", "−") for part in (ratio.value, ratio.low, ratio.high))
    known = not math.isnan(ratio.low)
    mark = "best" if comparison.outcome in ("wins", "loses") else ""
    return Cell(f"{value} %", f"[{low}, {high}]" if known else "", mark)


# --- costs -------------------------------------------------------------------------------------------------------


def _latency(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        k = report.figures.default_shots(place)
        found = _costs(report, place, COSTS[0])
        if found:
            yield Block(
                title=name_of(place, report.main_places),
                svg=plots.bars(
                    found, title=f"Milliseconds per user at K = {k}{title_of(place, report)}", unit=COSTS[0]
                ),
                caption=f"Time to rank all items for one user at K = {k}, averaged over all users asked.",
            )


def _bytes(report: Report) -> Iterator[Block]:
    for place in report.main_places:
        found = _costs(report, place, COSTS[1])
        if found:
            yield Block(
                title=name_of(place, report.main_places),
                head=["method", COSTS[1]],
                rows=[(name, [Cell(f"{value:,.0f}")]) for name, value, _ in found],
                caption="What is kept of one user beside their events.",
            )


def _costs(report: Report, place: Place, metric: str) -> list[tuple[str, float, bool]]:
    k = report.figures.default_shots(place)
    methods = [name for name in report.figures.methods(place, metric, k) if is_listed(name)]
    found = [
        (name, report.figures.estimate(place, name, k, metric).value, name in report.ours(place)) for name in methods
    ]
    return sorted((one for one in found if not math.isnan(one[1])), key=lambda one: one[1])


_SECTIONS: dict[str, tuple[str, Callable[[Report], Iterator[Block]]]] = {
    "curves": ("Few-shot curves", _few_shot),
    "table": (MAIN_METRIC, _main_table),
    "square": ("The square", _square),
    "coverage": ("Accuracy against coverage", _coverage),
    "metrics": ("All metrics", _all_metrics),
    "channels": ("Candidates by channel", _channels),
    "segments": ("By activity", _segments),
    "sparsity": ("By sparsity", series.sparsity),
    "cold": ("Known and new users and items", series.cold),
    "prequential": ("Following users through time", series.prequential),
    "latency": ("Latency", _latency),
    "bytes": ("Bytes per user", _bytes),
    "how": ("How this was measured", lambda report: provenance(report.about)),
}
