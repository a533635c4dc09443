"""What people with a profile like the user's took: what is said of somebody who has done nothing yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.counts.items import canonical, csr_arrays, saved_csr, widened
from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import Channel, Known, Lesson, Visits
from recllm.retrieval.people import People
from recllm.retrieval.profiles import Shared

STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Events of users with a value, as many as are thought to have been taken like everybody else's."""

MOST_STRENGTH, MOST_LIKES = 1e12, 2**53


@final
@dataclass(frozen=True, eq=False)
class SameProfile(Channel):
    """How much more likely each item is for users with a value than for others, in logarithms, summed over the values.

    With `c` users of a value who like an item, `n` likes of theirs, and the item's share `p` of all likes it is
    `log((c + s p) / (n + s)) − log p`: few users say little. Values are taken for independent (naive Bayes), so that
    a combination that nobody had is not unknown. Added to the logarithm of what is popular it is the item's likelihood.

    Counts are kept, so that whoever comes, changes or is forgotten is counted as they are, to the last bit.

    Attributes:
        counts: `c`, int32 CSR [values, items].
        liked: How many users like each item, with a profile or without, int64 [items].
        strength: `s`.
    """

    counts: sparse.csr_array
    liked: np.ndarray
    strength: float

    name = "profile"
    words = "what people with a profile like theirs took"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """From the base users who have a profile; None where nobody has."""
        counts = _counted(lesson.base, lesson.people, lesson.items)
        if not counts.nnz:
            return None
        liked = _liked(lesson.base, lesson.items)
        pulled = {strength: cls(counts, liked, strength) for strength in STRENGTHS}

        def ranked(channel: Self) -> DenseScores:
            popular = np.log(liked + 0.5).astype(np.float32)
            return lambda histories: torch.from_numpy(popular + channel.of(lesson.people.matrix(histories.user_ids)))

        tries = ((strength, ranked(channel)) for strength, channel in pulled.items())
        newest = lesson.validation.newest()
        best = lesson.best("profiles", STRENGTHS, tries, newest, shots=(0,), noted="profile strength")
        return cls(counts, liked, float(best))

    @cached_property
    def _gains(self) -> sparse.csr_array:
        """float32 CSR [values, items], without the part that is the same for all items: `log(1 + c / (s p))`."""
        share = (self.liked + 0.5) / (self.liked + 0.5).sum()
        gains = np.log1p(self.counts.data / (self.strength * share[self.counts.indices]))
        places = (self.counts.indices, self.counts.indptr)
        return sparse.csr_array((gains.astype(np.float32), *places), shape=self.counts.shape)

    def of(self, people: sparse.csr_array) -> Float[np.ndarray, "users items"]:
        """What it adds to the logarithm of what is popular for users with these values, but for a number each."""
        return np.asarray((people @ self._gains).todense(), dtype=np.float32)

    def profile(self, visits: Visits) -> Shared:
        """The sum over a user's values; 0 for who has no profile."""
        gains = torch.from_numpy(self.of(visits.people))
        return Shared(gains, torch.arange(len(gains)))

    def moved(self, before: Known, after: Known) -> Self:
        """Users' likes are taken out as they were counted, under their profiles of then, and put in as they are."""
        items, counts, liked = len(self.liked), self.counts, self.liked
        counts = counts - _counted(*before, items) + _counted(*after, items)
        liked = liked - _liked(before[0], items) + _liked(after[0], items)
        return replace(self, counts=canonical(sparse.csr_array(counts)), liked=liked)

    def extended(self, text: Float[Tensor, "items dim"]) -> Self:
        """New items are taken alike by everybody."""
        items = len(text)
        counts, liked = widened(self.counts, self.counts.shape[0], items), self.liked
        return replace(self, counts=counts, liked=np.pad(liked, (0, items - len(liked))))

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The counts."""
        return {**csr_arrays(self.counts), "liked": self.liked, "strength": np.array(self.strength)}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`; whether profiles have as many values is for who knows them."""
        counts = saved_csr(saved, max(saved.shape("indptr")[0] - 1, 0), items)
        liked = saved.integers("liked", items, least=0, below=MOST_LIKES)
        return cls(counts, liked, saved.number("strength", 1e-6, MOST_STRENGTH))


def _counted(histories: Histories, people: People, items: int) -> sparse.csr_array:
    """int32 CSR [values, items]: users who have a value and like an item."""
    liked = binary_matrix(histories, items, liked_only=True)
    return canonical(sparse.csr_array(people.matrix(histories.user_ids).T @ liked))


def _liked(histories: Histories, items: int) -> np.ndarray:
    counted: np.ndarray = np.bincount(histories.item_rows[histories.signals > 0], minlength=items).astype(np.int64)
    return counted
