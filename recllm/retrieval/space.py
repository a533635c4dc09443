"""A space of item vectors: what is computed of all of them once, and products with each user's own few."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.retrieval.index import EXACT_ITEMS, Index, Progress, open_index

COPIED_NUMBERS = 40_000_000
"""Up to this many numbers, item vectors are kept a second time the other way round: one user's product with them takes
.16 ms then instead of .40, for 3,852 items of 384."""


@final
@dataclass(frozen=True)
class Space:
    """Item vectors and their moments, which are computed once.

    Attributes:
        vectors: [items, width].
    """

    vectors: Float[Tensor, "items width"]

    def __reduce__(self) -> tuple[type["Space"], tuple[Tensor]]:
        """What is looked up in them is looked up again elsewhere: a graph lives in this process."""
        return Space, (self.vectors,)

    @property
    def is_small(self) -> bool:
        """Whether all items are scored to find the best; else they are found by the index."""
        return len(self.vectors) <= EXACT_ITEMS

    @cached_property
    def index(self) -> Index:
        """Finds the items that a vector scores best; made when it is first asked for, unless `make_ready` did."""
        return open_index(self.vectors)

    def make_ready(self, progress: Progress) -> None:
        """Make the index where one is needed and takes long, telling (done, total)."""
        if not self.is_small and "index" not in vars(self):
            vars(self)["index"] = open_index(self.vectors, progress)

    @cached_property
    def mean(self) -> Float[Tensor, "width"]:
        """Mean vector."""
        return self.vectors.mean(dim=0)

    @cached_property
    def columns(self) -> Float[Tensor, "width items"]:
        """The vectors as columns, in the order of memory that a product with few users wants."""
        columns = self.vectors.T
        return columns.contiguous() if columns.numel() <= COPIED_NUMBERS else columns

    @cached_property
    def gram(self) -> Float[Tensor, "width width"]:
        """Mean of the outer products."""
        gram: Tensor = self.vectors.T @ self.vectors / max(len(self.vectors), 1)
        return gram


def gathered_products(
    users: Sequence[Float[Tensor, "users width"]],
    vectors: Float[Tensor, "items width"],
    rows: Int[Tensor, "users columns"],
) -> Float[Tensor, "kinds users columns"]:
    """The products of one or more vectors of each user with those of the user's own items."""
    asked = torch.stack(list(users))
    if rows.stride(0) == 0:  # the same items for all
        return asked @ vectors[rows[0]].T
    found = np.empty((len(asked), *rows.shape), dtype=np.float32)
    own, whole = np.empty((rows.shape[1], asked.shape[2]), dtype=np.float32), vectors.numpy()
    # Into the same memory, where fresh pages would take most of the time; and by no threads, which would have to wait
    # for each other at every user.
    for user, (theirs, those) in enumerate(zip(rows.numpy(), asked.detach().numpy().swapaxes(0, 1), strict=True)):
        np.take(whole, theirs, axis=0, out=own, mode="clip")
        for place, vector in enumerate(those):
            np.dot(own, vector, out=found[place, user])
    return torch.from_numpy(found)
