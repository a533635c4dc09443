"""The union of what the channels bring."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def top_candidates(
    scores: Float[Tensor, "users channels items"], eligible: Bool[Tensor, "users items"], per_channel: int
) -> Bool[Tensor, "users items"]:
    """Items among the best eligible `per_channel` of at least one channel.

    A channel that says nothing about a user (all scores equal) brings nobody, unless that leaves too few.
    """
    users, channels, items = scores.shape
    size = min(per_channel, items)
    chosen = torch.zeros(users, items, dtype=torch.bool)
    for channel in range(channels):
        values = scores[:, channel].masked_fill(~eligible, -torch.inf)
        speaks = scores[:, channel].amax(dim=1) > scores[:, channel].amin(dim=1)
        chosen |= _mark(values.topk(size, dim=1).indices, items) & speaks.unsqueeze(1)
    chosen &= eligible
    short = chosen.sum(dim=1) < torch.minimum(eligible.sum(dim=1), torch.tensor(size))
    return torch.where(short.unsqueeze(1), eligible, chosen)


def recall(
    scores: Float[Tensor, "users items"],
    eligible: Bool[Tensor, "users items"],
    relevant: Bool[Tensor, "users items"],
    size: int,
) -> Float[Tensor, "users"]:
    """Share of each user's relevant items among the best `size` eligible ones; NaN without a relevant item."""
    top = scores.masked_fill(~eligible, -torch.inf).topk(min(size, scores.shape[1]), dim=1).indices
    return relevant.gather(1, top).sum(dim=1) / relevant.sum(dim=1)


def _mark(rows: Int[Tensor, "users chosen"], items: int) -> Bool[Tensor, "users items"]:
    return torch.zeros(len(rows), items, dtype=torch.bool).scatter_(1, rows, True)
