"""What became of answered lists, counted by the database: other threads run meanwhile."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Clicked(NamedTuple):
    """A line that an event came of; places begin with 1."""

    recommendation_id: str
    channel: str
    place: int


@dataclass(frozen=True, slots=True)
class ListFigures:
    """Counts over answered lists.

    Attributes:
        lists: By what made them.
        users: Lists by whom they were for; None: sessions.
        lines: By channel and place, from 1.
        items: Lines by item.
        clicked: Lines of these lists from which events came, each once.
    """

    lists: Mapping[str, int]
    users: Mapping[str | None, int]
    lines: Mapping[tuple[str, int], int]
    items: Mapping[str, int]
    clicked: Sequence[Clicked]


class Statements(NamedTuple):
    """What is counted over the newest lists since a moment; each takes the moment, how many lists, and so on.

    Attributes:
        who: Policy, user, and how many lists.
        lines: Channel, place from 0, and how many lines.
        items: Item, and how many lines.
        clicked: List, channel and place from 0 of lines that an event came of; takes the moment once more.
    """

    who: str
    lines: str
    items: str
    clicked: str


def list_figures(
    rows: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], ask: Statements, since: float, most: int
) -> ListFigures:
    """Count.

    Args:
        rows: Looks up a statement with its values.
        ask: Of the database.
        since: Unix seconds; of lists and of events.
        most: So many of the newest lists.
    """
    lists, users = Counter[str](), Counter[str | None]()
    for policy, user, count in rows(ask.who, (since, most)):
        lists[policy] += count
        users[user] += count
    return ListFigures(
        lists=lists,
        users=users,
        lines={(channel, key + 1): count for channel, key, count in rows(ask.lines, (since, most))},
        items=dict(rows(ask.items, (since, most))),
        clicked=[Clicked(name, channel, key + 1) for name, channel, key in rows(ask.clicked, (since, most, since))],
    )
