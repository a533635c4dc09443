"""What an evaluation found: a table, comparisons in words, frames, JSON, and a page."""

import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from recllm.errors import DataError, require
from recllm.evaluation.figures import COLUMNS, MAIN_METRIC, Figures, Measured, Place
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import Comparison, best_of, in_words, with_interval
from recllm.lists.export import csv_text, escape, written
from recllm.prompting.syntax import clean_text

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Comparison", "Measured", "Report"]

BASELINES = (
    *("popularity", "recent popularity", "item-kNN", "EASE", "iALS"),
    *("text mean", "whitened text kNN", "text-to-EASE ridge", "factorisation"),
)
RECLLM, CHANNEL, CONTROL = "recllm", "channel: ", "control: "
SQUARE = ("A: base", "B: base + inner loop", "C: meta-trained, 0 steps", "D: meta-trained + steps")
SHARE = r"(?P<of>.+), (?P<share>\d+(\.\d+)?) % of events"
"""A protocol with fewer training events."""
NOTHING = "Nothing was measured: there was no method, or no user was left to ask."
CANDIDATES = "Recall@200"
_FORMAT = "recllm-report-1"
_WIDTH = 100
"""Of the text form."""

_KINDS = dict.fromkeys(COLUMNS, "number") | {
    **dict.fromkeys(("protocol", "dataset", "method", "metric"), "text"),
    **dict.fromkeys(("fold", "seed"), "count or NA"),
    **dict.fromkeys(("shots", "n_users"), "count"),
}
_PANDAS = {"text": "str", "number": "float64", "count": "int64", "count or NA": "Int64"}


@final
class Report:
    """The figures of an evaluation. Prints as a table; `to_html` writes the whole story.

    Attributes:
        figures: All figures, pooled over folds and seeds.
        about: How it was measured.
    """

    def __init__(self, measured: Sequence[Measured], about: Mapping[str, Any]) -> None:
        """Collect what was measured.

        Args:
            measured: One per dataset, protocol, fold, seed, method and K.
            about: How it was measured, shown at the end of the page: command, seeds, folds, versions, data hash,
                splits (one dictionary each), settings, seconds, …; any names do. `title` heads the page, and `ours`
                names the methods that are compared with all others, the one in question first.

        Raises:
            DataError: Something was measured twice.
        """
        self.figures = Figures(measured)
        self.about = dict(about)

    # --- who is who --------------------------------------------------------------------------------------------

    @property
    def main_places(self) -> tuple[Place, ...]:
        """Places that stand for themselves: no share of the events, no cold cell, no prequential curve; else all."""
        return tuple(p for p in self.figures.places if series_of(p.protocol) is None) or self.figures.places

    def ours(self, place: Place) -> tuple[str, ...]:
        """The methods in question: those `about` names, the square, recllm, or whatever is no known baseline."""
        methods = self.figures.methods(place)
        named = self.about.get("ours") or ()
        named = (named,) if isinstance(named, str) else tuple(named)
        for chosen in (named, SQUARE[::-1], (RECLLM,)):
            if found := tuple(name for name in chosen if name in methods):
                return found
        return tuple(name for name in methods if name not in BASELINES and not name.startswith((CHANNEL, CONTROL)))

    def rivals(self, place: Place) -> tuple[str, ...]:
        """The methods that ours are measured against."""
        ours = {*self.ours(place), *SQUARE}
        methods = self.figures.methods(place)
        return tuple(name for name in methods if name not in ours and not name.startswith((CHANNEL, CONTROL)))

    @property
    def title(self) -> str:
        """What heads the page."""
        datasets = dict.fromkeys(place.dataset for place in self.figures.places)
        return str(self.about.get("title") or ", ".join(datasets) or "Evaluation")

    # --- comparisons -------------------------------------------------------------------------------------------

    def compare(self, ours: str, theirs: str, metric: str = MAIN_METRIC) -> list[Comparison]:
        """Paired comparisons wherever both methods were measured, pooled over folds and seeds, clustered by user.

        Raises:
            DataError: A method is unknown.
        """
        known = tuple(dict.fromkeys(name for place in self.figures.places for name in self.figures.methods(place)))
        for name in (ours, theirs):
            if name not in known:
                raise DataError(f"the report has no method {name!r}; it has {', '.join(known) or 'none'}.")
        return [one for place in self.figures.places for one in self._compare_at(place, ours, theirs, metric)]

    def verdict(self, ours: str, theirs: str, metric: str = MAIN_METRIC) -> str:
        """What `compare` finds, in words; one sentence per dataset and protocol."""
        comparisons = self.compare(ours, theirs, metric)
        places = tuple(dict.fromkeys(Place(one.dataset, one.protocol) for one in comparisons))
        if not places:
            return f"{ours} and {theirs} were not measured on the same users by {metric}."
        by_place = {place: [one for one in comparisons if (one.dataset, one.protocol) == place] for place in places}
        return " ".join(
            name_of(place, places, ": ") + in_words(ours, theirs, found) for place, found in by_place.items()
        )

    def headline(self, place: Place | None = None, metric: str = MAIN_METRIC) -> str:
        """The method in question against the best of all others at each K, in words.

        Without others it is compared with the square's base A; without a method in question, the best one is named.
        """
        place = place or next(iter(self.main_places), None)
        if place is None or not self.figures.users(place):
            return NOTHING
        ours = next((name for name in self.ours(place) if name in self.figures.methods(place, metric)), None)
        if ours is None:
            return self._best(place, metric)
        found = [pair for k in self.figures.shots(place) if (pair := self._against_best(place, ours, k, metric))]
        if not found:
            base = self._compare_at(place, ours, SQUARE[0], metric) if ours != SQUARE[0] else []
            return in_words(ours, SQUARE[0], base) or self._best(place, metric)
        names = list(dict.fromkeys(pair.theirs for pair in found))
        if len(names) == 1:
            return in_words(ours, names[0], found)
        return in_words(ours, "the best other method", found, name_rivals=True)

    def square(self, place: Place, metric: str = MAIN_METRIC) -> list[tuple[str, str, str]]:
        """What meta-training and adapters add: D against A, B and C, and the controls against A.

        Returns:
            The one, the other, and the verdict; nothing where D was not measured.
        """
        methods = self.figures.methods(place, metric)
        base, *_, adapted = SQUARE
        pairs = [(adapted, other) for other in SQUARE[:-1]]
        pairs += [(name, base) for name in methods if name.startswith(CONTROL)]
        pairs = [pair for pair in pairs if {*pair, adapted} <= set(methods)]
        return [(one, other, in_words(one, other, self._compare_at(place, one, other, metric))) for one, other in pairs]

    def segments(
        self, metric: str = MAIN_METRIC, shots: int | None = None, place: Place | None = None
    ) -> dict[str, dict[str, Estimate]]:
        """Users in thirds by how many events they had: third -> method -> figure.

        Args:
            metric: One that is a mean over users.
            shots: K; None: 10, or else the largest.
            place: Dataset and protocol; None: the first.
        """
        place = place or next(iter(self.main_places), None)
        if place is None:
            return {}
        return self.figures.segments(place, self.figures.default_shots(place) if shots is None else shots, metric)

    def _compare_at(self, place: Place, ours: str, theirs: str, metric: str) -> list[Comparison]:
        shots = self.figures.comparable(place, ours, theirs, metric)
        return [self.figures.comparison(place, ours, theirs, k, metric) for k in shots]

    def _against_best(self, place: Place, ours: str, shots: int, metric: str) -> Comparison | None:
        rivals = [name for name in self.rivals(place) if shots in self.figures.comparable(place, ours, name, metric)]
        best = best_of({name: self.figures.estimate(place, name, shots, metric).value for name in rivals}, metric)
        return self.figures.comparison(place, ours, best, shots, metric) if best else None

    def _best(self, place: Place, metric: str) -> str:
        shots = self.figures.default_shots(place)
        found = {m: self.figures.estimate(place, m, shots, metric) for m in self.figures.methods(place, metric, shots)}
        best = best_of({name: estimate.value for name, estimate in found.items()}, metric)
        if best is None:
            return f"No method was measured by {metric} at K={shots}."
        return f"{best} has the best {metric} at K={shots}: {with_interval(found[best])}."

    # --- ways out ----------------------------------------------------------------------------------------------

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per protocol, dataset, fold, seed, method, K and metric; `fold` and `seed` are NA where pooled."""
        pandas = require("pandas", extra="pandas")
        frame = pandas.DataFrame(self.figures.rows, columns=list(COLUMNS))
        return frame.astype({name: _PANDAS[kind] for name, kind in _KINDS.items()})

    def to_polars(self) -> "polars.DataFrame":
        """The same with nulls in place of NA."""
        import polars

        kinds = {"text": polars.String, "number": polars.Float64}
        schema = {name: kinds.get(kind, polars.Int64) for name, kind in _KINDS.items()}
        return polars.DataFrame(self.figures.rows, schema=schema, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """Everything that the page shows, as JSON-able values without user ids; what is not finite becomes None."""
        places = self.main_places
        return {
            "format": _FORMAT,
            "title": self.title,
            "headlines": [{**place._asdict(), "text": self.headline(place)} for place in places],
            "square": [
                {**place._asdict(), "ours": ours, "theirs": theirs, "text": text}
                for place in places
                for ours, theirs, text in self.square(place)
            ],
            "segments": [
                {
                    **place._asdict(),
                    "shots": self.figures.default_shots(place),
                    "segments": _plain(self.segments(place=place)),
                }
                for place in places
            ],
            "rows": _plain(self.figures.rows),
            "about": _plain(self.about),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as text; also written to `path` if there is one."""
        return written(path, json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows of `to_pandas` as csv that a spreadsheet can open safely; also written to `path` if there is one.

        Raises:
            ArtifactError: The file cannot be written.
        """
        return written(path, csv_text(COLUMNS, ([row[name] for name in COLUMNS] for row in self.figures.rows)))

    def to_html(self, path: str | Path | None = None) -> str:
        """One page that needs nothing else: figures, tables, verdicts, and how it was measured.

        It is also written to `path` if there is one.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArtifactError: The file cannot be written.
        """
        require("matplotlib", extra="plots")
        from recllm.evaluation.page.render import build_page

        return written(path, build_page(self))

    def table(self, metric: str = MAIN_METRIC) -> Table:
        """Methods × K, each figure with its interval below it; the best at each K is bold."""
        places = [place for place in self.main_places if self.figures.methods(place, metric)]
        shots = sorted({k for place in places for k in self.figures.shots(place, metric)})
        table = Table(
            title=Text(metric), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left"
        )
        table.add_column("method", overflow="fold", min_width=14)
        for k in shots:
            table.add_column(f"K={k}", justify="right")
        for place in places:
            if len(places) > 1:
                table.add_section()
                table.add_row(Text(clean_text(name_of(place, places)), style="italic"))
            for name, cells in self._lines(place, shots, metric):
                table.add_row(
                    Text(name),
                    *(Text(text.replace(" ", "\n", 1), style="bold" if best else "") for text, best in cells),
                )
        return table

    def _lines(self, place: Place, shots: Sequence[int], metric: str) -> list[tuple[str, list[tuple[str, bool]]]]:
        """Method -> per K, the figure and whether it is the best; channels have candidates only to be judged by."""
        methods = [m for m in self.figures.methods(place, metric) if metric == CANDIDATES or not m.startswith(CHANNEL)]
        best = {
            k: best_of({name: self.figures.estimate(place, name, k, metric).value for name in methods}, metric)
            for k in shots
        }
        return [
            (
                clean_text(name),
                [(with_interval(self.figures.estimate(place, name, k, metric)), best[k] == name) for k in shots],
            )
            for name in methods
        ]

    def _sentences(self) -> list[str]:
        places = self.main_places
        if not places:
            return [self.headline()]
        return [clean_text(name_of(place, places, ": ") + self.headline(place)) for place in places]

    def __rich__(self) -> RenderableType:
        sentences = [Text(sentence) for sentence in self._sentences()]
        return Group(self.table(), *sentences) if self.figures.places else Group(*sentences)

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False, markup=False)
        console.print(self)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.rstrip().splitlines())

    def _repr_html_(self) -> str:
        parts = []
        for place in self.main_places:
            shots = self.figures.shots(place, MAIN_METRIC)
            heads = [name_of(place, self.main_places) or MAIN_METRIC, *(f"K={k}" for k in shots)]
            parts.append("<table><tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>")
            for name, cells in self._lines(place, shots, MAIN_METRIC):
                bold = ("<b>", "</b>")
                texts = [escape(text).join(bold if best else ("", "")) for text, best in cells]
                parts.append(f"<tr><td>{escape(name)}</td>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
            parts.append("</table>")
        return "".join(parts + [f"<p>{escape(sentence)}</p>" for sentence in self._sentences()])


def series_of(protocol: str) -> str | None:
    """The section of the page that shows a protocol beside others: `share`, `cold` or `prequential`."""
    if protocol.startswith("cold: "):
        return "cold"
    if re.fullmatch(SHARE, protocol):
        return "share"
    return "prequential" if protocol.startswith("prequential") else None


def name_of(place: Place, among: Sequence[Place], end: str = "") -> str:
    """What tells a place from others; nothing where there are no others."""
    parts = [part for part, all_parts in zip(place, zip(*among, strict=True), strict=True) if len(set(all_parts)) > 1]
    return ", ".join(parts) + end if parts else ""


def _plain(value: Any) -> Any:
    """As JSON-able values: what is not finite becomes None, what is unknown its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(one) for one in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
