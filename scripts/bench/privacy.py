"""What noise on counts costs, and what it takes from somebody who wants to know who was in the log.

    python scripts/bench/privacy.py ml-100k [--epsilons inf 8 3 1] [--alone [--times 100]]

For each ε one fit without the test users. NDCG@10 on the test users, of the whole and of what rests on counts alone.
The attacker has the whole history of somebody and asks whether they were in the log: training users are the members,
test users the others. AUC (.5: guessing) of
  by pairs: the pairs of the history are counted higher than their items' popularity says;
  by everybody else: the counts less all other people, whom the attacker knows, for one member in turn;
  by the model: what comes next in the history is listed higher, transformer and ranking included (not covered by ε).
`--alone` fits nothing, and measures counts and what rests on them alone (EASE with the setting where nobody can be
asked), in seconds; `--times`: in a shop with everybody so many times, as a larger one would be. Adds to
`scripts/bench/results/privacy.json`.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from memory_attack import auc
from scipy.stats import norm

import recllm
from recllm.counts.cooccurrence import Cooccurrence, Gram
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.counts.matrices import binary_matrix
from recllm.counts.private import COARSER, PrivacyConfig
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import make_tasks
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.validation import DenseScores, few_shot
from recllm.retrieval.config import RetrievalConfig

DATA = Path(os.environ.get("RECLLM_DATA", "data"))
OUT = Path(__file__).parent / "results" / "privacy.json"
SHOTS, KNOWN = (1, 3, 5, 10, 20), 20


class World:
    """A data set, cut into who is learned from and who is asked."""

    def __init__(self, name: str) -> None:
        folder = DATA / name
        self.catalog = recllm.Catalog.read(folder / "items.csv.gz")
        log = recllm.Interactions.read(folder / "interactions.csv.gz")
        strangers = (folder / "test_users.txt").read_text().split()
        self.log, asked = log.without_users(strangers), log.of_users(strangers)
        feedback = Feedback.infer(self.log.frame)
        self.members, self.strangers = (
            make_histories(one, self.catalog, feedback, seed=0) for one in (self.log, asked)
        )

    def fit(self, privacy: PrivacyConfig | None, steps: int) -> recllm.Recommender:
        """A recommender that has seen the members."""
        config = recllm.RecommenderConfig(
            adaptation=None, privacy=privacy, training=BaseTrainingConfig(steps=steps), prior=None
        )
        return recllm.Recommender(config).fit(self.catalog, self.log, options=recllm.TrainOptions(seed=0))


def ndcg(rec: recllm.Recommender, strangers: Histories, channel: str | None) -> float:
    """Mean NDCG@10 over test users and K, of the served scores or of one channel's."""
    model, tasks = rec.model, make_tasks(strangers)

    def scores(histories: Histories) -> torch.Tensor:
        if channel is None:
            return model.scores(histories, None)
        return model.channel_scores(histories, None)[:, model.channels.names.index(channel)]

    return float(np.mean([found.mean() for found in few_shot(scores, tasks, SHOTS, batch=256).values()]))


def by_pairs(counts: Counts, histories: Histories, events: int) -> np.ndarray:
    """For each user how much more often than popularity says their pairs are counted."""
    pairs, taken = counts.pairs.taken + counts.pairs.taken.T, counts.items.taken / max(counts.users, 1)
    found = np.zeros(len(histories))
    for user in range(len(histories)):
        rows = histories.items_of(user)[-events:]
        if len(rows) > 1:
            there = pairs[rows][:, rows].toarray() / max(counts.users, 1)
            expected = np.outer(taken[rows], taken[rows])
            found[user] = np.log((there + 1e-4) / (expected + 1e-4))[~np.eye(len(rows), dtype=bool)].mean()
    return found


def by_the_rest(privacy: PrivacyConfig | None, world: World, resolution: float) -> float:
    """The chance to tell a count with somebody from one without, where all others are known: at most that of noise."""
    if privacy is None:
        return 1.0
    chances = []
    for user in range(0, len(world.members), 7):
        own = Counts.of(world.members.of(np.array([user])).last(privacy.events), len(world.catalog), resolution)
        sizes = {"taken": own.items.taken.sum(), "liked": own.items.liked.sum(), "clock": own.items.clock.liked.sum()}
        sizes |= {f"pairs.{name}": getattr(own.pairs, name).sum() for name in ("taken", "liked", "next_liked")}
        apart = np.sqrt(sum(size / privacy.noise[name] ** 2 for name, size in sizes.items()))
        chances.append(norm.cdf(apart / np.sqrt(2)))
    return float(np.mean(chances))


def by_model(rec: recllm.Recommender, histories: Histories) -> np.ndarray:
    """For each user how high what comes next stands, by the items known before it."""
    tasks, model = make_tasks(histories), rec.model
    found = []
    for start in range(0, len(tasks.query), 256):
        some = np.arange(start, min(start + 256, len(tasks.query)))
        support, query = tasks.support.of(some).last(KNOWN), tasks.query.of(some)
        scores = model.scores(support, None).numpy()
        for user in range(len(some)):
            rows = query.items_of(user)
            found.append(float((scores[user][rows, None] > scores[user]).mean()))
    return np.array(found)


def measured(world: World, epsilon: float, events: int, steps: int) -> dict[str, float]:
    """A fit and the attacks on it."""
    privacy = None if np.isinf(epsilon) else PrivacyConfig(epsilon=epsilon, delta=1e-5, events=events)
    begin = time.monotonic()
    rec = world.fit(privacy, steps)
    seconds = time.monotonic() - begin
    seen = events if privacy is not None else 10**6
    names = [name for name in ("liked", "cooccurrence", "next_liked") if name in rec.model.channels.names]
    found = {"NDCG@10": ndcg(rec, world.strangers, None)}
    found |= {f"NDCG@10 of {name}": ndcg(rec, world.strangers, name) for name in (*names, "popularity")}
    found["AUC by pairs"] = auc(*(by_pairs(rec.counts, some, seen) for some in (world.members, world.strangers)))
    found["AUC by everybody else"] = by_the_rest(privacy, world, rec.counts.resolution)
    found["AUC by the model"] = auc(by_model(rec, world.members), by_model(rec, world.strangers))
    found |= {"pairs counted": float(rec.counts.pairs.taken.nnz), "seconds": seconds}
    if privacy is not None:
        found |= {"noise of items": privacy.noise["taken"], "noise of pairs": privacy.noise["pairs.taken"]}
        found["bar of pairs"] = privacy.bars["pairs.taken"]
    return {name: round(value, 4) for name, value in found.items()}


def alone(world: World, epsilon: float, events: int, times: int) -> dict[str, float]:
    """Counts, EASE and popularity of them, and the attacks that need no more."""
    privacy = None if np.isinf(epsilon) else PrivacyConfig(epsilon=epsilon, delta=1e-5, events=events)
    size, resolution = len(world.catalog), resolution_of(world.members.timestamps)
    members = Histories.concatenate([world.members] * times)
    counts = Counts.of(members, size, resolution)
    if privacy is not None:
        counts = privacy.of(members, size, COARSER * resolution)
    config = RetrievalConfig()
    l2 = times * config.regularisation[len(config.regularisation) // 2]
    weights = Cooccurrence.of(
        Gram(counts.items.taken, counts.pairs.taken), regularisation=l2, neighbours=config.neighbours
    ).weights
    popular = torch.from_numpy(counts.items.liked.astype(np.float32))
    # Where no pair is left, what is popular decides.
    small = 1e-6 * popular / max(float(popular.max()), 1.0)
    tasks = make_tasks(world.strangers)

    def together(histories: Histories) -> torch.Tensor:
        known = binary_matrix(histories, size, liked_only=False)
        return torch.from_numpy((known @ weights).toarray().astype(np.float32)) + small

    def figure(scores: DenseScores) -> float:
        return float(np.mean([found.mean() for found in few_shot(scores, tasks, SHOTS, batch=256).values()]))

    seen = events if privacy is not None else 10**6
    found = {"NDCG@10 of EASE": figure(together)}
    found["NDCG@10 of popularity"] = figure(lambda histories: popular.expand(len(histories), -1))
    found["AUC by pairs"] = auc(*(by_pairs(counts, some, seen) for some in (world.members, world.strangers)))
    found["AUC by everybody else"] = by_the_rest(privacy, world, resolution * COARSER)
    found["pairs counted"] = float(counts.pairs.taken.nnz)
    if privacy is not None:
        found |= {"noise of items": privacy.noise["taken"], "noise of pairs": privacy.noise["pairs.taken"]}
        found["bar of pairs"] = privacy.bars["pairs.taken"]
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--epsilons", nargs="+", type=float, default=[float("inf"), 8.0, 3.0, 1.0])
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    world = World(options.set)
    for epsilon in options.epsilons:
        found = alone(world, epsilon, options.events, options.times)
        if not options.alone:
            found = measured(world, epsilon, options.events, options.steps)
        kept = json.loads(OUT.read_text()) if OUT.exists() else {}
        name = f"{epsilon:g}, {options.events} events" + (
            f", counts alone, {options.times} times" if options.alone else ""
        )
        kept.setdefault(options.set, {})[name] = found
        OUT.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{options.set} ε = {epsilon:g}: {found}", flush=True)


if __name__ == "__main__":
    main()
