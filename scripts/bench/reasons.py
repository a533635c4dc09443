"""Are the reasons true? Deletion, counterfactuals and speed, through the public interface.

    RECLLM_DATA=… scripts/bench/reasons.py ml-100k --users 300 --out results/reasons-ml-100k.json

A model is fitted without the users that are asked: the fixed test users and, if more are wanted, others by the hash of
their id (--keep saves it, --model takes a saved one). A user's history is their last 20 events. For each of the five
best items, items are taken out of the history and everything is computed again with `recommend(without=…)`: what is
cited (all of the history, where the reason is the history as a whole) and as many by chance, the three strongest likes,
three by likeness of text, three by chance. What is cited has no effect if the item's place is not worse without it.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm
from recllm.data.histories import make_histories
from recllm.explain.contributions import contributions
from recllm.explain.reasons import Reasons, ServedRanking
from recllm.lists.request import ListRequest
from recllm.lists.serve import Served

HISTORY, N, EXPLAINED = 20, 10, 5


def load(name: str, args: argparse.Namespace) -> tuple[recllm.Recommender, recllm.Interactions]:
    """A recommender that does not know the users that are asked, and their events."""
    data = Path(os.environ["RECLLM_DATA"]) / name
    catalog = recllm.Catalog.read(data / "items.csv.gz")
    events = recllm.Interactions.read(data / "interactions.csv.gz").known_items(catalog)
    listed = data / "test_users.txt"
    asked = listed.read_text().split() if listed.exists() else []
    others = sorted(set(events.user_ids) - set(asked), key=lambda user: hashlib.sha256(user.encode()).digest())
    asked += others[: max(0, args.users - len(asked))]
    if args.model is not None:
        rec = recllm.Recommender.load(args.model)
    else:
        options = recllm.TrainOptions(seed=args.seed)
        rec = recllm.Recommender().fit(catalog, events.without_users(asked), options=options)
        if args.keep is not None:
            rec.save(args.keep)
    return rec, events.of_users(asked)


def newest(rec: recllm.Recommender, events: recllm.Interactions, users: int) -> list[recllm.Interactions]:
    """Each user's last events, as somebody the model has never seen."""
    histories = make_histories(events, rec.catalog, rec.model.feedback).last(HISTORY)
    chosen = [user for user in range(len(histories)) if histories.lengths[user] >= 5][:users]
    frame = events.frame
    return [
        recllm.Interactions.from_frame(frame[histories.event_rows[histories.offsets[u] : histories.offsets[u + 1]]])
        for u in chosen
    ]


def in_list(rec: recllm.Recommender, user: recllm.Interactions, item: str, without: list[str], adapt: bool) -> bool:
    lists = rec.recommend(user, n=N, without=without, adapt=adapt)
    return item in {row.item_id for row in lists}


def causes_by_contribution(rec: recllm.Recommender, user: recllm.Interactions, rows: np.ndarray, adapt: bool) -> Any:
    """For each item row, ids of liked history items with a positive contribution, strongest first."""
    background = Reasons.by(rec._fitted()).background
    histories = make_histories(user, rec.catalog, rec.model.feedback, seed=rec._fitted().seed)
    served = Served(rec.model, ListRequest(n=N, adapt=adapt))
    found = contributions(ServedRanking(served, histories), histories, 0, rows, background.groups)
    liked = {int(row) for row, signal in zip(histories.item_rows, histories.signals, strict=True) if signal > 0}
    result = []
    for values in found.values:
        order = [cause for cause in np.argsort(-values, kind="stable") if values[cause] > 0]
        result.append([rec.catalog.item_ids[found.causes[c][0]] for c in order if int(found.causes[c][0]) in liked])
    return result


ARMS = ("true", "likeness", "chance", "cited", "as many by chance")
COUNTS = (
    "explained", "cited", "cited with a contribution of 0 or less", "cited with no effect",
    "of these first all the same", "history as a whole", "repeated in a list", "counterfactuals",
    "counterfactuals that hold", "with something in its place", "whose replacement comes",
)  # fmt: skip


def measure(rec: recllm.Recommender, people: list[recllm.Interactions], adapt: bool) -> dict[str, Any]:
    rng, text = np.random.default_rng(0), rec.model.channels.text.numpy()
    left: dict[str, list[bool]] = {name: [] for name in ARMS}
    sizes: list[int | None] = []
    counts, codes = dict.fromkeys(COUNTS, 0), dict[str, int]()
    cited_sizes: dict[int, int] = {}
    for user in people:
        best = [row.item_id for row in rec.recommend(user, n=N, adapt=adapt)][:EXPLAINED]
        rows, known = rec.catalog.rows(best), list(dict.fromkeys(user.frame["item_id"].to_list()))
        known_rows = rec.catalog.rows(known)
        strongest = causes_by_contribution(rec, user, rows, adapt)
        lines = list(rec.explain(user, best, adapt=adapt))
        counts["repeated in a list"] += len(lines) - len({line.explanation for line in lines})
        for place, line in enumerate(lines):
            evidence, item = line.evidence, line.item_id
            alike = np.argsort(-(text[known_rows] @ text[rows[place]]), kind="stable")[:3]
            removed = {
                "true": strongest[place][:3],
                "likeness": [known[one] for one in alike],
                "chance": [known[one] for one in rng.permutation(len(known))[:3]],
            }
            if cited := cited_of(evidence, known):
                removed["as many by chance"] = [known[one] for one in rng.permutation(len(known))[: len(cited)]]
                after = place_of(rec, user, item, cited, adapt)
                left["cited"].append(after > N)
                without_effect = after <= evidence["place"]
                counts["cited with no effect"] += without_effect
                counts["of these first all the same"] += without_effect and after == 1
            for name, ids in removed.items():
                left[name].append(not in_list(rec, user, item, ids, adapt))
            counts["explained"] += 1
            codes[line.reason_code] = codes.get(line.reason_code, 0) + 1
            counts["cited"] += len(cited)
            counts["history as a whole"] += evidence["whole"]
            cited_sizes[len(evidence["causes"])] = cited_sizes.get(len(evidence["causes"]), 0) + 1
            counts["cited with a contribution of 0 or less"] += sum(c["contribution"] <= 0 for c in evidence["causes"])
            sizes.append(check_counterfactual(rec, user, item, evidence["counterfactual"], adapt, counts))
    return {
        "adapt": adapt,
        "users": len(people),
        "leaves the top 10, %": {name: share(values) for name, values in left.items()},
        "cited minus as many by chance, points": round(share(left["cited"]) - share(left["as many by chance"]), 1),
        "n": {name: len(values) for name, values in left.items()},
        "counterfactual with at most 2 items, %": share([size is not None and size <= 2 for size in sizes]),
        "counterfactual with at most 5 items, %": share([size is not None and size <= 5 for size in sizes]),
        "reason codes": codes,
        "items cited": dict(sorted(cited_sizes.items())),
        **counts,
    }


def cited_of(evidence: dict[str, Any], known: list[str]) -> list[str]:
    """What a reason says is the cause."""
    if evidence["whole"]:
        return known
    return [one for cause in evidence["causes"] for one in (cause["item_id"], *cause["editions"])]


def place_of(rec: recllm.Recommender, user: recllm.Interactions, item: str, without: list[str], adapt: bool) -> int:
    lines = rec.recommend(user, n=len(rec.catalog), without=without, adapt=adapt)
    return next(row.rank for row in lines if row.item_id == item)


def check_counterfactual(rec: Any, user: Any, item: str, said: Any, adapt: bool, counts: dict[str, int]) -> int | None:
    """Its size; counts whether it holds."""
    if said is None:
        return None
    lists = {row.item_id for row in rec.recommend(user, n=N, without=list(said["item_ids"]), adapt=adapt)}
    counts["counterfactuals"] += 1
    counts["counterfactuals that hold"] += item not in lists
    if said["instead_id"] is not None:
        counts["with something in its place"] += 1
        counts["whose replacement comes"] += said["instead_id"] in lists
    return len(said["titles"])


def share(values: list[bool]) -> float:
    return round(100 * float(np.mean(values)), 1) if values else float("nan")


def speed(rec: recllm.Recommender, people: list[recllm.Interactions], adapt: bool) -> dict[str, float]:
    """Milliseconds of a list of ten, without reasons and with reasons in template words; adapters are put to work."""
    learner, added = rec.model.learner, []
    if adapt and learner is not None:
        learner.open.fill_(True)
    for user in people:
        for explain in (False, True):
            started = time.perf_counter()
            rec.recommend(user, n=N, adapt=adapt, explain=explain)
            added.append((explain, 1000 * (time.perf_counter() - started)))
    plain, explained = ([ms for one, ms in added[4:] if one is which] for which in (False, True))
    p50, p95 = np.percentile(explained, [50, 95])
    return {"list p50": round(float(np.median(plain)), 1), "with reasons p50": round(p50, 1), "p95": round(p95, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--adapt", action="store_true", help="measure deletion with each user's adapter, too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rec, events = load(args.name, args)
    people = newest(rec, events, args.users)
    result = {
        "data": args.name,
        "deletion": [measure(rec, people, adapt) for adapt in ((False, True) if args.adapt else (False,))],
        "adapters": rec.report.chosen.get("adapters"),
        "milliseconds": {f"adapt={adapt}": speed(rec, people[:60], adapt) for adapt in (False, True)},
        "threads": args.threads,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
