"""What is popular: with everybody, when a user was last there, and now."""

from typing import final

import torch

from recllm.retrieval.channel import Channel, Visits
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
        return Shared(*visits.tables.at(visits.last_seen))


@final
class PopularNow(Channel):
    """Popularity when the recommendation is asked for."""

    name = "recent"
    words = "what is popular now"

    def profile(self, visits: Visits) -> Shared:
        """One row of scores for each moment."""
        return Shared(*visits.tables.at(visits.now))
