"""What people with a profile like the user's took: what is said of somebody who has done nothing yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.matrices import binary_matrix
from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import Channel, Lesson, Visits
from recllm.retrieval.profiles import Shared

STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Events of users with a value, as many as are thought to have been taken like everybody else's."""


@final
@dataclass(frozen=True)
class SameProfile(Channel):
    """How much more likely each item is for users with a value than for others, in logarithms, summed over the values.

    With `c` users of a value who took an item, `n` events of theirs, and the item's share `p` of all events it is
    `log((c + s p) / (n + s)) − log p`: few users say little. Values are taken for independent (naive Bayes), so that
    a combination that nobody had is not unknown. Added to the logarithm of what is popular it is the item's likelihood.

    Attributes:
        gains: float32 [values, items].
    """

    gains: np.ndarray

    name = "profile"
    words = "what people with a profile like theirs took"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """From the base users who have a profile; None where nobody has."""
        people = lesson.people.matrix(lesson.base.user_ids)
        if not people.nnz:
            return None
        taken = binary_matrix(lesson.base, lesson.items, liked_only=True)
        counts = np.asarray((people.T @ taken).todense(), dtype=np.float64)
        totals = np.asarray(taken.sum(axis=0), dtype=np.float64) + 0.5

        def ranked(strength: float) -> DenseScores:
            gains, popular = _gains(counts, totals, strength), np.log(totals)
            return lambda histories: torch.from_numpy(
                (popular + lesson.people.matrix(histories.user_ids) @ gains).astype(np.float32)
            )

        tries = ((strength, ranked(strength)) for strength in STRENGTHS)
        newest = lesson.validation.newest()
        best = lesson.best("profiles", STRENGTHS, tries, newest, shots=(0,), noted="profile strength")
        return cls(_gains(counts, totals, float(best)).astype(np.float32))

    def of(self, people: sparse.csr_array) -> Float[np.ndarray, "users items"]:
        """What it adds to the logarithm of what is popular, for users with these values."""
        return np.asarray(people @ self.gains, dtype=np.float32)

    def profile(self, visits: Visits) -> Shared:
        """The sum over a user's values; 0 for who has no profile."""
        gains = torch.from_numpy(self.of(visits.people))
        return Shared(gains, torch.arange(len(gains)))

    def extended(self, text: Float[Tensor, "items dim"]) -> Self:
        """New items are taken alike by everybody."""
        return type(self)(np.pad(self.gains, ((0, 0), (0, len(text) - self.gains.shape[1]))))

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The gains."""
        return {"gains": self.gains}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`."""
        return cls(saved.floats("gains", None, items))


def _gains(counts: np.ndarray, totals: np.ndarray, strength: float) -> np.ndarray:
    share = totals / totals.sum()
    events = counts.sum(axis=1, keepdims=True)
    gains: np.ndarray = np.log((counts + strength * share) / (events + strength)) - np.log(share)
    return gains
