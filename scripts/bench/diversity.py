"""How much variety a list gains for how much accuracy: the curves of MMR and of a determinantal point process.

    python scripts/bench/diversity.py DATA [DATA …] [--budget 120s] [--models FOLDER] [--out …/results/diversity.json]

Each DATA is a folder with items and interactions. Asked are the users of its test_users.txt, or else a fifth, at K = 5
and 20. Variety is the mean of 1 − cosine over the pairs of a list's ten items, in three spaces: TF-IDF words (ILD@10 of
`recllm.evaluation.metrics`, which no ranker sees), categories, and sentence vectors before whitening. Of each way the
strength is chosen on validation users: the most variety, of categories where there are any and else of words, at a loss
of at most 2 % of NDCG@10. Changes come with 95 % intervals of a paired bootstrap over users.
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
STRENGTHS = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
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
    for some in seen.batches(model.listed_users):
        part: Histories = seen.of(some)
        eligible = served.eligible(part)
        batch = served.rank(part, None, torch.from_numpy(eligible), served.asked_at(part))
        for place, task in enumerate(some):
            line, listed = batch.line(place, len(model.catalog))
            for key, plan in plans.items():
                found = plan.rows(part.user_ids[place], line, listed, N)
                rows[key][task, : len(found)] = found
    order = {user: place for place, user in enumerate(seen.user_ids)}
    places = np.array([order[user] for user in arm.user_ids])
    result = {}
    for key, found in rows.items():
        result[key] = measure(Ranked(found[places], 0.0), arm, facts)[0]
        result[key]["ILD words"] = result[key]["ILD@10"]
        for space, vectors in spaces(rec, facts).items():
            result[key][f"ILD {space}"] = distances(vectors[found[places]])
    return result


def spaces(rec: recllm.Recommender, facts: ItemFacts) -> dict[str, np.ndarray]:
    """Unit vectors of the items in which variety is measured, beside the words."""
    found = {"sentences": rec.model.text}
    if facts.categories is not None:
        found["categories"] = facts.categories.toarray().astype(np.float32)
    return {name: one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-9) for name, one in found.items()}


def distances(lists: np.ndarray) -> np.ndarray:
    """Of each list the mean of 1 − cosine over its pairs; float32 [users, listed, dim] -> [users]."""
    cosines = np.einsum("uid,ujd->uij", lists, lists)
    above = np.triu_indices(lists.shape[1], 1)
    return np.asarray(1 - np.clip(cosines[:, above[0], above[1]], 0, 1).mean(axis=1))


def pooled(rec: recllm.Recommender, arms: tuple[Arm, ...], facts: ItemFacts) -> tuple[dict[Any, Any], np.ndarray]:
    """The figures of all arms one after another, and whose they are."""
    each = [figures(rec, arm, facts) for arm in arms]
    names = [name for name in next(iter(each[0].values())) if name == "NDCG@10" or name.startswith("ILD ")]
    together = {key: {name: np.concatenate([one[key][name] for one in each]) for name in names} for key in each[0]}
    return together, np.concatenate([np.array(arm.user_ids) for arm in arms])


def change(found: dict[Any, Any], users: np.ndarray, key: tuple[str, float]) -> dict[str, Any]:
    """How much is lost and gained against a list by score alone."""
    result: dict[str, Any] = {"by": key[0], "diversity": key[1]}
    for name in found[key]:
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
            space = "ILD categories" if facts.categories is not None else "ILD words"
            best = max(fine, key=lambda one: float(one[space]["change"]), default=None)
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
                for name in one
                if name not in ("by", "diversity")
            ]
            lines.append(f"    {one['by']} {one['diversity']:<5g} {' · '.join(parts)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
