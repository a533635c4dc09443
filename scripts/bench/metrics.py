"""How long it takes to rank and to measure 10,000 users × 10,000 items.

    OMP_NUM_THREADS=1 python scripts/bench/metrics.py [--users 10000] [--items 10000] [--out results/x.json]

Scores are made in blocks of users and are not kept; making them is not counted. The last figure compares with a plain
loop over users that sorts and measures accuracy only.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.evaluation.arms import LENGTH, Arm, Ranked
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.metrics import measure
from recllm.evaluation.statistics import paired_estimates
from recllm.ranking.rules import best_lists

BLOCK = 256
SHOTS, ASKED, WORDS = 10, 20, 30


def world(rng: np.random.Generator, users: int, items: int) -> tuple[Catalog, Interactions, Arm]:
    words, genres = [f"word{n}" for n in range(5000)], [f"genre {n}" for n in range(20)]
    chosen = np.minimum(rng.zipf(1.3, (items, WORDS)), len(words)) - 1
    frame = pl.DataFrame(
        {
            "item_id": [f"i{row}" for row in range(items)],
            "title": [" ".join(words[word] for word in row[:5]) for row in chosen],
            "text": [" ".join(words[word] for word in row) for row in chosen],
            "categories": [[genres[n] for n in rng.choice(20, 2, replace=False)] for _ in range(items)],
        }
    )
    catalog = Catalog(frame, CleaningReport("bench", items, items))
    drawn = np.stack([rng.choice(items, SHOTS + ASKED, replace=False) for _ in range(users)])
    names = tuple(f"u{row}" for row in range(users))
    events = pl.DataFrame(
        {
            "user_id": np.repeat(names, SHOTS),
            "item_id": [f"i{row}" for row in drawn[:, :SHOTS].ravel()],
            "timestamp": np.tile(np.arange(SHOTS), users),
        }
    )
    train = Interactions(events, CleaningReport("bench", len(events), len(events)))
    arm = Arm("users", SHOTS, histories(rng, names, drawn[:, :SHOTS]), histories(rng, names, drawn[:, SHOTS:]))
    return catalog, train, arm


def histories(rng: np.random.Generator, names: tuple[str, ...], rows: np.ndarray) -> Histories:
    users, length = rows.shape
    signals = rng.choice(np.array([-1, 1], dtype=np.int8), rows.size, p=[0.2, 0.8])
    times = np.tile(np.arange(length), users)
    return Histories(names, np.arange(users + 1) * length, rows.ravel(), times, signals, np.zeros_like(times))


def one_by_one(scores: np.ndarray, allowed: np.ndarray, ties: np.ndarray, relevant: list[set[int]]) -> None:
    for user, line in enumerate(scores):
        order = np.lexsort((ties, -line))
        ranking = order[allowed[user, order]][:LENGTH].tolist()
        hits = [item in relevant[user] for item in ranking]
        gain = sum(1 / np.log2(place + 2) for place, hit in enumerate(hits[:10]) if hit)
        _ = gain / sum(1 / np.log2(place + 2) for place in range(min(10, len(relevant[user]))))
        _ = [sum(hits[:cut]) / len(relevant[user]) for cut in (10, 20, 200)], sum(hits[:10]) / 10
        _ = next((1 / (place + 1) for place, hit in enumerate(hits[:10]) if hit), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=256, help="users of the plain loop")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    users, items = arguments.users, arguments.items
    rng = np.random.default_rng(0)
    catalog, train, arm = world(rng, users, items)
    left, right = (rng.normal(size=(n, 16)).astype(np.float32) for n in (users, items))
    ties = rng.permutation(items)
    seconds: dict[str, float] = {}

    start = time.perf_counter()
    facts = ItemFacts.of(catalog, train)
    seconds["facts of the items"] = time.perf_counter() - start

    rows, ranking = [], 0.0
    for first in range(0, users, BLOCK):
        some = slice(first, first + BLOCK)
        scores = left[some] @ right.T
        start = time.perf_counter()
        rows.append(best_lists(scores, arm.allowed(some, items), ties, LENGTH))
        ranking += time.perf_counter() - start
    seconds["lists from scores"] = ranking

    start = time.perf_counter()
    per_user, together = measure(Ranked(np.concatenate(rows), ranking), arm, facts)
    seconds["metrics"] = time.perf_counter() - start
    ours = sum(seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    start = time.perf_counter()
    paired_estimates(per_user["NDCG@10"], per_user["Recall@10"], arm.user_ids)
    bootstrap = time.perf_counter() - start

    sample = slice(0, min(arguments.sample, users))
    asked = arm.asked(items)[sample]
    relevant = [set(asked.indices[a:b].tolist()) for a, b in zip(asked.indptr, asked.indptr[1:], strict=False)]
    scores, allowed = left[sample] @ right.T, arm.allowed(sample, items)
    start = time.perf_counter()
    one_by_one(scores, allowed, ties, relevant)
    plain = (time.perf_counter() - start) / len(relevant) * users

    result = {
        "users": users,
        "items": items,
        "seconds": round(ours, 2),
        "seconds by part": {name: round(value, 2) for name, value in seconds.items()},
        "peak GB": round(peak, 2),
        "seconds of one paired bootstrap": round(bootstrap, 2),
        "seconds of a plain loop, accuracy only": round(plain, 1),
        "times faster than a plain loop": round(plain / ours, 1),
        "means": {name: round(float(np.nanmean(values)), 4) for name, values in per_user.items()},
        "all lists": {name: round(value, 4) for name, value in together.items()},
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
