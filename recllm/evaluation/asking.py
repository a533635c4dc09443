"""From whole histories to arms: where each protocol cuts between what is known and what is asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recllm.data.histories import Histories
from recllm.data.tasks import make_tasks
from recllm.evaluation.arms import Arm

EARLY_EVENTS = 20
LADDER = (0, 1, 2, 3, 5, 8, 13, 21, 34, 50)
"""Numbers of known events at which the prequential curve is read."""

Made = tuple[list[Arm], dict[str, int]]
"""Arms, and reason -> users that could not be asked."""


def few_shot(
    protocol: str, histories: Histories, shots: Sequence[int], *, query_size: int = 10, liked: bool = True
) -> Made:
    """The query is the newest whole timestamps with at least `query_size` events; the support the K events before."""
    tasks = make_tasks(histories, query_size, liked=liked)
    return _at_every_size(protocol, tasks.support, tasks.query, shots), tasks.dropped


def _at_every_size(protocol: str, before: Histories, query: Histories, shots: Sequence[int]) -> list[Arm]:
    return [Arm(protocol, k, before.last(k), query, history_lengths=before.lengths) for k in shots]


def _users(histories: Histories, shots: Sequence[int]) -> Made:
    return few_shot("users", histories, shots)


def _basket(histories: Histories, shots: Sequence[int]) -> Made:
    arms, dropped = few_shot("basket", histories, shots, query_size=1)
    return [replace(arm, exclude_seen=False) for arm in arms], dropped


def _early(histories: Histories, shots: Sequence[int]) -> Made:
    """The cut is the first edge between timestamps after 20 events; the query the next whole ones with 10 events."""
    before, query = _cut(histories, EARLY_EVENTS, query_size=10)
    keep = _asked_users(before, query)
    short = int((query.lengths == 0).sum())
    dropped = {"shorter_than_their_early_life": short, "no_liked_query": len(histories) - len(keep) - short}
    return _at_every_size("early", before.of(keep), query.of(keep), shots), dropped


def _prequential(histories: Histories, shots: Sequence[int]) -> Made:
    """At every rung of the ladder, each user's first edge with so many known events, and the next basket."""
    arms = []
    for rung, following in zip(LADDER, [*LADDER[1:], np.iinfo(np.int64).max], strict=True):
        before, query = _cut(histories, rung, query_size=1)
        keep = _asked_users(before, query, at_least=rung, below=int(following))
        arms.append(Arm("prequential", rung, before.of(keep), query.of(keep)))
    return arms, {}


ASK: dict[str, Callable[[Histories, Sequence[int]], Made]] = {
    "users": _users,
    "early": _early,
    "prequential": _prequential,
    "basket": _basket,
    "cold": _users,
}


def next_after(histories: Histories, until: float, shots: Sequence[int]) -> list[Arm]:
    """What users known before a moment take next after it: their first basket, discovery only."""
    later = histories.timestamps >= until
    before = histories.drop_events(~later)
    first = np.full(len(histories), np.inf)
    np.minimum.at(first, histories.user_rows[later], histories.timestamps[later])
    query = histories.drop_events(histories.timestamps == first[histories.user_rows])
    keep = _asked_users(before, query, at_least=1)
    arms = _at_every_size("time: known users, next basket", before.of(keep), query.of(keep), [k for k in shots if k])
    return [replace(arm, strangers=False) for arm in arms]


def _cut(histories: Histories, known: int, *, query_size: int) -> tuple[Histories, Histories]:
    """Cut every log at its first edge between timestamps with at least `known` events before it."""
    position, blocks = histories.positions, histories.blocks
    starts = np.concatenate([[True], np.diff(blocks) != 0]) if len(blocks) else np.zeros(0, dtype=bool)
    starts |= position == 0
    block_start = np.maximum.accumulate(np.where(starts, np.arange(len(position)), 0)) if len(position) else position
    start_position = position[block_start]  # of the block an event stands in
    eligible = np.where(start_position >= known, start_position, np.iinfo(np.int64).max)
    cut = np.full(len(histories), np.iinfo(np.int64).max)
    np.minimum.at(cut, histories.user_rows, eligible)
    in_support = position < cut[histories.user_rows]
    # The query takes whole blocks until it holds enough.
    in_query = ~in_support & (start_position - cut[histories.user_rows] < query_size)
    return histories.drop_events(in_support), histories.drop_events(in_query)


def _asked_users(
    before: Histories, query: Histories, *, at_least: int = 0, below: int | None = None
) -> NDArray[np.int64]:
    """Users with something liked in the query and a support of the wanted size."""
    liked = np.bincount(query.user_rows[query.signals > 0], minlength=len(query)) > 0
    fits = (before.lengths >= at_least) & (before.lengths < (below or np.iinfo(np.int64).max))
    return np.flatnonzero(liked & fits)
