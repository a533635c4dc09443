"""A made-up evaluation with everything in it that a page can show."""

from typing import Any

import numpy as np

from recllm.evaluation.figures import Measured
from recllm.evaluation.names import SQUARE
from recllm.evaluation.report import Report

SHOTS = (0, 1, 3, 5, 10, 20)
RESAMPLED = ("NDCG@10", "Recall@10", "Recall@20", "Precision@10", "HR@10", "MRR@10", "ΔNDCG@10", "Novelty@10", "ILD@10")
# Method -> NDCG@10 at 0 events, what ten more events add, coverage, ms, bytes.
METHODS = {
    "popularity": (0.032, 0.001, 0.01, 0.02, 0),
    "item-kNN": (0.033, 0.045, 0.31, 0.4, 0),
    "EASE": (0.032, 0.050, 0.22, 1.1, 0),
    SQUARE[0]: (0.040, 0.070, 0.36, 6.1, 0),
    SQUARE[1]: (0.040, 0.069, 0.36, 31.0, 12288),
    SQUARE[2]: (0.040, 0.071, 0.37, 6.2, 0),
    SQUARE[3]: (0.040, 0.083, 0.41, 29.5, 12288),
    "control: another user's adapter": (0.040, 0.055, 0.33, 29.9, 12288),
    "control: shuffled labels": (0.040, 0.050, 0.30, 30.1, 12288),
}
CHANNELS = {"channel: history": 0.42, "channel: text": 0.21, "channel: co-occurrence": 0.38, "channel: union": 0.55}
ABOUT: dict[str, Any] = {
    "title": "ml-100k",
    "dataset": "ml-100k",
    "command": "recllm evaluate data/ml-100k --square --sparsity 0.1,0.3,1",
    "seeds": [0],
    "folds": 1,
    "data hash": "catalog 9f2b6c1d, events 51aa09e3",
    "versions": {"recllm": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
    "splits": [
        {
            "format": "recllm-split-1",
            "protocol": "users",
            "fold": 0,
            "seed": 0,
            "fingerprint": "3f" * 32,
            "training users": 680,
            "validation users": 75,
            "training events": 71234,
            "dropped": {"no_liked_query": 7, "too_short": 0},
            "arms": [{"arm": "test/users/5", "part": "test", "users": 200}],
            "share of training events": 1.0,
        }
    ],
    "methods": {
        "EASE": [{"chosen": {"l2": 200.0, "events": "liked"}, "validation": {"NDCG@10": 0.0812}, "settings tried": 12}],
        SQUARE[3]: [{"seconds": {"text": 41.2, "base": 190.0, "meta": 88.1}, "validation": {"NDCG@10": 0.121}}],
    },
}


def measured(
    method: str,
    shots: int,
    values: np.ndarray,
    *,
    protocol: str = "users",
    fold: int = 0,
    seed: int = 0,
    dataset: str = "ml-100k",
    metric: str = "NDCG@10",
    of_lists: dict[str, float] | None = None,
    users: tuple[str, ...] | None = None,
) -> Measured:
    users = tuple(f"someone-{row}" for row in range(len(values))) if users is None else users
    activity = np.arange(len(values), dtype=np.int64) * 2 + 3
    place = (dataset, fold, seed, method, protocol, shots)
    return Measured(*place, users, {metric: np.asarray(values, dtype=float)}, of_lists or {}, activity)


def make_example(users: int = 200, *, title: str = "ml-100k", names: dict[str, str] | None = None) -> Report:
    """Users differ much, methods little, as in life."""
    rng = np.random.default_rng(7)
    luck = rng.gamma(0.6, 1 / 0.6, users)
    activity = rng.geometric(0.02, users) + 5
    ids = tuple(f"someone-{row}" for row in range(users))
    runs = []

    def add(method: str, protocol: str, shots: int, gain: float = 1.0, some: slice = slice(None)) -> None:
        start, growth, coverage, ms, size = METHODS[method]
        mean = gain * (start + growth * min(shots, 15) / (min(shots, 15) + 5) * 1.5)
        # Without events an adapter has nothing to do: all corners of the square serve the same lists.
        known = (method not in SQUARE and not method.startswith("control")) or shots > 0
        noise = (rng if known else np.random.default_rng(3)).normal(0, 0.012, len(luck[some]))
        ndcg = np.clip(mean * luck[some] + noise, 0, 1)
        scale = np.linspace(1, 2.4, len(RESAMPLED))
        per_user = {name: ndcg * factor for name, factor in zip(RESAMPLED, scale, strict=True)}
        if method == "EASE":
            per_user |= {"MSE": rng.gamma(2, 0.5, len(ndcg)), "MAE": rng.gamma(2, 0.4, len(ndcg))}
        of_lists = {"Coverage@10": coverage * (0.6 + shots / 50), "Gini@10": 1 - coverage, "ms per user": ms}
        of_lists |= {"bytes per user": float(size)} if size else {}
        shown = (names or {}).get(method, method)
        place = ("ml-100k", 0, 0, shown, protocol, shots)
        runs.append(Measured(*place, ids[some], per_user, of_lists, activity[some]))

    for method in METHODS:
        for k in SHOTS:
            add(method, "users", k)
        if method.startswith("control"):
            continue
        for share, gain in ((10, 0.45), (30, 0.7)):
            for k in SHOTS:
                add(method, f"users, {share} % of events", k, gain)
        for user in ("known", "new"):
            for item, gain in (("known", 1.0), ("new", 0.2 if method in ("EASE", "item-kNN", "popularity") else 0.6)):
                for k in (0, 5, 10):
                    add(method, f"cold: {user} user, {item} item", k, gain)
        for step, k in enumerate((0, 1, 2, 3, 5, 8, 13, 21, 34, 50)):
            add(method, "prequential", k, some=slice(0, users - 15 * step))
    for name, recall in CHANNELS.items():
        for k in SHOTS:
            values = np.clip(recall * (0.6 + 0.02 * k) * luck**0.3, 0, 1)
            place = ("ml-100k", 0, 0, name, "users", k)
            runs.append(Measured(*place, ids, {"Recall@200": values}, {}, activity))
    return Report(runs, ABOUT | {"title": title})
