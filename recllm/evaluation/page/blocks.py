"""What a page is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class Cell:
    """One cell of a table: the text, its interval below it, whether it is the `best` or `close` to it."""

    text: str
    small: str = ""
    mark: str = ""


@final
@dataclass(frozen=True)
class Block:
    """A piece of a section: paragraphs, code, a drawing, a table, in this order; folded away if it has a `summary`.

    The table holds figures, or `words`. `legend` (sign, colour, name) is shown where the screen is too narrow for the
    names in the drawing.
    """

    title: str = ""
    paragraphs: Sequence[str] = ()
    svg: str = ""
    legend: Sequence[tuple[str, str, str]] = ()
    caption: str = ""
    head: Sequence[str] = ()
    rows: Sequence[tuple[str, Sequence[Cell]]] = ()
    code: str = ""
    summary: str = ""
    words: bool = False


@final
@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)
