"""What somebody is shown of whom nothing is known: what is popular, or what has been of late, whichever served better.

Everybody who is not known gets the same order, so it can be tried on all training users: each fifth of them is asked
about an order that the others made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from recllm.counts.items import ItemCounts, resolution_of
from recllm.counts.trend import Trend
from recllm.data.histories import Histories
from recllm.data.tasks import make_tasks, split_users

PARTS = 5
"""Groups of users, each of which is asked about what the others made."""

HALF_LIVES = (0.5, 0.2, 0.1, 0.05)
"""Shares of the log after which an event counts half in what is popular of late."""

TAKEN, LIKED = "popular", "popular by likes"
OF_LATE = {f"popular of late (half of it from the last {share:.0%} of the events)": share for share in HALF_LIVES}
"""By name, the share of the newest events that are half of the count."""

DISCOUNTS = 1.0 / np.log2(np.arange(2, 12))


@final
@dataclass(frozen=True, eq=False)
class Newcomers:
    """The order for users of whom nothing is known.

    Attributes:
        name: Of what it counts.
        counts: float32 [items], the higher the better.
        figure: NDCG@10 on training users who were left out of the counts; None where there was nobody to ask.
    """

    name: str
    counts: Float[np.ndarray, "items"]
    figure: float | None

    @classmethod
    def choose(cls, histories: Histories, ties: Int[np.ndarray, "items"], seed: int = 0) -> "Newcomers":
        """The order that was best for users who had no part in it; it counts all of them.

        What is popular of late rests on fewer events, so it must be better for sure for those who were asked in the
        later half, as newcomers are, and no worse for all.

        Args:
            histories: Training users.
            ties: Of items that count alike the one with the lower value comes first.
            seed: Of the groups of users.
        """
        total = ItemCounts.of(histories, len(ties), resolution_of(histories.timestamps))
        values, later = asked_in_parts(histories, total, ties, seed)
        named = orders(total)
        if not len(values[LIKED]):
            return cls(LIKED, named[LIKED], None)
        means = {name: float(found.mean()) for name, found in values.items()}
        best = LIKED if means[LIKED] >= means.get(TAKEN, -1.0) else TAKEN
        sure = {
            name: sure_gain((values[name] - values[best])[later])
            for name in means
            if name in OF_LATE and means[name] >= means[best]
        }
        late = max(sure, key=sure.__getitem__, default=best)
        if sure.get(late, 0.0) > 0:
            best = late
        return cls(best, named[best], means[best])


def orders(counts: ItemCounts) -> dict[str, Float[np.ndarray, "items"]]:
    """Every way to count, by name."""
    liked, taken = counts.liked.astype(np.float32), counts.taken.astype(np.float32)
    found = {LIKED: liked} if (liked == taken).all() else {LIKED: liked, TAKEN: taken}
    return found | {late: order_of(late, counts) for late in OF_LATE}


def order_of(name: str, counts: ItemCounts) -> Float[np.ndarray, "items"]:
    """One of `orders`."""
    if name in OF_LATE:
        newest: np.ndarray = Trend.of(counts.clock, OF_LATE[name]).counts[-1]
        return newest
    return {LIKED: counts.liked, TAKEN: counts.taken}[name].astype(np.float32)


def asked_in_parts(
    histories: Histories, total: ItemCounts, ties: Int[np.ndarray, "items"], seed: int
) -> tuple[Mapping[str, Float[np.ndarray, "tasks"]], Bool[np.ndarray, "tasks"]]:
    """NDCG@10 of every order for the newest query of each user, none of whose events it counts.

    Returns:
        The figures by name of the order, and which of the queries are of the later half.
    """
    groups = split_users(histories.user_ids, {str(part): 1 / PARTS for part in range(PARTS)}, seed)
    values: dict[str, list[np.ndarray]] = {}
    asked: list[np.ndarray] = []
    for group in groups.values():
        part = histories.of(group)
        query = make_tasks(part).query
        asked.append(query.timestamps[query.offsets[:-1]])
        others = total - ItemCounts.of(part, len(ties), total.clock.resolution)
        for name, counts in orders(others).items():
            values.setdefault(name, []).append(ndcg_of_order(counts, ties, query))
    # Where some part likes all it takes, both counts are the same there.
    full = len(values[LIKED])
    times = np.concatenate(asked)
    later = times >= np.median(times) if len(times) else np.zeros(0, dtype=bool)
    return {name: np.concatenate(parts) for name, parts in values.items() if len(parts) == full}, later


def ndcg_of_order(
    counts: Float[np.ndarray, "items"], ties: Int[np.ndarray, "items"], query: Histories
) -> Float[np.ndarray, "users"]:
    """NDCG@10 of one list for everybody; what they liked is relevant."""
    top = np.lexsort((ties, -counts))[: len(DISCOUNTS)]
    gains = np.zeros(len(counts))
    gains[top] = DISCOUNTS[: len(top)]
    liked = query.drop_events(query.signals > 0)
    ideal = np.concatenate([[np.inf], np.cumsum(DISCOUNTS)])[np.minimum(liked.lengths, len(DISCOUNTS))]
    found = np.bincount(liked.user_rows, gains[liked.item_rows], minlength=len(query))
    result: np.ndarray = found / ideal
    return result


def sure_gain(gains: Float[np.ndarray, "tasks"]) -> float:
    """Their mean less two standard errors: above nothing where they are so for sure."""
    if len(gains) < 2:
        return -np.inf
    return float(gains.mean() - 2 * gains.std(ddof=1) / len(gains) ** 0.5)
