"""How much variety a list gains for how much accuracy: the curves of MMR and of a determinantal point process.

    python scripts/bench/diversity.py DATA [DATA …] [--budget 120s] [--models FOLDER] [--out …/results/diversity.json]

Each DATA is a folder with items and interactions. Asked are the users of its test_users.txt, or else a fifth, at K = 5
and 20. Variety is ILD@10 of `recllm.evaluation.metrics`: mean of 1 − cosine in TF-IDF words, a space that no ranker
sees. Of each way the strength is chosen on validation users: the most variety at a loss of at most 2 % of NDCG@10.
Changes come with 95 % intervals of a paired bootstrap over users.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm
from recllm.data.histories import Histories
from recllm.evaluation.arms import Arm, Ranked
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.metrics import measure
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.split import Split
from recllm.evaluation.statistics import paired_estimates
from recllm.lists.request import ListRequest
from recllm.lists.serve import Served
from recllm.ranking.asked import Rules
from recllm.ranking.plan import Plan

SHOTS = (5, 20)
STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
MOST_LOST = 0.02
N = 10


def fitted(folder: Path, split: Split, budget: str, models: Path | None) -> recllm.Recommender:
    """A recommender of the users who are asked neither in validation nor in the test."""
    kept = None if models is None else models / folder.name
    if kept is not None and kept.exists():
        return recllm.Recommender.load(kept)
    rec = recllm.Recommender(recllm.RecommenderConfig(adaptation=None))
    rec.fit(split.catalog, split.fitting, options=recllm.TrainOptions(budget=budget))
    if kept is not None:
        rec.save(kept)
    return rec


def figures(rec: recllm.Recommender, arm: Arm, facts: ItemFacts) -> dict[tuple[str, float], dict[str, np.ndarray]]:
    """Of each way and strength, NDCG@10 and ILD@10 of every user."""
    model, n = rec.model, len(arm)
    served = Served(model, ListRequest(n=N, diversity=0.5))
    rows = {(by, strength): np.full((n, N), -1, dtype=np.int32) for by in ("mmr", "dpp") for strength in STRENGTHS}
    plans = {
        (by, strength): Plan(
            Rules(diversity_by=by), model.attributes, model.channels.text.numpy(), model.ties, strength
        )
        for by, strength in rows
    }
    seen, _ = rec.fitted.histories(arm.known_events())
    for some in rec.fitted.batches(len(seen)):
        part: Histories = seen.of(some)
        eligible = served.eligible(part)
        batch = served.rank(part, None, torch.from_numpy(eligible), served.asked_at(part))
        for place, task in enumerate(some):
            line, pool = batch.scores[place].numpy(), batch.retrieved[place].numpy()
            for key, plan in plans.items():
                found = plan.rows(part.user_ids[place], line, eligible[place], N, pool)
                rows[key][task, : len(found)] = found
    order = {user: place for place, user in enumerate(seen.user_ids)}
    places = np.array([order[user] for user in arm.user_ids])
    return {key: measure(Ranked(found[places], 0.0), arm, facts)[0] for key, found in rows.items()}


def pooled(rec: recllm.Recommender, arms: tuple[Arm, ...], facts: ItemFacts) -> tuple[dict[Any, Any], np.ndarray]:
    """The figures of all arms one after another, and whose they are."""
    each = [figures(rec, arm, facts) for arm in arms]
    names = ("NDCG@10", "ILD@10", "Calibration@10")
    together = {key: {name: np.concatenate([one[key][name] for one in each]) for name in names} for key in each[0]}
    return together, np.concatenate([np.array(arm.user_ids) for arm in arms])


def change(found: dict[Any, Any], users: np.ndarray, key: tuple[str, float]) -> dict[str, Any]:
    """How much is lost and gained against a list by score alone."""
    result: dict[str, Any] = {"by": key[0], "diversity": key[1]}
    for name in ("NDCG@10", "ILD@10"):
        plain, ours = found[key[0], 0.0][name], found[key][name]
        _, ratio = paired_estimates(ours, plain, users)
        result[name] = {"value": float(np.nanmean(ours)), "change": ratio.value, "low": ratio.low, "high": ratio.high}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--models", type=Path, help="where fitted models are kept between calls")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "diversity.json")
    arguments = parser.parse_args()
    kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    for folder in arguments.data:
        catalog = recllm.Catalog.read(folder / "items.csv.gz")
        events = recllm.Interactions.read(folder / "interactions.csv.gz")
        fixed = folder / "test_users.txt"
        users = fixed.read_text(encoding="utf-8").split() if fixed.exists() else None
        (split,) = make_splits(catalog, events, shots=SHOTS, test_users=users)
        rec, facts = fitted(folder, split, arguments.budget, arguments.models), ItemFacts.of(catalog, split.fitting)
        validation, asked = pooled(rec, split.validation, facts)
        test, testers = pooled(rec, split.arms, facts)
        found: dict[str, Any] = {"dataset": folder.name, "users": len(set(testers)), "chosen": [], "curve": []}
        for by in ("mmr", "dpp"):
            curve = [change(validation, asked, (by, strength)) for strength in STRENGTHS[1:]]
            fine = [one for one in curve if one["NDCG@10"]["change"] >= -MOST_LOST]
            best = max(fine, key=lambda one: one["ILD@10"]["change"], default=None)
            if best is not None:
                found["chosen"].append(change(test, testers, (by, best["diversity"])))
            found["curve"] += [change(test, testers, (by, strength)) for strength in STRENGTHS[1:]]
        kept = [one for one in kept if one["dataset"] != folder.name] + [found]
        print(table(found), flush=True)
        arguments.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """A data set's curve, and what was chosen."""
    lines = [f"{found['dataset']}, {found['users']} users"]
    for title, rows in (("chosen on validation users", found["chosen"]), ("all", found["curve"])):
        lines.append(f"  {title}")
        for one in rows:
            parts = [
                f"{name} {one[name]['value']:.4f} ({one[name]['change']:+.1%} "
                f"[{one[name]['low']:+.1%}, {one[name]['high']:+.1%}])"
                for name in ("NDCG@10", "ILD@10")
            ]
            lines.append(f"    {one['by']} {one['diversity']:<5g} {' · '.join(parts)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
