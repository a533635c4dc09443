"""A catalog without events: each visitor's own closed-form update against the plain mean of whitened text.

    python scripts/bench/unseen.py ml-1m stackexchange-beer-coffee --out results/unseen.json

Nothing is trained, so every user may be asked. NDCG@10 of `Recommender.from_catalog` and of the whitened mean text of
the liked items (the baseline "whitened text kNN" with its first setting), K = 3 to 20, and the difference in per cent
with its 95 % interval: 2,000 resamples of users.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm
from recllm.counts.matrices import binary_matrix
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import make_tasks, split_users
from recllm.encoders.text import Whitening
from recllm.encoders.validation import few_shot

SHOTS = (3, 5, 10, 20)
MOST_USERS = 1500
SHRINKAGE = 0.1


def measured(name: str) -> dict[str, Any]:
    """One catalog."""
    folder = Path(os.environ["RECLLM_DATA"]) / name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(catalog)
    ids = sorted(events.user_ids)
    chosen = split_users(ids, {"asked": min(1.0, MOST_USERS / len(ids))}, seed=0)["asked"]
    events = events.of_users([ids[row] for row in chosen])
    histories = make_histories(events, catalog, Feedback.infer(events.frame))
    # An untrained encoder knows no feedback tokens; only liked items are read.
    tasks = make_tasks(replace(histories, tokens=np.zeros_like(histories.tokens)))
    model = recllm.Recommender.from_catalog(catalog).model
    plain = torch.from_numpy(Whitening.fit(model.text, SHRINKAGE)(model.text))

    def mean_text(histories: Histories) -> torch.Tensor:
        liked = binary_matrix(histories, len(catalog), liked_only=True)
        return torch.from_numpy(np.asarray(liked @ plain.numpy(), dtype=np.float32)) @ plain.T

    ours = few_shot(lambda histories: model.scores(histories, None), tasks, SHOTS)
    theirs = few_shot(mean_text, tasks, SHOTS)
    result: dict[str, Any] = {"users": len(tasks), "items": len(catalog)}
    draws = np.random.default_rng(0).integers(0, len(tasks), (2000, len(tasks)))
    both = {str(k): (ours[k], theirs[k]) for k in SHOTS}
    both["3 to 20"] = tuple(np.mean(list(part.values()), axis=0) for part in (ours, theirs))  # type: ignore[assignment]
    for label, (mine, other) in both.items():
        gain = mine - other
        low, high = np.percentile(gain[draws].mean(axis=1), [2.5, 97.5])
        percent = [round(100 * float(value) / float(other.mean()), 1) for value in (gain.mean(), low, high)]
        result[label] = {"from_catalog": float(mine.mean()), "mean text": float(other.mean()), "gain, %": percent}
    return result


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = {name: measured(name) for name in arguments.names}
    for name, figures in result.items():
        for label in (*map(str, SHOTS), "3 to 20"):
            print(name, figures["users"], f"K={label}", figures[label])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
