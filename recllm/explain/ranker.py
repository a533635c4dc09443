"""What is explained: a function from histories to scores and lists. Nothing here knows how it works."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.histories import Histories
from recllm.ranking.rules import best_items

Floats = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, eq=False)
class Columns:
    """The items that a ranking is about: all of a small catalog; of a large one candidates, and a sample of the rest.

    Attributes:
        rows: Catalog rows, ascending, int64 [columns].
        stand_for: How many items each stands for, float64 [columns]: a candidate for itself, one of the sample for
            many.
    """

    rows: NDArray[np.int64]
    stand_for: NDArray[np.float64]

    @classmethod
    def all_of(cls, items: int) -> "Columns":
        """Every item of a catalog."""
        return cls(np.arange(items), np.ones(items))

    @classmethod
    def of(cls, candidates: NDArray[np.int64], sample: NDArray[np.int64], items: int) -> "Columns":
        """Candidates, ascending, and a sample of a catalog of so many items."""
        rest = np.setdiff1d(sample, candidates)
        rows = np.concatenate([candidates, rest])
        each = (items - len(candidates)) / max(len(rest), 1)
        weights = np.concatenate([np.ones(len(candidates)), np.full(len(rest), each)])
        order = np.argsort(rows, kind="stable")
        return cls(rows[order], weights[order])

    def places(self, items: ArrayLike) -> NDArray[np.int64]:
        """The columns of these catalog rows, which have to be there."""
        return np.searchsorted(self.rows, np.asarray(items, dtype=np.int64))


@final
@dataclass(frozen=True, eq=False)
class Ranking:
    """What a ranker makes of some histories of one user.

    Attributes:
        scores: [histories, columns], higher is better, all finite.
        listed: bool [histories, columns], what may stand in a list that is long enough: what is not ruled out.
        ties: int64 [columns]; of equal scores the item with the lower value comes first.
        columns: Which items they are.
        choose: From scores [columns], what may be listed and a length to catalog rows, where the list is more than the
            best.
    """

    scores: Floats
    listed: NDArray[np.bool_]
    ties: NDArray[np.int64]
    columns: Columns
    choose: Callable[[Floats, NDArray[np.bool_], int], NDArray[np.int64]] | None = None

    @classmethod
    def of_scores(cls, scores: Floats, listed: NDArray[np.bool_] | None = None) -> "Ranking":
        """For a ranker that only scores: every item (or the `listed` ones, bool [items]) may stand in the list."""
        everything = np.ones(scores.shape, dtype=bool) if listed is None else np.tile(listed, (len(scores), 1))
        items = scores.shape[1]
        return cls(scores, everything, np.arange(items), Columns.all_of(items))

    def of(self, items: ArrayLike) -> Floats:
        """Scores of these catalog rows, [histories, items]."""
        found: Floats = self.scores[:, self.columns.places(items)]
        return found

    @cached_property
    def means(self) -> Floats:
        """[histories], the mean score over the catalog."""
        weights = self.columns.stand_for
        return np.asarray(self.scores @ (weights / weights.sum()))

    def spread(self, history: int) -> float:
        """How far scores are from their mean over the catalog."""
        weights, away = self.columns.stand_for, self.scores[history] - self.means[history]
        return float(np.sqrt(np.square(away) @ (weights / weights.sum())))

    def top(self, history: int, n: int) -> NDArray[np.int64]:
        """The list: catalog rows of the `n` best items, best first, or what is chosen of them."""
        if self.choose is not None:
            return self.choose(self.scores[history], self.listed[history], n)
        best = best_items(self.scores[history], self.listed[history], self.ties, n)
        found: NDArray[np.int64] = self.columns.rows[best]
        return found

    def place(self, history: int, item: int) -> int | None:
        """The item's place, from 1, in a list of everything that may be listed; None if it may not be."""
        column = self.columns.places(item)
        if not self.listed[history, column]:
            return None
        scores, score = self.scores[history], self.scores[history, column]
        ahead = (scores > score) | ((scores == score) & (self.ties < self.ties[column]))
        return 1 + round(float(self.columns.stand_for[ahead & self.listed[history]].sum()))

    def middle(self, history: int, item: int) -> float:
        """The item's place, from 1, among what may be listed; equal scores all count as the middle of their places.

        Where nothing is known, chance gives no item a place. What may not be listed itself has one by its score.
        """
        column = self.columns.places(item)
        listed = self.listed[history].copy()
        listed[column] = True
        scores, score = self.scores[history], self.scores[history, column]
        ahead, beside = ((self.columns.stand_for[which & listed]).sum() for which in (scores > score, scores == score))
        return float(ahead + (beside + 1) / 2)

    def lead(self, history: int, item: int) -> float:
        """How far the item's score is ahead of the best other that may be listed; 0 where there is no other."""
        column = self.columns.places(item)
        others = self.listed[history].copy()
        others[column] = False
        scores = self.scores[history]
        return float(scores[column] - scores[others].max()) if others.any() else 0.0


RankFunction = Callable[[Histories], Ranking]
"""Ranks for each history of a batch, all of them the same user's, as if it were all that is known of them. What a user
has stays out of the list also where it was taken out of the history.

A ranker may have a method `scored`, too, which ranks without finding lists: scores of the items that are asked about,
and means, are all that is read of its ranking."""


def scored(rank: RankFunction, histories: Histories) -> Ranking:
    """Scores of the items that are asked about, where no list is."""
    found: Ranking = getattr(rank, "scored", rank)(histories)
    return found
