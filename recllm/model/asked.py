"""What is known of whom a call is about; of users who are remembered it is put in order once."""

from dataclasses import replace
from typing import Any, final

import numpy as np

from recllm.adaptation.adapters import Kept
from recllm.data.doors import read_users
from recllm.data.histories import Histories, histories_of_lists
from recllm.data.interactions import Interactions
from recllm.model.config import RecommenderConfig
from recllm.model.fitted import Fitted
from recllm.model.model import Model

MOST_HELD = 1_000_000
"""Events of users who were asked about that are held in order: 50 bytes each."""


def histories_of(
    state: Fitted, users: Any, kept: Kept | None = None, *, ordered: bool = False
) -> tuple[Histories, tuple[str, ...]]:
    """Histories of users in any form, and what is to be said of what cannot be read; see `Fitted.events_of`."""
    if (visitors := histories_of_lists(users, state.model.catalog)) is not None:
        return visitors, ()
    asked = read_users(users, ordered=ordered)
    if isinstance(asked, Interactions) or kept is not None:
        return state.histories(state.events_of(asked, kept, ordered=ordered, level=5))
    held, users_asked = state.once(_Held), list(dict.fromkeys(asked))
    known = held.histories  # as they are now: another thread may begin anew meanwhile
    found = {user: known[user] for user in users_asked if user in known}
    missing = [user for user in users_asked if user not in found]
    if missing:
        # Among users who are known, a stranger may have any name.
        events = state.memory.of_users(missing) if found else state.events_of(missing, level=5)
        fresh, notes = state.histories(events)
        if not notes:
            held.take(fresh)
        if not found:
            return fresh, notes
        if notes:
            return state.histories(state.events_of(users_asked, level=5))
        found |= {user: fresh.of([row]) for row, user in enumerate(fresh.user_ids)}
    return Histories.concatenate([found[user] for user in users_asked]), ()


@final
class _Held:
    """Histories of one state of the recommender: whatever it learns or forgets, the next one begins with nothing."""

    def __init__(self, model: Model, config: RecommenderConfig) -> None:
        self.histories: dict[str, Histories] = {}
        self._events = 0

    def take(self, fresh: Histories) -> None:
        """Hold these, too; when there are too many, the others go."""
        if fresh.n_events > MOST_HELD:
            return
        if self._events + fresh.n_events > MOST_HELD:
            self.histories, self._events = {}, 0
        # The events stand in a log of their own.
        alone = replace(fresh, event_rows=np.full(fresh.n_events, -1))
        some = np.flatnonzero(alone.lengths).tolist()  # of strangers, whose ids anybody may write, nothing is held
        self.histories |= {alone.user_ids[row]: alone.of([row]) for row in some}
        self._events += fresh.n_events
