"""What the page shows: a verdict in words, drawings, tables."""

import math
from collections.abc import Callable, Iterator

from recllm.evaluation.findings import NOTHING, Findings
from recllm.evaluation.names import (
    CANDIDATES,
    CATALOG_METRIC,
    CHANNEL,
    CONTROL,
    COSTS,
    LOWER_IS_BETTER,
    MAIN_METRIC,
    SQUARE,
)
from recllm.evaluation.page import meanings, plots, series
from recllm.evaluation.page.blocks import Block, Cell, Section
from recllm.evaluation.page.provenance import provenance
from recllm.evaluation.page.view import MARKS, View, caption_of, table_of
from recllm.evaluation.verdicts import Comparison, listed

_SQUARE = (
    "A: the base alone. B: the base with an inner loop, nothing meta-trained. C: meta-trained, no inner "
    "steps. D: meta-trained, with inner steps. The controls rank with an adapter that is not the user's own: if they "
    "beat A, against which they are compared, then the gain is not personal."
)

Blocks = Iterator[Block]


def make_sections(report: Findings) -> list[Section]:
    """The sections that have something to show."""
    sections = [Section(anchor, title, list(make(report))) for anchor, (title, make) in _SECTIONS.items()]
    return [section for section in sections if section.blocks]


def make_heading(report: Findings) -> tuple[str, str]:
    """The title, which says what was measured, and how, in a sentence."""
    places = report.main_places
    if not places:
        return report.title, ""
    ours = report.ours(places[0])
    title = f"{ours[0]} on {report.title}" if ours else f"Methods on {report.title}"
    whose = listed(list(dict.fromkeys(meanings.asked(place.protocol) for place in places)))
    rivals = list(dict.fromkeys(name for place in places for name in report.rivals(place)))
    beside = f", against {listed(rivals)}" if ours and rivals else ""
    return f"{title}: {MAIN_METRIC} for {whose}", f"Ranked from the whole catalog{beside}."


def make_summary(report: Findings) -> list[list[str]]:
    """What the page says first: sentences for each way of asking, what is behind among them."""
    return [_summary(View(report, place)) for place in report.main_places] or [[NOTHING]]


def _summary(view: View) -> list[str]:
    words, users = view.report.headline(view.place), view.report.figures.users(view.place)
    if words == NOTHING:
        return [view.name(": ") + words]
    claim = f"In the square, {_claim(view)}" if view.report.square(view.place) else ""
    asked = f"{users:,} user{'s were' if users != 1 else ' was'} asked."
    return [view.name(": ") + words, *filter(None, (view.report.behind(view.place), f"{claim} {asked}".strip()))]


# --- accuracy ----------------------------------------------------------------------------------------------------


def _main_table(view: View) -> Blocks:
    if methods := view.methods():
        yield Block(title=view.name(), caption=MARKS, **view.table_by_shots(methods))


def _square(view: View) -> Blocks:
    pairs = view.report.square(view.place)
    if not pairs:
        return
    found = {(ours, theirs): _comparisons(view, ours, theirs) for ours, theirs, _ in pairs}
    drawn = [
        plots.Line(_pair(*pair), list(some), [one.ratio for one in some.values()], True)
        for pair, some in found.items()
        if not any(math.isnan(one.ratio.value) for one in some.values())
    ]
    drawing = {
        "title": view.titled("The square: relative differences"),
        "x_label": "events known of a user (K)",
        "y_label": f"difference in {MAIN_METRIC}",
    }
    yield Block(
        title=view.name(),
        paragraphs=[_claim(view), *(text for *_, text in pairs)],
        svg=plots.differences(drawn, **drawing) if drawn else "",
        legend=plots.legend(drawn),
        caption=_SQUARE,
    )
    names = [_pair(*pair) + (" against A" if pair[0].startswith(CONTROL) else "") for pair in found]
    shots = sorted({k for some in found.values() for k in some})
    yield Block(
        caption=f"Relative difference in {MAIN_METRIC}, paired by user; bold where its 95 % interval excludes 0.",
        **table_of(names, {f"K = {k}": [_signed(some.get(k)) for some in found.values()] for k in shots}, "difference"),
    )


def _comparisons(view: View, ours: str, theirs: str) -> dict[int, Comparison]:
    figures = view.report.figures
    shots = figures.comparable(view.place, ours, theirs)
    return {k: figures.comparison(view.place, ours, theirs, k) for k in shots}


def _claim(view: View) -> str:
    """Where adapters are worth their name: D has to beat A, B and C, all of them."""
    rivals = [_comparisons(view, SQUARE[-1], other) for other in SQUARE[:-1]]
    asked = sorted(set.intersection(*map(set, rivals)))
    if not asked:
        return "whether adapters help cannot be said: that needs D against A, B and C."
    holds = [k for k in asked if all(found[k].outcome == "wins" for found in rivals)]
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
    mark = "best" if comparison.outcome in ("wins", "loses") else ""
    return Cell(f"{value} %", "" if math.isnan(ratio.low) else f"[{low}, {high}]", mark)


def _coverage(view: View) -> Blocks:
    k = view.k
    chosen, left_out = view.drawn()
    width = {name: view.estimate(name, k, CATALOG_METRIC).value for name in chosen}
    lines = [
        plots.Line(name, [x], [view.estimate(name, k)], view.is_ours(name))
        for name, x in width.items()
        if not math.isnan(x)
    ]
    if lines:
        yield Block(
            title=view.name(),
            svg=plots.scatter(
                lines,
                title=view.titled(f"Accuracy against coverage at K = {k}"),
                x_label=f"{CATALOG_METRIC}: share of the catalog that is in anybody's list",
                y_label=f"{MAIN_METRIC} at K = {k}",
            ),
            legend=plots.legend(lines),
            caption=caption_of("Further up is more accurate, further right uses more of the catalog.", left_out),
        )


def _all_metrics(view: View) -> Blocks:
    for k in sorted(view.shots(None), key=lambda k: (k != view.k, k)):
        methods = view.methods(None, k)
        measured = {m: view.column(methods, k, m) for m in view.report.figures.metrics(view.place, k)}
        shown = {m: cells for m, cells in measured.items() if m not in COSTS and any(one.mark for one in cells)}
        if methods and shown:
            label = f"{view.name(', ')}K = {k}"
            arrows = dict.fromkeys(LOWER_IS_BETTER, " ↓")
            columns = dict(zip(methods, zip(*shown.values(), strict=True), strict=True))
            yield Block(
                title=label if k == view.k else "",
                summary="" if k == view.k else label,
                caption="Bold: the best figure of a line. ↓ lower is better. Small: 95 % interval.",
                **table_of([m + arrows.get(m, "") for m in shown], columns, "metric"),
            )


def _metrics_explained(report: Findings) -> Blocks:
    yield from (block for place in report.main_places for block in _all_metrics(View(report, place)))
    at = {place: report.figures.default_shots(place) for place in report.main_places}
    named = dict.fromkeys(metric for place, k in at.items() for metric in report.figures.metrics(place, k))
    if known := [(name, [Cell(meanings.METRICS[name])]) for name in named if name in meanings.METRICS]:
        yield Block(summary="What the metrics mean", rows=known, words=True)


def _channels(view: View) -> Blocks:
    methods = [m for m in view.report.figures.methods(view.place, CANDIDATES) if m.startswith(CHANNEL)]
    if methods:
        table = view.table_by_shots(methods, CANDIDATES, "channel")
        table["rows"] = [(_spoken(name), cells) for name, cells in table["rows"]]
        caption = f"{CANDIDATES}: share of what a user then liked among the first 200 candidates. {MARKS}"
        yield Block(title=view.name(), caption=caption, **table)


def _channels_explained(report: Findings) -> Blocks:
    yield from (block for place in report.main_places for block in _channels(View(report, place)))
    places = report.main_places
    named = dict.fromkeys(name for place in places for name in report.figures.methods(place, CANDIDATES))
    if known := [(_spoken(name), [Cell(words)]) for name in named if (words := meanings.channel(name))]:
        yield Block(title="What each channel brings", rows=known, words=True)


def _spoken(channel: str) -> str:
    return channel.removeprefix(CHANNEL).replace("_", " ")


def _segments(view: View) -> Blocks:
    k = view.k
    chosen, left_out = view.drawn()
    segments = view.report.segments(shots=k, place=view.place)
    if len(segments) < 2 or not chosen:
        return
    users = [max(one.n for one in found.values()) for found in segments.values()]
    drawing = view.curves(
        {name: (range(len(segments)), [values[name] for values in segments.values()]) for name in chosen},
        f"Users in thirds by how much they had done before, of which methods know {k} events at most.",
        left_out,
        title=view.titled(f"{MAIN_METRIC} by users' activity at K = {k}"),
        x_label="events that users had before the query",
        y_label=f"{MAIN_METRIC} at K = {k}",
        ticks=[
            (row, f"{label.removesuffix(' events')}\n({n:,} users)")
            for row, (label, n) in enumerate(zip(segments, users, strict=True))
        ],
    )
    yield Block(title=view.name(), **drawing)


# --- costs -------------------------------------------------------------------------------------------------------


def _latency(view: View) -> Blocks:
    if found := _costs(view, COSTS[0]):
        yield Block(
            title=view.name(),
            svg=plots.bars(found, title=view.titled(f"Milliseconds per user at K = {view.k}"), unit=COSTS[0]),
            caption=f"Time to rank all items for one user at K = {view.k}, averaged over all users asked.",
        )


def _bytes(view: View) -> Blocks:
    if found := _costs(view, COSTS[1]):
        cells = {COSTS[1]: [Cell(f"{value:,.0f}") for _, value, _ in found]}
        caption = "What is kept of one user beside their events."
        yield Block(title=view.name(), caption=caption, **table_of([name for name, *_ in found], cells))


def _costs(view: View, metric: str) -> list[tuple[str, float, bool]]:
    """(method, figure, whether it is ours), cheapest first."""
    methods = view.methods(metric, view.k)
    found = [(name, view.estimate(name, view.k, metric).value, view.is_ours(name)) for name in methods]
    return sorted((one for one in found if not math.isnan(one[1])), key=lambda one: one[1])


def _everywhere(make: Callable[[View], Blocks]) -> Callable[[Findings], Blocks]:
    """A section that shows the same of every main place."""
    return lambda report: (block for place in report.main_places for block in make(View(report, place)))


_SECTIONS: dict[str, tuple[str, Callable[[Findings], Blocks]]] = {
    "curves": ("Few-shot curves", _everywhere(View.curve)),
    "table": (MAIN_METRIC, _everywhere(_main_table)),
    "square": ("The square", _everywhere(_square)),
    "coverage": ("Accuracy against coverage", _everywhere(_coverage)),
    "variety": ("What variety costs", series.variety),
    "metrics": ("All metrics", _metrics_explained),
    "channels": ("Candidates by channel", _channels_explained),
    "segments": ("By activity", _everywhere(_segments)),
    "sparsity": ("By sparsity", series.sparsity),
    "cold": ("Known and new users and items", series.cold),
    "prequential": ("Following users through time", series.prequential),
    "latency": ("Latency", _everywhere(_latency)),
    "bytes": ("Bytes per user", _everywhere(_bytes)),
    "how": ("How this was measured", lambda report: provenance(report.about)),
}
