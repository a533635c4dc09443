"""What both demonstrations print alike."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from recllm.texts import clean_text

if TYPE_CHECKING:
    from recllm.cli.facts import Line

SHOWN = 5
"""Lines of a list that are printed; `--json` has ten."""


def rule(console: Console, heading: str) -> None:
    """Begin a part."""
    console.print()
    console.rule(heading, align="left", characters="-")


def title(line: "Line") -> Text:
    """Of a product, with a mark if the customer in fact bought it, too."""
    return Text(clean_text(line.title) + (" ✓" if line.bought_too else ""))


def count_marks(lines: tuple["Line", ...]) -> int:
    """In a list."""
    return sum(bool(line.bought_too) for line in lines)


def number(count: int, noun: str) -> str:
    """Of something that is one or many."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
