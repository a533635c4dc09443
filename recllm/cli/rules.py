"""The rules of a list, as they are typed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import typer

import recllm

_RULES = "Rules that the lists keep"


@final
@dataclass(frozen=True)
class Ruled:
    """What holds for every list, and what orders it."""

    by: Annotated[
        Literal["history", "similarity", "rating"],
        typer.Option("--by", help="What orders a list: all that is known, likeness of texts, or predicted ratings."),
    ] = "history"
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="ITEM", help="Not this item.", rich_help_panel=_RULES)
    ] = None
    cap: Annotated[
        list[str] | None,
        typer.Option(
            "--cap",
            metavar="COLUMN=NUMBER",
            help="At most so many items with the same value; below 1 a share of the list.",
            rich_help_panel=_RULES,
        ),
    ] = None
    ceiling: Annotated[
        list[str] | None,
        typer.Option(
            "--ceiling", metavar="COLUMN=MOST", help="The most that an item may have.", rich_help_panel=_RULES
        ),
    ] = None
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="One item of each value.", rich_help_panel=_RULES),
    ] = None
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", metavar="ITEM", help="Leads the list; in this order.", rich_help_panel=_RULES),
    ] = None
    boost: Annotated[
        list[str] | None,
        typer.Option(
            "--boost",
            metavar="WHAT=NUMBER",
            help="An item, a value or words, and −3 to 3: 3 is the way from the average item to the best.",
            rich_help_panel=_RULES,
        ),
    ] = None
    diversity_by: Annotated[
        Literal["mmr", "dpp"],
        typer.Option("--diversity-by", help="How --diversity is reached.", rich_help_panel=_RULES),
    ] = "mmr"
    calibrated: Annotated[
        float,
        typer.Option(
            "--calibrated",
            min=0,
            max=1,
            help="How much a list's categories are those of what was liked.",
            rich_help_panel=_RULES,
        ),
    ] = 0.0

    def given(self) -> dict[str, Any]:
        """As the library takes it: what is asked for, and nothing else."""
        asked = {
            "by": self.by if self.by != "history" else None,
            "exclude": self.exclude,
            "caps": _pairs(self.cap, "--cap categories=2", float),
            "ceilings": _pairs(self.ceiling, "--ceiling price=20", str),
            "groups": self.group,
            "pinned": self.pin,
            "boosted": _pairs(self.boost, "--boost garden=1", float),
            "diversity_by": self.diversity_by if self.diversity_by != "mmr" else None,
            "calibrated": self.calibrated,
        }
        return {name: value for name, value in asked.items() if value}


def _pairs(typed: list[str] | None, example: str, read: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in typed or ():
        name, _, value = (part.strip() for part in text.rpartition("="))
        try:
            number = read(value)
        except ValueError:
            number = ""
        if not name or number == "":
            raise recllm.ConfigError(f"{example.split()[0]} {text!r} is no pair; write for example {example}")
        found[name] = number
    return found
