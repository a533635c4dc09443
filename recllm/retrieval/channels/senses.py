"""Images, sounds, what people wrote, or whatever else items have vectors of, like those of what a user liked."""

from typing import Self, final

import numpy as np
import torch

from recllm.retrieval.channel import Channel, Lesson, Visits
from recllm.retrieval.profiles import InSpace


@final
class Senses(Channel):
    """The cosine between an item's vectors and the mean of the liked items'; without vectors it is in the middle."""

    name = "senses"
    words = "pictures, sounds or comments like those of what they liked"
    knows_new_items = True

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """Nothing is learned; None in a catalog without vectors."""
        return cls() if lesson.senses.shape[1] else None

    def profile(self, visits: Visits) -> InSpace:
        """A direction for each user, from the liked items."""
        liked = np.asarray(visits.matrix(liked_only=True) @ visits.senses.vectors.numpy(), dtype=np.float32)
        return InSpace(torch.nn.functional.normalize(torch.from_numpy(liked), dim=1), visits.senses)
