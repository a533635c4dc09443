"""How a run is carried out, apart from what is learned: seed, device, time, progress."""

import math
import operator
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, final

from recllm.errors import ConfigError

if TYPE_CHECKING:
    import torch

UNITS = {"s": 1, "m": 60, "h": 3600}
HIGHEST_SEED = 2**32


class Progress(Protocol):
    """Receives how far a stage is; the command line draws a bar from it."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """`done` of `total` units of `stage`; `note` is a figure worth showing."""


S = TypeVar("S")
R = TypeVar("R")


class Workers(Protocol):
    """Those who do one function over many shards; `recllm.scale.executor.open_executor` makes some.

    Attributes:
        workers: Shards done at a time.
    """

    @property
    def workers(self) -> int: ...  # noqa: D102 (described by the class)

    def map(self, fn: Callable[[S], R], shards: Sequence[S], progress: Progress | None = None) -> Iterator[R]:
        """What `fn` makes of each shard, in the order of the shards; both are plain data."""


@final
@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; never saved with the model.

    Attributes:
        seed: Same seed, same result, on one machine (unless the budget cuts training short).
        device: Where texts are encoded, the text encoder is fine-tuned and the transformer over histories is trained:
            `auto` takes a GPU where there is one, and computes in bfloat16 where it knows that. Everything else is
            small enough for the CPU and runs there; the report says so where the two differ.
        budget: Most time for a fit: seconds, or such as `90s`, `10m`, `1h`, or a `timedelta`; None trains to the end.
            Training that would take longer is cut and its learning rate brought down in time; the best state so far is
            kept. Reading the catalog's texts cannot be cut: the report says where it took most of the budget.
        progress: Called as stages advance.
        checkpoint: A folder where the state of base training is kept while it runs. A fit that was stopped and is asked
            for again with the same data, settings and seed goes on from there and ends as if it had never stopped.
        clock: Seconds that only ever grow; the budget is counted with it.
        executor: Who reads the catalog's texts and counts events beside this process: what `open_executor` gives; None:
            nobody. What is learned is the same.
        trainers: How many of the executor's workers train the transformer together, each a part of every batch; 1: this
            process alone. What is learned then differs as with another seed.

    Raises:
        ConfigError: One of them is no such thing.
    """

    seed: int = 0
    device: str = "auto"
    budget: str | float | timedelta | None = None
    progress: Progress | None = None
    checkpoint: "str | os.PathLike[str] | None" = None
    clock: Callable[[], float] = time.monotonic
    executor: Workers | None = None
    trainers: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", _seed(self.seed))
        if not isinstance(self.device, str) or not self.device.strip():
            raise ConfigError(f"device {self.device!r} is no device; write 'auto', 'cpu' or 'cuda'.")
        self.budget_seconds()
        if self.progress is not None and not callable(self.progress):
            raise ConfigError(f"progress is called as stages advance; {self.progress!r} is no function.")
        if self.checkpoint is not None and not isinstance(self.checkpoint, str | os.PathLike):
            raise ConfigError(f"checkpoint {self.checkpoint!r} is no folder; give its path.")
        if not callable(self.clock):
            raise ConfigError(f"clock is called for the time in seconds; {self.clock!r} is no function.")
        if self.executor is not None and not callable(getattr(self.executor, "map", None)):
            raise ConfigError(f"executor {self.executor!r} has no workers; give what open_executor('local:2') opens.")
        _check_trainers(self.trainers, self.executor)

    def budget_seconds(self) -> float | None:
        """The budget in seconds.

        Raises:
            ConfigError: It is no time above 0.
        """
        if self.budget is None:
            return None
        seconds = _seconds(self.budget)
        if seconds is None or not math.isfinite(seconds) or seconds <= 0:
            raise ConfigError(
                f"budget {self.budget!r} is not a time; write seconds, or for example '90s', '10m' or '1h'."
            )
        return seconds

    def torch_device(self) -> "torch.device":
        """The device to compute on.

        Raises:
            ConfigError: torch does not know the device, it is not there, or it does not compute.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            usable = torch.ones(2, device=device).sum().item() == 2  # `meta` has no numbers
        except Exception as error:  # each backend of torch raises what it likes, ImportError among it
            raise ConfigError(f"device {self.device!r} cannot be used here; choose 'auto' or 'cpu'.") from error
        if not usable:
            raise ConfigError(f"device {self.device!r} does not compute; choose 'auto' or 'cpu'.")
        return device


def _check_trainers(trainers: Any, executor: Workers | None) -> None:
    most = 1 if executor is None else executor.workers
    if isinstance(trainers, bool) or not isinstance(trainers, int) or not 1 <= trainers <= most:
        raise ConfigError(
            f"trainers {trainers!r} cannot train together; write a number from 1 to that of the executor's workers, "
            f"which is {most} here."
        )


def _seed(seed: Any) -> int:
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < HIGHEST_SEED:
        raise ConfigError(f"seed {seed!r} is not a whole number from 0 to {HIGHEST_SEED - 1}; write for example 0.")
    return number


def _seconds(budget: Any) -> float | None:
    """None: it is no time."""
    if isinstance(budget, timedelta):
        return budget.total_seconds()
    if isinstance(budget, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", budget)
        return None if match is None else float(match[1]) * UNITS[match[2]]
    if isinstance(budget, bool) or not hasattr(budget, "__float__"):
        return None
    try:
        return float(budget)
    except (TypeError, ValueError, OverflowError):
        return None
