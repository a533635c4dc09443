"""What has to be taken before what: given, in a column, or learned from the order in which people took it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Self, final

import polars as pl
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id
from recllm.data.ids import read_ids
from recllm.errors import ConfigError, DataError

__all__ = ["COLUMN", "Prerequisites"]

COLUMN = "prerequisites"
"""The column that is read where nothing is said."""

_BETWEEN = re.compile(r"\s*[|;,]\s*")


@final
@dataclass(frozen=True, eq=False)
class Prerequisites:
    """Catalog rows that each row needs, without circles.

    Attributes:
        needs: Row -> the rows that it needs itself.
        learned: Whether this is what people do, not what somebody said.
        notes: What was passed over, in sentences.
    """

    needs: Mapping[int, tuple[int, ...]]
    learned: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def given(cls, pairs: Mapping[str, Sequence[str]], catalog: Catalog) -> Self:
        """From the ids of items and of what each needs.

        Raises:
            DataError: They go in a circle.
        """
        needs: dict[int, tuple[int, ...]] = {}
        unknown: list[str] = []
        for item, wanted in pairs.items():
            rows = catalog.rows([item, *wanted]).tolist()
            unknown += [one for one, row in zip([item, *wanted], rows, strict=True) if row < 0]
            if rows[0] >= 0:
                needs[rows[0]] = tuple(dict.fromkeys(row for row in rows[1:] if row >= 0))
        if circle := _circle(needs):
            names = " needs ".join(repr(catalog.item_ids[row]) for row in circle)
            raise DataError(f"prerequisites go in a circle: {names}; take one of these out.")
        return cls({row: some for row, some in needs.items() if some}, notes=_unknown(unknown))

    @classmethod
    def of_column(cls, name: str, catalog: Catalog) -> Self:
        """From a column that holds ids: lists of them, or texts with |, ; or a comma between.

        Raises:
            DataError: There is no such column, or they go in a circle.
        """
        frame = catalog.frame
        if name not in frame.columns:
            raise DataError(
                f"prerequisites name the column {name!r}, which the catalog does not have; write a mapping "
                "{course: [what it needs]}, 'learned', or one of its columns " + ", ".join(frame.columns) + "."
            )
        lists = isinstance(frame[name].dtype, pl.List)
        known = set(catalog.item_ids)
        pairs = {
            item: [as_id(one) for one in value if one is not None] if lists else _ids(as_id(value), known)
            for item, value in zip(catalog.item_ids, frame[name].to_list(), strict=True)
            if value is not None
        }
        return cls.given(pairs, catalog)

    @classmethod
    def of_order(cls, needs: sparse.csr_array) -> Self:
        """From what people usually take before, [items, items] without circles."""
        ends = needs.indptr.tolist()
        rows = {row: tuple(needs.indices[ends[row] : ends[row + 1]].tolist()) for row in range(needs.shape[0])}
        return cls({row: some for row, some in rows.items() if some}, learned=True)

    @classmethod
    def read(cls, given: Any, catalog: Catalog) -> Self | None:
        """From a mapping, the name of a column, or nothing: then the column `prerequisites`; None: they are learned.

        Raises:
            ConfigError: It is nothing of the kind.
            DataError: They go in a circle, or there is no such column.
        """
        if given is None:
            return cls.of_column(COLUMN, catalog) if COLUMN in catalog.frame.columns else None
        if isinstance(given, str):
            return None if given == "learned" else cls.of_column(given, catalog)
        if isinstance(given, Mapping):
            pairs = {as_id(item): read_ids(wanted, f"prerequisites of {item!r}") for item, wanted in given.items()}
            return cls.given(pairs, catalog)
        raise ConfigError(
            "prerequisites are a mapping {course: [what it needs]}, the name of a column, or 'learned'; "
            f"got {given!r:.60}."
        )

    def missing(self, row: int, taken: set[int]) -> set[int]:
        """All that has to be taken before an item, directly or not, by somebody who has taken some.

        What they have taken they were ready for: its own needs are not looked at.
        """
        found: set[int] = set()
        left = [row]
        while left:
            fresh = [one for one in self.needs.get(left.pop(), ()) if one not in taken and one not in found]
            found.update(fresh)
            left += fresh
        return found

    def in_order(self, rows: set[int], scores: Any) -> Iterator[int]:
        """These rows, each after what it needs of them; of those that can be next, the one with the best score."""
        waiting = {row: sum(one in rows for one in self.needs.get(row, ())) for row in rows}
        opens: dict[int, list[int]] = {}
        for row in rows:
            for one in self.needs.get(row, ()):
                opens.setdefault(one, []).append(row)
        ready = [(-float(scores[row]), row) for row, count in waiting.items() if not count]
        heapify(ready)
        while ready:
            _, row = heappop(ready)
            yield row
            for other in opens.get(row, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    heappush(ready, (-float(scores[other]), other))


def _ids(text: str, known: set[str]) -> list[str]:
    return [text] if text in known else [one for one in _BETWEEN.split(text.strip()) if one]


def _unknown(ids: Sequence[str]) -> tuple[str, ...]:
    names = list(dict.fromkeys(ids))
    if not names:
        return ()
    some = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return (f"prerequisites name {some}, which the catalog does not have; this is passed over.",)


def _circle(needs: Mapping[int, tuple[int, ...]]) -> list[int]:
    """A way from a row back to itself, the row first and last; empty if there is none."""
    done: set[int] = set()
    for start in needs:
        way: list[int] = []
        steps: list[Iterator[int]] = [iter((start,))]
        while steps:
            row = next(steps[-1], None)
            if row is None:
                steps.pop()
                if way:
                    done.add(way.pop())
            elif row in way:
                return [*way[way.index(row) :], row]
            elif row not in done:
                way.append(row)
                steps.append(iter(needs.get(row, ())))
    return []
