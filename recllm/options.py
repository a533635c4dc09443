"""How a run is carried out, apart from what is learned: seed, device, time, progress."""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from recllm.errors import ConfigError

if TYPE_CHECKING:
    import torch


class Progress(Protocol):
    """Receives how far a stage is; the command line draws a bar from it."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """`done` of `total` units of `stage`; `note` is a figure worth showing."""


@final
@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; never saved with the model.

    Attributes:
        seed: Same seed, same result, on one machine (unless the budget cuts training short).
        device: `auto` takes a GPU where there is one.
        budget: Most time for training, such as `90s`, `10m`, `1h`; None trains to the end. Training that would take
            longer is cut and its learning rate brought down in time; the best state so far is kept.
        progress: Called as stages advance.
        checkpoint: A folder where the state of base training is kept while it runs. A fit that was stopped and is asked
            for again with the same data, settings and seed goes on from there and ends as if it had never stopped.
    """

    seed: int = 0
    device: str = "auto"
    budget: str | None = None
    progress: Progress | None = None
    checkpoint: "str | os.PathLike[str] | None" = None

    def __post_init__(self) -> None:
        self.budget_seconds()

    def budget_seconds(self) -> float | None:
        """The budget in seconds.

        Raises:
            ConfigError: It is not a number followed by s, m or h.
        """
        if self.budget is None:
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", self.budget)
        if match is None or float(match[1]) == 0:
            raise ConfigError(f"budget {self.budget!r} is not a time; write for example '90s', '10m' or '1h'.")
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]

    def torch_device(self) -> "torch.device":
        """The device to compute on.

        Raises:
            ConfigError: torch does not know the device, or it is not there.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device {self.device!r} cannot be used here; choose 'auto' or 'cpu'.") from error
        return device
