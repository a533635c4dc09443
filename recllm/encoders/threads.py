"""torch's own threads: sums in a fixed order while something is learned, and one thread where one visitor is served."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SMALL = 2**20
"""Scores (users × channels × items) below which handing out work takes longer than the work."""

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


_served: list[int] = []
"""For each small request that is under way, how many threads torch had outside."""


@contextmanager
def threads_for(cells: int) -> Iterator[None]:
    """Inside, and for the calling thread, a request of so many scores is computed by one thread if it is small.

    Each thread that asks torch for something gets helpers of its own, which wait by spinning: eight visitors at a time
    on two cores were served thirty times slower by two threads each than by one.
    """
    with _lock:
        # A thread's first question settles its number; what is found then may be another small request's one.
        found = torch.get_num_threads()
        usual = _served[0] if _served else found
        if cells >= SMALL:
            torch.set_num_threads(usual)
        else:
            _served.append(usual)
    if cells >= SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _served.pop()
            torch.set_num_threads(usual)
