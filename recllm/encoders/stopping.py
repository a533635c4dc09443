"""The best state of a training run, and when a run has gone on for long enough without a better one."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, final

import numpy as np
import torch
from torch import Tensor, nn

State = TypeVar("State")


@final
class Best(Generic[State]):
    """The best state seen so far; what trains by looking at users held out keeps it, and stops by it.

    Attributes:
        state: What was kept.
        value: How good it is, higher is better. A state of which that is not known (NaN) gives way to the next one.
        looks: How often nothing better was seen since then.

    Args:
        state: Where training starts.
        value: How good that is; by default worse than anything.
        patience: Looks without improvement after which it is time to stop.
    """

    def __init__(self, state: State, value: float = -np.inf, patience: float = np.inf) -> None:
        self.state, self.value, self.patience = state, value, patience
        self.looks = 0

    def offer(self, value: float, state: Callable[[], State]) -> bool:
        """Keep this state if it is the best one; whether it was."""
        self.looks += 1
        if better := bool(np.isnan(self.value) or value > self.value):
            self.state, self.value, self.looks = state(), value, 0
        return better

    @property
    def stale(self) -> bool:
        """Whether patience is used up."""
        return self.looks >= self.patience

    @property
    def why(self) -> str:
        """Why training stops where it is stale."""
        return f"validation did not improve for {self.looks} looks"


@final
class Weights:
    """Parameters by name, which can be copied and put back.

    Args:
        named: The parameters.
    """

    def __init__(self, named: Mapping[str, nn.Parameter]) -> None:
        self.named = dict(named)

    def copy(self) -> dict[str, Tensor]:
        """Their present values."""
        return {name: parameter.detach().clone() for name, parameter in self.named.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `copy`."""
        for name, value in state.items():
            self.named[name].copy_(value)
