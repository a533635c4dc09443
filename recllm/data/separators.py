"""What separates the columns of a delimited text, told by its first lines."""

import csv
import re
from collections.abc import Sequence

from recllm.data.raw import RawTable
from recllm.errors import DataError

SAMPLE = 2**16
"""Bytes of a text that are looked at."""


def separated(data: bytes, tab: bool, names: Sequence[str | None] | None, raw: RawTable) -> tuple[bytes, str]:
    """The text with a header, and what separates its columns."""
    declared = re.match(rb'\s*"?sep=([,;|\t])"?\r?\n', data)
    if declared:  # as Excel does
        return data[declared.end() :], declared[1].decode("utf-8", "replace")
    lines = [line for line in data[:SAMPLE].decode("utf-8", "replace").splitlines() if line.strip()]
    lines = lines[:20] if len(data) <= SAMPLE else lines[: min(len(lines) - 1, 20) or 1]
    if names is None:
        return data, _by_header(lines, tab)
    separator = _by_width(lines, len(names), raw.source)
    first = [cell.strip().casefold() for cell in _cells(lines[0], separator)]
    if first == [str(name).casefold() for name in names]:
        return data, separator
    header = separator.join(str(place) for place in range(len(names)))
    return header.encode() + b"\n" + data, separator


def _by_header(lines: Sequence[str], tab: bool) -> str:
    width = {separator: len(_cells(lines[0], separator)) for separator in (",", "\t", ";", "|", "::", " ")}

    def all_alike(separator: str) -> bool:
        return width[separator] > 1 and all(len(_cells(line, separator)) == width[separator] for line in lines)

    best = max("\t,;|" if tab else ",\t;|", key=lambda separator: width[separator])
    if width["::"] >= width[best] and all_alike("::"):
        return "::"
    if width[best] > 1:
        return best
    return " " if len(lines) > 1 and all_alike(" ") else "\t" if tab else ","


def _by_width(lines: Sequence[str], columns: int, source: str) -> str:
    """What cuts the most of the first lines into so many columns."""

    def fitting(separator: str) -> int:
        return sum(len(_cells(line, separator)) == columns for line in lines)

    best = max(("::", ",", "\t", ";", "|", " "), key=fitting)
    if columns > 1 and not fitting(best):
        widths = {separator: len(_cells(lines[0], separator)) for separator in ("::", ",", "\t", ";", "|")}
        likely = max(widths, key=lambda separator: widths[separator])
        raise DataError(
            f"{source}: columns= names {columns} columns, and the first row has {widths[likely]} (separated by "
            f"{likely!r}): {lines[0][:80]!r}; name each, with None for those to leave out"
        )
    return best if columns > 1 else ","


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    if separator == "::":
        return line.split("::")
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def single(data: bytes, separator: str) -> tuple[bytes, str]:
    """The text with one character between columns that nothing else in it uses."""
    unused = next((one for one in (b"\x1f", b"\x1e", b"\x1d", b"\x1c") if one not in data), b"\x1f")
    if separator == " ":
        data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", data)
        return re.sub(rb"[ \t]+", unused, data), unused.decode()
    return data.replace(separator.encode(), unused), unused.decode()
