"""JSON: one object a line, an array of objects, or the two ways in which data frames are written as one object."""

import json
from collections.abc import Sequence
from typing import Any

from recllm.data.frames import frame_of_records
from recllm.data.raw import RawTable
from recllm.errors import DataError

_WRAPPERS = frozenset({"data", "rows", "records", "results"})


def read_json(data: bytes, raw: RawTable, names: Sequence[str | None] | None) -> None:
    """Fill `raw` from JSON in clean UTF-8.

    Args:
        data: The file.
        raw: Gets frame, rows, dropped rows and notes.
        names: Names for the values of rows that are lists.

    Raises:
        DataError: There is no object in it.
    """
    found = _values(data)
    if names is not None:
        found = [_named(row, names) for row in found]
    records = [record for record in found if isinstance(record, dict)]
    if not records:
        raise DataError(
            f"{raw.source} holds no JSON objects; one object per line was expected (JSON Lines), or an array"
        )
    repaired: list[str] = []
    raw.frame, raw.rows = frame_of_records(records, repaired), len(found)
    raw.note_repaired(repaired)
    if len(records) < len(found):
        raw.dropped["bad_json"] = len(found) - len(records)


def _values(data: bytes) -> list[Any]:
    """One value per line, None for a line that is not JSON; or the elements of one array or table."""
    values = []
    lines = [line for line in data.split(b"\n") if line.strip()]
    as_whole = data.lstrip()[:1] == b"[" or len(lines) == 1
    if as_whole and (rows := _rows(parsed(data))) is not None:
        return rows
    values = [parsed(line) for line in lines]
    if not any(isinstance(value, dict) for value in values) and (rows := _rows(parsed(data))) is not None:
        return rows
    return values


def parsed(data: bytes) -> Any:
    """What JSON holds, None for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _rows(whole: Any) -> list[Any] | None:
    """The rows of an array, of `{"data": [rows]}`, of `{column: [values]}` and of `{column: {row: value}}`."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict) or not whole:
        return None
    columns = list(whole.values())
    wrapped = [value for name, value in whole.items() if len(whole) == 1 or name in _WRAPPERS]
    if len(wrapped) == 1 and isinstance(wrapped[0], list) and wrapped[0] and isinstance(wrapped[0][0], dict):
        return wrapped[0]
    if all(isinstance(value, list) for value in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(whole, row, strict=True)) for row in zip(*columns, strict=True)]
    if all(isinstance(value, dict) for value in columns) and all(
        value.keys() == columns[0].keys() for value in columns
    ):
        return [{name: values[row] for name, values in whole.items()} for row in columns[0]]
    return [whole]


def _named(row: Any, names: Sequence[str | None]) -> Any:
    """A row that is a list of as many values as there are names, as a record."""
    if not isinstance(row, list):
        return row
    return {str(place): value for place, value in enumerate(row)} if len(row) == len(names) else None
