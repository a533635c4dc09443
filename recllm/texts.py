"""Texts of strangers, made harmless: titles and descriptions as they are kept, and any text as it is shown."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

LONGEST_ATTRIBUTE = 120
"""Characters. Longer values of further columns are no part of item prompts: they would crowd out the text."""

# Control characters, surrogates, and invisible or direction-changing ones: they can hide or reorder text. The joiners
# U+200C and U+200D stay, because scripts and emoji need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean_text(text: str) -> str:
    """One line of plain text: no control or invisible characters, every run of white space one space."""
    return " ".join(_INVISIBLE.sub("", text).split())


def clean_texts(texts: "pl.Series") -> "pl.Series":
    """As a catalog keeps them: NFC, trimmed, no control characters but line breaks and tabs; "" where missing."""
    normal = texts.fill_null("").str.normalize("NFC")
    return normal.str.replace_all(r"[^\P{Cc}\n\t]", " ").str.strip_chars()


def one_line_texts(texts: "pl.Series") -> "pl.Series":
    """`clean_texts` in which every run of white space is one space."""
    return clean_texts(texts).str.replace_all(r"\s+", " ")
