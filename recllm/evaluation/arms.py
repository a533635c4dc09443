"""What is asked of every method: arms of few-shot tasks, and the lists that come back."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.counts.matrices import weighted_matrix
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.errors import DataError

LENGTH = 200
"""Items kept of each ranked list; the longest cut-off that any metric looks at."""


@final
@dataclass(frozen=True, eq=False)
class Arm:
    """The same question to many users: this much is known of you, what do you take next?

    Attributes:
        protocol: How the users were set apart, such as `users` or `cold: new user, new item`; a column of the report.
        shots: Events known of each user at most.
        support: What is known [tasks]; a user occurs at most once.
        query: What comes next [tasks]; liked events are relevant, disliked ones count against ΔNDCG.
        candidates: Items that are ranked, bool [items]; None for the whole catalog.
        exclude_seen: Whether items of the support are left out of the lists.
        strangers: Whether the users are in no part of training.
        log: The log that the support was made from.
        history_lengths: Events each user had before the query, int64 [tasks]; None: those of the support.
    """

    protocol: str
    shots: int
    support: Histories
    query: Histories
    candidates: NDArray[np.bool_] | None = None
    exclude_seen: bool = True
    strangers: bool = True
    log: Interactions | None = None
    history_lengths: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.support)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """The users asked: [tasks]."""
        return self.query.user_ids

    def known_events(self, tasks: slice = slice(None)) -> Interactions:
        """The events of the support of some users, as they stand in the log."""
        support = self.support.of(np.arange(len(self))[tasks])
        if self.log is None:
            raise DataError(f"arm {self.name} was made without a log; make it with make_splits.")
        return self.log.select(support.event_rows, support.user_ids)

    @property
    def activity(self) -> NDArray[np.int64]:
        """Events each user had before the query: int64 [tasks]."""
        return self.support.lengths if self.history_lengths is None else self.history_lengths

    @property
    def name(self) -> str:
        """Names the arm in files: `users/5`."""
        return f"{self.protocol}/{self.shots}"

    def allowed(self, tasks: slice, items: int) -> NDArray[np.bool_]:
        """bool [tasks, items]: what may be listed for some of the users."""
        rows = np.arange(len(self))[tasks]
        first = np.ones(items, dtype=bool) if self.candidates is None else self.candidates
        allowed = np.tile(first, (len(rows), 1))
        if self.exclude_seen:
            support = self.support.of(rows)
            allowed[support.user_rows, support.item_rows] = False
        return allowed

    def asked(self, items: int, *, disliked: bool = False) -> sparse.csr_array:
        """bool CSR [tasks, items]: the liked (or disliked) items of the query that may be listed."""
        keep = self.query.signals < 0 if disliked else self.query.signals > 0
        if self.candidates is not None:
            keep &= self.candidates[self.query.item_rows]
        return weighted_matrix(self.query.drop_events(keep), items).astype(bool)


@final
@dataclass(frozen=True, eq=False)
class Ranked:
    """One method's lists for one arm.

    Attributes:
        rows: int32 [tasks, length], item rows best first, −1 after the end of a list; never an item twice.
        seconds: Time it took to rank all of them.
    """

    rows: NDArray[np.int32]
    seconds: float
