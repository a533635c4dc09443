"""What completes a basket: cosines of who took what, EASE's weights, and what is popular.

    python scripts/bench/together.py DATA [DATA …] [--out scripts/bench/results/together.json]

Each DATA is a folder with items and interactions. A basket is one user and moment, 3 to 30 items, at most three of a
user. One of its items is hidden, and 1, 3 or all others are known: how often is it among the first ten? Counted are
training users; `SHRINKAGE` of `recllm.lists.similar` was chosen on validation users; asked are those of test_users.txt.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

import recllm
from recllm.counts.cooccurrence import Gram, solve
from recllm.counts.counts import Counts
from recllm.data.histories import make_histories
from recllm.evaluation.protocol import make_splits

KNOWN = (1, 3, 30)
SHRUNK = (0, 5, 20, 50)
REGULARISATION = 200.0


def baskets(catalog: recllm.Catalog, events: recllm.Interactions, users: list[str]) -> list[np.ndarray]:
    """Item rows of the baskets of some users, in any order."""
    theirs = events.known_items(catalog).of_users(users)
    frame = theirs.frame.select("user_id", "timestamp").with_columns(row=theirs.item_rows(catalog))
    grouped = frame.group_by("user_id", "timestamp", maintain_order=True).agg(pl.col("row").unique(maintain_order=True))
    rows = [(user, np.array(some)) for user, _, some in grouped.iter_rows() if 3 <= len(some) <= 30]
    np.random.default_rng(0).shuffle(rows)  # type: ignore[arg-type]
    taken: dict[str, int] = {}
    found = []
    for user, some in rows:
        taken[user] = taken.get(user, 0) + 1
        found += [some] if taken[user] <= 3 else []
    return found


def hits(weights: sparse.csr_array | np.ndarray, asked: list[np.ndarray], known: int) -> float:
    """The share of baskets whose hidden item is among the first ten."""
    rng, found = np.random.default_rng(1), 0
    for basket in asked:
        order = rng.permutation(basket)
        hidden, rest = order[0], order[1 : 1 + known]
        dense = isinstance(weights, np.ndarray)
        scores = weights.astype(float) if dense else np.asarray(weights[rest].sum(axis=0), dtype=float).ravel()
        scores[rest] = -np.inf
        found += int((scores > scores[hidden]).sum() < 10)
    return found / len(asked)


def measure(folder: Path) -> dict[str, Any]:
    """One data set."""
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    users = (folder / "test_users.txt").read_text(encoding="utf-8").split()
    (split,) = make_splits(catalog, events, shots=(5,), test_users=users)
    counts = Counts.of(make_histories(split.fitting, catalog, split.feedback), len(catalog), 60.0)
    taken, pairs = counts.items.taken, sparse.csr_array(counts.pairs.taken + counts.pairs.taken.T).astype(np.float32)
    ways: dict[str, Any] = {"popularity": taken}
    for shrinkage in SHRUNK:
        scale = sparse.diags_array(1 / np.sqrt(taken + shrinkage + 1e-9))
        ways[f"cosine, s = {shrinkage}"] = sparse.csr_array(scale @ pairs @ scale)
    ways["EASE"] = solve(Gram(taken, counts.pairs.taken), regularisation=REGULARISATION, neighbours=256)
    asked = {
        "validation": baskets(catalog, events, list(split.validation_users)),
        "test": baskets(catalog, events, users),
    }
    found = {
        part: {name: {str(k): hits(way, some, k) for k in KNOWN} for name, way in ways.items()}
        for part, some in asked.items()
    }
    return {"dataset": folder.name, "baskets": {part: len(some) for part, some in asked.items()}, "hits at 10": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "together.json")
    arguments = parser.parse_args()
    kept = []
    for folder in arguments.data:
        kept.append(measure(folder))
        print(f"{folder.name}, known items {', '.join(map(str, KNOWN))}")
        for part, ways in kept[-1]["hits at 10"].items():
            for name, found in ways.items():
                print(f"  {part:<10} {name:<15} " + "  ".join(f"{value:.3f}" for value in found.values()), flush=True)
    arguments.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
