"""The last step of a predicted rating: features weighed by what users say who were not learned from."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from recllm.artifact.arrays import SavedArrays
from recllm.ranking.ratings.factors import Floats
from recllm.ranking.ratings.features import NAMES, OWN

PENALTIES = tuple(10.0**power for power in np.arange(0, 5.5, 0.5))
"""Of the ridge regression, to choose from, in ratings."""

FEWEST = 8
"""Users below which nothing is learned from them."""

PLAIN = {"item": 1.0, OWN[1]: 1.0}
"""What is weighed before anybody is asked: μ + c + b + U·V."""


@final
@dataclass(frozen=True, eq=False)
class RatingHead:
    """Weights of the features.

    Attributes:
        weights: float64 [NAMES].
        shift: What is added.
    """

    weights: Floats
    shift: float = 0.0

    @classmethod
    def plain(cls, *, own: bool = True) -> Self:
        """What is weighed before anybody is asked; without the users' own numbers, only what is said of items."""
        return cls(np.array([PLAIN.get(name, 0.0) if own or name not in OWN else 0.0 for name in NAMES]))

    @classmethod
    def learn(cls, features: Floats, wanted: Floats, counts: Floats, users: int, *, own: bool = True) -> Self:
        """By ridge regression of what the plain sum leaves, its penalty by leaving one rating out at a time.

        Args:
            features: float64 [ratings, NAMES].
            wanted: The ratings.
            counts: What each counts.
            users: Of whom they are.
            own: Whether users' own numbers may be read.
        """
        start = cls.plain(own=own)
        if users < FEWEST:
            return start
        left = wanted - features @ start.weights
        read = np.array([own or name not in OWN for name in NAMES])
        share = counts / counts.sum()
        mean = share @ features
        spread = np.sqrt(share @ (features - mean) ** 2)
        read &= spread > 1e-9
        shift = float(share @ left)
        rows = (features[:, read] - mean[read]) / spread[read]
        root = np.sqrt(share * len(share))
        found = _ridge(rows * root[:, None], (left - shift) * root)
        weights = np.zeros(len(NAMES))
        weights[read] = found / spread[read]
        return cls(start.weights + weights, shift - float(weights @ mean))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save."""
        return {"weights": np.append(self.weights, self.shift)}

    @classmethod
    def from_tensors(cls, saved: SavedArrays) -> Self:
        """The inverse of `tensors`."""
        numbers = saved.floats("weights", len(NAMES) + 1, dtype=np.float64)
        return cls(numbers[:-1], float(numbers[-1]))


def _ridge(rows: Floats, wanted: Floats) -> Floats:
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    turned = left.T @ wanted
    best, found = np.inf, np.zeros(rows.shape[1])
    for penalty in PENALTIES:
        share = values**2 / (values**2 + penalty)
        leverage = np.minimum((left**2) @ share, 1 - 1e-9)
        error = float((((wanted - left @ (share * turned)) / (1 - leverage)) ** 2).sum())
        if error < best:
            best, found = error, right.T @ (values / (values**2 + penalty) * turned)
    return found
