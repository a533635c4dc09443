"""What the list's template is filled with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recllm.errors import UnknownError
from recllm.serve.answers import Line
from recllm.serve.page.state import Visit, fresh, marks
from recllm.serve.page.told import Told, in_short


@dataclass(frozen=True)
class Shown:
    """An item as a line.

    Attributes:
        kind: Its categories, for people; "" if it has none.
        new: Whether the list before the last click did not have it.
        act: The address of the line's button: pick it or, if it is picked, drop it; None if it has no button.
        picked: Whether it is picked.
        why: The address that opens its reason, or closes it if it is open.
        short: The reason in a few words, if it is known already.
        told: The open reason; None: it is closed.
    """

    rank: int
    item_id: str
    title: str
    kind: str = ""
    new: bool = False
    act: str | None = None
    picked: bool = False
    why: str | None = None
    short: str | None = None
    told: Told | None = None


@dataclass(frozen=True)
class Pick:
    """A picked item, or one of a known user's history.

    Attributes:
        counts: Whether it counts.
        drop: The address without it; None: it cannot be dropped here.
        turn: The address in which it counts again, or no longer.
    """

    title: str
    counts: bool
    drop: str | None
    turn: str


def found(lines: Iterable[Line], visit: Visit, marks: str, kinds: Mapping[str, str]) -> list[Shown]:
    """Lines of a search; those that are picked can be dropped where they stand."""
    shown = []
    for rank, line in enumerate(lines, 1):
        picked = line.item_id in visit.have
        act = visit.drop(line.item_id, marks) if picked else visit.pick(line.item_id, marks)
        kind = kinds.get(line.item_id, "")
        shown.append(Shown(rank, line.item_id, line.title or line.item_id, kind, act=act, picked=picked))
    return shown


def listed(
    lines: Sequence[Line], visit: Visit, told: Told | None, kinds: Mapping[str, str], *, pickable: bool = False
) -> list[Shown]:
    """Lines of an answered list; `told` is the reason of the one whose reason is open."""
    items = [line.item_id for line in lines]
    now, new = marks(items), fresh(items, visit.was)
    shown = []
    for rank, line in enumerate(lines, 1):
        opened = told if line.item_id == visit.why else None
        shown.append(
            Shown(
                rank=rank,
                item_id=line.item_id,
                title=line.title or line.item_id,
                kind=kinds.get(line.item_id, ""),
                new=line.item_id in new,
                act=visit.pick(line.item_id, now) if pickable else None,
                why=visit.open(None if opened else line.item_id),
                short=in_short(row_of(line)) if line.reason else None,
                told=opened,
            )
        )
    return shown


def chips(
    item_ids: Iterable[str], titles: Mapping[str, str], visit: Visit, now: str, *, dropped: bool = False
) -> list[Pick]:
    """Picks or a history; `now` is `marks` of the list, `dropped` whether they can be removed."""
    return [
        Pick(
            title=titles.get(item) or item,
            counts=item not in visit.without,
            drop=visit.drop(item, now) if dropped else None,
            turn=visit.restore(item, now) if item in visit.without else visit.strike([item], now),
        )
        for item in item_ids
    ]


def row_of(line: Line) -> dict[str, Any]:
    """A line with its reason, as a row of `Recommender.explain` is."""
    reason = {"explanation": line.reason, "reason_code": line.reason_code, "evidence": line.evidence}
    return {"item_id": line.item_id, **reason}


def kinds_of(live: Any, item_ids: Iterable[str]) -> dict[str, str]:
    """Item -> its first two categories, in words."""
    kinds = {}
    for item_id in item_ids:
        try:
            values = live.item(item_id).fields.get("categories") or ()
        except UnknownError:
            continue
        kinds[item_id] = " · ".join(map(str, ([values] if isinstance(values, str) else list(values))[:2]))
    return kinds
