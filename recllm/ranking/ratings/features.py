"""What the last step of a predicted rating reads, of users, of items, and of both together.

Everything is a sum of a user's part, an item's part and products of a user's and an item's numbers, so that a user's
predicted ratings of a whole catalog are one product of matrices.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from recllm.data.histories import Histories
from recllm.ranking.ratings.factors import Factors, Floats, Rated

DOUBTS = (1.0, 1.6, 3.0)
"""Times the noise that a rating is thought to have: ratings of one sitting are alike, and say less than as many others
would. How much less, held-out users say."""

SOON, LATE = 5.0, 10.0
"""Ratings after which a user's own mean is believed by half."""

OF_USERS = (
    "mean",  # of what ratings are above μ + c, shrunken: how generous the user is
    "mean, later believed",
    "known",
    "known, later believed",
    "spread",
    "last",
    "popularity of what was rated",
    "praise of what was rated",
    "liked",
    "disliked",
)
OF_ITEMS = ("item", "popularity", "uncertainty")
OWN = tuple(f"own, doubt {doubt:g}" for doubt in DOUBTS)
"""A user's own numbers, [b, U], times the item's, [1, V]."""
NAMES = (*OF_USERS, *OF_ITEMS, *OWN)


def rated(histories: Histories) -> Rated:
    """The rated events as pairs of user and item."""
    histories = histories.rated
    return Rated(histories.user_rows, histories.item_rows, histories.ratings.astype(np.float64), len(histories))


@final
@dataclass(frozen=True, eq=False)
class Features:
    """What is read of some users.

    Attributes:
        users: float64 [users, OF_USERS].
        own: Each doubt's numbers of the users, float64 [doubts, users, factors + 1].
        items: float64 [items, OF_ITEMS].
        vectors: float64 [items, factors + 1].
    """

    users: Floats
    own: Floats
    items: Floats
    vectors: Floats

    @classmethod
    def of(cls, factors: Factors, popularity: Floats, histories: Histories) -> "Features":
        """What ratings say of their users, beside what is known of items.

        Args:
            factors: Of users and items.
            popularity: float64 [items], see `popularity_of`.
            histories: Of the users; what they have rated is read.
        """
        own = np.stack([factors.users(rated(histories), doubt)[0] for doubt in DOUBTS])
        items = np.column_stack([factors.alone, popularity, factors.spreads[:, 0, 0]])
        return cls(_of_users(factors, popularity, histories.rated), own, items, factors.vectors)

    def pairs(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
        """float64 [pairs, NAMES]."""
        own = np.einsum("dpf,pf->pd", self.own[:, users], self.vectors[items])
        return np.concatenate([self.users[users], self.items[items], own], axis=1)

    def weighted(self, weights: Floats) -> Floats:
        """The weighted sum of the features for every item: float64 [users, items]."""
        split = [len(OF_USERS), len(OF_USERS) + len(OF_ITEMS)]
        of_users, of_items, own = np.split(weights, split)
        numbers = np.einsum("d,duf->uf", own, self.own)
        whole: Floats = (self.users @ of_users)[:, None] + (self.items @ of_items)[None] + numbers @ self.vectors.T
        return whole


def popularity_of(counts: NDArray[np.int64]) -> Floats:
    """float64 [items]: the logarithm of how many have rated an item, less its mean."""
    logarithm: Floats = np.log1p(counts.astype(np.float64))
    return logarithm - logarithm.mean() if len(counts) else logarithm


def _of_users(factors: Factors, popularity: Floats, histories: Histories) -> Floats:
    owner, known = histories.user_rows, histories.lengths.astype(np.float64)

    def summed(values: Floats) -> Floats:
        found: Floats = np.bincount(owner, values, minlength=len(histories)).astype(np.float64)
        return found

    def shrunken(values: Floats) -> Floats:
        found: Floats = summed(values) / (known + SOON)
        return found

    above = histories.ratings - factors.alone[histories.item_rows]
    total, some = summed(above), np.maximum(known, 1)
    believed = known / (known + SOON)
    spread = np.sqrt(np.maximum(summed(above**2) / some - (total / some) ** 2, 0))
    last = np.zeros(len(histories))
    last[known > 0] = above[histories.offsets[1:][known > 0] - 1]
    return np.column_stack(
        [
            total / (known + SOON),
            total / (known + LATE),
            believed,
            known / (known + 4 * SOON),
            spread * believed,
            last * believed,
            shrunken(popularity[histories.item_rows]),
            shrunken(factors.items[histories.item_rows, 0]),
            shrunken((histories.signals > 0).astype(np.float64)),
            shrunken((histories.signals < 0).astype(np.float64)),
        ]
    )
