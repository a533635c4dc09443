"""How work grows: seconds computed, time and peak memory at several sizes, each in a process of its own.

    python scripts/bench/growth.py [--sizes 1 3 10 30] [--large] [--budget 1m] [--out results/growth.json]

Size 1 is 2,000 users, 2,000 items and 100,000 events; users, items and events grow together. `--large` adds 100,000
users × 100,000 items with 3 million events. Events and unit text vectors (in the cache where sentence vectors are kept)
are drawn at random around clusters: what is measured is cost, not quality. The budget bounds training of the base;
everything else takes as long as it takes.

`work`, and the seconds by stage, are what processors computed, which other work on the machine does not change much:
reading and cleaning the log, dividing it on disk, counting, fitting, lists. growth_plot.py draws them per event or
item, beside n log n, and prints the table.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from recllm.artifact import fingerprint
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.encoders import text
from recllm.encoders.text import TextEncoder, TextEncoderConfig, describe_items
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.scale.counting import count_events
from recllm.scale.events import write_partitioned

USERS, ITEMS, PER_USER = 2_000, 2_000, 50
LARGE = (100_000, 100_000, 30)
ITEMS_PER_CLUSTER = 50
WIDTH = 384
EVENTS_OF_A_PART = 100_000

T = TypeVar("T")


def world(users: int, items: int, per_user: int, rng: np.random.Generator) -> tuple[Catalog, Interactions, np.ndarray]:
    """Users take three of four items from two clusters of their own, the rest by popularity, one at a time."""
    cluster = rng.permutation(items) // ITEMS_PER_CLUSTER
    clusters = int(cluster.max()) + 1
    inside = np.argsort(cluster, kind="stable").reshape(-1, ITEMS_PER_CLUSTER)
    favourite = rng.integers(clusters, size=(users, 2))
    popular = (1 / (np.arange(items) + 20.0)) / (1 / (np.arange(items) + 20.0)).sum()
    shape = (users, per_user)
    own = favourite[np.arange(users)[:, None], rng.integers(2, size=shape)]
    near = inside[own, np.minimum(rng.geometric(0.05, shape) - 1, ITEMS_PER_CLUSTER - 1)]
    taken = np.where(rng.random(shape) < 0.75, near, rng.choice(items, shape, p=popular))
    names = [f"i{row}" for row in range(items)]
    titles = [f"thing {row} of kind {kind}" for row, kind in enumerate(cluster.tolist())]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": names, "title": titles}))
    events = pl.DataFrame(
        {
            "user_id": np.repeat([f"u{row}" for row in range(users)], per_user),
            "item_id": np.array(names)[taken.ravel()],
            "timestamp": (rng.integers(10**8, size=(users, 1)) + 1000 * np.arange(per_user)).ravel(),
        }
    )
    vectors = rng.normal(size=(clusters, WIDTH))[cluster] + rng.normal(size=(items, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return catalog, Interactions.from_frame(events), vectors.astype(np.float32)


def fill_cache(catalog: Catalog, vectors: np.ndarray) -> None:
    """Keep the vectors where the encoder looks for those of this catalog's texts."""
    encoder = TextEncoder(TextEncoderConfig())
    file = text._cache_file(fingerprint(*encoder.identity(), *describe_items(catalog, encoder.prompt)))
    text._write_cache(file, vectors)


def peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


class Work:
    """Seconds that processors computed, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def of(self, step: str, run: Callable[[], T]) -> T:
        """What `run` gives."""
        begin = time.process_time()
        made = run()
        self.seconds[step] = round(time.process_time() - begin, 3)
        return made


def on_disk(events: Interactions, catalog: Catalog, folder: Path, work: Work) -> None:
    """What is done with a log before anything is learned."""
    log = folder / "log.csv"
    events.frame.write_csv(log)
    again = work.of("read and clean", lambda: Interactions.read(log))
    parts = max(1, len(events) // EVENTS_OF_A_PART)
    divided = work.of("divide", lambda: write_partitioned(log, folder / "parts", parts))
    histories = work.of("histories", lambda: make_histories(again, catalog, Feedback.infer(again.frame)))
    whole = work.of("count at once", lambda: Counts.of(histories, len(catalog), resolution_of(histories.timestamps)))
    counted = work.of("count part by part", lambda: count_events(divided, catalog, Here()))
    assert counted.counts.digest() == whole.digest()


class Here:
    """Workers that are this process."""

    workers = 1

    def map(self, fn: Callable[[Any], Any], shards: Sequence[Any], progress: Any = None) -> Iterator[Any]:
        """One after the other."""
        return map(fn, shards)

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None: ...


def measure(users: int, items: int, per_user: int, budget: str) -> dict[str, Any]:
    catalog, events, vectors = world(users, items, per_user, np.random.default_rng(0))
    result: dict[str, Any] = {"users": users, "items": items, "events": len(events), "budget": budget}
    work = Work()
    with tempfile.TemporaryDirectory() as folder:
        on_disk(events, catalog, Path(folder), work)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RECLLM_CACHE"] = folder
        fill_cache(catalog, vectors)
        result["peak GB before"] = peak_gb()
        begin = time.perf_counter()
        recommender = Recommender(RecommenderConfig(adaptation=None))
        work.of(
            "fit",
            lambda: recommender.fit(
                catalog, events, options=TrainOptions(seed=0, budget=budget, clock=time.process_time)
            ),
        )
        result["seconds"] = round(time.perf_counter() - begin, 1)
    result["seconds by stage"] = {name: round(value, 1) for name, value in recommender.report.seconds.items()}
    result["peak GB of fit"] = peak_gb()
    result["validation NDCG@10"] = {name: round(value, 4) for name, value in recommender.report.figures.items()}
    for asked in (1, 256):
        some = list(events.user_ids[:asked])
        recommender.recommend(some, n=10)
        begin = time.perf_counter()
        work.of(f"lists of {asked} users", lambda some=some: recommender.recommend(some, n=10))  # type: ignore[misc]
        result[f"ms for {asked} users"] = round(1000 * (time.perf_counter() - begin))
    result["peak GB with serving"] = peak_gb()
    result["work"] = work.seconds
    return result


def apart(size: tuple[int, int, int], budget: str) -> dict[str, Any]:
    """`measure` in a fresh process, so that its peak is its own."""
    command = [sys.executable, __file__, "--one", *map(str, size), "--budget", budget]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 3, 10, 30])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.budget), ensure_ascii=False))
        return
    sizes = [(size * USERS, size * ITEMS, PER_USER) for size in arguments.sizes] + [LARGE] * arguments.large
    results = []
    for size in sizes:
        results.append(apart(size, arguments.budget))
        print(json.dumps(results[-1], indent=1, ensure_ascii=False), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
