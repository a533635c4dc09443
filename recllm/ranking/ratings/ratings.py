"""Predicted ratings: what is known of users and items, weighed, and kept on the scale that ratings are on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Self, final

import numpy as np
from numpy.typing import NDArray

from recllm.artifact.arrays import SavedArrays
from recllm.config import Count, Within, checked
from recllm.data.histories import Histories
from recllm.data.tasks import rolling_tasks, split_users
from recllm.errors import ArtifactError, DataError
from recllm.ranking.ratings.factors import Factors, Floats
from recllm.ranking.ratings.features import NAMES, Features, popularity_of, rated
from recllm.ranking.ratings.head import RatingHead

SHOTS = (0, 1, 3, 5, 10, 20)
"""How many of a user's newest events are known when the last step is learned."""

MOST_ASKED = 1500
"""Users asked for the last step; more sharpen nothing."""


@final
@dataclass(frozen=True)
@checked
class RatingConfig:
    """How ratings are predicted.

    Attributes:
        factors: Width of U and V.
        rounds: Turns of learning users given items, and items given users.
        folds: Parts of the users; the last step is learned from each while the others say what is known of items.
    """

    factors: Count = 8
    rounds: Count = 12
    folds: Annotated[int, Within("[2, ∞)")] = 4


@final
@dataclass(frozen=True, eq=False)
class Ratings:
    """What predicts ratings.

    Attributes:
        factors: What is known of items, and of users in general.
        popularity: Of the items, see `popularity_of`.
        head: The last step.
        start: The last step for users without numbers of their own: what is said of the item, and of how generous the
            user is.
        low: The lowest rating there was.
        high: The highest.
    """

    factors: Factors
    popularity: Floats
    head: RatingHead
    start: RatingHead
    low: float
    high: float

    @classmethod
    def learn(
        cls,
        histories: Histories,
        text: NDArray[np.float32],
        config: RatingConfig,
        seed: int,
        progress: Callable[[float, float], None] = lambda done, total: None,
    ) -> Self:
        """From the ratings of training users.

        Args:
            histories: Of the users, at least one event with a rating.
            text: Unit text vectors of the items, float32 [items, dim].
            config: Hyper-parameters.
            seed: Of the start, and of the users' parts.
            progress: Called with (parts done, parts in all).
        """
        histories, vectors = histories.rated, text.astype(np.float64)
        asked = []
        parts = split_users(histories.user_ids, {str(n): 1 / config.folds for n in range(config.folds)}, seed)
        for number, part in enumerate(parts.values()):
            progress(number, config.folds + 1)
            asked.append(_asked(histories, np.sort(part), vectors, config, seed))
        progress(config.folds, config.folds + 1)
        factors, popularity = _known(histories, vectors, config, seed)
        features, wanted, counts = (np.concatenate(part) for part in zip(*(one[:3] for one in asked), strict=True))
        users = sum(one[3] for one in asked)
        head, start = (RatingHead.learn(features, wanted, counts, users, own=own) for own in (True, False))
        return cls(factors, popularity, head, start, float(histories.ratings.min()), float(histories.ratings.max()))

    def predict(self, histories: Histories, *, own: bool = True) -> Floats:
        """Predicted ratings of every item, float64 [users, items], from `low` to `high`.

        Args:
            histories: Of the users; what they have rated is read, ratings on another scale apart.
            own: Whether users have numbers of their own.
        """
        head = self.head if own else self.start
        strange = self._strange(histories.ratings)
        known = histories.drop_events(~strange) if strange.any() else histories
        features = Features.of(self.factors, self.popularity, known)
        return np.clip(features.weighted(head.weights) + head.shift, self.low, self.high)

    def check(self, values: NDArray[np.floating]) -> None:
        """Refuse ratings that are on another scale.

        Raises:
            DataError: One lies further outside the scale than half of its length.
        """
        strange = self._strange(values)
        if strange.any():
            raise DataError(
                f"a rating of {values[strange][0]:g} came, and the ratings that were learned from go from {self.low:g} "
                f"to {self.high:g}; bring the new ones to that scale, or fit again with them."
            )

    def _strange(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """bool [values]: further outside the scale than half of its length; never where there is none."""
        reach = max(self.high - self.low, 1.0) / 2
        found: NDArray[np.bool_] = (values > self.high + reach) | (values < self.low - reach)
        return found

    def extended(self, text: NDArray[np.float32]) -> Self:
        """The same over a catalog that has grown to these texts; new items are what their texts say."""
        fewest = float(self.popularity.min(initial=0.0))
        popularity = np.pad(self.popularity, (0, len(text) - len(self.popularity)), constant_values=fewest)
        return replace(self, factors=self.factors.extended(text.astype(np.float64)), popularity=popularity)

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save."""
        heads = {"head": self.head.tensors(), "start": self.start.tensors(), "factors": self.factors.tensors()}
        named = {f"{part}.{name}": array for part, arrays in heads.items() for name, array in arrays.items()}
        return named | {"popularity": self.popularity, "scale": np.array([self.low, self.high])}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        """The inverse of `tensors`.

        Raises:
            ArtifactError: Something is missing, of another shape or out of range.
        """
        low, high = saved.floats("scale", 2, least=-1e9, most=1e9, dtype=np.float64)
        if not low <= high:
            raise ArtifactError(f"{saved.group}: the scale goes from {low:g} down to {high:g}")
        found = cls(
            Factors.from_tensors(saved.under("factors"), items, dim),
            saved.floats("popularity", items, dtype=np.float64),
            RatingHead.from_tensors(saved.under("head")),
            RatingHead.from_tensors(saved.under("start")),
            float(low),
            float(high),
        )
        saved.all_taken()
        return found


def _known(histories: Histories, text: Floats, config: RatingConfig, seed: int) -> tuple[Factors, Floats]:
    pairs = rated(histories)
    factors = Factors.learn(pairs, text, config.factors, config.rounds, seed)
    return factors, popularity_of(pairs.counts(len(text)))


def _asked(
    histories: Histories, part: NDArray[np.int64], text: Floats, config: RatingConfig, seed: int
) -> tuple[Floats, Floats, Floats, int]:
    """What is read of these users, who are no part of what is known of items: features, ratings, what each counts."""
    others = histories.of(np.setdiff1d(np.arange(len(histories)), part))
    # Who likes nothing is asked, too: learned from the others alone, ratings would come out too high.
    tasks = rolling_tasks(histories.of(part[: MOST_ASKED // config.folds]), MOST_ASKED, liked=False)
    if not others.n_events or not len(tasks):
        return np.zeros((0, len(NAMES))), np.zeros(0), np.zeros(0), 0
    factors, popularity = _known(others, text, config, seed)
    query, features = tasks.query, []
    for shots in SHOTS:
        read = Features.of(factors, popularity, tasks.support.last(shots))
        features.append(read.pairs(query.user_rows, query.item_rows))
    counts = np.tile(1 / query.lengths[query.user_rows], len(SHOTS))
    wanted = np.tile(query.ratings.astype(np.float64), len(SHOTS))
    return np.concatenate(features), wanted, counts, len(np.unique(tasks.user_rows))
