"""NDCG@10 of served lists on the fixed test users, by how many of their events are known.

    RECLLM_DATA=… python scripts/bench/few_shot.py ml-1m [--budget 10m] [--config recllm.toml] [--out results/x.json]

Test users (`test_users.txt`) are nowhere in training. The query is the same for every number of events; lists are
those of the served pipeline: candidates, head, adapters. Confidence intervals are a bootstrap over users.
"""

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
import torch

import recllm
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import Tasks, make_tasks
from recllm.encoders.validation import ndcg_at_10
from recllm.fitting import RecommenderConfig
from recllm.lists import Lists
from recllm.model import Model
from recllm.retrieval.channels import binary_matrix

SHOTS = (0, 1, 3, 5, 10, 20)


def load(name: str) -> tuple[recllm.Catalog, recllm.Interactions, recllm.Interactions]:
    """Catalog, training events and events of the test users."""
    folder = Path(os.environ["RECLLM_DATA"]) / name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    test = (folder / "test_users.txt").read_text().split()
    return catalog, events.without_users(test), events.of_users(test)


def served(model: Model, support: Histories, query: Histories, adapt: bool) -> np.ndarray:
    """NDCG@10 of the lists that `recommend` would give [users]."""
    values = []
    for start in range(0, len(support), model.batch_users):
        rows = np.arange(start, min(start + model.batch_users, len(support)))
        part, asked = support.of(rows), query.of(rows)
        lists = Lists(model, 10, 0.0)
        seen = binary_matrix(part, len(model.catalog), liked_only=False).toarray() > 0
        lists.add(part, model.adapt(part) if adapt else None, ~seen)
        scores = torch.full((len(part), len(model.catalog)), -1e9)
        for user, found in enumerate(lists.rows):
            scores[user, torch.from_numpy(found)] = 20.0 - torch.arange(len(found))
        values.append(ndcg_at_10(scores, part, asked))
    return np.concatenate(values)


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over users."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (1000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def measure(model: Model, tasks: Tasks) -> dict[str, dict[str, list[float]]]:
    """Method -> shots -> [NDCG@10, lower, upper end]; the last entry is the paired gain of adapting."""
    methods = {"popularity": "popularity", "adapt=False": False, "adapt=True": True}
    popularity = torch.from_numpy(model.channels.popularity)
    per_user: dict[str, dict[int, np.ndarray]] = {}
    for name, kind in methods.items():
        if kind is True and model.learner is None:
            continue
        per_user[name] = {}
        for shots in SHOTS:
            support = tasks.support.last(shots)
            if kind == "popularity":
                values = ndcg_at_10(popularity.expand(len(support), -1), support, tasks.query)
            else:
                values = served(model, support, tasks.query, bool(kind))
            per_user[name][shots] = values
    if "adapt=True" in per_user:
        per_user["adapt gain"] = {k: v - per_user["adapt=False"][k] for k, v in per_user["adapt=True"].items()}
    return {
        name: {str(k): [round(float(v.mean()), 4), *(round(end, 4) for end in interval(v))] for k, v in shots.items()}
        for name, shots in per_user.items()
    }


def main() -> None:
    """Fit on everybody but the test users, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--budget")
    parser.add_argument("--config")
    parser.add_argument("--demo", action="store_true", help="the demo's profile")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    catalog, train, test = load(arguments.dataset)
    config = RecommenderConfig.read(arguments.config) if arguments.config else RecommenderConfig()
    if arguments.demo:
        config = RecommenderConfig.demo()
    begin = time.monotonic()
    options = recllm.TrainOptions(seed=arguments.seed, budget=arguments.budget)
    rec = recllm.Recommender(config).fit(catalog, train, options=options)
    seconds = time.monotonic() - begin
    model = rec._fitted()
    tasks = make_tasks(make_histories(test, catalog, Feedback.infer(train), seed=arguments.seed))
    result = {
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "test users": len(tasks),
        "dropped": tasks.dropped,
        "fit seconds": round(seconds),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "stages": {name: round(value) for name, value in rec.report.seconds.items()},
        "validation": {name: round(value, 4) for name, value in rec.report.figures.items()},
        "stopped": rec.report.stopped,
        "chosen": rec.report.chosen,
        "NDCG@10": measure(model, tasks),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
