"""Products with the vectors of each user's own few items, out of many."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


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
