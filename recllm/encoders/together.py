"""Several processes that train one model: each computes a part of every batch, and all take the same step."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Protocol, final

import torch
from torch import nn

from recllm.encoders.history import EventBatch
from recllm.encoders.windows import Predictions

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others."""


class Peers(Protocol):
    """The processes that train one model, as one of them sees them.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
    """

    rank: int
    count: int

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient the sum of all processes'."""

    def total(self, value: float) -> float:
        """The sum of all processes' values."""

    def first(self, value: float) -> float:
        """The first process's value."""


@final
class Alone:
    """One process that trains by itself."""

    rank, count = 0, 1

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to add."""

    def total(self, value: float) -> float:
        """The value."""
        return value

    def first(self, value: float) -> float:
        """The value."""
        return value


@final
class Together:
    """Processes that have met, and talk through torch's own group of processes.

    Not through accelerate: it keeps what it knows of a group for the life of a process, and a worker lives longer.

    Args:
        rank: The number of this one.
        count: How many there are.
        meeting: A file that all of them see and that is not there yet.
    """

    def __init__(self, rank: int, count: int, meeting: Path) -> None:
        self.rank, self.count = rank, count
        torch.distributed.init_process_group(
            "gloo", init_method=meeting.as_uri(), rank=rank, world_size=count, timeout=PATIENCE
        )

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient the sum of all processes'; where nobody has one there is none."""
        learned = list(parameters)
        has = torch.tensor([float(one.grad is not None) for one in learned], device=learned[0].device)
        flat = [p.new_zeros(p.numel()) if p.grad is None else p.grad.ravel() for p in learned]
        summed = torch.cat([has, *flat])
        torch.distributed.all_reduce(summed)
        has, gradients = summed[: len(learned)], summed[len(learned) :].split([p.numel() for p in learned])
        for parameter, some, gradient in zip(learned, has.tolist(), gradients, strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if some else None

    def total(self, value: float) -> float:
        """The sum of all processes' values."""
        summed = torch.tensor(value, dtype=torch.float64)
        torch.distributed.all_reduce(summed)
        return float(summed)

    def first(self, value: float) -> float:
        """The first process's value."""
        return self.total(value if self.rank == 0 else 0.0)

    def part(self) -> None:
        """Go apart."""
        torch.distributed.destroy_process_group()


def own_part(batch: EventBatch, predictions: Predictions, peers: Peers) -> tuple[EventBatch, Predictions]:
    """The windows of a batch that are this process's, and what they are asked to predict."""
    if peers.count == 1:
        return batch, predictions
    windows = torch.arange(len(batch.item_rows))
    own = windows % peers.count == peers.rank
    asked = own[predictions.user]
    aimed = asked[predictions.target_of]
    place, number = own.cumsum(0) - 1, asked.cumsum(0) - 1
    mine = EventBatch(*(getattr(batch, name)[own] for name in ("item_rows", "tokens", "blocks", "real")))
    return mine, Predictions(
        place[predictions.user[asked]],
        predictions.time[asked],
        number[predictions.target_of[aimed]],
        predictions.target_item[aimed],
        predictions.target_weight[aimed],
        predictions.asked_at[own.numpy()],
    )
