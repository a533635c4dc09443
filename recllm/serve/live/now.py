"""What answers at one moment: a fitted model, what it has taken in, and what may not be listed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

from recllm.model.fitted import Fitted


@final
@dataclass(frozen=True, eq=False)
class Now:
    """One value that never changes: an answer begins and ends with the same.

    Attributes:
        state: The model and what is remembered of users.
        as_of_event: Number of the newest event that is in it.
        hidden: Items that stay out of all lists.
        exclude: Items that are never listed to a user.
    """

    state: Fitted
    as_of_event: int
    hidden: frozenset[str] = frozenset()
    exclude: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def version(self) -> str:
        """Of the model: the beginning of its fingerprint."""
        return self.state.fingerprint[:12]
