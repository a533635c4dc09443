"""How far a training run is, how fast it learns, and the average of what it has learned."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import nn


@final
class Schedule:
    """Warm-up, a stable rate, and a linear decay to zero.

    The decay begins when `STABLE` of the steps or of the seconds are over, or when `decay` is called because validation
    stopped improving: a rate brought down from a good state finds a better one than a rate that is merely stopped.

    Args:
        steps: Gradient steps at most.
        seconds: Time at most; None for no limit.
        warmup: Steps of the warm-up.
        clock: Counts the seconds.
    """

    STABLE = 0.7
    DECAY_AFTER_PLATEAU = 0.4

    def __init__(
        self, steps: int, seconds: float | None, warmup: int = 50, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.steps, self.seconds, self.warmup, self.clock = steps, seconds, warmup, clock
        self.begin = clock()
        self.decay_from: int | None = None

    def elapsed(self) -> float:
        """Seconds since training began."""
        return self.clock() - self.begin

    def progress(self, step: int) -> float:
        """Share of the run that is over, in [0, 1]."""
        return min(1.0, max(step / self.steps, self._spent()))

    def _spent(self) -> float:
        return self.elapsed() / self.seconds if self.seconds else 0.0

    def decay(self, step: int) -> None:
        """Begin the decay now, and end it after a part of the steps taken so far."""
        self.decay_from = step
        self.steps = min(self.steps, step + max(int(self.DECAY_AFTER_PLATEAU * step), 20))

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on; the time that was spent counts."""
        return {"steps": self.steps, "decay_from": self.decay_from, "elapsed": self.elapsed()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        steps, decay_from = int(state["steps"]), state["decay_from"]
        self.steps = min(max(steps, 1), self.steps)  # a decay makes them fewer, and nothing makes them more
        self.decay_from = None if decay_from is None else int(decay_from)
        self.begin = self.clock() - max(float(state["elapsed"]), 0.0)

    @property
    def decaying(self) -> bool:
        """Whether `decay` was called."""
        return self.decay_from is not None

    def factor(self, step: int) -> float:
        """Multiplier on the learning rate."""
        if self.decay_from is None:
            steps_left = (1 - step / self.steps) / (1 - self.STABLE)
        else:
            steps_left = (self.steps - step) / max(self.steps - self.decay_from, 1)
        time_left = (1 - self._spent()) / (1 - self.STABLE)
        return max(0.0, min(1.0, (step + 1) / self.warmup, steps_left, time_left))


@final
class Average:
    """A running average of parameters in which later steps count more (Shamir & Zhang, arXiv 1212.1824).

    Its window grows with the run, so that it fits runs of any length, and what it averages away is the noise of a rate
    that is still high: a good model is there at any time.

    Args:
        parameters: What to average.
    """

    FADING = 1
    """Weights grow with the step."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.mean = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present values in."""
        self.steps += 1
        weight = (self.FADING + 1) / (self.FADING + self.steps)
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            mean.lerp_(parameter, weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters hold the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for place, parameter in enumerate(self.parameters):
            held = parameter.detach().clone()
            parameter.copy_(self.mean[place])
            self.mean[place] = held
