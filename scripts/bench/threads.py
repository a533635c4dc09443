"""Many threads on one recommender: does each get its own answers, and how long does one user wait?

    python scripts/bench/threads.py --model model/ --threads 8 --calls 300 --out results/threads.json

Every thread makes its calls (score, recommend, adapt and recommend with the adapters, explain, update) in an order of
its own, about users of its own; all are compared with what one thread alone is answered. Updates are about users who
have taken nothing yet: what is taken counts in everybody's next list, and the answers would not be known. The first
part times `recommend` for one user, ten items, without reasons: alone, and while another thread keeps it busy.
Without `--model` the shipped shop is learned.
"""

import argparse
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm

Answer = Any


def recommender(folder: Path | None) -> recllm.Recommender:
    """The one in the folder, or the demo's."""
    if folder is not None:
        return recllm.Recommender.load(folder)
    catalog, events = recllm.load_demo()
    return recllm.Recommender(recllm.RecommenderConfig.demo()).fit(catalog, events)


def visitor(rec: recllm.Recommender, thread: int, call: int) -> dict[str, list[str]]:
    """One to six users whom nobody has seen, with up to twelve events each."""
    rng, ids = np.random.default_rng([thread, call]), rec.catalog.item_ids
    return {
        f"visitor {thread} {call} {number}": [ids[row] for row in rng.choice(len(ids), rng.integers(0, 13), False)]
        for number in range(rng.integers(1, 7))
    }


def questions(rec: recllm.Recommender) -> list[Callable[[int, int], Answer]]:
    """What is asked; each returns something that can be compared."""

    def score(thread: int, call: int) -> Answer:
        return rec.score(visitor(rec, thread, call), rec.catalog.item_ids[:50]).tobytes()

    def recommend(thread: int, call: int) -> Answer:
        return rec.recommend(visitor(rec, thread, call), n=10).to_json()

    def adapted(thread: int, call: int) -> Answer:
        users = visitor(rec, thread, call)
        adapters = rec.adapt(users)
        adapters.update({next(iter(users)): [rec.catalog.item_ids[call % len(rec.catalog)]]})
        return rec.recommend(list(users), n=5, adapters=adapters).to_json()

    def explain(thread: int, call: int) -> Answer:
        users = dict(list(visitor(rec, thread, call).items())[:1])
        return rec.recommend(users, n=3, explain=True).to_json()

    def update(thread: int, call: int) -> Answer:
        rng, ids = np.random.default_rng([9, thread, call]), rec.catalog.item_ids
        user = f"member {thread} {call}"
        rec.update({user: []})
        return rec.recommend({user: [ids[row] for row in rng.choice(len(ids), 3, False)]}, n=5).to_json()

    return [score, recommend, adapted, explain, update]


def compared(rec: recllm.Recommender, threads: int, calls: int) -> dict[str, Any]:
    """Answers that differ from those of one thread alone, and errors."""
    asked = questions(rec)
    plan = [(thread, call, asked[(thread + call) % len(asked)]) for thread in range(threads) for call in range(calls)]

    def answer(one: tuple[int, int, Callable[[int, int], Answer]]) -> Answer:
        thread, call, question = one
        try:
            return question(thread, call)
        except Exception as error:
            return error

    def line(thread: int) -> list[Answer]:
        return [answer(one) for one in plan if one[0] == thread]

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        together = [found for part in pool.map(line, range(threads)) for found in part]
    middle = time.perf_counter()
    rec.forget([f"member {thread} {call}" for thread, call, question in plan if question.__name__ == "update"])
    alone = [answer(one) for one in plan]
    ended = time.perf_counter()
    errors = Counter(
        f"{type(found).__name__}: {found}"[:120] for found in together + alone if isinstance(found, Exception)
    )
    differ = Counter(one[2].__name__ for one, mine, theirs in zip(plan, together, alone, strict=True) if mine != theirs)
    return {
        "threads": threads,
        "calls": len(plan),
        "different answers": dict(differ),
        "errors": dict(errors),
        "seconds, together": round(middle - begun, 1),
        "seconds, one after the other": round(ended - middle, 1),
    }


def waited(rec: recllm.Recommender, times: int) -> list[float]:
    """Milliseconds of `recommend` for one user: p50, p95, p99."""
    users = [visitor(rec, 99, call) for call in range(times)]
    took = []
    for every in users:
        one = dict(list(every.items())[:1])
        begin = time.perf_counter()
        rec.recommend(one, n=10)
        took.append(1000 * (time.perf_counter() - begin))
    return [round(float(value), 2) for value in np.percentile(took[10:], [50, 95, 99])]


def timed(rec: recllm.Recommender, times: int) -> dict[str, Any]:
    """One user's wait, alone and beside a busy thread."""
    alone, over = waited(rec, times), threading.Event()

    def busy() -> None:
        call = 0
        while not over.is_set():
            rec.recommend(visitor(rec, 98, call), n=10)
            call += 1

    other = threading.Thread(target=busy)
    other.start()
    try:
        beside = waited(rec, times)
    finally:
        over.set()
        other.join()
    return {"items": len(rec.catalog), "p50, p95, p99 ms alone": alone, "beside a busy thread": beside}


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rec = recommender(arguments.model)
    result = {
        "torch threads": torch.get_num_threads(),
        "one user": timed(rec, 200),
        "answers": compared(rec, arguments.threads, arguments.calls),
    }
    print(json.dumps(result, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
