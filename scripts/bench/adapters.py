"""What users' own adapters add: D against A, on the same base, for large and small shops.

    python scripts/bench/adapters.py uci-online-retail --seeds 0 1 2 --out results/adapters-retail.json
    python scripts/bench/adapters.py ml-1m --users 100 --draws 5 --out results/adapters-ml-1m-100.json
    python scripts/bench/adapters.py ml-100k --methods anil closed-form … --out results/methods.json

Test users are those of the data set; nothing is chosen on them. A and D share one base, bit for bit what two fits with
the same seed give, so that only what is compared differs: A is the ranking head, D the head and each user's adapter, C
the meta-learned start. `--bases folder/` keeps fitted bases. Intervals: 2,000 resamples of users, all seeds and draws
of a user together.

Kept for every K: NDCG@10 of A, C and D, D − A in per cent of A, D − C, how many lose more than .05 against C, another
user's adapter against A and D, the change of ΔNDCG (liked minus disliked) of who disliked something in the support,
coverage@10, how many gates are open.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import meta_methods  # noqa: F401  # adds the methods that pay nowhere
import numpy as np
import torch

import recllm
from recllm.adaptation.meta import AdaptationConfig
from recllm.adaptation.support import Support
from recllm.data.histories import Histories
from recllm.data.tasks import split_users
from recllm.encoders.validation import ndcg_at_10
from recllm.evaluation.arms import Arm
from recllm.evaluation.protocol import make_splits
from recllm.model.fit.adapt import fit_adaptation
from recllm.model.fit.head import weigh_channels
from recllm.model.fit.run import FitRun
from recllm.model.model import Model
from recllm.ranking.head import RankingHead

SHOTS = (1, 3, 5, 10, 20)
FIXED = {"fomaml", "maml", "reptile", "anil", "lora-ml"}
"""Methods whose step sizes are not learned; they get this one, which is where learned ones go."""
FIXED_RATE = 0.1
RESAMPLES = 2000

Figures = dict[str, np.ndarray]


def batches(model: Model, count: int) -> list[np.ndarray]:
    """Rows of tasks that are scored together."""
    size = model.batch_users
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def asked(model: Model, arm: Arm, score: Callable[[Histories, np.ndarray], torch.Tensor]) -> Figures:
    """NDCG@10 of the liked and of the disliked items of the query [tasks], and the ten best items."""
    liked, disliked, best = [], [], []
    for rows in batches(model, len(arm)):
        support, query = arm.support.of(rows), arm.query.of(rows)
        with torch.no_grad():
            scores = score(support, rows)
        liked.append(ndcg_at_10(scores, support, query))
        disliked.append(np.nan_to_num(ndcg_at_10(scores, support, replace(query, signals=-query.signals))))
        scores[torch.from_numpy(support.user_rows), torch.from_numpy(support.item_rows)] = -torch.inf
        best.append(scores.topk(10, dim=1).indices.numpy())
    return {"liked": np.concatenate(liked), "disliked": np.concatenate(disliked), "best": np.concatenate(best)}


def open_gates(model: Model, arm: Arm) -> np.ndarray:
    """How far each user's gate is open, in [0, 1]."""
    learner = model.learner
    if learner is None or not bool(learner.open):
        return np.zeros(len(arm))
    parts = []
    for rows in batches(model, len(arm)):
        support = Support.collate(model.base, arm.support.of(rows), learner.contrast)
        parts.append(learner.openness(model.base, support).detach().numpy())
    return np.concatenate(parts)


def measured(model: Model, arms: list[Arm], baseline: dict[int, Figures]) -> dict[int, dict[str, np.ndarray]]:
    """Everything that is kept of one fit, by K."""
    result = {}
    for arm in arms:
        shifted = arm.support.of(np.roll(np.arange(len(arm)), 1))
        a = baseline[arm.shots]
        c = asked(model, arm, lambda support, _: model.scores(support, None))
        d = asked(model, arm, lambda support, _: model.scores(support, model.adapt(support) or None))
        other = asked(
            model, arm, lambda support, rows, own=shifted: model.scores(support, model.adapt(own.of(rows)) or None)
        )
        disliked = np.bincount(arm.support.user_rows[arm.support.signals < 0], minlength=len(arm)) > 0
        result[arm.shots] = {
            "users": np.array(arm.user_ids),
            **{name: part["liked"] for name, part in {"A": a, "C": c, "D": d, "other": other}.items()},
            "delta": (d["liked"] - d["disliked"]) - (a["liked"] - a["disliked"]),
            "has dislikes": disliked,
            "open": open_gates(model, arm),
            "coverage A": a["best"],
            "coverage D": d["best"],
        }
    return result


class Runs:
    """Fits on one data set, one per seed or draw."""

    def __init__(self, name: str, users: int, bases: Path | None) -> None:
        folder = Path(os.environ["RECLLM_DATA"]) / name
        self.name, self.users, self.bases = name, users, bases
        self.catalog = recllm.Catalog.read(folder / "items.csv.gz")
        events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(self.catalog)
        test = (folder / "test_users.txt").read_text(encoding="utf-8").split()
        self.arms = [arm for arm in make_splits(self.catalog, events, test_users=test)[0].arms if arm.shots in SHOTS]
        self.rest = events.without_users(test)

    def run(self, seed: int, draw: int, configs: dict[str, AdaptationConfig]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was measured with each config, and what fitting said."""
        ids, events = sorted(self.rest.user_ids), self.rest
        if self.users:
            chosen = split_users(ids, {"drawn": self.users / len(ids)}, seed=100 + draw)["drawn"]
            events = events.of_users([ids[row] for row in chosen])
        base = self._base(events, seed, draw)
        run = FitRun(recllm.RecommenderConfig(), self.catalog, events, recllm.TrainOptions(seed=seed))
        run.begin = time.monotonic()
        model = replace(base, head=RankingHead(len(base.channels.names), run.config.ranking))
        weigh_channels(run, model)
        model.head.requires_grad_(False)
        baseline = {arm.shots: asked(model, arm, lambda support, _: model.scores(support, None)) for arm in self.arms}
        found, said = {}, {}
        for name, config in configs.items():
            run.config = replace(run.config, adaptation=config)
            adapted = replace(model, learner=None)
            head = {key: value.clone() for key, value in model.head.state_dict().items()}
            begin = time.monotonic()
            fit_adaptation(run, adapted)
            seconds = time.monotonic() - begin
            found[name] = measured(adapted, self.arms, baseline)
            model.head.load_state_dict(head)
            gain = run.report.figures.get("adapters' gain", float("nan"))
            said[name] = {"adapters": run.report.chosen.get("adapters"), "validation gain": gain, "seconds": seconds}
        return found, said

    def _base(self, events: recllm.Interactions, seed: int, draw: int) -> Model:
        folder = None if self.bases is None else self.bases / f"{self.name}-{self.users}-{draw}-{seed}"
        if folder is not None and folder.exists():
            return recllm.Recommender.load(folder).model
        fitted = recllm.Recommender(recllm.RecommenderConfig(adaptation=None))
        fitted.fit(self.catalog, events, options=recllm.TrainOptions(seed=seed))
        if folder is not None:
            fitted.save(folder)
        return fitted.model


def interval(values: np.ndarray, users: np.ndarray) -> list[float] | None:
    """Mean and its 95 % interval; all values of a user are drawn together. None of nothing."""
    if not len(values):
        return None
    _, owner = np.unique(users, return_inverse=True)
    count = np.bincount(owner)
    total = np.bincount(owner, weights=values)
    draws = np.random.default_rng(0).integers(0, len(count), (RESAMPLES, len(count)))
    means = total[draws].sum(axis=1) / count[draws].sum(axis=1)
    return [float(values.mean()), *map(float, np.percentile(means, [2.5, 97.5]))]


def pooled(parts: list[dict[int, dict[str, np.ndarray]]], items: int) -> dict[str, Any]:
    """The figures of all fits together, by K; under "all" those of every K ≥ 3."""
    result: dict[str, Any] = {}
    for label, shots in {**{str(k): [k] for k in SHOTS}, "all": [k for k in SHOTS if k >= 3]}.items():
        every = {
            name: np.concatenate([part[k][name] for part in parts for k in shots])
            for name in parts[0][shots[0]]
            if not name.startswith("coverage")
        }
        users, a, some = every["users"], every["A"], every["has dislikes"]
        gain = interval(every["D"] - a, users)
        assert gain is not None
        result[label] = {
            **{name: float(every[name].mean()) for name in ("A", "C", "D")},
            "D - A": gain,
            "D - A, % of A": [100 * value / float(a.mean()) for value in gain],
            "D - C": interval(every["D"] - every["C"], users),
            "lose .05 against C": float((every["D"] - every["C"] < -0.05).mean()),
            "another user's adapter - A": interval(every["other"] - a, users),
            "another user's adapter - D": interval(every["other"] - every["D"], users),
            "change of liked minus disliked": interval(every["delta"][some], users[some]),
            "users with dislikes": int(some.sum()),
            "open": float((every["open"] >= 0.5).mean()),
            "coverage@10": [
                float(np.mean([len(np.unique(part[k][f"coverage {row}"])) / items for part in parts for k in shots]))
                for row in "AD"
            ],
        }
    return result


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--users", type=int, default=0, help="training users to draw; 0: all")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=[])
    parser.add_argument("--bases", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    configs = {"default": AdaptationConfig()} | {
        name: AdaptationConfig(method=name, inner_learning_rate=FIXED_RATE if name in FIXED else 0.0)
        for name in arguments.methods
    }
    runs = Runs(arguments.name, arguments.users, arguments.bases)
    parts: dict[str, list[Any]] = {name: [] for name in configs}
    said: dict[str, list[Any]] = {name: [] for name in configs}
    for seed in arguments.seeds:
        for draw in range(arguments.draws):
            found, notes = runs.run(seed, draw, configs)
            for name in configs:
                parts[name].append(found[name])
                said[name].append({"seed": seed, "draw": draw, **notes[name]})
                print(name, said[name][-1], flush=True)
    about = {"data": arguments.name, "training users": arguments.users or "all", "test users": len(runs.arms[-1])}
    result = {
        **about,
        "methods": {name: {"fits": said[name], **pooled(parts[name], len(runs.catalog))} for name in configs},
    }
    for name, figures in result["methods"].items():
        for shots in (*map(str, SHOTS), "all"):
            line = figures[shots]
            low, high = line["D - A, % of A"][1:]
            print(
                f"{arguments.name} {name} K={shots}: A {line['A']:.4f} D {line['D']:.4f} "
                f"{line['D - A, % of A'][0]:+.1f} % [{low:+.1f}, {high:+.1f}], open {line['open']:.2f}"
            )
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
