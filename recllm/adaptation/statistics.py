"""What a shop looks like from outside: a few numbers that mean the same in every catalog, whatever it sells.

What tells catalogs apart, rather than how much is known of them, is left out on purpose: by the length of titles, the
span of time, the share of likes or which channels there are, a prior knows its training catalogs, and in one that it
has not seen it does worse than one head for all shops (scripts/bench/NOTES.md).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from recllm.data.histories import Histories
from recllm.retrieval.channels.history import History

HISTORY = History.name
"""The channel that a transformer has to be trained for."""

STATISTICS = (
    "users",
    "items with events",
    "events",
    "events per user",
    "events per item",
    "density",
    "share of the popular tenth",
    "evenness",
    "share of items with events",
    "items taken once",
    "visits per user",
    "reads histories",
)
"""Names of the numbers, in the order in which `shop_statistics` gives them."""


def shop_statistics(histories: Histories, items: int, channels: Sequence[str]) -> Float[np.ndarray, "statistics"]:
    """What a shop looks like, in the order of `STATISTICS`; counts are on a log scale.

    What has no events looks like what has one.

    Args:
        histories: Of its users.
        items: Size of the catalog.
        channels: Names of the channels in use.
    """
    filled = histories.of(np.flatnonzero(histories.lengths > 0))
    users, events = max(len(filled), 1), max(filled.n_events, 1)
    taken = np.sort(np.bincount(filled.item_rows, minlength=items))[::-1]
    warm = max(int((taken > 0).sum()), 1)
    share = taken[:warm] / events
    entropy = -float((share[share > 0] * np.log(share[share > 0])).sum())
    visits = int(filled.blocks[filled.offsets[1:] - 1].sum()) + len(filled)
    values = {
        "users": np.log(users),
        "items with events": np.log(warm),
        "events": np.log(events),
        "events per user": np.log(events / users),
        "events per item": np.log(events / warm),
        "density": np.log(events / users / warm),
        "share of the popular tenth": float(share[: max(warm // 10, 1)].sum()),
        "evenness": entropy / np.log(max(warm, 2)),
        "share of items with events": warm / max(items, 1),
        "items taken once": int((taken == 1).sum()) / warm,
        "visits per user": np.log(max(visits, 1) / users),
        "reads histories": float(HISTORY in channels),
    }
    return np.array([values[name] for name in STATISTICS], dtype=np.float32)


def without_histories(statistics: Float[np.ndarray, "statistics"]) -> Float[np.ndarray, "statistics"]:
    """The same shop where the transformer says nothing."""
    return np.where(np.array(STATISTICS) == "reads histories", np.float32(0), statistics)
