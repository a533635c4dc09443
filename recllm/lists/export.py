"""Results as files: csv that a spreadsheet can open safely, pages of HTML; each is written whole or not at all."""

import errno
import html
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recllm.artifact.folders import check_writable, replace_file
from recllm.errors import ArtifactError, DataError
from recllm.texts import clean_text

__all__ = ["check_place", "csv_text", "escape", "html_page", "written"]

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>body {{ font: 15px/1.5 sans-serif; margin: 2rem }} td, th {{ text-align: left; vertical-align: top;
padding: .2rem .8rem .2rem 0 }} th {{ border-bottom: 1px solid }}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def written(path: str | os.PathLike[str] | None, text: str) -> str:
    """The text, also in a file if there is a path: UTF-8, whole or the former one stays; folders above it are made.

    Raises:
        DataError: The path is no path.
        ArtifactError: It cannot be written.
    """
    if path is None:
        return text
    content = text.encode("utf-8", "backslashreplace")  # half a character is in no file
    with _writing(path) as target:
        if target.exists() and not target.is_file():  # a folder refuses; a pipe or a device is no file to replace
            target.write_bytes(content)
        else:
            replace_file(target, content)
    return text


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse what `written` would refuse; worth asking before hours of work.

    Raises:
        DataError: The path is no path.
        ArtifactError: It could not be written.
    """
    with _writing(path) as target:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_writable(target)


@contextmanager
def _writing(path: Any) -> Iterator[Path]:
    """The file that a path means; where it is a link, the link stays."""
    if not isinstance(path, str | bytes | os.PathLike) or not os.fspath(path):
        raise DataError(f"a path to write to is a text or a Path; got {path!r}; leave it out to get the text.")
    try:
        yield Path(os.path.realpath(os.fsdecode(path)))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArtifactError(f"cannot write {os.fsdecode(path)!r}: {why}; choose another place") from error


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated values with a header; None and numbers that are not finite are empty cells.

    A spreadsheet runs cells that begin with =, +, - or @. Catalog text is data: such a text, unless it is a number,
    gets an apostrophe in front, which spreadsheets take as the mark of plain text. JSON and frames have it unchanged.
    """
    return "".join(",".join(map(_cell, row)) + "\n" for row in (names, *rows))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    text = str(value)
    if text.lstrip().startswith(_FORMULA) and not _is_number(text):
        text = f"'{text}"
    # A lone carriage return ends a line, too; Python's writer leaves it unquoted.
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def html_page(title: str, names: Sequence[str], rows: Iterable[Sequence[Any]], notes: Iterable[str] = ()) -> str:
    """A page with one table, and sentences below it; everything in it is text, and nothing is loaded."""
    lines = [f"<p>{escape(note)}</p>" for note in notes]
    lines += ["<table>", "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row) + "</tr>" for row in rows]
    return _PAGE.format(title=escape(title), body="\n".join([*lines, "</table>"]))


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def escape(text: str) -> str:
    """One line of text for HTML, without invisible characters."""
    return html.escape(clean_text(text), quote=True)
