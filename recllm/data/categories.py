"""Categories in any notation -> a list of names per item.

A csv file holds a list as text: `['Drama', 'Sci-Fi']`, `["Drama"]`, `Drama|Sci-Fi`, `[{"id": 18, "name": "Drama"}]`.
What only looks like syntax, such as `Rock 'n' Roll` or `Cups [glass]`, is a name.
"""

import ast
import html
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

LONGEST_NOTATION = 100_000
DEEPEST_NOTATION = 20
"""Longer or deeper texts are no lists that somebody wrote; they are read as a plain text."""

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_NAME_FIELDS = ("name", "title", "label")
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
_UNSEPARATED = re.compile(r"\0\s*\0")
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|\w{2,8});")
_PATH = re.compile(r"\s+>\s+")


def category_lists(series: pl.Series, space_separated: bool = False) -> pl.Series:
    """list[str] [items]: the names of every item, each once, in the order given; empty where there are none.

    Texts are split at `|`, else at `;`, else at commas, whichever the column has first, and at ` > `.

    Args:
        series: [items] texts, or lists of texts.
        space_separated: The texts are split at spaces (RecBole's `token_seq`).
    """
    if series.dtype != pl.String or series.is_empty():
        return _name_lists(series.name, series.to_list())
    distinct = series.unique(maintain_order=True)  # most texts come many times
    lists = _name_lists(series.name, _split(distinct.to_list(), space_separated))
    place = pl.Series(range(len(distinct)), dtype=pl.UInt32)
    return lists.gather(series.replace_strict(distinct, place, return_dtype=pl.UInt32))


def _name_lists(name: str, values: Sequence[Any]) -> pl.Series:
    names = [list(dict.fromkeys(filter(None, map(str.strip, names_in(value))))) for value in values]
    return pl.Series(name, names, dtype=pl.List(pl.String))


def names_in(value: Any) -> list[str]:
    """The names in lists, tuples, sets, records and written ones, however nested; a record gives its name.

    A text that is no notation is one name, as it stands. Sets are put in order.
    """
    if isinstance(value, str):
        found = written(value)
        return [valid_text(value)] if found is None else names_in(found)
    if isinstance(value, Mapping):
        return _name_of(value)
    if isinstance(value, pl.Series | np.ndarray):
        value = value.tolist() if isinstance(value, np.ndarray) else value.to_list()
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        return [name for entry in value for name in names_in(entry)]
    text = text_of(value)
    return [] if text is None else [text]


def text_of(value: Any) -> str | None:
    """One value as text: 3.0 as "3", true and false for booleans, bytes as UTF-8; None where nothing is there."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        return None if not np.isfinite(value) else str(int(value)) if float(value).is_integer() else str(value)
    return None if value is None else valid_text(str(value))


def valid_text(text: str) -> str:
    """A text with its lone surrogates, which no file can hold, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def written(text: str) -> list[Any] | Mapping[str, Any] | None:
    """The list or record that a text is, in JSON or as Python or numpy print it; None if it is neither."""
    text = text.strip()
    if (
        len(text) < 2
        or _BRACKETS.get(text[0]) != text[-1]
        or len(text) > LONGEST_NOTATION
        or _depth(text) > DEEPEST_NOTATION
    ):
        return None
    if text[0] == "[" and _UNSEPARATED.search(_QUOTED.sub("\0", text)):
        return [single or double for single, double in _QUOTED.findall(text)]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_literal(text)
    if isinstance(found, set | frozenset):
        return sorted(found, key=str)
    return list(found) if isinstance(found, list | tuple) else found if isinstance(found, dict) else None


def _python_literal(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backslash in a name is no concern of ours
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "[({") - (sign in "])}")
        deepest = max(deepest, depth)
    return deepest


def _name_of(record: Mapping[Any, Any]) -> list[str]:
    fields = {str(key).casefold(): value for key, value in record.items()}
    for name in _NAME_FIELDS:
        if found := names_in(fields.get(name)):
            return found
    texts = [value for value in fields.values() if isinstance(value, str) and value.strip()]
    rest = texts or [value for value in fields.values() if names_in(value)]
    return names_in(rest[0]) if rest else []


def _split(texts: Sequence[str | None], space_separated: bool) -> list[Any]:
    """Texts -> what is written in them, or their parts at the column's separator."""
    texts = [html.unescape(text) if text and _ENTITY.search(text) else text for text in texts]
    lists = [written(text) if text else None for text in texts]
    plain = [text for text, found in zip(texts, lists, strict=True) if text and text.strip() and found is None]
    bare = all(map(_is_bracketed, plain)) and any("," in text for text in plain)  # [Drama, Sci-Fi], without quotes
    separator = " " if space_separated else next((sign for sign in "|;" if any(sign in text for text in plain)), ",")
    return [
        found if found is not None or not text else _parts(text.strip()[1:-1] if bare else text, separator, bare)
        for text, found in zip(texts, lists, strict=True)
    ]


def _is_bracketed(text: str) -> bool:
    text = text.strip()
    return text[0] in "[{" and text[-1] == _BRACKETS[text[0]]


def _parts(text: str, separator: str, bare: bool) -> tuple[Any, ...]:
    parts: Iterable[str] = (part for piece in text.split(separator) for part in _PATH.split(piece))
    return tuple(part.strip().strip("\"'") if bare else part for part in parts)
