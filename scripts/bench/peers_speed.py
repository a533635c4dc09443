"""Fit and batch lists against RecTools and implicit: the same split, the same run, one thread and one process each.

    RECLLM_PEERS=ENV/bin/python python scripts/bench/peers_speed.py ml-1m

ENV is the environment that `scripts/bench/peers/run` makes. For each method: seconds and processor seconds of a fit
with the settings that validation users chose (recllm chooses its own inside the fit), lists of ten for every test user
at every K, peak memory of the process, NDCG@10 as a mean over K. Adds to `scripts/bench/results/peers_speed.json`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import recllm
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.split import Split

DATA = Path(os.environ.get("RECLLM_DATA", "data"))
HERE = Path(__file__).parent
OUT = HERE / "results" / "peers_speed.json"
SHOTS = (1, 3, 5, 10, 20)
PEERS = ("implicit-als", "rectools-ease", "rectools-knn")
OURS: dict[str, str | None] = {"recllm": None, "recllm, 40 s": "40s"}
"""Budgets of the fit."""


def split_of(name: str) -> Split:
    """The split whose test users are fixed."""
    folder = DATA / name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    users = (folder / "test_users.txt").read_text().split()
    (split,) = make_splits(catalog, events, test_users=users, shots=SHOTS)
    return split


def spent() -> float:
    """Seconds of the processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(name: str, which: str, out: Path) -> None:
    """Fit recllm and list, in this process."""
    split = split_of(name)
    config = recllm.RecommenderConfig(adaptation=None)
    options = recllm.TrainOptions(seed=0, device="cpu", budget=OURS[which])
    clock, processor = time.monotonic(), spent()
    rec = recllm.Recommender(config).fit(split.catalog, split.train, options=options)
    found: dict[str, Any] = {"fit seconds": time.monotonic() - clock, "fit processor seconds": spent() - processor}
    asked = {f"test/{arm.name}": arm.known_events() for arm in split.arms}
    clock, processor = time.monotonic(), spent()
    lists = {arm: rec.recommend(events, n=10) for arm, events in asked.items()}
    found |= {"list seconds": time.monotonic() - clock, "list processor seconds": spent() - processor}
    found["lists"] = {
        arm: {user: [one.item_id for one in recs[user]] for user in recs.user_ids} for arm, recs in lists.items()
    }
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.write_text(json.dumps(found))


def ndcg(split: Split, lists: dict[str, dict[str, list[str]]]) -> float:
    """Mean NDCG@10 over test users and K."""
    discount, ids, values = 1 / np.log2(np.arange(2, 12)), split.catalog.item_ids, []
    for arm in split.arms:
        liked = arm.query.drop_events(arm.query.signals > 0)
        for row, user in enumerate(arm.user_ids):
            wanted = {ids[item] for item in liked.items_of(row)}
            hits = np.array([item in wanted for item in lists[f"test/{arm.name}"][user][:10]], dtype=float)
            values.append((hits @ discount[: len(hits)]) / discount[: min(len(wanted), 10)].sum())
    return float(np.mean(values))


def main() -> None:
    """Run every method in a process of its own, print a table, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--methods", nargs="+", default=[*PEERS, *OURS])
    options = parser.parse_args()
    if options.ours:
        ours(options.set, options.ours, options.out)
        return
    split = split_of(options.set)
    users = sum(map(len, split.arms))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        split.save(Path(folder) / "split")
        for method in options.methods:
            out = Path(folder) / "found.json"
            command = [sys.executable, __file__, options.set, "--ours", method, "--out", str(out)]
            if method in PEERS:
                python = os.environ["RECLLM_PEERS"]
                command = [python, str(HERE / "peers" / "speed.py"), f"{folder}/split", str(out), "--method", method]
                environment = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
            else:
                environment |= {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            subprocess.run(command, check=True, env=environment)
            found = json.loads(out.read_text())
            found["NDCG@10"] = ndcg(split, found.pop("lists"))
            found["lists a second"] = users / found["list processor seconds"]
            found = {n: round(v, 4) if isinstance(v, float) else v for n, v in found.items()}
            kept = json.loads(OUT.read_text()) if OUT.exists() else {}
            kept.setdefault(options.set, {})[method] = found
            OUT.write_text(json.dumps(kept, indent=1) + "\n")
            print(options.set, method, found, flush=True)


if __name__ == "__main__":
    main()
