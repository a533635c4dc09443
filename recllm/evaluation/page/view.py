"""One place of a report as sections look at it: which methods are drawn, columns of figures, captions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from recllm.evaluation.findings import Findings
from recllm.evaluation.names import MAIN_METRIC, Place, is_listed, name_of, series_of
from recllm.evaluation.page import plots
from recllm.evaluation.page.blocks import Block, Cell
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

Found = Mapping[str, tuple[Sequence[float], Sequence[Estimate]]]
"""Method -> where it was measured, what was found."""


@final
@dataclass(frozen=True)
class View:
    """A report, seen from one of its places.

    Attributes:
        report: All of it.
        place: Where.
    """

    report: Findings
    place: Place

    @property
    def is_main(self) -> bool:
        """Whether the place stands for itself."""
        return self.place in self.report.main_places

    def name(self, end: str = "") -> str:
        """What tells the place from others like it."""
        return name_of(self.place, self.report.main_places if self.is_main else self.report.figures.places, end)

    def titled(self, title: str) -> str:
        """For titles of drawings, which must differ."""
        return ", ".join(part for part in (title, self.name()) if part)

    @property
    def k(self) -> int:
        """The K to look at where there is room for one."""
        return self.report.figures.default_shots(self.place)

    def shots(self, metric: str | None = MAIN_METRIC) -> tuple[int, ...]:
        """All K measured (by this metric)."""
        return self.report.figures.shots(self.place, metric)

    def methods(self, metric: str | None = MAIN_METRIC, shots: int | None = None) -> list[str]:
        """The methods of the common tables."""
        return [name for name in self.report.figures.methods(self.place, metric, shots) if is_listed(name)]

    def estimate(self, method: str, shots: int, metric: str = MAIN_METRIC) -> Estimate:
        """A method's figure; NaN where it was not measured."""
        return self.report.figures.estimate(self.place, method, shots, metric)

    def is_ours(self, method: str) -> bool:
        """Whether a method is in question."""
        return method in self.report.ours(self.place)

    def drawn(self) -> tuple[list[str], int]:
        """The methods to draw, ours first, then the best others, as they are at `k`; and how many are left out."""
        value = {name: self.estimate(name, self.k).value for name in self.methods(shots=self.k)}
        methods = [name for name in value if not math.isnan(value[name])]
        ours = self.report.ours(self.place)
        rank = {name: ours.index(name) if name in ours else len(ours) for name in methods}
        chosen = sorted(methods, key=lambda name: (rank[name], -value[name]))[:MOST_LINES]
        return chosen, len(methods) - len(chosen)

    def curves(self, found: Found, caption: str, left_out: int, **drawing: Any) -> dict[str, Any]:
        """A drawing of lines, for a block; `drawing` goes to `plots.curves`.

        A band for the first of ours and the best of the others only: more of them could not be told apart.
        """
        ours = {name: self.is_ours(name) for name in found}
        banded = [next((name for name in found if ours[name] is first), None) for first in (True, False)]
        lines = [plots.Line(name, x, y, ours[name], name in banded) for name, (x, y) in found.items()]
        return {
            "svg": plots.curves(lines, **drawing),
            "legend": plots.legend(lines),
            "caption": caption_of(f"{caption} {BANDS}", left_out),
        }

    def curve(self) -> Iterator[Block]:
        """The main metric over K."""
        shots = self.shots()
        chosen, left_out = self.drawn()
        found = {}
        for name in chosen:
            xs = [k for k in shots if name in self.methods(shots=k)]
            found[name] = (xs, [self.estimate(name, k) for k in xs])
        if found and len(shots) > 1:
            drawing = self.curves(
                found,
                _FOLLOWED if series_of(self.place.protocol) == "prequential" else _SAME,
                left_out,
                title=self.titled(f"{MAIN_METRIC} by number of known events"),
                x_label="events known of a user (K), square-root scale",
                y_label=MAIN_METRIC,
                ticks=[(k, str(k)) for k in shots],
                scale=math.sqrt,
            )
            yield Block(title=self.name() if self.is_main else "", **drawing)

    def table_by_shots(
        self, methods: Sequence[str], metric: str = MAIN_METRIC, head: str = "method", label: str = "K = {}"
    ) -> dict[str, Any]:
        """Rows of methods, one cell for each K, for a block."""
        shots = self.shots(metric)
        columns = {label.format(k): self.column(methods, k, metric, close=True) for k in shots}
        return table_of(methods, columns, head)

    def column(self, methods: Sequence[str], shots: int, metric: str = MAIN_METRIC, close: bool = False) -> list[Cell]:
        """One figure of several methods, the best marked, and with `close` those that cannot be told from it."""
        found = {name: self.estimate(name, shots, metric) for name in methods}
        best = best_of({name: estimate.value for name, estimate in found.items()}, metric)
        cells = []
        for name, estimate in found.items():
            mark = "best" if best is not None and estimate.value == found[best].value else ""
            if close and not mark and best is not None and not math.isnan(estimate.value):
                outcome = self.report.figures.comparison(self.place, name, best, shots, metric).outcome
                mark = "close" if outcome in ("even", "same", "few") else ""
            known = not math.isnan(estimate.low)
            small = f"[{number(estimate.low)}, {number(estimate.high)}]" if known else ""
            cells.append(Cell(number(estimate.value), small, mark))
        return cells


def table_of(methods: Sequence[str], columns: Mapping[str, Sequence[Cell]], head: str = "method") -> dict[str, Any]:
    """A table, for a block: label -> a cell per method."""
    rows = zip(methods, zip(*columns.values(), strict=True), strict=True)
    return {"head": [head, *columns], "rows": list(rows)}


def caption_of(text: str, left_out: int) -> str:
    """A caption that says how many methods the drawing has no room for."""
    if not left_out:
        return text
    return f"{text} {left_out} more method{'s are' if left_out > 1 else ' is'} in the table only."
