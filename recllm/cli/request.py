"""What is asked for, as it is typed: about whom, with whose adapters, and what the lists shall be."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

import recllm
from recllm.cli.files import Logs
from recllm.terminal import say

_LISTS = "What the lists shall be"
_RANGE = re.compile(r"([-+]?\d.*?)?\.\.([-+]?\d.*)?")

Length = Annotated[int, typer.Option("-n", min=1, help="How many items each.")]
Adapt = Annotated[bool, typer.Option("--adapt/--no-adapt", help="Adapt to each user first.")]
Explain = Annotated[bool, typer.Option("--explain", help="Give a reason for each item.")]


@final
@dataclass(frozen=True)
class Whom:
    """Users by their events, by their ids, or both."""

    events: Annotated[
        Path | None,
        typer.Option("--events", help="Events of the users, known or new; they replace what was known of them."),
    ] = None
    user: Annotated[
        list[str] | None, typer.Option("--user", help="A user's id; may be repeated. Default: all in --events.")
    ] = None

    def check(self) -> None:
        """Refuse to go on where nobody is meant."""
        if self.events is None and not self.user:
            raise recllm.DataError("there is nobody to recommend to; give --events FILE, --user ID, or both")

    def spread(self, logs: Logs) -> Any:
        """The users without a model at hand; None: all whom it remembers. A divided log is read part by part."""
        if self.events is None:
            return self.user or None
        if not (self.events / "manifest.json").is_file():
            return self._named(logs.events(self.events))
        if self.user:
            raise recllm.ConfigError("--user has no place beside a divided log, which is read part by part")
        return recllm.scale.PartitionedEvents.open(self.events)

    def among(
        self, rec: "recllm.Recommender", logs: Logs, adapters: "recllm.Adapters | None" = None
    ) -> "recllm.Interactions | list[str]":
        """The users as the library takes them; the model remembers them, or adapters do."""
        if self.events is None:
            asked = self.user or []
            if strangers := sorted({*asked} - {*rec.user_ids, *(adapters.user_ids if adapters else ())}):
                say(f"Note: no events of user {strangers[0]!r} are remembered, so this is for somebody without events.")
            return asked
        log = logs.events(self.events)
        named = self._named(log)
        if (report := log.known_items(rec.catalog).report).dropped:
            say(str(report))
        return named

    def _named(self, log: "recllm.Interactions") -> "recllm.Interactions":
        if absent := sorted(set(self.user or ()) - set(log.user_ids)):
            raise recllm.DataError(f"--user {absent[0]!r}: {self.events} has no events of such a user")
        return log.of_users(self.user) if self.user else log


@final
@dataclass(frozen=True)
class Personal:
    """Whether users get adapters of their own, and which."""

    adapt: Adapt = True
    adapters: Annotated[
        Path | None, typer.Option("--adapters", help="Adapters that `recllm adapt` saved, instead of new ones.")
    ] = None

    def given(self, rec: "recllm.Recommender") -> dict[str, Any]:
        """As the library takes them."""
        kept = None if self.adapters is None else recllm.Adapters.load(self.adapters, rec)
        return {"adapt": self.adapt, "adapters": kept}


@final
@dataclass(frozen=True)
class Steering:
    """What the user says about the own list."""

    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="An item, or a value such as a category, to leave out of the histories."),
    ] = None
    wish: Annotated[
        list[str] | None,
        typer.Option("--wish", help="'more of …', 'less of …' or 'never of …'; may be repeated."),
    ] = None

    def given(self) -> dict[str, Any]:
        """As the library takes it."""
        return {"without": self.without or None, "wishes": self.wish or None}


@final
@dataclass(frozen=True)
class Choice:
    """Which items may be in a list, and how much they differ."""

    candidates: Annotated[
        Path | None,
        typer.Option(
            "--candidates",
            help="Only the items of this file: a column item_id; with user_id, each user's own.",
            rich_help_panel=_LISTS,
        ),
    ] = None
    filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="COLUMN=VALUE",
            help="Only items with this value; several of one column: any of them. Numbers and dates take ranges: "
            "price=..20, year=1990..1999. Nothing after the = stands for items without a value.",
            rich_help_panel=_LISTS,
        ),
    ] = None
    exclude_seen: Annotated[
        bool,
        typer.Option(
            "--exclude-seen/--include-seen",
            " /--seen",
            help="Whether what a user already has is left out.",
            rich_help_panel=_LISTS,
        ),
    ] = True
    diversity: Annotated[
        float,
        typer.Option(
            "--diversity",
            min=0,
            max=1,
            help="0 for the best scores, up to 1 for the greatest variety.",
            rich_help_panel=_LISTS,
        ),
    ] = 0.0

    def given(self, logs: Logs) -> dict[str, Any]:
        """As the library takes it."""
        return {
            "candidates": None if self.candidates is None else logs.ids(self.candidates),
            "filters": _filters(self.filter) if self.filter else None,
            "exclude_seen": self.exclude_seen,
            "diversity": self.diversity,
        }


def _filters(typed: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in typed:
        column, equals, value = (part.strip() for part in text.partition("="))
        if not column or not equals:
            raise recllm.ConfigError(
                f"--filter {text!r} is no filter; write COLUMN=VALUE, or a range, such as price=..20"
            )
        ends = _RANGE.fullmatch(value)
        accepted = (ends[1] or None, ends[2] or None) if ends and value != ".." else value or None
        found.setdefault(column, []).append(accepted)
    return found
