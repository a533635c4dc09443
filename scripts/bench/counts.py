"""How long counts take, and how much memory: a log on disk, divided by users, counted part by part, added up.

    python scripts/bench/counts.py [--events 30_000_000] [--users 1_000_000] [--items 1_000_000] [--partitions 64]
        [--executor local:2] [--folder FOLDER] [--out results/counts.json]

The log is drawn at random, in the order of time: items by Zipf's law, users by a log-normal activity, ratings 1 to 5.
Memory is what all processes hold together, looked at five times a second. Beside the seconds on the clock stand those
that all processes computed, which tell on a machine that is busy with something else, too.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.scale.counting import count_events
from recllm.scale.events import PartitionedEvents, write_partitioned
from recllm.scale.executor import open_executor

AT_ONCE = 1_000_000
KEPT = Path(__file__).parent / "results" / "counts.json"

T = TypeVar("T")


def write_log(path: Path, events: int, users: int, items: int, seed: int = 0) -> None:
    """A parquet file of user_id, item_id, timestamp and rating."""
    rng = np.random.default_rng(seed)
    popular = np.cumsum(1 / np.arange(1.0, items + 1))
    active = np.cumsum(rng.lognormal(sigma=1.0, size=users))
    names = rng.permutation(items)
    writer = None
    for start in range(0, events, AT_ONCE):
        some = min(AT_ONCE, events - start)
        user = np.searchsorted(active, rng.random(some) * active[-1])
        item = names[np.searchsorted(popular, rng.random(some) * popular[-1])]
        table = pl.DataFrame(
            {
                "user_id": pl.Series(user).cast(pl.String),
                "item_id": pl.Series(item).cast(pl.String),
                "timestamp": 1.5e9 + (start + np.arange(some)) * (1e8 / events),
                "rating": rng.choice([1, 2, 3, 4, 5], some, p=[0.05, 0.1, 0.2, 0.35, 0.3]),
            }
        ).to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


class Watched:
    """The most that this process and all that it started hold in memory, GB."""

    def __init__(self) -> None:
        self.peak, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, sum(map(_held, _family(os.getpid()))) / 2**20)


def _family(process: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return [process]
    return [process, *(one for child in children for one in _family(child))]


def _held(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def _computed() -> float:
    """Seconds of processors that this process and those that it has ended took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(result: dict[str, Any], name: str, run: Callable[[], T]) -> T:
    """What `run` gives; its seconds and gigabytes are noted."""
    begin, computed = time.perf_counter(), _computed()
    with Watched() as watched:
        made = run()
    result[name] = {
        "seconds": round(time.perf_counter() - begin, 1),
        "seconds computed": round(_computed() - computed, 1),
        "peak GB": round(watched.peak, 2),
    }
    print(name, result[name], flush=True)
    return made


def measure(events: int, users: int, items: int, partitions: int, executor: str, folder: Path) -> dict[str, Any]:
    """Divide, count, and say how large all is."""
    log, divided = folder / f"log-{events}.parquet", folder / f"divided-{events}-{partitions}"
    result: dict[str, Any] = {"events": events, "users": users, "items": items, "partitions": partitions}
    result["executor"] = executor
    if not log.exists():
        measured(result, "draw the log", lambda: write_log(log, events, users, items))
    if not divided.exists():
        measured(result, "divide", lambda: write_partitioned(log, divided, partitions))
    parts = PartitionedEvents.open(divided)
    catalog = Catalog(
        pl.DataFrame({"item_id": pl.Series(range(items)).cast(pl.String)}), CleaningReport("items", items, items)
    )
    with open_executor(executor) as workers:
        counts = measured(result, "count", lambda: count_events(parts, catalog, workers)).counts
    result["counted"] = {"users": counts.users, "events": counts.events}
    pairs = {"taken": counts.pairs.taken, "liked": counts.pairs.liked, "next liked": counts.pairs.next_liked}
    result["pairs of items"] = {name: int(matrix.nnz) for name, matrix in pairs.items()}
    result["GB of counts"] = round(counts.nbytes / 2**30, 2)
    result["GB of parts"] = round(sum(part.bytes for part in parts.parts) / 2**30, 2)
    return result


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--executor", default="local:2")
    parser.add_argument("--folder", type=Path, help="where the log is kept, or found again; else a temporary one")
    parser.add_argument("--out", type=Path, default=KEPT)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        result = measure(options.events, options.users, options.items, options.partitions, options.executor, folder)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
