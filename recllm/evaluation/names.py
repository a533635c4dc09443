"""What metrics, methods and ways of asking are called: shared by those who measure and those who show."""

import re
from collections.abc import Sequence
from typing import NamedTuple

MAIN_METRIC = "NDCG@10"
CANDIDATES = "Recall@200"
CATALOG_METRIC = "Coverage@10"
COSTS = ("ms per user", "bytes per user")
METRICS = (
    *("NDCG@10", "Recall@10", "Recall@20", "Precision@10", "F1@10", "HR@10", "MRR@10", "ΔNDCG@10", "Coverage@10"),
    *("Gini@10", "Novelty@10", "ILD@10", "Calibration@10", "Recall@200", "MSE", "RMSE", "MAE", "Accuracy"),
    *("Liked precision", "Liked recall", "Liked F1", *COSTS),
)
"""In the order of tables."""
LOWER_IS_BETTER = frozenset({"Gini@10", "Calibration@10", "MSE", "RMSE", "MAE", *COSTS})

RECLLM, CHANNEL, CONTROL = "recllm", "channel: ", "control: "
SQUARE = A, B, C, D = ("A: base", "B: base + inner loop", "C: meta-trained, 0 steps", "D: meta-trained + steps")
OTHERS, SHUFFLED = f"{CONTROL}another user's adapter", f"{CONTROL}shuffled labels"

SHARE = r"(?P<of>.+), (?P<share>\d+(\.\d+)?) % of events"
"""A protocol with fewer training events."""


class Place(NamedTuple):
    """Where methods can be compared: one way of asking the users of one dataset."""

    dataset: str
    protocol: str


def is_listed(method: str) -> bool:
    """Whether a method stands in the common tables; channels and controls have their own."""
    return not method.startswith((CHANNEL, CONTROL))


def series_of(protocol: str) -> str | None:
    """The section of the page that shows a protocol beside others: `share`, `cold` or `prequential`."""
    if protocol.startswith("cold: "):
        return "cold"
    if re.fullmatch(SHARE, protocol):
        return "share"
    return "prequential" if protocol.startswith("prequential") else None


def name_of(place: Place, among: Sequence[Place], end: str = "") -> str:
    """What tells a place from others; nothing where there are no others."""
    parts = [part for part, all_parts in zip(place, zip(*among, strict=True), strict=True) if len(set(all_parts)) > 1]
    return ", ".join(parts) + end if parts else ""
