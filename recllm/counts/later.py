"""A value that is computed where it is first asked for."""

from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar, final

T = TypeVar("T")

_COMPUTING = RLock()
"""Two threads that want the same value do not both compute it; one value may rest on another."""


@final
class Later(Generic[T]):
    """What `make` gives, once; what it was made from is let go then.

    Args:
        make: Without arguments; may be pickled if the value shall be.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._made: list[T] = []

    @property
    def is_made(self) -> bool:
        """Whether it has been asked for."""
        return bool(self._made)

    def get(self) -> T:
        """The value."""
        if not self._made:
            with _COMPUTING:
                if self._make is not None:  # nobody else has computed it meanwhile
                    self._made.append(self._make())
                    self._make = None
        return self._made[0]
