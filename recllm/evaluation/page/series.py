"""Sections that set several protocols beside each other: shares of the events, cold cells, users through time."""

import math
import re
from collections.abc import Iterator

from recllm.evaluation.figures import MAIN_METRIC, Place
from recllm.evaluation.page import plots
from recllm.evaluation.page.blocks import Block
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
)
from recllm.evaluation.report import SHARE, Report, series_of


def sparsity(report: Report) -> Iterator[Block]:
    """The same protocol with shares of the training events."""
    groups: dict[Place, dict[float, Place]] = {}
    for place in report.figures.places:
        match = re.fullmatch(SHARE, place.protocol)
        if match and series_of(place.protocol) == "share":
            groups.setdefault(Place(place.dataset, match["of"]), {})[float(match["share"])] = place
    for base, series in groups.items():
        if base in report.figures.places:
            series[100.0] = base
        shares = sorted(series)
        places = [series[share] for share in shares]
        k = report.figures.default_shots(places[-1])
        chosen, left_out = chosen_for_drawing(report, places[-1], k)
        found = {name: (shares, [report.figures.estimate(place, name, k) for place in places]) for name in chosen}
        if len(series) < 2 or not found:
            continue
        lines = lines_of(report, places[-1], found)
        title = f"{MAIN_METRIC} by share of training events at K = {k}"
        yield Block(
            svg=plots.curves(
                lines,
                title=f"{title}, {base.dataset}, {base.protocol}",
                x_label="share of the training events, log scale",
                y_label=f"{MAIN_METRIC} at K = {k}",
                ticks=[(share, f"{share:g} %") for share in shares],
                scale=math.log,
            ),
            legend=plots.legend(lines),
            caption=caption_of(
                f"Every method is trained and tuned anew on the events that are left. {BANDS}", left_out
            ),
        )
        methods = [name for name in report.figures.methods(places[-1], MAIN_METRIC, k) if is_listed(name)]
        columns = [column_of(report, place, methods, k, MAIN_METRIC) for place in places]
        yield Block(
            summary=f"As a table, K = {k}",
            head=["method", *(f"{share:g} %" for share in sorted(series))],
            rows=[(name, [column[row] for column in columns]) for row, name in enumerate(methods)],
        )


def cold(report: Report) -> Iterator[Block]:
    """The four cells of {known, new} users × {known, new} items."""
    for place in report.figures.places:
        cell = re.fullmatch(r"cold: ([^,]+, [^,]+)", place.protocol)
        methods = [name for name in report.figures.methods(place, MAIN_METRIC) if is_listed(name)]
        if cell is None or not methods:
            continue
        shots = report.figures.shots(place, MAIN_METRIC)
        shown = sorted({shots[0], report.figures.default_shots(place)})
        columns = [column_of(report, place, methods, k, MAIN_METRIC) for k in shown]
        datasets = {one.dataset for one in report.figures.places}
        yield Block(
            title=cell[1] if len(datasets) == 1 else f"{place.dataset}: {cell[1]}",
            head=["method", *(f"K = {k}" for k in shown)],
            rows=[(name, [column[row] for column in columns]) for row, name in enumerate(methods)],
            caption=f"{report.figures.users(place):,} users.",
        )


def prequential(report: Report) -> Iterator[Block]:
    """How lists get better while a user stays."""
    for place in report.figures.places:
        if series_of(place.protocol) != "prequential" or place in report.main_places:
            continue
        yield from curve(report, place)
        methods = [name for name in report.figures.methods(place, MAIN_METRIC) if is_listed(name)]
        yield Block(
            summary="As a table",
            head=["method", *(f"{k} events" for k in report.figures.shots(place, MAIN_METRIC))],
            rows=table_by_shots(report, place, methods, MAIN_METRIC),
            caption=MARKS,
        )
