"""What is popular: with everybody, when a user was last there, and now."""

from typing import final

import numpy as np
import torch

from recllm.retrieval.channel import Channel, PopularTables, Visits
from recllm.retrieval.profiles import Shared


@final
class Popular(Channel):
    """The logarithm of how many users like an item, the same for everybody."""

    name = "popularity"
    words = "what is popular"

    def profile(self, visits: Visits) -> Shared:
        """One row of scores that all users share."""
        return Shared(visits.tables.always, torch.zeros(len(visits.histories), dtype=torch.long))


@final
class PopularWhenLastSeen(Channel):
    """Popularity at the time of the user's newest event."""

    name = "trend"
    words = "what was popular when they were last here"

    def profile(self, visits: Visits) -> Shared:
        """One row of scores for each moment."""
        return _at(visits.tables, visits.last_seen)


@final
class PopularNow(Channel):
    """Popularity when the recommendation is asked for."""

    name = "recent"
    words = "what is popular now"

    def profile(self, visits: Visits) -> Shared:
        """One row of scores for each moment."""
        return _at(visits.tables, visits.now)


def _at(tables: PopularTables, timestamps: np.ndarray) -> Shared:
    """The logarithm of `trend.at`; who asks at the same moment shares it."""
    trend = tables.popularity.trend
    if (timestamps == trend.end).all():
        return Shared(tables.latest, torch.zeros(len(timestamps), dtype=torch.long))
    bins = np.where(timestamps > trend.ends[-1], timestamps, trend.ends[0] - 1 - len(trend.ends))
    inside = timestamps <= trend.ends[-1]
    bins[inside] += np.searchsorted(trend.ends, timestamps[inside], side="right")
    _, first, row = np.unique(bins, return_index=True, return_inverse=True)
    return Shared(torch.from_numpy(np.log1p(trend.at(timestamps[first]))), torch.from_numpy(row))
