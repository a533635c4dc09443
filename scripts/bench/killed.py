"""Kills processes that save, fit and keep checkpoints, at random moments, and looks at what they leave.

    python scripts/bench/killed.py [--kills 30] [--seed 0] [--keep scripts/bench/results/killed.json]

After each kill the old state or the new one has to load, and after the next save nothing may be left beside it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

LONGEST = {"save": 1.0, "checkpoint": 6.0, "fit": 6.0}
"""Seconds in which a kill falls."""


def config(place: Path) -> Any:
    from recllm.encoders.config import BaseTrainingConfig
    from tests.small import config_for

    quick = BaseTrainingConfig(steps=60, batch_users=16, validate_every=1)
    return config_for(place / "backbone" / "model", training=quick)


def worker(kind: str, place: Path) -> None:
    """Does the same again and again, until it is killed."""
    import recllm
    from recllm.testing import toy_shop

    rec, shop = recllm.Recommender.load(place / "model"), toy_shop()
    print("ready", flush=True)
    while True:
        if kind == "save":
            rec.save(place / kind / "m")
            continue
        options = recllm.TrainOptions(seed=0, checkpoint=place / kind / "m" if kind == "checkpoint" else None)
        fresh = recllm.Recommender(config(place)).fit(shop.catalog, shop.events, options=options)
        if kind == "fit":
            fresh.save(place / kind / "m")


def kill_one(kind: str, place: Path, seconds: float) -> int:
    """How many leftovers a process leaves that is killed after so long."""
    command = [sys.executable, __file__, "--worker", kind, "--place", str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise SystemExit(f"the process that should {kind} ended by itself")
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len([name for name in os.listdir(place / kind) if name != "m"])


def load(kind: str, folder: Path) -> str:
    import recllm
    from recllm.artifact import load_artifact

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "checkpoint":
                load_artifact(folder, "training checkpoint")
            else:
                assert len(recllm.Recommender.load(folder).recommend({"x": ["i1"]}, n=3)) == 3
        return "loads"
    except Exception as error:
        nothing_yet = kind == "checkpoint" and not folder.exists()
        return "nothing yet" if nothing_yet else f"FAULT {type(error).__name__}: {error}"


def save(kind: str, place: Path) -> None:
    import recllm
    from recllm.encoders.checkpoint import Checkpoint

    if kind == "checkpoint":
        Checkpoint(place / kind / "m", "another run").save({}, {})
    else:
        recllm.Recommender.load(place / "model").save(place / kind / "m")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--worker")
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.place)
    import recllm
    from recllm.testing import DEPARTMENTS, tiny_backbone, toy_shop

    rng, table, faults = random.Random(options.seed), {kind: Counter[str]() for kind in LONGEST}, []
    with tempfile.TemporaryDirectory() as name:
        place, shop = Path(name), toy_shop()
        tiny_backbone(place / "backbone", ["thing number", *DEPARTMENTS, *map(str, range(60))])
        recllm.Recommender(config(place)).fit(shop.catalog, shop.events).save(place / "model")
        for number in range(options.kills):
            kind = list(LONGEST)[number % len(LONGEST)]
            (place / kind).mkdir(exist_ok=True)
            if kind != "checkpoint":
                save(kind, place)
            left = kill_one(kind, place, rng.uniform(0, LONGEST[kind]))
            outcome = load(kind, place / kind / "m")
            if outcome == "loads" or kind == "checkpoint":
                save(kind, place)
                after = [path for path in os.listdir(place / kind) if path != "m"]
                if after:
                    outcome = f"FAULT left after the next save: {after}"
            if kind == "checkpoint":  # of another run now
                shutil.rmtree(place / kind / "m")
            table[kind][outcome.split(":")[0]] += 1
            table[kind]["kills that left something"] += left > 0
            if outcome.startswith("FAULT"):
                faults.append(f"{number} {kind}: {outcome}")
            print(f"{number + 1:3} {kind:10} {outcome}, {left} left by the kill", flush=True)
    print(json.dumps({kind: dict(counts) for kind, counts in table.items()}, indent=1))
    if options.keep is not None:
        rows = {kind: dict(counts) for kind, counts in table.items()}
        kept = {"kills": options.kills, "seed": options.seed, "faults": faults, "table": rows}
        options.keep.write_text(json.dumps(kept, indent=1) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
