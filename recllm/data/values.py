"""What items share in one column, as numbers that can be counted."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np
import polars as pl
from numpy.typing import NDArray

_Ends = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Values:
    """The values of a column of any kind; texts are compared without case, an empty one is no value.

    Attributes:
        names: The values, in the order of their numbers.
        numbers: Values of all items, item by item, each once: int64 [entries].
        ends: int64 [items + 1]; the values of item row `i` are `numbers[ends[i]:ends[i + 1]]`.
        rows: Item rows of all values, value by value: int64 [entries].
        stops: int64 [values + 1]; the items of value `v` are `rows[stops[v]:stops[v + 1]]`.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.int64]
    ends: _Ends
    rows: NDArray[np.int64]
    stops: _Ends

    @classmethod
    def of(cls, column: pl.Series) -> Self:
        """Of a column of single values, or of lists of them."""
        frame = pl.DataFrame({"row": np.arange(len(column)), "value": column})
        if isinstance(column.dtype, pl.List):
            frame = frame.explode("value", empty_as_null=True)
        text = pl.col("value").cast(pl.String).str.strip_chars().str.to_lowercase()
        frame = frame.select("row", text).filter(pl.col("value").is_not_null() & (pl.col("value") != "")).unique()
        names = frame["value"].unique().sort()
        frame = frame.with_columns(number=pl.Series(names.search_sorted(frame["value"])).cast(pl.Int64))
        by_item, by_value = frame.sort("row", "number"), frame.sort("number", "row")
        ends = np.searchsorted(by_item["row"].to_numpy(), np.arange(len(column) + 1))
        stops = np.searchsorted(by_value["number"].to_numpy(), np.arange(len(names) + 1))
        return cls(tuple(names), by_item["number"].to_numpy(), ends, by_value["row"].to_numpy(), stops)

    def __len__(self) -> int:
        return len(self.names)

    def of_item(self, row: int) -> NDArray[np.int64]:
        """Numbers of the item's values; none where nothing is there."""
        return self.numbers[self.ends[row] : self.ends[row + 1]]

    def items_with(self, number: int) -> NDArray[np.int64]:
        """Rows of the items that have a value."""
        return self.rows[self.stops[number] : self.stops[number + 1]]
