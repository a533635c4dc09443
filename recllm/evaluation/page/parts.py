"""What sections share: which methods are drawn, columns of figures, captions."""

import math
from collections.abc import Iterator, Mapping, Sequence

from recllm.evaluation.figures import MAIN_METRIC, Place
from recllm.evaluation.page import plots
from recllm.evaluation.page.blocks import Block, Cell
from recllm.evaluation.report import CHANNEL, CONTROL, Report, name_of, series_of
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import best_of, number

MOST_LINES = 8
"""Methods that one drawing can hold apart."""

MARKS = "Bold: the best figure; ≈ not distinguishable from it (paired 95 % interval holds 0). Small: 95 % interval."
_SAME = "The query is the same for every K."
_FOLLOWED = (
    "Each user is followed: the next basket is asked, given all events before it. Users with fewer events are missing "
    "further to the right."
)
BANDS = (
    "Bands: 95 % intervals of the method in question and of the best other. Methods are compared on the same users, so "
    "bands may overlap where the difference is clear."
)


def is_listed(method: str) -> bool:
    """Whether a method stands in the common tables; channels and controls have their own."""
    return not method.startswith((CHANNEL, CONTROL))


def title_of(place: Place, report: Report) -> str:
    """For titles of drawings, which must differ."""
    name = name_of(place, report.main_places)
    return f", {name}" if name else ""


def chosen_for_drawing(report: Report, place: Place, shots: int) -> tuple[list[str], int]:
    """The methods to draw, ours first, then the best others, in the order of the tables; and how many are left out."""
    methods = [name for name in report.figures.methods(place, MAIN_METRIC, shots) if is_listed(name)]
    value = {name: report.figures.estimate(place, name, shots).value for name in methods}
    methods = [name for name in methods if not math.isnan(value[name])]
    ours = report.ours(place)
    chosen = sorted(methods, key=lambda name: (ours.index(name) if name in ours else len(ours), -value[name]))[
        :MOST_LINES
    ]
    return chosen, len(methods) - len(chosen)


def lines_of(
    report: Report, place: Place, found: Mapping[str, tuple[Sequence[float], Sequence[Estimate]]]
) -> list[plots.Line]:
    """A band for the first of ours and the best of the others only: more of them could not be told apart."""
    ours = [name for name in found if name in report.ours(place)]
    others = [name for name in found if name not in ours]
    banded = (*ours[:1], *others[:1])
    return [plots.Line(name, x, y, name in ours, name in banded) for name, (x, y) in found.items()]


def curve(report: Report, place: Place) -> Iterator[Block]:
    """The main metric over K."""
    shots = report.figures.shots(place, MAIN_METRIC)
    chosen, left_out = chosen_for_drawing(report, place, report.figures.default_shots(place))
    found = {}
    for name in chosen:
        xs = [k for k in shots if name in report.figures.methods(place, MAIN_METRIC, k)]
        found[name] = (xs, [report.figures.estimate(place, name, k) for k in xs])
    if found and len(shots) > 1:
        among = report.main_places if place in report.main_places else report.figures.places
        name = name_of(place, among)
        lines = lines_of(report, place, found)
        followed = series_of(place.protocol) == "prequential"
        yield Block(
            title=name if place in report.main_places else "",
            svg=plots.curves(
                lines,
                title=f"{MAIN_METRIC} by number of known events" + (f", {name}" if name else ""),
                x_label="events known of a user (K)",
                y_label=MAIN_METRIC,
                ticks=[(k, str(k)) for k in shots],
                scale=math.sqrt,
            ),
            legend=plots.legend(lines),
            caption=caption_of(f"{_FOLLOWED if followed else _SAME} {BANDS}", left_out),
        )


def table_by_shots(report: Report, place: Place, methods: Sequence[str], metric: str) -> list[tuple[str, list[Cell]]]:
    """Rows of methods, one cell for each K."""
    columns = [column_of(report, place, methods, k, metric, close=True) for k in report.figures.shots(place, metric)]
    return [(name, [column[row] for column in columns]) for row, name in enumerate(methods)]


def column_of(
    report: Report, place: Place, methods: Sequence[str], shots: int, metric: str, close: bool = False
) -> list[Cell]:
    """One figure of several methods, the best marked, and with `close` those that cannot be told from it."""
    found = {name: report.figures.estimate(place, name, shots, metric) for name in methods}
    best = best_of({name: estimate.value for name, estimate in found.items()}, metric)
    cells = []
    for name, estimate in found.items():
        mark = "best" if best is not None and estimate.value == found[best].value else ""
        if close and not mark and best is not None and not math.isnan(estimate.value):
            outcome = report.figures.comparison(place, name, best, shots, metric).outcome
            mark = "close" if outcome in ("even", "same", "few") else ""
        cells.append(_cell(estimate, mark))
    return cells


def _cell(estimate: Estimate, mark: str = "") -> Cell:
    known = not math.isnan(estimate.low)
    return Cell(number(estimate.value), f"[{number(estimate.low)}, {number(estimate.high)}]" if known else "", mark)


def caption_of(text: str, left_out: int) -> str:
    """A caption that says how many methods the drawing has no room for."""
    if not left_out:
        return text
    return f"{text} {left_out} more method{'s are' if left_out > 1 else ' is'} in the table only."
