"""How far off predicted ratings are, for users nobody was trained on; and what their own numbers add.

python scripts/bench/ratings.py ml-100k [--budget 5m]

Ours: D with users' own numbers, A without. Beside them, tuned by RMSE on validation users in the same run: user and
item bias (the rival of a user's own numbers), the textbook factorisation, rating kNN. Also what learning ratings costs
the lists: nothing of the ranking is touched by it, so NDCG@10 is that of the ranking alone.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import recllm
from recllm.data.interactions import Interactions
from recllm.data.tasks import split_users
from recllm.options import TrainOptions

DATA = Path(os.environ.get("RECLLM_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
RIVALS = ("user and item bias", "factorisation", "rating kNN")
SHOTS = (0, 1, 3, 5, 10, 20)
FURTHER = ("MAE", "Accuracy", "Liked precision", "Liked recall", "Liked F1", "NDCG@10")


@dataclass
class Without:
    """A recommender whose users have no numbers of their own."""

    recommender: recllm.Recommender

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        return self.recommender.predict_ratings(users, item_ids, adapt=False)

    rate = score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--budget", default=None)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder = DATA / asked.dataset
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    if (folder / "test_users.txt").exists():
        test = (folder / "test_users.txt").read_text().split()
    else:  # a fifth, by a hash
        test = [events.user_ids[row] for row in split_users(events.user_ids, {"test": 0.2}, asked.seed)["test"]]
    begin = time.perf_counter()
    config = recllm.RecommenderConfig(objective="rating", adaptation=None)
    rec = recllm.Recommender(config).fit(
        catalog, events.without_users(test), options=TrainOptions(seed=asked.seed, budget=asked.budget)
    )
    print(rec.report)
    ours = {"D: own numbers": rec, "A: none": Without(rec)}
    report = recllm.evaluate(
        ours,
        catalog,
        events,
        shots=SHOTS,
        baselines=RIVALS,
        test_users=test,
        seeds=(asked.seed,),
        dataset=asked.dataset,
    )
    figures, place = report.figures, report.figures.places[0]
    names = [*ours, *RIVALS]
    result: dict[str, Any] = {"dataset": asked.dataset, "users": figures.users(place), "budget": asked.budget}
    print(f"\n{'RMSE':22}" + "".join(f"{f'K={k}':>9}" for k in SHOTS))
    for name, metric in [*((name, "RMSE") for name in names), *((names[0], metric) for metric in FURTHER)]:
        row = [figures.estimate(place, name, k, metric).value for k in SHOTS]
        result.setdefault(metric, {})[name] = row
        print(f"{name if metric == 'RMSE' else metric:22}" + "".join(f"{value:9.4f}" for value in row))
    for rival in names[1:]:
        found = [figures.comparison(place, names[0], rival, k, "RMSE").ratio for k in SHOTS]
        result.setdefault("against", {})[rival] = [[one.value, one.low, one.high] for one in found]
        told = "  ".join(f"{100 * one.value:+.1f} % [{100 * one.low:+.1f}, {100 * one.high:+.1f}]" for one in found)
        print(f"D against {rival}: {told}")
    result["seconds"] = {"fit": dict(rec.report.seconds), "all": time.perf_counter() - begin}
    (RESULTS / f"ratings-{asked.dataset}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
