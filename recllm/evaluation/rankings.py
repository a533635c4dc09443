"""Lists that other programs made for a saved split, read back and measured like everybody else's."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from recllm.errors import DataError
from recllm.evaluation.arms import Ranked
from recllm.evaluation.cells import Cell
from recllm.evaluation.scorers import listed_rows, lists_by_rank
from recllm.evaluation.split import Split

COLUMNS = {"arm": pl.String, "user_id": pl.String, "rank": pl.Int64, "item_id": pl.String}


def read_rankings(folder: str | Path, split: Split) -> dict[str, Cell]:
    """Every method in a folder: `<method>.csv.gz` with arm, user_id, rank and item_id, beside `<method>.json`.

    The JSON says which split was ranked (`split`, its fingerprint) and whatever is worth keeping: budgets, settings,
    versions, `ms per user`. An arm or user without a line got an empty list.

    Raises:
        DataError: A file cannot be read, is about another split, or lists what may not be listed.
    """
    files = sorted(Path(folder).glob("*.csv.gz"))
    if not files:
        raise DataError(
            f"there are no rankings (*.csv.gz) in {folder}; run scripts/bench/peers/run, or leave them out."
        )
    return {path.name.removesuffix(".csv.gz"): _read(path, split) for path in files}


def _read(path: Path, split: Split) -> Cell:
    name = path.name.removesuffix(".csv.gz")
    try:
        about: dict[str, Any] = dict(json.loads((path.parent / f"{name}.json").read_text(encoding="utf-8")))
        frame = pl.read_csv(path, schema_overrides=COLUMNS).select(*COLUMNS)
        milliseconds = float(about.get("ms per user", "nan"))
    except (OSError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the rankings {path} cannot be read: {error}") from error
    if about.get("split") != split.fingerprint:
        raise DataError(
            f"{path} ranks split {str(about.get('split'))[:12]}, and this one is {split.fingerprint[:12]}; rank the "
            "saved split again."
        )
    ranked = {}
    for arm in split.arms:
        lists = lists_by_rank(frame.filter(pl.col("arm") == f"test/{arm.name}"))
        rows = listed_rows(name, lists, arm, split.catalog)
        ranked[arm.name] = Ranked(rows, milliseconds * len(arm) / 1000)
    return Cell(ranked, about)
