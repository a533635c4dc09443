"""Lists of more than the best: unlike items beside each other, and categories as the user likes them."""

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from recllm.ranking.asked import DiversityBy

Floats = NDArray[np.floating]

POOL = 5
"""Variety is chosen among this many times as many items as are wanted."""
SMOOTHING = 0.01
"""Steck's α: as much of the user's own distribution is mixed into the list's, so that the divergence is finite."""
CATEGORIES_WEIGH = 0.5
"""Of how alike two items are, the part that their categories say; the rest their texts."""
LEAST_RESIDUAL = 1e-6
"""What an item may add that all before it say already: a determinant is never 0."""


def vectors_of(text: Floats, categories: Floats, weight: float = CATEGORIES_WEIGH) -> Floats:
    """Unit vectors in which items are alike by their texts and by their categories.

    Args:
        text: Unit vectors, [pool, dim].
        categories: Share of each category, [pool, categories]; what has none is told from others by its text alone.
        weight: Of the categories' cosine in the vectors' one.
    """
    lengths = np.linalg.norm(categories, axis=1, keepdims=True)
    some = lengths > 0
    own = np.where(some, np.sqrt(weight), 0.0) * categories / np.where(some, lengths, 1.0)
    return np.concatenate([np.where(some, np.sqrt(1 - weight), 1.0) * text, own], axis=1)


class Spread(Protocol):
    """What items to choose from add to the variety of what was chosen."""

    def gains(self) -> Floats:
        """[pool]: more is better."""

    def take(self, place: int) -> None:
        """Choose one."""


@final
class Mmr:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): the next item is unlike the most similar one before.

    Args:
        vectors: Unit vectors of the pool, [pool, dim].
    """

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors
        self._alike = np.zeros(len(vectors), dtype=np.float32)

    def gains(self) -> Floats:
        """[pool]: minus the cosine to the most similar item before, 0 to −1."""
        return -self._alike

    def take(self, place: int) -> None:
        """Choose one."""
        self._alike = np.maximum(self._alike, self._vectors @ self._vectors[place])


@final
class Dpp:
    """Greedy MAP of a determinantal point process (Chen et al. 2018): the next item is what all before do not span.

    The kernel is `exp(θ gain_i) · S_ij · exp(θ gain_j)` with the cosines as S. The logarithm of what an item adds to
    its determinant is that of its residual and `2 θ gain`, where `θ = (1 − diversity) / diversity`. The residuals
    follow from Cholesky's decomposition, in one step for each item that is chosen.

    Args:
        vectors: As for `Mmr`.
    """

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors
        self._residual = np.ones(len(vectors))
        self._rows: list[Floats] = []

    def gains(self) -> Floats:
        """[pool]: half the logarithm of the residual, from 0 down."""
        return 0.5 * np.log(np.maximum(self._residual, LEAST_RESIDUAL))

    def take(self, place: int) -> None:
        """Choose one."""
        alike = self._vectors @ self._vectors[place].astype(np.float64)
        for row in self._rows:
            alike -= row * row[place]
        row = alike / np.sqrt(max(float(self._residual[place]), LEAST_RESIDUAL))
        self._rows.append(row)
        self._residual = np.maximum(self._residual - row * row, 0.0)


SPREADS: dict[DiversityBy, type[Mmr] | type[Dpp]] = {"mmr": Mmr, "dpp": Dpp}


@final
class Calibration:
    """Categories of the list like those of what the user liked (Steck 2018).

    Args:
        wanted: Share of each category in what the user liked, [categories]; sums to 1.
        shares: Of each item of the pool, [pool, categories]; a row sums to 1, or is 0.
    """

    def __init__(self, wanted: Floats, shares: Floats) -> None:
        liked = wanted > 0
        self._wanted, self._shares = wanted[liked], shares[:, liked]
        self._counted: NDArray[np.bool_] = shares.sum(axis=1) > 0
        self._sum, self._count = np.zeros(int(liked.sum())), 0

    def gains(self) -> Floats:
        """[pool]: minus the divergence of the list with each item, in nats."""
        counts = self._count + self._counted
        found = (self._sum + self._shares) / np.maximum(counts, 1)[:, None]
        mixed = (1 - SMOOTHING) * found + SMOOTHING * self._wanted
        divergence: Floats = np.log(mixed / self._wanted) @ self._wanted
        return divergence

    def take(self, place: int) -> None:
        """Choose one."""
        self._sum = self._sum + self._shares[place]
        self._count += int(self._counted[place])


@final
@dataclass(frozen=True, eq=False)
class Variety:
    """What is wanted beside good scores, while one list grows out of a pool.

    Attributes:
        gain: Scores of the pool, brought to 0 to 1.
        diversity: 0 to 1, how much unlike items count.
        spread: What they add.
        calibrated: 0 to 1, how much categories count.
        calibration: What an item does to them; None where nothing is known of the user's.
    """

    gain: Floats
    diversity: float
    spread: Spread
    calibrated: float = 0.0
    calibration: Calibration | None = None

    def values(self) -> Floats:
        """[pool]: what is chosen next has most."""
        value = (1 - self.diversity) * self.gain
        if self.diversity:
            value = value + self.diversity * self.spread.gains()
        if self.calibration is not None:
            value = (1 - self.calibrated) * value + self.calibrated * self.calibration.gains()
        return value

    def take(self, place: int) -> None:
        """Choose one."""
        if self.diversity:
            self.spread.take(place)
        if self.calibration is not None:
            self.calibration.take(place)


def gains_of(scores: Floats) -> Floats:
    """How much scores of a pool say, 0 to 1: half by their place between the worst and the best, half by their share.

    A share is the softmax over that of the best, as the ranking learned its scores: of a few that stand out none is
    given up, and what lies close together is exchanged freely. On validation users that is better than either half.
    """
    if not len(scores):
        return scores
    low, best = float(scores.min()), float(scores.max())
    gain: Floats = 0.5 * (scores - low) / max(best - low, 1e-9) + 0.5 * np.exp(scores - best)
    return gain
