"""What an evaluation found: a table, comparisons in words, frames, JSON, and a page."""

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from recllm.data.exported import Exported
from recllm.errors import require
from recllm.evaluation.figures import COLUMNS
from recllm.evaluation.findings import Findings
from recllm.evaluation.names import CANDIDATES, CHANNEL, MAIN_METRIC, Place, name_of
from recllm.evaluation.verdicts import best_of, with_interval
from recllm.lists.export import csv_text, escape, written
from recllm.texts import clean_text

if TYPE_CHECKING:
    import pandas
    import polars

_FORMAT = "recllm-report-1"
_WIDTH = 100
"""Of the text form."""

_DTYPES = dict.fromkeys(COLUMNS, "float64") | {
    **dict.fromkeys(("protocol", "dataset", "method", "metric"), "str"),
    **dict.fromkeys(("fold", "seed"), "Int64"),  # or NA
    **dict.fromkeys(("shots", "n_users"), "int64"),
}


@final
class Report(Findings, Exported):
    """The figures of an evaluation. Prints as a table; `to_html` writes the whole story."""

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per protocol, dataset, fold, seed, method, K and metric; `fold` and `seed` are NA where pooled."""
        pandas = require("pandas", extra="pandas")
        return pandas.DataFrame(self.figures.rows, columns=list(COLUMNS)).astype(_DTYPES)

    def to_polars(self) -> "polars.DataFrame":
        """The same with nulls in place of NA."""
        import polars

        kinds = {"str": polars.String, "float64": polars.Float64}
        schema = {name: kinds.get(kind, polars.Int64) for name, kind in _DTYPES.items()}
        return polars.DataFrame(self.figures.rows, schema=schema, orient="row")

    def to_dict(self) -> dict[str, Any]:
        """Everything that the page shows, as JSON-able values without user ids; what is not finite becomes None."""
        places = self.main_places
        return {
            "format": _FORMAT,
            "title": self.title,
            "headlines": [
                {**place._asdict(), "text": self.headline(place), "behind": self.behind(place)} for place in places
            ],
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
        said = {place: " ".join(filter(None, (self.headline(place), self.behind(place)))) for place in places}
        return [clean_text(name_of(place, places, ": ") + text) for place, text in said.items()]

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
