"""How the commands read their files: one set of options for catalogs and event logs, and what they mean."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

import recllm

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="OURS=YOURS,…",
        help="Columns of the events: user_id=uid,item_id=sku. For a file without a header, the names of all its "
        "columns in order: user_id,item_id,-,timestamp (a - is passed over).",
    ),
]
ItemColumns = Annotated[
    str | None, typer.Option("--item-columns", metavar="OURS=YOURS,…", help="The same for the catalog.")
]
Dates = Annotated[
    str | None, typer.Option("--dates", metavar="FORMAT", help="How the events write their times, such as %d/%m/%Y.")
]
DayFirst = Annotated[
    bool | None, typer.Option("--dayfirst/--monthfirst", help="Whether 01/02/2024 is in February or in January.")
]
MaxBytes = Annotated[
    str | None, typer.Option("--max-bytes", metavar="SIZE", help="What a packed file may unpack to, such as 8GB.")
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of text files, such as cp1252; UTF-8 if not given.")]


@final
@dataclass(frozen=True)
class Reading:
    """The options of one command, as they were typed; None: not given."""

    columns: str | None = None
    item_columns: str | None = None
    dates: str | None = None
    dayfirst: bool | None = None
    max_bytes: str | None = None
    encoding: str | None = None

    def catalog(self, path: Path) -> "recllm.Catalog":
        """The items of a file."""
        return recllm.Catalog.read(path, **self._given("--item-columns", self.item_columns))

    def events(self, path: Path) -> "recllm.Interactions":
        """The events of a file."""
        times: dict[str, Any] = {"dates": self.dates, "dayfirst": self.dayfirst}
        given = {name: value for name, value in times.items() if value is not None}
        return recllm.Interactions.read(path, **self._given("--columns", self.columns), **given)

    def _given(self, option: str, columns: str | None) -> dict[str, Any]:
        given = {
            "columns": None if columns is None else _columns(option, columns),
            "max_bytes": None if self.max_bytes is None else _size(self.max_bytes),
            "encoding": self.encoding,
        }
        return {name: value for name, value in given.items() if value is not None}


def _columns(option: str, text: str) -> dict[str, str] | list[str | None]:
    parts = [part.strip() for part in text.split(",")]
    pairs = [(ours.strip(), yours.strip()) for ours, _, yours in (part.partition("=") for part in parts)]
    if all(map(all, pairs)) and len(dict(pairs)) == len(pairs):
        return dict(pairs)
    if "=" in text or not any(parts):
        raise recllm.ConfigError(
            f"{option} {text!r} cannot be read; write user_id=YOURS,item_id=YOURS, each name once, or, for a file "
            "without a header, the names of all its columns: user_id,item_id,timestamp."
        )
    return [None if part in ("", "-") else part for part in parts]


def _size(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise recllm.ConfigError(f"--max-bytes {text!r} is not a size; write for example 500MB or 8GB.")
    return int(float(found[1]) * _UNITS[found[2].lower()])
