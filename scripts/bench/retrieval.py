"""Retrieve, then rank: is the list that of scoring everything, and what does it cost as the catalog grows?

    python scripts/bench/retrieval.py same DATA [DATA …] --models FOLDER [--per-channel 50 100 200 400]
    python scripts/bench/retrieval.py cost ITEMS [--kept FOLDER]
    python scripts/bench/retrieval.py small MODEL [MODEL …]

`same`: each DATA is a folder with items, interactions and perhaps test_users.txt; FOLDER/<its name> is a recommender
that was fitted without these users. Their served lists at K = 1, 3, 5, 10 and 20 are compared with the best ten by
`score` of the whole catalog: share of the same items, and NDCG@10 with the 95 % interval of a paired bootstrap. Small
catalogs, which are ranked as a whole, are retrieved from all the same.
`cost`: a synthetic shop of so many items (`growth.py`'s); above 200,000 items nothing is trained, the catalog is served
`from_catalog` and then told of events. Times of one user (a new one each time), of 256, and of ten reasons; memory.
`small`: MODEL is the folder of a fitted recommender over a few thousand items. Times of one visitor with 20 events, new
each time (with an adapter made for the call, without, and with a ready-made one), and visitors a second by 256; beside
them, for the same visitors and in turn, one product of a mean vector with all items in numpy, and the best ten of it.
"""

import argparse
import ctypes
import gc
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from growth import fill_cache, world

import recllm
from recllm.evaluation.arms import Arm
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.metrics import measure
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.statistics import paired_estimates
from recllm.retrieval import candidates

SHOTS = (1, 3, 5, 10, 20)
N = 10
FITTED = 200_000
"""Up to so many items a recommender is fitted; above, one is made from the catalog."""
RESULTS = Path(__file__).parent / "results" / "retrieval.json"


class Everything:
    """The same recommender, asked for the score of every item."""

    def __init__(self, rec: recllm.Recommender) -> None:
        self.rec = rec

    def score(self, users: recllm.Interactions, item_ids: list[str]) -> np.ndarray:
        return self.rec.score(users, item_ids)


def with_candidates(rec: recllm.Recommender, per_channel: int) -> recllm.Recommender:
    """The same, with so many candidates from each channel."""
    from dataclasses import replace

    config = replace(rec.config, retrieval=replace(rec.config.retrieval, per_channel=per_channel))
    return rec.with_model(replace(rec.model, retrieval=config.retrieval), config)


def compare(rec: recllm.Recommender, arms: tuple[Arm, ...], facts: ItemFacts, sizes: list[int]) -> list[dict[str, Any]]:
    """For each number of candidates, how lists differ from those of scoring everything."""
    whole = [rank_arm("everything", Everything(rec), arm, rec.catalog) for arm in arms]
    exact = np.concatenate([measure(one, arm, facts)[0]["NDCG@10"] for one, arm in zip(whole, arms, strict=True)])
    users = np.concatenate([np.array(arm.user_ids) for arm in arms])
    found = []
    for size in sizes:
        fewer = with_candidates(rec, size)
        served = [rank_arm("served", fewer, arm, rec.catalog) for arm in arms]
        ours = np.concatenate([measure(one, arm, facts)[0]["NDCG@10"] for one, arm in zip(served, arms, strict=True)])
        same = [
            len(np.intersect1d(mine[:N], best[:N])) / N
            for one, other in zip(served, whole, strict=True)
            for mine, best in zip(one.rows, other.rows, strict=True)
        ]
        _, ratio = paired_estimates(ours, exact, users)
        change = {"value": ratio.value, "low": ratio.low, "high": ratio.high}
        seconds = [sum(one.seconds for one in some) for some in (served, whole)]
        found.append(
            {
                "per channel": size,
                "same": float(np.mean(same)),
                "lists all the same": float(np.mean(np.array(same) == 1)),
                "NDCG@10": float(ours.mean()),
                "change": change,
                "seconds, of everything": seconds,
            }
        )
        print(f"  {size}: {same_line(found[-1])}", flush=True)
    return found


def same_line(one: dict[str, Any]) -> str:
    change = one["change"]
    return (
        f"{one['same']:.2%} of items the same, NDCG@10 {one['NDCG@10']:.4f} ({change['value']:+.2%} "
        f"[{change['low']:+.2%}, {change['high']:+.2%}]), {one['seconds, of everything'][0]:.1f} s against "
        f"{one['seconds, of everything'][1]:.1f} s"
    )


def same(folder: Path, models: Path, sizes: list[int]) -> dict[str, Any]:
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    fixed = folder / "test_users.txt"
    users = fixed.read_text(encoding="utf-8").split() if fixed.exists() else None
    (split,) = make_splits(catalog, events, shots=SHOTS, test_users=users)
    rec = recllm.Recommender.load(models / folder.name)
    candidates.RANKED_WHOLE = 0
    print(f"{folder.name}: {len(rec.catalog):,} items, {len(split.arms[0])} users", flush=True)
    return {
        "dataset": folder.name,
        "items": len(rec.catalog),
        "users": len(split.arms[0]),
        "candidates": compare(rec, split.arms, ItemFacts.of(split.catalog, split.train), sizes),
    }


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def resident_gb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def times(ask: Callable[[int], Any], count: int) -> dict[str, float]:
    """Milliseconds by the clock, and of the processor, which other work on the machine lengthens less."""
    ask(-1)
    found = []
    for place in range(count):
        begin, worked = time.perf_counter(), time.process_time()
        ask(place)
        found.append((1000 * (time.perf_counter() - begin), 1000 * (time.process_time() - worked)))
    (p50, worked), (p99, _) = np.percentile(found, (50, 99), axis=0)
    return {"p50": float(p50), "p99": float(p99), "processor p50": float(worked)}


def made(items: int, kept: Path | None) -> tuple[recllm.Recommender, dict[str, Any]]:
    """A recommender over so many items, and how long that took."""
    folder = None if kept is None else kept / str(items)
    begin = time.perf_counter()
    if folder is not None and folder.exists():
        rec = recllm.Recommender.load(folder)
        return rec, {"seconds to load": time.perf_counter() - begin}
    catalog, events, vectors = world(min(items, 100_000), items, 30, np.random.default_rng(0))
    fill_cache(catalog, vectors)
    if items <= FITTED:
        rec = recllm.Recommender(recllm.RecommenderConfig(adaptation=None))
        rec.fit(catalog, events, options=recllm.TrainOptions(seed=0, budget="1m"))
    else:
        rec = recllm.Recommender.from_catalog(catalog).update(events)
    if folder is not None:
        rec.save(folder)
    return rec, {"seconds to make": time.perf_counter() - begin}


def agreement(rec: recllm.Recommender, users: int = 500) -> dict[str, Any]:
    """Lists of remembered users who are known by all but their last ten items, against scoring everything."""
    frame = rec.fitted.memory.of_users(rec.user_ids[:users]).frame
    logs = {user: own["item_id"].to_list() for (user,), own in frame.group_by("user_id", maintain_order=True)}
    asked = {user: items[:-N] for user, items in logs.items()}
    served, ids = rec.recommend(asked, N), list(rec.catalog.item_ids)
    same, found, wanted = [], [], []
    for start in range(0, users, 50):
        some = dict(list(asked.items())[start : start + 50])
        scores = rec.score(some, ids)
        for line, (user, seen) in zip(scores, some.items(), strict=True):
            line[rec.catalog.rows(seen)] = -np.inf
            best = [ids[row] for row in np.argsort(-line, kind="stable")[:N]]
            mine = [row.item_id for row in served[user]]
            same.append(len(set(mine) & set(best)) / N)
            gain = 1 / np.log2(np.arange(N) + 2)
            relevant = set(logs[user][-N:])
            for lists, where in ((mine, found), (best, wanted)):
                where.append(float(gain @ np.isin(lists, list(relevant)) / gain.sum()))
    _, ratio = paired_estimates(np.array(found), np.array(wanted), np.array(list(asked)))
    change = {"value": ratio.value, "low": ratio.low, "high": ratio.high}
    return {"users": len(asked), "same": float(np.mean(same)), "NDCG@10": float(np.mean(found)), "change": change}


def cost(items: int, kept: Path | None) -> dict[str, Any]:
    rec, about = made(items, kept)
    result: dict[str, Any] = {"items": items, "events": len(rec.fitted.memory.log), **about}
    ids = list(rec.user_ids)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what making it has left is none of serving
    begin = time.perf_counter()
    rec.recommend(ids[:1])
    result["seconds of the first question"] = time.perf_counter() - begin
    result["GB before"] = resident_gb()
    result["one user, ms"] = times(lambda place: rec.recommend(ids[1000 + place]), 100)
    result["256 users, ms"] = times(lambda place: rec.recommend(ids[256 * (place + 2) : 256 * (place + 3)]), 5)
    before, peak = resident_gb(), peak_gb()
    lists = rec.recommend(ids[3])
    rec.explain(ids[3], lists)
    result["ten reasons, ms"] = times(lambda place: rec.explain(ids[4 + place], rec.recommend(ids[4 + place])), 9)
    result["GB"], result["GB more by reasons"] = resident_gb(), max(peak_gb() - peak, resident_gb() - before)
    result["peak GB"] = peak_gb()
    if items <= FITTED:
        result["against scoring everything"] = agreement(rec)
    return result


def visitors(rec: recllm.Recommender, count: int, events: int = 20) -> dict[str, list[str]]:
    """New ones, each with a part of what somebody has who is remembered."""
    rng, frame = np.random.default_rng(0), rec.fitted.memory.log.frame
    logs = [list(dict.fromkeys(own["item_id"].to_list())) for _, own in frame.group_by("user_id", maintain_order=True)]
    logs = [own for own in logs if len(own) > events]
    starts = [(own, int(rng.integers(len(own) - events))) for own in (logs[row % len(logs)] for row in range(count))]
    return {f"visitor {row}": own[start : start + events] for row, (own, start) in enumerate(starts)}


def plain(rec: recllm.Recommender, asked: dict[str, list[str]]) -> list[list[str]]:
    """The best ten by the product of the mean vector with all others."""
    vectors, lists = rec.fitted.model.vectors.numpy(), []
    rows = [rec.catalog.rows(items) for items in asked.values()]
    scores = np.stack([vectors[own].mean(axis=0) for own in rows]) @ vectors.T
    for own, line in zip(rows, scores, strict=True):
        line[own] = -np.inf
        best = np.argpartition(-line, N)[:N]
        lists.append([rec.catalog.item_ids[row] for row in best[np.argsort(-line[best])]])
    return lists


def small(folder: Path, count: int = 200, batches: int = 3) -> dict[str, Any]:
    rec = recllm.Recommender.load(folder)
    some = visitors(rec, count + 1 + 256 * (batches + 1))
    parts = [{user: items} for user, items in list(some.items())[: count + 1]]
    many = [dict(list(some.items())[count + 1 + 256 * row :][:256]) for row in range(batches + 1)]
    adapters = rec.adapt({user: items for part in parts for user, items in part.items()})
    ways: dict[str, Callable[[dict[str, list[str]]], Any]] = {
        "adapting": rec.recommend,
        "without": lambda part: rec.recommend(part, adapt=False),
        "adapted": lambda part: rec.recommend(part, adapters=adapters),
        "product": lambda part: plain(rec, part),
    }
    learner = rec.fitted.model.learner
    found: dict[str, Any] = {"model": folder.name, "items": len(rec.catalog), "channels": len(rec.model.channels.names)}
    found["adapts"] = learner is not None and bool(learner.open)
    for name, ask in ways.items():
        one = times(lambda place, ask=ask: ask(parts[place]), count)
        whole = times(lambda place, ask=ask: ask(many[place]), batches)
        found[name] = {"one, ms": one, "256, ms": whole, "256, users a second": 256_000 / whole["p50"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_same = commands.add_parser("same")
    of_same.add_argument("data", nargs="+", type=Path)
    of_same.add_argument("--models", type=Path, required=True)
    of_same.add_argument("--per-channel", type=int, nargs="+", default=[200])
    of_cost = commands.add_parser("cost")
    of_cost.add_argument("items", type=int)
    of_cost.add_argument("--kept", type=Path, help="where recommenders are kept between calls")
    commands.add_parser("small").add_argument("models", nargs="+", type=Path)
    arguments = parser.parse_args()
    kept = {"same": [], "cost": [], "small": []}
    kept |= json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if arguments.command == "same":
        for folder in arguments.data:
            found = same(folder, arguments.models, arguments.per_channel)
            kept["same"] = [one for one in kept["same"] if one["dataset"] != folder.name] + [found]
    elif arguments.command == "small":
        for folder in arguments.models:
            found = small(folder)
            print(json.dumps(found, indent=1, ensure_ascii=False), flush=True)
            kept["small"] = [one for one in kept["small"] if one["model"] != folder.name] + [found]
    else:
        found = cost(arguments.items, arguments.kept)
        print(json.dumps(found, indent=1, ensure_ascii=False), flush=True)
        kept["cost"] = [one for one in kept["cost"] if one["items"] != arguments.items] + [found]
        kept["cost"].sort(key=lambda one: one["items"])
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
