"""How the commands read and write files: one set of options for catalogs and event logs, and what they mean."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

import recllm

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

_READING = "How files are read"


def _option(*names: str, metavar: str | None = None, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=_READING)


Columns = Annotated[
    str | None,
    _option(
        "--columns",
        metavar="OURS=YOURS,…",
        help="Columns of the events: user_id=uid,item_id=sku. For a file without a header, the names of all its "
        "columns in order: user_id,item_id,-,timestamp (a - is passed over).",
    ),
]
ItemColumns = Annotated[str | None, _option("--item-columns", metavar="OURS=YOURS,…", help="The same for the catalog.")]
Dates = Annotated[
    str | None, _option("--dates", metavar="FORMAT", help="How the events write their times, such as %d/%m/%Y.")
]
DayFirst = Annotated[
    bool | None, _option("--dayfirst/--monthfirst", help="Whether 01/02/2024 is in February or in January.")
]
MaxBytes = Annotated[
    str | None, _option("--max-bytes", metavar="SIZE", help="What a packed file may unpack to, such as 8GB.")
]
Encoding = Annotated[str | None, _option("--encoding", help="Of text files, such as cp1252; UTF-8 if not given.")]


@dataclass(frozen=True)
class Logs:
    """How a command reads event logs and lists of ids, as it was typed; None: not given."""

    columns: Columns = None
    dates: Dates = None
    dayfirst: DayFirst = None
    max_bytes: MaxBytes = None
    encoding: Encoding = None

    def events(self, path: Path) -> "recllm.Interactions":
        """The events of a file."""
        return recllm.Interactions.read(
            path, **self._given("--columns", self.columns, dates=self.dates, dayfirst=self.dayfirst)
        )

    def ids(self, path: Path) -> Any:
        """A table with a column item_id and, where each user has items of their own, user_id."""
        from recllm.data.reading import read_table

        return read_table(path, **self._given("--columns", None)).frame

    def _given(self, option: str, columns: str | None, **more: Any) -> dict[str, Any]:
        given = {
            "columns": None if columns is None else _columns(option, columns),
            "max_bytes": None if self.max_bytes is None else _size(self.max_bytes),
            "encoding": self.encoding,
            **more,
        }
        return {name: value for name, value in given.items() if value is not None}


@final
@dataclass(frozen=True)
class Files(Logs):
    """How a command reads catalogs, too."""

    item_columns: ItemColumns = None

    def catalog(self, path: Path) -> "recllm.Catalog":
        """The items of a file."""
        return recllm.Catalog.read(path, **self._given("--item-columns", self.item_columns))

    def profiles(self, path: Path | None) -> "recllm.Users | None":
        """The users of a file, where there is one."""
        return None if path is None else recllm.Users.read(path, **self._given("--users", None))


def check_file(path: Path | None) -> None:
    """Refuse a file that could not be written, before any work; None is no file."""
    from recllm.lists.export import check_place

    if path is not None:
        check_place(path)


def check_folder(path: Path | None) -> None:
    """Refuse a folder that no model could be saved to, before any work; None is no folder."""
    from recllm.artifact import check_target

    if path is not None:
        check_target(path)


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
