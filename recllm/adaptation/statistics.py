"""What a shop looks like from outside: a few numbers that mean the same in every catalog, whatever it sells."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from recllm.data.histories import Histories

STATISTICS = (
    "users",
    "items with events",
    "events",
    "events per user",
    "events per item",
    "density",
    "share of the popular tenth",
    "evenness",
    "liked",
    "share of items with events",
    "items taken once",
    "days",
    "visits per user",
    "letters per title",
    "reads histories",
    "tells liking from taking",
    "knows an order",
)
"""Names of the numbers, in the order in which `shop_statistics` gives them."""

DAY = 86_400.0


def shop_statistics(
    histories: Histories, items: int, texts: Sequence[str], channels: Sequence[str]
) -> Float[np.ndarray, "statistics"]:
    """What a shop looks like, in the order of `STATISTICS`; counts are on a log scale.

    What has no events looks like what has one.

    Args:
        histories: Of its users.
        items: Size of the catalog.
        texts: What the items are called.
        channels: Names of the channels in use.
    """
    filled = histories.of(np.flatnonzero(histories.lengths > 0))
    users, events, times = max(len(filled), 1), max(filled.n_events, 1), filled.timestamps
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
        "liked": float((filled.signals > 0).sum()) / events,
        "share of items with events": warm / max(items, 1),
        "items taken once": int((taken == 1).sum()) / warm,
        "days": np.log1p(float(times.max() - times.min()) / DAY) if len(times) else 0.0,
        "visits per user": np.log(max(visits, 1) / users),
        "letters per title": np.log1p(float(np.mean([len(text) for text in texts]))) if len(texts) else 0.0,
        "reads histories": float("history" in channels),
        "tells liking from taking": float("liked" in channels),
        "knows an order": float("next_liked" in channels),
    }
    return np.array([values[name] for name in STATISTICS], dtype=np.float32)


def without_histories(statistics: Float[np.ndarray, "statistics"]) -> Float[np.ndarray, "statistics"]:
    """The same shop where the transformer says nothing."""
    return np.where(np.array(STATISTICS) == "reads histories", np.float32(0), statistics)
