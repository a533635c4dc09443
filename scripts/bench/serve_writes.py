"""What an acknowledged event costs, what a list takes on the disk, and how long a look-up, a copy and an erasure take.

python scripts/bench/serve_writes.py [--seconds 5] [--place FOLDER] [--keep scripts/bench/results/serve_writes.json]
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from recllm.serve.state.records import Event, Impression  # noqa: E402
from recllm.serve.state.sqlite.store import SqliteStore  # noqa: E402


def milliseconds(seconds: list[float]) -> dict[str, float]:
    return {f"p{part}": round(float(np.percentile(seconds, part)) * 1e3, 3) for part in (50, 99)}


def fsync(folder: Path, times: int = 200) -> dict[str, float]:
    """What the disk itself takes: a page written to the end of a file, and fsync."""
    taken = []
    with open(folder / "probe", "wb") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4_096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return milliseconds(taken)


def writes(store: SqliteStore, threads: int, seconds: float) -> dict[str, Any]:
    """Each thread sends one event, waits until it is acknowledged, and sends the next."""
    taken: list[list[float]] = [[] for _ in range(threads)]
    commits, until = store.commits, time.perf_counter() + seconds

    def send(thread: int) -> None:
        rng = random.Random(thread)
        while (began := time.perf_counter()) < until:
            one = Event(f"{threads}-{thread}-{rng.random()}", f"user {rng.randrange(10_000)}", "item 1", time.time())
            store.write(lambda change, one=one: change.add_events([one])).result()
            taken[thread].append(time.perf_counter() - began)

    workers = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    every = [one for some in taken for one in some]
    made = store.commits - commits
    return {
        "threads": threads,
        "events_per_second": round(len(every) / seconds),
        **milliseconds(every),
        "events_per_commit": round(len(every) / made, 1),
    }


def fill(store: SqliteStore, events: int, lists: int) -> dict[str, float]:
    """Many of both; bytes of each."""
    store.checkpoint()
    rng, size = random.Random(0), store.counts()["bytes"]
    for start in range(0, events, 1_000):
        some = [
            Event(
                f"{rng.getrandbits(64):016x}",
                f"user-{rng.randrange(10_000)}",
                f"item-{rng.randrange(4_000)}",
                1.79e9 + k,
            )
            for k in range(start, start + 1_000)
        ]
        store.write(lambda change, some=some: change.add_events(some)).result()
    store.checkpoint()
    after = store.counts()["bytes"]

    def shown(number: int) -> Impression:
        lines = [
            {
                "item_id": f"item-{rng.randrange(4_000)}",
                "rank": k,
                "score": rng.random(),
                "channel": "text",
                "propensity": 1.0,
            }
            for k in range(1, 11)
        ]
        asked = {"n": 10, "offset": 0, "explain": False}
        user = f"user-{rng.randrange(10_000)}"
        return Impression(f"{rng.getrandbits(128):032x}", user, number, "recommend", "m", 9, "ranking", asked, lines)

    for start in range(0, lists, 500):
        many = [shown(number) for number in range(start, start + 500)]
        store.write(lambda change, many=many: [change.add_impression(one) for one in many]).result()
    store.checkpoint()
    end = store.counts()["bytes"]
    return {"bytes_per_event": round((after - size) / events), "bytes_per_list_of_10": round((end - after) / lists)}


def timed(call: Callable[[], Any], times: int = 1) -> float:
    """Milliseconds of the middle one."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return round(sorted(taken)[len(taken) // 2] * 1e3, 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--lists", type=int, default=50_000)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.place) as name:
        folder = Path(name)
        found: dict[str, Any] = {"fsync_ms": fsync(folder)}
        store = SqliteStore.open(folder / "server")
        found["one_event_ms_and_rate"] = [writes(store, threads, options.seconds) for threads in (1, 8, 64)]
        found["space"] = fill(store, options.events, options.lists)
        found["rows"] = store.counts()
        users = iter(range(100, 200))

        def erase() -> None:
            told = store.write(lambda change: change.erase_user(f"user-{next(users)}")).result()
            assert told["events"] > 0

        found["milliseconds"] = {
            "events_of": timed(lambda: store.events_of("user-77"), 200),
            "impressions_since, 20,000": timed(lambda: store.impressions_since(0, 20_000)),
            "figures, 20,000 lists": timed(lambda: store.figures(0, 20_000)),
            "clicks_since": timed(lambda: store.clicks_since(0), 20),
            "counts": timed(store.counts, 5),
            "backup": timed(lambda: store.backup(folder / "copy.db"), 3),
            "erase_user": timed(erase, 5),
            "prune 10,000 lists": timed(lambda: store.write(lambda change: change.prune_impressions(1e9)).result()),
        }
        store.close()
        found["milliseconds"]["open"] = timed(lambda: SqliteStore.open(folder / "server").close())
    print(json.dumps(found, indent=1))
    if options.keep is not None:
        options.keep.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
