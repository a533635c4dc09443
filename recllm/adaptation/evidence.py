"""Whether the shop's adapter gains: each batch is predicted before it is learned, with the adapter and without."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.adaptation.proximal import HeadLoss, best_scale

FEWEST_USERS = 20.0
"""Whose lists have to say that the adapter gains."""

SURE = 2.6
"""Standard errors that the gain has to be above nothing: it is looked at after every batch."""


@final
@dataclass(frozen=True)
class Evidence:
    """What using the adapter has gained on tasks that it had not learned yet: sums over users, fading.

    Attributes:
        users: How many.
        total: Of the mean gains in loss of each.
        squares: Of these, squared.
    """

    users: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, gains: Float[Tensor, "tasks"], owners: Int[Tensor, "tasks"], memory: float) -> "Evidence":
        """With the gains of further tasks of these users."""
        _, rows, counts = owners.unique(return_inverse=True, return_counts=True)
        each = torch.zeros(len(counts), dtype=gains.dtype).index_add(0, rows, gains) / counts
        return Evidence(
            memory * self.users + len(each),
            memory * self.total + float(each.sum()),
            memory * self.squares + float(each.square().sum()),
        )

    @property
    def is_gain(self) -> bool:
        """Whether the mean gain is above chance."""
        if self.users < FEWEST_USERS:
            return False
        mean = self.total / self.users
        spread = max(self.squares / self.users - mean**2, 0.0)
        return mean > SURE * float(np.sqrt(spread / self.users))


def gains_of(loss: HeadLoss, added: Float[Tensor, "added"]) -> Float[Tensor, "tasks"]:
    """What each task gains by it, both ways at the scale that suits them best."""
    without, used = (best_scale(loss, one) for one in (torch.zeros_like(added), added))
    return loss.values(without) - loss.values(used)
