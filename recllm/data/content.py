"""What the content of columns says where their names say nothing: which holds the text, which nobody reads."""

from collections.abc import Sequence

import polars as pl

from recllm.data.kinds import NUMBERS, TEXT, TEXTS, fitted_to
from recllm.texts import LONGEST_ATTRIBUTE

_LONG_TEXT = 50
_WORDS = 6
"""A column whose typical value is at least this long, in characters and in words, is a text and no label."""
_SAMPLE = 2_000


def holds_text(columns: Sequence[pl.Series]) -> str | None:
    """The name of the column whose typical value is the longest free text, if any is one."""
    lengths = {series.name: _text_length(series) for series in columns}
    best = max(lengths, key=lambda name: lengths[name], default=None)
    return best if best is not None and lengths[best] else None


def _text_length(series: pl.Series) -> float:
    """The median length of its values; 0 if they are no free texts, or the same few again and again."""
    if series.dtype not in (pl.String, pl.Categorical):
        return 0.0
    texts = series.head(_SAMPLE).cast(TEXT).str.strip_chars()
    texts = texts.filter((texts != "").fill_null(False))
    if texts.is_empty() or texts.n_unique() * 2 < len(texts):
        return 0.0
    plain = texts.filter(~texts.str.contains(r"^\s*[\[{]|^\S+://\S+$"))
    if len(plain) * 2 < len(texts):
        return 0.0
    length, words = plain.str.len_chars().median(), plain.str.count_matches(r"\s+").median()
    length, words = float(length or 0), float(words or 0) + 1  # type: ignore[arg-type]
    return length if length >= _LONG_TEXT and words >= _WORDS else 0.0


def is_attribute(text: pl.Expr) -> pl.Expr:
    """Whether a value is one that the model reads beside title, text and categories: short, and no link."""
    return (text.str.len_chars() <= LONGEST_ATTRIBUTE) & ~text.str.contains("://", literal=True)


def unread(frame: pl.DataFrame, own: Sequence[str]) -> list[str]:
    """Columns of which the model reads hardly anything, each with the reason; filters can use them all the same."""
    found = []
    for series in frame:
        if series.name in own:
            continue
        if series.null_count() == len(series):
            found.append(f"{series.name!r} (empty)")
            continue
        if series.dtype not in (TEXT, TEXTS, NUMBERS):
            continue
        texts = fitted_to(series, TEXT).values.drop_nulls()
        read = texts.to_frame().select(is_attribute(pl.col(series.name)).sum()).item()
        if read * 2 < len(texts):
            links = texts.str.contains("://", literal=True).sum() * 2 > len(texts)
            found.append(f"{series.name!r} ({'links' if links else f'longer than {LONGEST_ATTRIBUTE} characters'})")
    return found
