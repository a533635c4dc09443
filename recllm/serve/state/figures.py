"""What became of answered lists, counted by SQLite: other threads run meanwhile."""

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


_LISTS = """
WITH lists AS (
    SELECT recommendation_id, user_id, policy, items FROM impressions
    WHERE at >= ? ORDER BY at DESC, number DESC LIMIT ?
)
"""

# Lines are kept as columns (see `packed_lines`); a list without lines has none.
_WHO = _LISTS + "SELECT policy, user_id, count(*) FROM lists GROUP BY 1, 2"
_LINES = (
    _LISTS + "SELECT line.value, line.key, count(*) FROM lists, json_each(items, '$.channel') AS line GROUP BY 1, 2"
)
_ITEMS = _LISTS + "SELECT line.value, count(*) FROM lists, json_each(items, '$.item_id') AS line GROUP BY 1"
_CLICKED = (
    _LISTS
    + """, events_of_them AS (
    SELECT DISTINCT recommendation_id, item_id FROM events WHERE timestamp >= ? AND recommendation_id IS NOT NULL
)
SELECT recommendation_id, json_extract(items, '$.channel[' || line.key || ']'), line.key
FROM events_of_them JOIN lists USING (recommendation_id), json_each(items, '$.item_id') AS line
WHERE line.value = item_id ORDER BY 1, 3
"""
)


def list_figures(rows: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], since: float, most: int) -> ListFigures:
    """Count.

    Args:
        rows: Looks up a statement with its values.
        since: Unix seconds; of lists and of events.
        most: So many of the newest lists.
    """
    lists, users = Counter[str](), Counter[str | None]()
    for policy, user, count in rows(_WHO, (since, most)):
        lists[policy] += count
        users[user] += count
    return ListFigures(
        lists=lists,
        users=users,
        lines={(channel, key + 1): count for channel, key, count in rows(_LINES, (since, most))},
        items=dict(rows(_ITEMS, (since, most))),
        clicked=[Clicked(name, channel, key + 1) for name, channel, key in rows(_CLICKED, (since, most, since))],
    )
