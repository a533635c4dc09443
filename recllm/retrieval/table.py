"""Scores that many users share, kept with what was looked up in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Scores of all items that many users share, and what is looked up in them once.

    Attributes:
        scores: [rows, items].
    """

    scores: Float[Tensor, "rows items"]

    @classmethod
    def joined(cls, parts: Sequence["Table"]) -> "Table":
        """The rows of all parts, one after another; what was looked up in them is not looked up again."""
        table = cls(torch.cat([part.scores for part in parts]))
        mean, square = zip(*(part.moments for part in parts), strict=True)
        vars(table)["moments"] = torch.cat(mean), torch.cat(square)
        vars(table)["speaks"] = torch.cat([part.speaks for part in parts])
        vars(table)["_parts"] = tuple(parts)
        return table

    @cached_property
    def _parts(self) -> "tuple[Table, ...]":
        return ()

    @cached_property
    def moments(self) -> tuple[Float[Tensor, "rows"], Float[Tensor, "rows"]]:
        """Mean of each row, and of its squares."""
        scores = self.scores.double()
        return scores.mean(dim=1), scores.square().mean(dim=1)

    @cached_property
    def least(self) -> Float[Tensor, "rows"]:
        """The least score of each row."""
        return self.scores.amin(dim=1)

    @cached_property
    def speaks(self) -> Bool[Tensor, "rows"]:
        """Whether a row tells any items apart."""
        return self.scores.amax(dim=1) > self.least

    @cached_property
    def _leading(self) -> dict[int, Int[Tensor, "rows size"]]:
        return {}

    def leading(self, size: int) -> Int[Tensor, "rows size"]:
        """The best items of each row, best first."""
        if size not in self._leading:
            if self._parts:
                self._leading[size] = torch.cat([part.leading(size) for part in self._parts])
            else:
                self._leading[size] = self.scores.topk(min(size, self.scores.shape[1]), dim=1).indices
        return self._leading[size]
