"""Sections that set several protocols beside each other: shares of the events, cold cells, users through time."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recllm.evaluation.findings import Findings
from recllm.evaluation.names import MAIN_METRIC, SHARE, Place, series_of
from recllm.evaluation.page import plots
from recllm.evaluation.page.blocks import Block, Cell
from recllm.evaluation.page.view import MARKS, View, table_of
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import number


def sparsity(report: Findings) -> Iterator[Block]:
    """The same protocol with shares of the training events."""
    groups: dict[Place, dict[float, View]] = {}
    for place in report.figures.places:
        match = re.fullmatch(SHARE, place.protocol)
        if match and series_of(place.protocol) == "share":
            base = Place(place.dataset, match["of"])
            groups.setdefault(base, {})[float(match["share"])] = View(report, place)
    for base, views in groups.items():
        if base in report.figures.places:
            views[100.0] = View(report, base)
        views = dict(sorted(views.items()))
        whole = views[max(views)]
        chosen, left_out = whole.drawn()
        if len(views) < 2 or not chosen:
            continue
        k = whole.k
        drawing = whole.curves(
            {name: (list(views), [view.estimate(name, k) for view in views.values()]) for name in chosen},
            "Every method is trained and tuned anew on the events that are left.",
            left_out,
            title=f"{MAIN_METRIC} by share of training events at K = {k}, {base.dataset}, {base.protocol}",
            x_label="share of the training events, log scale",
            y_label=f"{MAIN_METRIC} at K = {k}",
            ticks=[(share, f"{share:g} %") for share in views],
            scale=math.log,
        )
        yield Block(**drawing)
        methods = whole.methods(shots=k)
        columns = {f"{share:g} %": view.column(methods, k) for share, view in views.items()}
        yield Block(summary=f"As a table, K = {k}", **table_of(methods, columns))


def cold(report: Findings) -> Iterator[Block]:
    """The four cells of {known, new} users × {known, new} items."""
    several = len({place.dataset for place in report.figures.places}) > 1
    for place in report.figures.places:
        cell = re.fullmatch(r"cold: ([^,]+, [^,]+)", place.protocol)
        view = View(report, place)
        if cell and (methods := view.methods()):
            shown = sorted({view.shots()[0], view.k})
            yield Block(
                title=f"{place.dataset}: {cell[1]}" if several else cell[1],
                caption=f"{report.figures.users(place):,} users.",
                **table_of(methods, {f"K = {k}": view.column(methods, k) for k in shown}),
            )


def prequential(report: Findings) -> Iterator[Block]:
    """How lists get better while a user stays."""
    for place in report.figures.places:
        view = View(report, place)
        if series_of(place.protocol) == "prequential" and not view.is_main:
            yield from view.curve()
            table = view.table_by_shots(view.methods(), label="{} events")
            yield Block(summary="As a table", caption=MARKS, **table)


def variety(report: Findings) -> Iterator[Block]:
    """What variety costs, one table for each method and way of asking."""
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for step in report.variety:
        part = [f"{name} {step[name]}" for name in ("fold", "seed") if step[name]]
        tables.setdefault((step["method"], step["protocol"], f"K = {step['shots']}", *part), []).append(step)
    for names, steps in tables.items():
        shown = [metric for metric in steps[0]["metrics"] if not math.isnan(steps[0]["metrics"][metric]["value"])]
        rows = [f"{_WAYS.get(step['by'], step['by'])}, {step['diversity']:g}" for step in steps]
        columns = {metric: [_change(step["metrics"][metric]) for step in steps] for metric in shown}
        if drawing := _exchange(steps, f"What variety costs: {', '.join(names)}"):
            yield Block(title=", ".join(names), **drawing)
        yield Block(
            title="" if drawing else ", ".join(names),
            caption=f"{steps[0]['users']:,} users. Of each figure its mean, and how much it differs from the list by "
            "score alone, with the 95 % interval; ILD is higher and calibration lower the better.",
            **table_of(rows, columns, "way and diversity"),
        )


def _exchange(steps: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """Accuracy against variety, a line for each way; nothing where the lists are the same at every strength."""
    across = [step["metrics"][VARIETY]["value"] for step in steps]
    least, most = min(across), max(across)
    if not least < most:  # one of them may be unknown
        return {}
    lines = []
    for by in dict.fromkeys(step["by"] for step in steps):
        found = [step for step in steps if step["by"] == by]
        heights = [step["metrics"][MAIN_METRIC]["value"] for step in found]
        places = [step["metrics"][VARIETY]["value"] for step in found]
        estimates = [
            Estimate(height, math.nan, math.nan, step["users"]) for height, step in zip(heights, found, strict=True)
        ]
        lines.append(plots.Line(_WAYS.get(by, by), places, estimates, True))
    ticks = [(x, number(x)) for x in np.linspace(least, most, 5).tolist()]
    return {
        "svg": plots.curves(
            lines,
            title=title,
            x_label=f"{VARIETY}, from the list by score alone to the right",
            y_label=MAIN_METRIC,
            ticks=ticks,
        ),
        "legend": plots.legend(lines),
        "caption": "Each point is a diversity; the further a line stays up to the right, the less its variety costs.",
    }


VARIETY = "ILD@10"
_WAYS = {"mmr": "MMR", "dpp": "DPP"}


def _change(found: Mapping[str, float]) -> Cell:
    value, low, high = (f"{100 * found[name]:+.1f}".replace("-", "−") for name in ("change", "low", "high"))
    return Cell(number(found["value"]), f"{value} % [{low}, {high}]" if found["change"] else "")
