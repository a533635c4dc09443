"""Same seed, same result: sums in a fixed order while something is learned."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_running: list[tuple[bool, bool]] = []
"""For each fit that is under way, what was set when it began."""


@contextmanager
def reproducible() -> Iterator[None]:
    """Inside, torch adds up in an order that does not depend on how its threads happen to run.

    The gradient of `x[rows]` is a sum over the rows; with several threads torch adds to it in the order in which they
    arrive, so that three fits with one seed gave three models. The setting is the process's: fits that run side by side
    share it, and the last to end puts back what was there before the first.
    """
    memory: Any = torch.utils.deterministic
    with _lock:
        _running.append((torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory))
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # nothing here reads memory before it is written
    try:
        yield
    finally:
        with _lock:
            before = _running[0]
            _running.pop()
            if not _running:
                torch.use_deterministic_algorithms(before[0])
                memory.fill_uninitialized_memory = before[1]
