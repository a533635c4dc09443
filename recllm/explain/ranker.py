"""What is explained: a function from histories to scores and lists. Nothing here knows how it works."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from recllm.data.histories import Histories
from recllm.ranking.rules import best_items

Floats = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, eq=False)
class Ranking:
    """What a ranker makes of some histories of one user.

    Attributes:
        scores: [histories, items], higher is better, all finite.
        listed: bool [histories, items], what may stand in a list that is long enough: what is not ruled out.
        ties: int64 [items]; of equal scores the item with the lower value comes first.
        choose: From scores [items], what may be listed and a length to the list, where it is more than the best.
    """

    scores: Floats
    listed: NDArray[np.bool_]
    ties: NDArray[np.int64]
    choose: Callable[[Floats, NDArray[np.bool_], int], NDArray[np.int64]] | None = None

    @classmethod
    def of_scores(cls, scores: Floats, listed: NDArray[np.bool_] | None = None) -> "Ranking":
        """For a ranker that only scores: every item (or the `listed` ones, bool [items]) may stand in the list."""
        everything = np.ones(scores.shape, dtype=bool) if listed is None else np.tile(listed, (len(scores), 1))
        return cls(scores, everything, np.arange(scores.shape[1]))

    def top(self, history: int, n: int) -> NDArray[np.int64]:
        """The list: rows of the `n` best items, best first, or what is chosen of them."""
        if self.choose is not None:
            return self.choose(self.scores[history], self.listed[history], n)
        return best_items(self.scores[history], self.listed[history], self.ties, n).astype(np.int64)

    def place(self, history: int, item: int) -> int | None:
        """The item's place, from 1, in a list of everything that may be listed; None if it may not be."""
        if not self.listed[history, item]:
            return None
        scores, score = self.scores[history], self.scores[history, item]
        ahead = (scores > score) | ((scores == score) & (self.ties < self.ties[item]))
        return 1 + int((ahead & self.listed[history]).sum())

    def middle(self, history: int, item: int) -> float:
        """The item's place, from 1, among what may be listed; equal scores all count as the middle of their places.

        Where nothing is known, chance gives no item a place. What may not be listed itself has one by its score.
        """
        listed = self.listed[history].copy()
        listed[item] = True
        scores, score = self.scores[history][listed], self.scores[history, item]
        return float((scores > score).sum() + ((scores == score).sum() + 1) / 2)


RankFunction = Callable[[Histories], Ranking]
"""Ranks for each history of a batch, all of them the same user's, as if it were all that is known of them. What a user
has stays out of the list also where it was taken out of the history."""
