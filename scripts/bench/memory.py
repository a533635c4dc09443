"""The history hidden and a state kept in its place: what is left of the ranking, and what a reader of the state finds.

    python scripts/bench/memory.py ml-1m MODEL [--users 300] [--out scripts/bench/results/memory-ml-1m.json]

MODEL is a saved recommender that was fitted without the users of test_users.txt. Arms: N nothing known · V the user
vector · S sums of rows of item tables, and a Bloom filter for what was seen · S+V both · D numbers from which the
served scores are read · L the list of events itself, 2 bytes each · H the history. Tables, principal directions and
updates are learned from training users; how bytes are shared out is chosen on one half of the test users for the other.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory_attack import Attack
from memory_reading import BUDGET, BUDGETS, Reader, hide, recipes
from memory_states import HEADER, SHOTS, VECTOR, Filter, Parts, Recipe, Shop
from memory_updates import Updates

import recllm
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import Tasks, make_tasks, split_users
from recllm.encoders.validation import ndcg_at_10
from recllm.evaluation.statistics import Estimate, mean_estimate, paired_estimates

ARMS = ("S", "S in order", "S in order, fp16", "S+V", "V", "D")
AT_BAR = ("S in order", "S in order, fp16")
"""Arms that are measured where the bar is, only."""
TAUGHT_USERS, EVENTS, ATTACKED = 1500, 20, 100
EVENT_BYTES = 2
"""Of an event in a list: 12 bits of item, 3 of feedback, 1 that says whether it shares the moment of the one before."""


class Asked:
    """Test users with at least so many events: what is known of them, what is asked, and how good an answer is.

    Args:
        tasks: Of all test users.
        shots: Events known.
        users: Asked at most.
    """

    def __init__(self, tasks: Tasks, shots: int, users: int) -> None:
        enough = np.flatnonzero(tasks.support.lengths >= shots)
        enough = np.sort(np.random.default_rng(shots).permutation(enough)[:users])
        self.support, self.query = tasks.support.of(enough).last(shots), tasks.query.of(enough)
        parts = split_users(self.query.user_ids, {"one": 0.5, "other": 0.5}, seed=0)
        self.halves = (parts["one"], parts["other"])

    def figure(self, scores: np.ndarray) -> np.ndarray:
        """NDCG@10 of each user; what is hidden must have been."""
        nobody = Histories.empty(self.query.user_ids)
        return ndcg_at_10(torch.from_numpy(scores), nobody, self.query)

    def of(self, reader: Reader, recipe: Recipe) -> np.ndarray:
        """NDCG@10 of each user by a state."""
        scores = reader.scores(reader.state(self.support, recipe), self.support, recipe)
        return self.figure(hide(scores, recipe.filter.hidden(self.support, reader.shop.items)))

    def by_history(self, reader: Reader, events: int) -> np.ndarray:
        """NDCG@10 of each user by a list of their newest events."""
        return self.figure(by_history(reader, self.support.last(events)))


def by_history(reader: Reader, histories: Histories) -> np.ndarray:
    """Served scores, seen items hidden."""
    scores: np.ndarray = reader.shop.model.scores(histories, None).numpy()
    scores[histories.user_rows, histories.item_rows] = -np.inf
    return scores


def ends(found: Estimate, shift: float = 0.0) -> list[float]:
    """Value, lower and upper end of the interval."""
    return [round(float(value) + shift, 4) for value in (found.value, found.low, found.high)]


def line(values: dict[int, np.ndarray], asked: dict[int, Asked], nothing: Any, history: Any) -> dict[str, Any]:
    """Figure and retained share by K."""
    found = {}
    for k, value in values.items():
        users = asked[k].query.user_ids
        kept = paired_estimates(value - nothing[k], history[k] - nothing[k], users)[1]
        found[f"K={k}"] = {"NDCG@10": ends(mean_estimate(value, users)), "retained": ends(kept, 1.0)}
    return found


def by_halves(
    choices: list[Recipe], asked: dict[int, Asked], reader: Reader
) -> tuple[dict[int, np.ndarray], list[Recipe]]:
    """Each half of the users by the recipe that is best for the other: figures by K, and the recipe of each half."""
    values = [{k: one.of(reader, recipe) for k, one in asked.items()} for recipe in choices]
    chosen = []
    for half in (0, 1):
        means = [np.mean([value[k][one.halves[1 - half]].mean() for k, one in asked.items()]) for value in values]
        chosen.append(int(np.argmax(means)))
    joined = {}
    for k, one in asked.items():
        joined[k] = values[chosen[0]][k].copy()
        joined[k][one.halves[1]] = values[chosen[1]][k][one.halves[1]]
    return joined, [choices[place] for place in chosen]


def top(scores: np.ndarray) -> np.ndarray:
    """The best ten items of each user."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :10]


def overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean share of one list of ten that is in the other."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(top(ours), top(theirs), strict=True)]))


def carried_on(asked: dict[int, Asked], chosen: list[Recipe], updates: Updates) -> dict[str, Any]:
    """20 events folded in one by one, against the state of the whole history."""
    found, reader = {}, updates.reader
    for k, one in asked.items():
        if k < EVENTS:
            continue
        at_once, folded = (np.zeros(len(one.query)) for _ in range(2))
        for half, recipe in zip(one.halves, chosen, strict=True):
            some = one.support.of(half)
            hidden = recipe.filter.hidden(some, reader.shop.items)
            states = reader.state(some, recipe), updates.folded(some, EVENTS, recipe)
            for values, parts in zip((at_once, folded), states, strict=True):
                scores = np.full((len(one.query), reader.shop.items), -np.inf, dtype=np.float32)
                scores[half] = hide(reader.scores(parts, some, recipe), hidden)
                values[half] = one.figure(scores)[half]
        ratio = paired_estimates(folded, at_once, one.query.user_ids)[1]
        found[f"K={k}"] = {
            "at once": round(float(at_once.mean()), 4),
            "one by one": round(float(folded.mean()), 4),
            "lost": [-value for value in (ends(ratio)[0], ends(ratio)[2], ends(ratio)[1])],
        }
    return found


def taken_out(asked: dict[int, Asked], chosen: list[Recipe], updates: Updates) -> dict[str, Any]:
    """One event taken out of sums, against never having had it."""
    found, reader = {}, updates.reader
    for k, one in asked.items():
        recipe, some = chosen[0], one.support.of(one.halves[0])
        place = np.random.default_rng(k).integers(0, k, len(some))
        less, never = updates.taken_out(some, place, recipe)
        rest = some.drop_events(~np.isin(np.arange(some.n_events), some.offsets[:-1] + place))

        def scores(parts: Parts, of: Histories = rest, recipe: Recipe = recipe) -> np.ndarray:
            return hide(reader.scores(parts, of, recipe), recipe.filter.hidden(of, reader.shop.items))

        wrong = {name: float(np.linalg.norm(less[name] - never[name]) / np.linalg.norm(never[name])) for name in less}
        found[f"K={k}"] = {
            "relative error": {name: round(value, 5) for name, value in wrong.items()},
            "of ten as if never seen": round(overlap(scores(less), scores(never)), 4),
            "of ten if left in": round(overlap(scores(reader.state(some, recipe)), scores(never)), 4),
        }
    return found


def attacked(asked: dict[int, Asked], chosen: list[Recipe], attack: Attack) -> dict[str, Any]:
    """Means over users."""
    found = {}
    for k, one in asked.items():
        users = [
            attack.run(one.support.of(half[: ATTACKED // 2]), recipe)
            for half, recipe in zip(one.halves, chosen, strict=True)
        ]
        both = [user for part in users for user in part]
        names = list(dict.fromkeys(name for user in both for name in user))
        means = {name: round(float(np.mean([user[name] for user in both if name in user])), 4) for name in names}
        found[f"K={k}"] = {"users": len(both)} | means
    return found


def described(recipe: Recipe) -> dict[str, Any]:
    """As JSON."""
    return asdict(recipe) | {"sizes": dict(recipe.sizes), "bytes": recipe.size}


def fixed(reader: Reader, asked: dict[int, Asked], nothing: Any, history: Any) -> dict[str, Any]:
    """Where nothing is chosen."""
    items, some = reader.shop.items, Filter(128)
    hidden = {k: some.hidden(one.support, items) for k, one in asked.items()}
    nobody = {k: reader.shop.model.scores(Histories.empty(len(one.query)), None).numpy() for k, one in asked.items()}
    filtered = {k: one.figure(hide(nobody[k], hidden[k])) for k, one in asked.items()}
    values = {"N": nothing, "N and a filter": filtered, "H": history}
    vector = ((VECTOR, len(reader.shop.vectors.rows)),)
    for name, recipe in (("V", Recipe(vector, 16, Filter(0))), ("V and a filter", Recipe(vector, 16, some))):
        values[f"{name}, {recipe.size} bytes"] = {k: one.of(reader, recipe) for k, one in asked.items()}
    found: dict[str, Any] = {name: line(value, asked, nothing, history) for name, value in values.items()}
    unseen = {k: items - one.support.lengths for k, one in asked.items()}
    wrong = {k: (hidden[k].sum(axis=1) - one.support.lengths) / unseen[k] for k, one in asked.items()}
    found["filter of 128 bytes, share of unseen items hidden"] = {f"K={k}": float(w.mean()) for k, w in wrong.items()}
    return found


def measure(
    reader: Reader, asked: dict[int, Asked], attack: Attack, budgets: tuple[int, ...], arms: tuple[str, ...]
) -> dict[str, Any]:
    """Curves, updates and attacks."""
    updates, shop = Updates(reader), reader.shop
    nothing = {
        k: one.figure(shop.model.scores(Histories.empty(len(one.query)), None).numpy()) for k, one in asked.items()
    }
    history = {k: one.by_history(reader, k) for k, one in asked.items()}
    result: dict[str, Any] = {"fixed": fixed(reader, asked, nothing, history)}
    if arms == ARMS:
        plain = Reader(Shop(shop.model, shop.taught, shop.longer, weighted=False))
        values, chosen = by_halves(recipes("S", BUDGET, plain.shop), asked, plain)
        result["fixed"][f"S at {BUDGET}, tables of single items"] = line(values, asked, nothing, history)
    result["curve"] = {arm: {} for arm in (*arms, "L")}
    at_bar: dict[str, list[Recipe]] = {}
    for budget in budgets:
        values = {k: one.by_history(reader, (budget - HEADER) // EVENT_BYTES) for k, one in asked.items()}
        result["curve"]["L"][str(budget)] = line(values, asked, nothing, history)
        for arm in arms if budget == BUDGET else [arm for arm in arms if arm not in AT_BAR]:
            values, chosen = by_halves(recipes(arm, budget, shop), asked, reader)
            found = {"chosen": [described(one) for one in chosen]} | line(values, asked, nothing, history)
            result["curve"][arm][str(budget)] = found
            at_bar |= {arm: chosen} if budget == BUDGET else {}
            print(arm, budget, {k: v["retained"] for k, v in found.items() if k != "chosen"}, chosen, flush=True)
    result["20 events folded in"] = {arm: carried_on(asked, chosen, updates) for arm, chosen in at_bar.items()}
    sums = [arm for arm in at_bar if arm[0] == "S" and arm != "S+V"]
    result["one event taken out"] = {arm: taken_out(asked, at_bar[arm], updates) for arm in sums}
    result["attack"] = {arm: attacked(asked, chosen, attack) for arm, chosen in at_bar.items()}
    return result


def joined(old: Any, new: Any) -> Any:
    """Both; where they differ, the new one."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {name: joined(old.get(name), value) for name, value in new.items()}


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("model", type=Path)
    parser.add_argument("--users", type=int, default=300, help="asked at each K, at most")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="bytes")
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS, help="all: tables of single items, too")
    parser.add_argument("--out", type=Path, help="figures of other arms that are in it already stay")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["RECLLM_DATA"]) / arguments.name
    model = recllm.Recommender.load(arguments.model).model
    events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(model.catalog)
    test = (folder / "test_users.txt").read_text(encoding="utf-8").split()
    tasks = make_tasks(make_histories(events.of_users(test), model.catalog, model.feedback))
    training = make_histories(events.without_users(test), model.catalog, model.feedback)
    popular = np.bincount(training.item_rows, minlength=len(model.catalog)).astype(float)
    taught = make_tasks(training.of(np.random.default_rng(0).permutation(len(training))[:TAUGHT_USERS]))
    reader = Reader(Shop.of(model, taught))
    asked = {k: Asked(tasks, k, arguments.users) for k in SHOTS}
    result = {"data": arguments.name, "users": {f"K={k}": len(one.query) for k, one in asked.items()}}
    result |= measure(reader, asked, Attack(reader, popular), tuple(arguments.budgets), tuple(arguments.arms))
    print(json.dumps(result, indent=1))
    if arguments.out is not None:
        if arguments.out.exists():
            result = joined(json.loads(arguments.out.read_text(encoding="utf-8")), result)
        arguments.out.write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
