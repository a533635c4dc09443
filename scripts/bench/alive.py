"""What it costs to stay alive: updates, forgetting, a new product, and the memory of counts.

    python scripts/bench/alive.py MODEL [--out results/alive.json]

MODEL is a saved recommender of the demo shop, such as `scripts/demo --out MODEL` leaves; it is not changed. Counts of
10,000 items and a million events are of the made-up world of growth.py. Everything runs on one thread, each step once,
on a recommender that has just been loaded, so that what it has to set up is in the figure.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from growth import world

from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.recommender import Recommender

NEW = {"item_id": "new-0001", "title": "Blue regency teacup and saucer"}
ASKED = {"visitor": ["r0001", "r0005", "r0100"]}


def seconds(step: Callable[[], Any]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    step()
    return round(time.perf_counter() - begin, 3)


def a_day(rec: Recommender, events: int, users: int, seed: int) -> Interactions:
    """Events of strangers after the end of the log."""
    rng, end = np.random.default_rng(seed), rec.model.channels.trend.end
    ids = rec.catalog.item_ids
    rows = {
        "user_id": [f"stranger{user}" for user in rng.integers(0, users, events)],
        "item_id": [ids[item] for item in rng.integers(0, len(ids), events)],
        "timestamp": (end + rng.integers(0, 86_400, events)).tolist(),
    }
    return Interactions.from_frame(pl.DataFrame(rows))


def costs(folder: Path) -> dict[str, Any]:
    """Each step on a recommender that has just been loaded."""
    found: dict[str, Any] = {}
    rec = Recommender.load(folder)
    thousand, many = a_day(rec, 1_000, 100, 0), a_day(rec, 10_000, 800, 1)
    found["users"], found["items"] = len(rec.user_ids), len(rec.catalog)
    rec.recommend(ASKED)
    found["update, 1,000 events, weights kept"] = seconds(lambda: rec.update(thousand))
    found["and the next list"] = seconds(lambda: rec.recommend(ASKED))
    found["update, 10,000 events, weights fitted anew"] = seconds(lambda: rec.update(many))
    found["again, pairs being counted already"] = seconds(lambda: rec.update(a_day(rec, 10_000, 800, 2)))
    rec = Recommender.load(folder)
    rec.recommend(ASKED)
    gone = rec.user_ids[17]
    found["forget one user"] = seconds(lambda: rec.forget(gone))
    found["and the next list, weights fitted anew"] = seconds(lambda: rec.recommend(ASKED))
    found["forget another"] = seconds(lambda: rec.forget(rec.user_ids[18]))
    return found


def session(folder: Path) -> dict[str, Any]:
    """A day of a shop: events, a new product in a list within the second, and proof that a guest is gone."""
    rec, found = Recommender.load(folder), {}
    near = [row.item_id for row in rec.search("regency teacup and saucer", n=3)]  # the text encoder is loaded
    begin = time.perf_counter()
    rec.add_items(Catalog.from_frame(pl.DataFrame([NEW])))
    place = [row.item_id for row in rec.recommend({"visitor": near}, n=len(rec.catalog))]
    found["new product taken in and listed, s"] = round(time.perf_counter() - begin, 3)
    found["its place in the list of who has three like it"] = 1 + place.index("new-0001")

    rec = Recommender.load(folder)
    rec.forget(rec.user_ids[3])  # weights between items are fitted anew, to all that is counted
    before, counted = rec.model.digest(), rec.counts.digest()
    found |= {"model": before[:16], "counts": counted[:16]}
    guest = a_day(rec, 40, 1, 3)
    rec.update(guest)
    found["after the guest's events"] = {"model": rec.model.digest()[:16], "counts": rec.counts.digest()[:16]}
    rec.forget(guest.user_ids)
    found["after forgetting the guest"] = {"model": rec.model.digest()[:16], "counts": rec.counts.digest()[:16]}
    found["as if never there"] = (rec.model.digest(), rec.counts.digest()) == (before, counted)
    resident = rec.user_ids[17]
    rec.forget(resident)
    log = rec._fitted().memory.log
    histories = make_histories(log, rec.catalog, rec.model.feedback, seed=rec._fitted().seed)
    never = Counts.of(histories, len(rec.catalog), rec.counts.resolution)
    found["a training user forgotten: counts of a shop that never saw them"] = rec.counts.digest() == never.digest()
    return found


def memory() -> list[dict[str, Any]]:
    """Of counts, by size of the shop."""
    rows = []
    for items, users in ((10_000, 5_000), (10_000, 10_000), (10_000, 20_000)):
        catalog, events, _ = world(users, items, 50, np.random.default_rng(0))
        histories = make_histories(events, catalog, Feedback.infer(events.frame))
        begin = time.perf_counter()
        counts = Counts.of(histories, items, resolution_of(histories.timestamps))
        took = time.perf_counter() - begin
        sizes = {
            part: round(sum(array.nbytes for name, array in counts.tensors().items() if name.startswith(part)) / 1e6, 1)
            for part in ("items", "pairs.taken", "pairs.next_liked")
        }
        rows.append(
            {"items": items, "events": histories.n_events, "MB": round(counts.nbytes / 1e6, 1), "of it": sizes}
            | {"counted in s": round(took, 1)}
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Everything; see the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"costs": costs(args.model), "session": session(args.model), "memory": memory()}
    found["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found, indent=1))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
