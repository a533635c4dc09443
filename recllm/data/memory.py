"""What is remembered of users: a log, an index of who is where in it, and what came since."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from recllm.data.interactions import Interactions

SETTLE = 2_000
"""Events that came one by one are put in order with the log when there are so many of them."""

CHUNKS = 32
"""Events that came one by one lie in as many pieces, of which each costs kilobytes and a look; then in one."""


@final
@dataclass(frozen=True, eq=False)
class Memory:
    """Events of users that can be looked up, added to and forgotten at a cost of the users named, not of the log.

    Immutable: what adds or forgets gives the next one. A user's events are those of `settled`, then those of `since`.

    Attributes:
        settled: The log as it was.
        since: Newer events of users of that log and of further users; none of them is a copy of one in it.
    """

    settled: Interactions
    since: Interactions

    @classmethod
    def of(cls, log: Interactions) -> "Memory":
        """A log to be remembered."""
        return cls(log, Interactions.from_mapping({}))

    @cached_property
    def log(self) -> Interactions:
        """Everything as one log."""
        return self.settled.join(self.since) if len(self.since.user_ids) else self.settled

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Everybody who is remembered, also without events."""
        return self.log.user_ids

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.settled.row_of or user_id in self.since.row_of

    def __len__(self) -> int:
        fresh = sum(user not in self.settled.row_of for user in self.since.user_ids)
        return len(self.settled.user_ids) + fresh

    def of_users(self, user_ids: Iterable[Any]) -> Interactions:
        """The events of these users, in the order asked for; a stranger is a user without events."""
        users = list(user_ids)
        known = self.settled.of_users(users)
        recent = self.since.of_users(users)
        return known.join(recent) if len(recent) else known

    def extend(self, events: Interactions) -> "Memory":
        """With these events; those that are here already are passed over.

        Events without times count as later than everything the user has.
        """
        if not events.user_ids:
            return self
        before = self.of_users(events.user_ids)
        after = before.extend(events)
        fresh = after.select(np.arange(len(before), len(after)))
        touched = set(fresh.user_ids)
        fresh.user_ids = tuple(user for user in events.user_ids if user in touched or user not in self)
        since = self.since.join(fresh)
        if since.frame.n_chunks() > CHUNKS:
            since = Interactions(since.frame.rechunk(), since.report, since.user_ids, since.timed)
        memory = Memory(self.settled, since)
        return Memory.of(memory.log) if len(memory.since) + len(memory.since.user_ids) > SETTLE else memory

    def without_users(self, user_ids: Iterable[Any]) -> "Memory":
        """Without these users; nothing of them is kept."""
        return Memory.of(self.log.without_users(user_ids))
