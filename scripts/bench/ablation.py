"""What each part of the base is worth: one fit, then the head fitted again without each channel.

    python scripts/bench/ablation.py ml-1m uci-online-retail --out results/ablation.json

Test users are those of the data set; nothing is chosen here. For every part: NDCG@10 at each K, and the difference of
the mean over K ≥ 1 to the whole with its 95 % interval (paired by user, normal). Also recall@200 at K = 10 of every
channel, of their union by turns, and of the head's own order. `--set history.event_dropout=0` changes the base.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm
from recllm.config import from_mapping, to_mapping
from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.encoders.validation import DenseScores, ndcg_at_10
from recllm.evaluation.arms import Arm
from recllm.evaluation.protocol import make_splits
from recllm.model.fit.head import weigh_channels
from recllm.model.fit.run import FitRun
from recllm.model.fit.stages import fit_stages
from recllm.model.model import Model
from recllm.ranking.head import RankingHead
from recllm.retrieval.candidates import recall
from recllm.retrieval.scoring import Channels

SHOTS = (0, 1, 3, 5, 10, 20)
CANDIDATES = 200


class Without:
    """Channels of which one says nothing."""

    def __init__(self, channels: Channels, name: str) -> None:
        self.channels, self.place = channels, channels.names.index(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channels, name)

    def scores(self, *arguments: Any) -> torch.Tensor:
        """As the channels', zero for the one that is left out."""
        scores = self.channels.scores(*arguments)
        scores[:, self.place] = 0.0
        return scores


def ranking(model: Model) -> DenseScores:
    """The whole ranking, without adapters."""
    return lambda histories: model.scores(histories, None)


def ndcg(score: DenseScores, arms: list[Arm]) -> np.ndarray:
    """[users, shots]."""
    columns = []
    for arm in arms:
        batches = np.array_split(np.arange(len(arm)), max(len(arm) // 128, 1))
        columns.append(
            np.concatenate([ndcg_at_10(score(arm.support.of(b)), arm.support.of(b), arm.query.of(b)) for b in batches])
        )
    return np.stack(columns, axis=1)


def recalls(model: Model, arm: Arm) -> dict[str, float]:
    """Mean recall@200 of every channel, of their union by turns, and of the head's order."""
    parts: dict[str, list[np.ndarray]] = {}
    for batch in np.array_split(np.arange(len(arm)), max(len(arm) // 128, 1)):
        support, query = arm.support.of(batch), arm.query.of(batch)
        eligible = torch.from_numpy(binary_matrix(support, len(model.catalog), liked_only=False).toarray() == 0)
        relevant = torch.from_numpy(binary_matrix(query, len(model.catalog), liked_only=True).toarray() > 0)
        channels = model.channel_scores(support, None)
        orders = {name: channels[:, place] for place, name in enumerate(model.channels.names)}
        places = channels.masked_fill(~eligible.unsqueeze(1), -torch.inf).argsort(dim=2, descending=True).argsort(dim=2)
        orders["union by turns"] = -places.amin(dim=1).float()
        orders["the head's order"] = model.rank(support, channels)
        for name, scores in orders.items():
            parts.setdefault(name, []).append(recall(scores, eligible, relevant, CANDIDATES).numpy())
    return {name: round(float(np.concatenate(found).mean()), 4) for name, found in parts.items()}


def refitted(run: FitRun, model: Model, channels: Any) -> Model:
    """The model over other channels, with a head of its own."""
    torch.manual_seed(run.options.seed)
    head = RankingHead(len(channels.names), run.config.ranking)
    result = replace(model, channels=channels, head=head)
    weigh_channels(run, result)
    return result


def row(name: str, figures: np.ndarray, whole: np.ndarray) -> dict[str, Any]:
    """One line of the table."""
    difference = (figures - whole)[:, 1:].mean(axis=1)
    half = 1.96 * float(difference.std()) / len(difference) ** 0.5
    middle = float(difference.mean())
    print(f"{name:24}", *(f"{value:.4f}" for value in figures.mean(axis=0)), f"{middle:+.4f} ± {half:.4f}", flush=True)
    return {
        "part": name,
        "ndcg": [round(float(value), 4) for value in figures.mean(axis=0)],
        "difference": [round(middle - half, 4), round(middle, 4), round(middle + half, 4)],
    }


def measure(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Everything about one data set."""
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(catalog)
    asked = (folder / "test_users.txt").read_text().split()
    split = make_splits(catalog, events, shots=SHOTS, test_users=asked)[0]
    config = from_mapping(
        recllm.RecommenderConfig, changed(to_mapping(recllm.RecommenderConfig(adaptation=None)), changes)
    )
    run = FitRun(config, catalog, split.train, recllm.TrainOptions(seed=0))
    model = fit_stages(run)
    arms = list(split.arms)
    whole = ndcg(ranking(model), arms)
    rows = [row("all", whole, whole)]
    place = model.channels.names.index("history")

    def history_alone(histories: Histories) -> torch.Tensor:
        return model.channel_scores(histories, None)[:, place].clone()

    rows.append(row("history alone", ndcg(history_alone, arms), whole))
    for name in model.channels.names:
        part = refitted(run, model, Without(model.channels, name))
        rows.append(row(f"without {name}", ndcg(ranking(part), arms), whole))
    found = recalls(model, arms[SHOTS.index(10)])
    print(found, flush=True)
    return {
        "set": folder.name,
        "users": len(whole),
        "changes": changes,
        "seconds": {name: round(value, 1) for name, value in run.report.seconds.items()},
        "figures": {name: round(value, 4) for name, value in run.report.figures.items()},
        "chosen": run.report.chosen,
        "curve": run.report.curves["base"],
        "recall@200, K=10": found,
        "parts": rows,
    }


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The nested config with values at dotted keys replaced."""
    for key, value in changes.items():
        part, _, field = key.partition(".")
        config[part] = changed(dict(config[part]), {field: value}) if field else value
    return config


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="folders under RECLLM_DATA")
    parser.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="KEY=JSON", help="change a setting"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    pairs = (change.split("=", 1) for change in arguments.changes)
    changes = {key: json.loads(value) for key, value in pairs}
    results = [measure(Path(os.environ["RECLLM_DATA"]) / name, changes) for name in arguments.sets]
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
