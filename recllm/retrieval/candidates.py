"""The items that are ranked for a user: the union of what the channels bring."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recllm.retrieval.index import NOBODY
from recllm.retrieval.profiles import Profile

RANKED_WHOLE = 4096
"""Up to so many items, finding the best takes longer than ranking all that may be listed."""


@final
@dataclass(frozen=True, eq=False)
class Candidates:
    """Of each of some users the items that are ranked, as many columns as the user with the most of them has.

    Attributes:
        rows: Catalog rows, ascending; the last of the catalog where a user has no more [users, width].
        real: Where there is one [users, width].
        whole: Whether the columns are the catalog, so that nothing has to be looked up.
    """

    rows: Int[Tensor, "users width"]
    real: Bool[Tensor, "users width"]
    whole: bool = False

    def __len__(self) -> int:
        """Users."""
        return len(self.rows)

    @classmethod
    def of(cls, chosen: Bool[Tensor, "users items"]) -> "Candidates":
        """The chosen items of each user."""
        counts, items = counts_of(chosen), chosen.shape[1]
        width = max(int(counts.max()) if len(counts) else 0, 1)
        if 2 * width > items:
            return cls(torch.arange(items).expand(len(chosen), -1), chosen, whole=True)
        users, rows_chosen = chosen.nonzero(as_tuple=True)
        place = torch.arange(len(users)) - (counts.cumsum(0) - counts)[users]
        rows = torch.full((len(chosen), width), items - 1)
        rows[users, place] = rows_chosen
        return cls(rows, torch.arange(width) < counts.unsqueeze(1))

    @classmethod
    def same(cls, rows: Int[Tensor, "width"], users: int, items: int) -> "Candidates":
        """The same items of a catalog of so many, ascending, for so many users."""
        real = torch.ones(users, len(rows), dtype=torch.bool)
        return cls(rows.expand(users, -1), real, whole=len(rows) == items)

    def written_out(self, scores: Float[Tensor, "users width"], items: int) -> Float[Tensor, "users items"]:
        """Scores of the candidates at their places in a catalog of so many items, −inf everywhere else."""
        scores = scores.masked_fill(~self.real, -torch.inf)
        if self.whole:
            return scores
        return torch.full((len(scores), items), -torch.inf).scatter_reduce_(1, self.rows, scores, "amax")

    @property
    def columns(self) -> Int[Tensor, "users width"] | None:
        """The rows, or None where they are the catalog."""
        return None if self.whole else self.rows


def counts_of(chosen: Bool[Tensor, "users items"]) -> Int[Tensor, "users"]:
    """How many items of each user; a seventieth of the time that torch takes to add up truth values."""
    return torch.tensor([np.count_nonzero(line) for line in chosen.numpy()], dtype=torch.long)


def union(profiles: Sequence[Profile], eligible: Bool[Tensor, "users items"], size: int) -> Bool[Tensor, "users items"]:
    """The best eligible `size` items of each channel.

    All that is eligible in a small catalog, where the channels could bring as many, and where they bring fewer than
    `size` in all: a channel that says nothing about a user brings nobody.
    """
    if eligible.shape[1] <= RANKED_WHOLE:
        return eligible
    counts = counts_of(eligible)
    whole = counts <= size * len(profiles)
    if bool(whole.all()):
        return eligible
    found = torch.cat([profile.best(eligible, size) for profile in profiles], dim=1)
    users, items = eligible.shape
    # Nobody has a column of their own, which is then cut off.
    chosen = torch.zeros(users, items + 1, dtype=torch.bool)
    chosen = chosen.scatter_(1, torch.where(found == NOBODY, items, found), True)[:, :items]
    whole |= counts_of(chosen) < counts.clamp(max=size)
    return torch.where(whole.unsqueeze(1), eligible, chosen) if bool(whole.any()) else chosen


def recall(
    scores: Float[Tensor, "users items"],
    eligible: Bool[Tensor, "users items"],
    relevant: Bool[Tensor, "users items"],
    size: int,
) -> Float[Tensor, "users"]:
    """Share of each user's relevant items among the best `size` eligible ones; NaN without a relevant item."""
    top = scores.masked_fill(~eligible, -torch.inf).topk(min(size, scores.shape[1]), dim=1).indices
    return relevant.gather(1, top).sum(dim=1) / relevant.sum(dim=1)
