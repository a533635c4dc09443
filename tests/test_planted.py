"""Worlds in which it is known what causes what: each target is taken because of its trigger, whatever else is taken.

The others are more popular than the targets, so nothing but the trigger speaks for a target.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from tests.small import config_for

PAIRS, OTHERS, USERS, ASKED = 8, 20, 600, 100
DOMAINS = {
    "ecommerce": ("purchase", "thing"),
    "social": ("follow", "garden"),
    "education": ("enroll", "books"),
    "finance": ("view", "number"),
}


def world(event: str, word: str, seed: int) -> tuple[Catalog, Interactions, np.ndarray]:
    """Items 0 … 7 are triggers, 8 … 15 their targets: everybody takes a trigger, its target next, and three to six
    others before and after them.
    """
    rng = np.random.default_rng(seed)
    size = 2 * PAIRS + OTHERS
    names = rng.permutation(size)
    titles = [f"{word} {name}" for name in names]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(size)], "title": titles}))
    rows = []
    for user in range(USERS):
        others = (2 * PAIRS + rng.choice(OTHERS, size=rng.integers(3, 7), replace=False)).tolist()
        pair, at = int(rng.integers(PAIRS)), int(rng.integers(len(others) + 1))
        items = [*others[:at], pair, pair + PAIRS, *others[at:]]
        rows += [(f"u{user}", f"i{item}", 1_600_000_000 + 3600 * place, event) for place, item in enumerate(items)]
    frame = pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "event"], orient="row")
    asked = np.stack([rng.permutation(OTHERS)[:4] + 2 * PAIRS for _ in range(ASKED)])
    return catalog, Interactions.from_frame(frame), asked


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_planted_cause_is_cited(tiny: Path, domain: str) -> None:
    event, word = DOMAINS[domain]
    catalog, events, asked = world(event, word, seed=sum(map(ord, domain)))
    rec = Recommender(config_for(tiny, domain=domain)).fit(catalog, events, options=TrainOptions(seed=0))
    rng = np.random.default_rng(1)
    recommended = cited = 0
    for number, others in enumerate(asked):
        trigger = number % PAIRS
        items = rng.permutation([*(f"i{row}" for row in others), f"i{trigger}"]).tolist()
        history = [{"item_id": item, "timestamp": 1_600_000_000 + at, "event": event} for at, item in enumerate(items)]
        rows = [row for row in rec.recommend({"x": history}, n=3, explain=True) if row.item_id == f"i{trigger + PAIRS}"]
        recommended += len(rows)
        cited += any(cause["item_id"] == f"i{trigger}" for row in rows for cause in row.evidence["causes"])
    assert recommended >= 0.8 * ASKED, f"the world was not learned: {recommended} of {ASKED} targets are recommended"
    assert cited >= 0.9 * recommended, f"the planted cause is cited in {cited} of {recommended}"
