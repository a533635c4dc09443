"""What variety costs: accuracy and diversity of one recommender's lists, from the best scores to the most variety."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final, get_args

import numpy as np
from numpy.typing import NDArray

from recllm.evaluation.arms import Arm, Ranked
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.metrics import distance, measure
from recllm.evaluation.scorers import listed_rows, lists_by_rank
from recllm.evaluation.split import Split
from recllm.evaluation.statistics import Estimate, paired_estimates
from recllm.ranking.asked import DiversityBy
from recllm.recommender import Recommender

LENGTH = 10
METRICS = ("NDCG@10", "ILD@10", "category ILD@10", "Calibration@10")


@final
@dataclass(frozen=True)
class Step:
    """Lists of one strength of diversity, against those by score alone; in plain values.

    Attributes:
        method: Whose lists.
        protocol: How users were asked.
        shots: Events known of each.
        fold: Of the split.
        seed: Of the split.
        by: How variety is reached; see `recllm.ranking.asked.Rules`.
        diversity: How much, 0 to 1.
        users: How many were asked.
        metrics: Metric -> its mean, and its relative change with a 95 % interval, paired by user; NaN where unknown.
    """

    method: str
    protocol: str
    shots: int
    fold: int
    seed: int
    by: str
    diversity: float
    users: int
    metrics: dict[str, dict[str, float]]


def curve(name: str, recommender: Recommender, split: Split, strengths: Sequence[float]) -> list[dict[str, Any]]:
    """The steps of every arm with the most known events, as dictionaries.

    Args:
        name: Of the method.
        recommender: Fitted without the users who are asked.
        split: What is asked.
        strengths: Diversities above 0.
    """
    facts, most = ItemFacts.of(split.catalog, split.train), max((arm.shots for arm in split.arms), default=0)
    steps = []
    for arm in split.arms:
        if arm.shots != most or not len(arm):
            continue
        plain = _figures(recommender, arm, facts, 0.0, "mmr")
        for by in get_args(DiversityBy):
            for strength in sorted(set(strengths)):
                found = plain if strength == 0 else _figures(recommender, arm, facts, strength, by)
                place = (name, arm.protocol, arm.shots, split.fold, split.seed, by, float(strength), len(arm))
                steps.append(asdict(Step(*place, {metric: _compared(found, plain, metric, arm) for metric in METRICS})))
    return steps


def _figures(
    recommender: Recommender, arm: Arm, facts: ItemFacts, diversity: float, by: DiversityBy
) -> dict[str, NDArray[np.float64]]:
    """Metric -> float64 [tasks]."""
    catalog = recommender.catalog
    candidates = None if arm.candidates is None else [catalog.item_ids[row] for row in np.flatnonzero(arm.candidates)]
    served = recommender.recommend(
        arm.known_events(),
        LENGTH,
        candidates=candidates,
        exclude_seen=arm.exclude_seen,
        diversity=diversity,
        diversity_by=by,
    )
    rows = listed_rows("lists with diversity", lists_by_rank(served.to_polars()), arm, catalog)
    figures, _ = measure(Ranked(rows, 0.0), arm, facts)
    figures["category ILD@10"] = np.full(len(arm), np.nan)
    if facts.categories is not None:
        figures["category ILD@10"] = distance(rows[:, :LENGTH], facts.categories)
    return figures


def _compared(
    found: dict[str, NDArray[np.float64]], plain: dict[str, NDArray[np.float64]], metric: str, arm: Arm
) -> dict[str, float]:
    ours, theirs = found[metric], plain[metric]
    known = ~np.isnan(ours)
    if not known.any():
        return {"value": np.nan, "change": np.nan, "low": np.nan, "high": np.nan}
    ratio = Estimate(0.0, 0.0, 0.0, int(known.sum()))
    if found is not plain:
        _, ratio = paired_estimates(ours, theirs, arm.user_ids)
    return {"value": float(ours[known].mean()), "change": ratio.value, "low": ratio.low, "high": ratio.high}
