"""What the transformer has read in the order of a user's events."""

from typing import final

import torch

from recllm.retrieval.channel import Channel, Visits
from recllm.retrieval.profiles import InSpace


@final
class History(Channel):
    """The product of the user's vector and the item's."""

    name = "history"
    words = "the order of their events, read by the transformer"
    knows_new_items = True

    def profile(self, visits: Visits) -> InSpace:
        """The user's vector; of whom nothing is known, the start token's is nobody's history."""
        known = torch.from_numpy(visits.histories.lengths > 0)
        return InSpace(visits.users * known.unsqueeze(1), visits.items)
