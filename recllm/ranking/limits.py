"""Caps and groups while a list grows: what is full is closed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from recllm.data.attributes import Attributes
from recllm.data.columns import ITEM_COLUMNS, role_of
from recllm.data.values import Values
from recllm.errors import DataError
from recllm.ranking.asked import Rules


@final
@dataclass(frozen=True, eq=False)
class Limit:
    """How many items of a list may have the same value.

    Attributes:
        values: Of a column.
        most: Items, or below 1 a share of the list; one is always allowed.
    """

    values: Values
    most: float

    @classmethod
    def all_of(cls, rules: Rules, attributes: Attributes) -> tuple[Self, ...]:
        """The caps and groups that are asked for.

        Raises:
            DataError: The catalog has no such column.
        """
        wanted = [*(rules.caps or {}).items(), *((column, 1) for column in rules.groups or ())]
        return tuple(cls(attributes.values(_column(attributes, column)), most) for column, most in wanted)

    def count_in(self, length: int) -> int:
        """The most items of one value in a list of this length."""
        return int(self.most) if self.most >= 1 else max(1, floor(self.most * length + 1e-9))


@final
class Counting:
    """Counts the values of one growing list.

    Args:
        limits: To be kept.
        length: That the list shall have.
    """

    def __init__(self, limits: Sequence[Limit], length: int) -> None:
        self._limits = limits
        self._left = [np.full(len(limit.values), limit.count_in(length)) for limit in limits]

    def closed_by(self, row: int) -> Iterator[NDArray[np.int64]]:
        """Take an item; rows of the items that may not follow it."""
        for limit, left in zip(self._limits, self._left, strict=True):
            for number in limit.values.of_item(row).tolist():
                left[number] -= 1
                if left[number] == 0:
                    yield limit.values.items_with(number)


def _column(attributes: Attributes, name: str) -> str:
    columns = attributes.catalog.frame.columns
    found = name if name in columns else role_of(name, ITEM_COLUMNS)
    if found not in columns:
        raise DataError(
            f"caps and groups name the column {name!r}, which the catalog does not have; its columns are "
            f"{', '.join(columns)}."
        )
    return str(found)
