"""Drawings of a report as SVG text: the same figures give the same text, character by character."""

import hashlib
import html
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from recllm.errors import require
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import number
from recllm.texts import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart; greys for what ours is measured against.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B0578D", "#56B4E9")
GREYS = ("#4a4a4a", "#6e6e6e", "#8a8a8a", "#5c5c5c", "#7c7c7c", "#969696", "#525252", "#757575")
_INK, _FAINT = "#222222", "#dddddd"
_DASHES = (
    *("solid", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 3))),
    *((0, (3, 1, 1, 1, 1, 1)), (0, (4, 4))),
)
_MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "p": "⬟"}
"""How they look in text."""

_WIDTH = 8.8
"""Inches; the axes leave room for names at the right."""

_Box = tuple[float, float, float, float]

_STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and scaled
    "svg.hashsalt": "recllm",
    "text.parse_math": False,  # names may hold dollars
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@final
@dataclass(frozen=True)
class Line:
    """One method: its name, where it was measured, what was found, whether it is ours, and has its interval drawn."""

    name: str
    x: Sequence[float]
    y: Sequence[Estimate]
    ours: bool
    band: bool = False


def curves(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    ticks: Sequence[tuple[float, str]],
    scale: Callable[[float], float] = float,
) -> str:
    """Lines, each labelled at its end, some with a 95 % band; `scale` places x on the axis."""
    below = max(label.count("\n") + 1 for _, label in ticks)
    with _axes(title, 4.4, _beside_names(below)) as (axes, done):
        ends = []
        for line, style in _styled(lines):
            x = [scale(value) for value in line.x]
            low, value, high = _arrays(line.y)
            if line.band:
                axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
            axes.plot(x, value, markersize=5, **style)
            last = max(np.flatnonzero(~np.isnan(value)), default=-1)
            ends.append((x[last], float(value[last])))
        axes.set_xticks([scale(value) for value, _ in ticks], [label for _, label in ticks])
        _finish(axes, x_label, y_label)
        _from_zero(axes, lines)
        _label_ends(axes, lines, ends)
    return done[0]


def legend(lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """(sign, colour, name) of each line, for where the names in a drawing are out of sight."""
    return [(_MARKERS[style["marker"]], style["color"], line.name) for line, style in _styled(lines)]


def scatter(lines: Sequence[Line], *, title: str, x_label: str, y_label: str) -> str:
    """One point per line, with its 95 % interval."""
    with _axes(title, 4.4, _beside_names()) as (axes, done):
        ends = [_points(axes, line, style, line.x, 8, linewidth=1.4, alpha=0.55) for line, style in _styled(lines)]
        _finish(axes, x_label, y_label)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]) if any(line.x[0] < 0 for line in lines) else 0.0)
        _from_zero(axes, lines)
        axes.xaxis.set_major_formatter(lambda value, _: number(value) if value else "0")
        _label_ends(axes, lines, ends)
    return done[0]


def differences(lines: Sequence[Line], *, title: str, x_label: str, y_label: str) -> str:
    """Points with 95 % intervals around a line at zero, side by side at each x."""
    shown = sorted({x for line in lines for x in line.x})
    with _axes(title, 4.0, _beside_names()) as (axes, done):
        axes.axhline(0, color=_INK, linewidth=1)
        ends = []
        for row, (line, style) in enumerate(_styled(lines)):
            shift = 0.16 * (row - (len(lines) - 1) / 2)
            ends.append(_points(axes, line, style, [shown.index(x) + shift for x in line.x], 7, linewidth=2))
        axes.set_xticks(range(len(shown)), [f"{value:g}" for value in shown])
        _finish(axes, x_label, y_label)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f} %".replace("-", "−") if value else "0")
        _label_ends(axes, lines, ends)
    return done[0]


def bars(named: Sequence[tuple[str, float, bool]], *, title: str, unit: str) -> str:
    """One bar per name with its figure beside it: (name, value, ours)."""
    height = 0.34 * len(named) + 0.8
    with _axes(title, height, (0.32, 0.6 / height, 0.58, 1 - 0.7 / height)) as (axes, done):
        places = range(len(named))[::-1]
        colours = [COLOURS[0] if ours else GREYS[2] for *_, ours in named]
        axes.barh(places, [value for _, value, _ in named], color=colours, height=0.62)
        axes.set_yticks(places, [_short(name) for name, *_ in named])
        for place, (_, value, _) in zip(places, named, strict=True):
            axes.annotate(number(value), (value, place), (4, 0), textcoords="offset points", va="center")
        axes.set_xlabel(unit)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
    return done[0]


def _beside_names(below: int = 1) -> _Box:
    """Room for names at the right, and for so many lines of text below each tick."""
    bottom = 0.09 + 0.05 * below
    return 0.1, bottom, 0.55, 0.97 - bottom


@contextmanager
def _axes(title: str, height: float, box: _Box) -> "Iterator[tuple[Axes, list[str]]]":
    """Axes to draw on, in a part of the figure; on leaving, its SVG text is the one entry of the list."""
    matplotlib = require("matplotlib", extra="plots")
    figures = require("matplotlib.figure", extra="plots")
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's own fonts draw the text
        figure = figures.Figure(figsize=(_WIDTH, height))
        done: list[str] = []
        yield figure.add_axes(box), done
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    done.append(_embeddable(file.getvalue(), title))


def _points(
    axes: "Axes", line: Line, style: dict[str, Any], x: Sequence[float], size: int, **stem: Any
) -> tuple[float, float]:
    """Draws a line's figures without the line; where the last one is."""
    low, value, high = _arrays(line.y)
    axes.vlines(x, low, high, color=style["color"], **stem)
    axes.plot(x, value, color=style["color"], marker=style["marker"], markersize=size, linestyle="none")
    return x[-1], float(value[-1])


def _embeddable(svg: str, title: str) -> str:
    """Part of a page: no prologue, names that no other drawing has, and a title for those who listen."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    prefix = f"drawing-{hashlib.sha256(title.encode()).hexdigest()[:8]}"
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    label = html.escape(clean_text(title), quote=True)
    head = f'<svg role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}"'
    head += ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return head + f"<title>{label}</title>" + svg[svg.index(">") + 1 :].strip()


def _styled(lines: Sequence[Line]) -> list[tuple[Line, dict[str, Any]]]:
    """Colours and thick lines for ours, greys for the others; markers tell all of them apart."""
    styled: list[tuple[Line, dict[str, Any]]] = []
    for line in lines:
        row = sum(other.ours == line.ours for other, _ in styled)
        palette = COLOURS if line.ours else GREYS
        style = {
            "color": palette[row % len(palette)],
            "marker": [*_MARKERS][row % len(_MARKERS)],
            "linestyle": "solid" if line.ours else _DASHES[row % len(_DASHES)],
            "linewidth": (2.8 if row == 0 else 2.0) if line.ours else 1.2,
            "zorder": 3 if line.ours else 2,
        }
        styled.append((line, style))
    return styled


def _arrays(found: Sequence[Estimate]) -> NDArray[np.float64]:
    return np.array([[one.low for one in found], [one.value for one in found], [one.high for one in found]])


def _finish(axes: "Axes", x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.yaxis.set_major_formatter(lambda value, _: number(value) if value else "0")
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def _from_zero(axes: "Axes", lines: Sequence[Line]) -> None:
    """The height of a point is its figure: the axis begins at 0, unless something is below."""
    found = [0.0, *(part for line in lines for part in _arrays(line.y).ravel())]
    if np.nanmin(found) >= 0:
        axes.set_ylim(0, max(axes.get_ylim()[1], 1.05 * np.nanmax(found)))
    else:
        axes.axhline(0, color=_INK, linewidth=1)


def _label_ends(axes: "Axes", lines: Sequence[Line], ends: Sequence[tuple[float, float]]) -> None:
    """Names beside the axes, at the height of their point if there is room, with a thread to it."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    wanted = [(y - bottom) / (top - bottom) for _, y in ends]
    for (line, style), end, height in zip(_styled(lines), ends, _spread(wanted, 0.062), strict=True):
        if math.isnan(height):
            continue
        axes.annotate(
            _short(line.name),
            xy=end,
            xytext=(1.05, height),
            textcoords="axes fraction",
            va="center",
            color=style["color"],
            fontweight="bold" if line.ours else "normal",
            fontsize=11,
            annotation_clip=False,
            # From the beginning of the name, lest a steep thread crosses the names above and below.
            arrowprops={
                **{"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 2, "shrinkB": 5},
                **{"color": style["color"], "linewidth": 0.6, "alpha": 0.45},
            },
        )


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights as near as can be to those wanted, in the same order, none closer than `gap`."""
    order = sorted((row for row, height in enumerate(wanted) if not math.isnan(height)), key=lambda row: wanted[row])
    heights = [math.nan] * len(wanted)
    if not order:
        return heights
    # Least squares with a constant shift per place.
    levels = isotonic_regression([wanted[row] - place * gap for place, row in enumerate(order)]).x.tolist()
    for place, (row, level) in enumerate(zip(order, levels, strict=True)):
        heights[row] = level + place * gap
    # A crowd at an edge moves inwards.
    shift = max(0.0, -levels[0]) - max(0.0, levels[-1] + (len(levels) - 1) * gap - 1)
    return [height + shift for height in heights]


def _short(name: str, most: int = 28) -> str:
    name = clean_text(name)
    return name if len(name) <= most else name[: most - 1] + "…"
