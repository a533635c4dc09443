"""Ranks the arms of a saved split with another library; runs in the peers' own environment, without recllm.

    python rank.py SPLIT OUT --method sasrec --events liked --minutes 30

Reads `split.json`, `train.csv.gz`, `support.csv.gz` and `query.csv.gz` of the split. The queries of the validation arms
choose settings and the epoch that is kept; those of the test arms are never looked at. Writes `<name>.csv.gz` (arm,
user_id, rank, item_id: the best 200 items of every user) and `<name>.json` (budget, settings, curve, versions).
"""

import argparse
import importlib.metadata
import json
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LENGTH = 200
IDS = {"arm": str, "user_id": str, "item_id": str, "part": str}

Lists = dict[str, list[str]]
Rank = Callable[[pd.DataFrame, list[str]], Lists]
"""From supports (user_id, item_id, timestamp, signal; oldest first) and users to items, best first."""


class Split:
    """The files of a split."""

    def __init__(self, folder: Path, events: str) -> None:
        self.about = json.loads((folder / "split.json").read_text())
        self.train, self.support, self.query = (
            pd.read_csv(folder / f"{name}.csv.gz", dtype=IDS, keep_default_na=False)
            for name in ("train", "support", "query")
        )
        items = pd.read_csv(folder / "items.csv.gz", dtype=str, keep_default_na=False)
        cold, warm = (set(items.item_id[items.cold == value]) for value in ("1", "0"))
        self.kept_out: dict[str, set[str]] = {"all": set(), "cold": warm, "not cold": cold}
        self.events = events
        likes = self.train[self.train.signal > 0]
        self.popular = likes.item_id.value_counts().sort_index().sort_values(ascending=False, kind="stable").index

    def fitted_on(self) -> pd.DataFrame:
        """Events to learn from: those of the training users who validate nothing."""
        events = self.train[self.train.part == "train"]
        return events[events.signal > 0] if self.events == "liked" else events

    def rank(self, arm: str, rank: Rank) -> Lists:
        """A full list for every user of an arm; popular items where the method has no answer."""
        support, known, users = self.support[self.support.arm == arm], self.known(arm), self.users(arm)
        found = rank(known, users) if len(known) else {}
        (about,) = (about for about in self.about["arms"] if about["arm"] == arm)
        seen = support.groupby("user_id").item_id.agg(set).to_dict() if about["exclude_seen"] else {}
        out = self.kept_out[about["candidates"]]
        return {user: _filled(found.get(user, []), self.popular, seen.get(user, set()) | out) for user in users}

    def known(self, arm: str) -> pd.DataFrame:
        """The support of an arm, or what is liked of it."""
        support = self.support[self.support.arm == arm]
        return support[support.signal > 0] if self.events == "liked" else support

    def users(self, arm: str) -> list[str]:
        """Everybody asked in an arm."""
        users: list[str] = self.query[self.query.arm == arm].user_id.unique().tolist()
        return users

    def ndcg(self, rank: Rank) -> float:
        """Mean NDCG@10 over the validation arms with a support."""
        arms = [arm["arm"] for arm in self.about["arms"] if arm["part"] == "validation" and arm["shots"]]
        return float(np.mean([self._ndcg(arm, self.rank(arm, rank)) for arm in arms]))

    def _ndcg(self, arm: str, lists: Lists) -> float:
        query = self.query[(self.query.arm == arm) & (self.query.signal > 0)]
        discount = 1 / np.log2(np.arange(2, 12))
        values = []
        for user, wanted in query.groupby("user_id").item_id.agg(set).items():
            hits = np.array([item in wanted for item in lists[user][:10]])
            values.append((hits @ discount[: len(hits)]) / discount[: min(len(wanted), 10)].sum())
        return float(np.mean(values))


def _filled(found: Iterable[str], popular: Iterable[str], kept_out: set[str]) -> list[str]:
    listed = dict.fromkeys(item for source in (found, popular) for item in source if item not in kept_out)
    return list(listed)[:LENGTH]


def train_sasrec(split: Split, options: argparse.Namespace) -> tuple[Rank, dict[str, Any]]:
    """RecTools' SASRec, or eSASRec: LiGR layers and a sampled softmax (arXiv 2508.06450)."""
    import logging

    import torch
    from pytorch_lightning import Trainer, seed_everything
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.transformers.ligr import LiGRLayers

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(options.seed)
    settings: dict[str, Any] = {"n_factors": 128, "n_blocks": 2, "n_heads": 4, "session_max_len": 100, "lr": 1e-3}
    settings |= {"batch_size": 128, "loss": "softmax"}
    extra: dict[str, Any] = {}
    if options.method == "esasrec":
        settings |= {"loss": "sampled_softmax", "n_negatives": 256, "batch_size": options.batch or 64}
        extra = {"transformer_layers_type": LiGRLayers}

    def trainer() -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        return Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)

    model = SASRecModel(**settings, **extra, get_trainer_func=trainer, recommend_torch_device="cpu")
    data = dataset_of(Dataset, split.fitted_on())

    def rank(support: pd.DataFrame, users: list[str]) -> Lists:
        known = support[support.item_id.isin(data.item_id_map.external_ids)]
        asked = [user for user in users if user in set(known.user_id)]
        if not asked:
            return {}
        size = min(LENGTH + 50, data.item_id_map.size)
        reco = model.recommend(
            asked, dataset_of(Dataset, known), k=size, filter_viewed=True, on_unsupported_targets="ignore"
        )
        result: Lists = reco.groupby("user_id", sort=False).item_id.agg(list).to_dict()
        return result

    curve: list[list[float]] = []
    best: dict[str, Any] = {}
    trained = epochs = 0.0
    while trained < 60 * options.minutes and epochs < options.epochs:
        begin = time.monotonic()
        model.fit_partial(data, min_epochs=options.look, max_epochs=options.look)
        trained += time.monotonic() - begin
        epochs += options.look
        value = split.ndcg(rank)
        if not curve or value > max(point[2] for point in curve):
            best = {name: tensor.clone() for name, tensor in model.torch_model.state_dict().items()}
        curve.append([epochs, round(trained), round(value, 4)])
        print(f"{options.method} {split.events}: {epochs:.0f} epochs, {trained:.0f} s, NDCG@10 {value:.4f}", flush=True)
    model.torch_model.load_state_dict(best)
    report = {"settings": settings, "curve": curve, "training seconds": round(trained)}
    return rank, report | {"threads": torch.get_num_threads(), "validation": max(point[2] for point in curve)}


def dataset_of(kind: Any, events: pd.DataFrame) -> Any:
    """RecTools' dataset; the files' order is the order of time, ties already broken."""
    order = pd.to_datetime(np.arange(len(events)), unit="s")
    columns = {"user_id": events.user_id.to_numpy(), "item_id": events.item_id.to_numpy()}
    return kind.construct(pd.DataFrame({**columns, "weight": 1.0, "datetime": order}))


def train_ials(split: Split, options: argparse.Namespace) -> tuple[Rank, dict[str, Any]]:
    """implicit's ALS; a new user's factors are solved for from the support."""
    from implicit.als import AlternatingLeastSquares
    from scipy import sparse

    events = split.fitted_on()
    items = pd.Index(sorted(events.item_id.unique()))
    users = pd.Index(events.user_id.unique())

    def matrix(frame: pd.DataFrame, rows: pd.Index, alpha: float) -> Any:
        frame = frame[frame.item_id.isin(items)]
        place = (rows.get_indexer(frame.user_id), items.get_indexer(frame.item_id))
        ones = np.full(len(frame), alpha, dtype=np.float32)
        return sparse.csr_matrix((ones, place), shape=(len(rows), len(items)))

    tried: list[dict[str, Any]] = []
    best: tuple[float, Rank | None] = (-1.0, None)
    begin = time.monotonic()
    for factors in (32, 64, 128):
        for regularisation in (1.0, 10.0, 100.0):
            for alpha in (1.0, 10.0):
                model = AlternatingLeastSquares(
                    factors=factors, regularization=regularisation, iterations=15, random_state=options.seed
                )
                model.fit(matrix(events, users, alpha), show_progress=False)

                def rank(support: pd.DataFrame, asked: list[str], model: Any = model, alpha: float = alpha) -> Lists:
                    known = matrix(support, pd.Index(asked), alpha)
                    found, _ = model.recommend(
                        np.arange(len(asked)),
                        known,
                        N=min(LENGTH, len(items)),
                        filter_already_liked_items=True,
                        recalculate_user=True,
                    )
                    return {u: items[line[line >= 0]].tolist() for u, line in zip(asked, found, strict=True)}

                value = split.ndcg(rank)
                tried.append(
                    {"factors": factors, "regularisation": regularisation, "alpha": alpha, "NDCG@10": round(value, 4)}
                )
                if value > best[0]:
                    best = (value, rank)
                print("ials", tried[-1], flush=True)
    assert best[1] is not None
    return best[1], {
        "tried": tried,
        "training seconds": round(time.monotonic() - begin),
        "validation": round(best[0], 4),
    }


def train_youtube(split: Split, options: argparse.Namespace) -> tuple[Rank, dict[str, Any]]:
    """LibRecommender's YouTubeRetrieval, of its models one that embeds an unseen user from a sequence alone."""
    import os

    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    warnings.filterwarnings("ignore")
    from libreco.algorithms import YouTubeRetrieval
    from libreco.data import DatasetPure

    events = split.fitted_on()
    frame = pd.DataFrame({"user": events.user_id, "item": events.item_id, "label": 1, "time": np.arange(len(events))})
    data, info = DatasetPure.build_trainset(frame)
    settings = {"embed_size": 64, "lr": 1e-3, "batch_size": 1024, "recent_num": 20, "loss_type": "sampled_softmax"}
    model = YouTubeRetrieval("ranking", info, n_epochs=options.look, seed=options.seed, **settings)
    known = set(info.item2id)
    someone = next(iter(info.user2id))

    def rank(support: pd.DataFrame, users: list[str]) -> Lists:
        sequences = support[support.item_id.isin(known)].groupby("user_id").item_id.agg(list).to_dict()
        found = {}
        for user in (user for user in users if user in sequences):
            vector = model.dyn_user_embedding(someone, seq=sequences[user], include_bias=True)
            scores = model.item_embeds_np[: len(known)] @ np.ravel(vector)
            best = np.argsort(-scores, kind="stable")[: LENGTH + 50]
            found[user] = [info.id2item[row] for row in best]
        return found

    curve: list[list[float]] = []
    lists: dict[str, Lists] = {}
    trained = epochs = 0.0
    arms = [arm["arm"] for arm in split.about["arms"]]
    while trained < 60 * options.minutes and epochs < options.epochs:
        begin = time.monotonic()
        model.fit(data, neg_sampling=True, verbose=0)
        trained += time.monotonic() - begin
        epochs += options.look
        value = split.ndcg(rank)
        if not curve or value > max(point[2] for point in curve):
            # TensorFlow's weights are not ours to copy; the lists of the best epoch are.
            lists = {arm: rank(split.known(arm), split.users(arm)) for arm in arms}
        curve.append([epochs, round(trained), round(value, 4)])
        print(f"youtube {split.events}: {epochs:.0f} epochs, {trained:.0f} s, NDCG@10 {value:.4f}", flush=True)

    def best(support: pd.DataFrame, users: list[str]) -> Lists:
        return lists[str(support.arm.iloc[0])]

    report = {"settings": settings, "curve": curve, "training seconds": round(trained)}
    return best, report | {"validation": max(point[2] for point in curve)}


METHODS = {"sasrec": train_sasrec, "esasrec": train_sasrec, "ials": train_ials, "youtube": train_youtube}


def main() -> None:
    """Train, choose on the validation arms, rank all test arms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--events", choices=("all", "liked"), required=True)
    parser.add_argument("--minutes", type=float, default=30, help="least training time of a transformer")
    parser.add_argument("--epochs", type=int, default=10**6, help="most epochs of a transformer")
    parser.add_argument("--look", type=int, default=2, help="epochs between two looks at the validation users")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    split = Split(options.split, options.events)
    rank, report = METHODS[options.method](split, options)
    rows = []
    begin = time.monotonic()
    arms = [arm["arm"] for arm in split.about["arms"] if arm["part"] == "test"]
    for arm in arms:
        for user, items in split.rank(arm, rank).items():
            rows.append(
                pd.DataFrame({"arm": arm, "user_id": user, "rank": np.arange(1, len(items) + 1), "item_id": items})
            )
    seconds = time.monotonic() - begin
    name = f"{options.method}-{options.events}"
    options.out.mkdir(parents=True, exist_ok=True)
    pd.concat(rows).to_csv(options.out / f"{name}.csv.gz", index=False)
    report |= {"method": name, "split": split.about.get("fingerprint"), "seed": options.seed}
    report |= {"ms per user": round(1000 * seconds / max(len(rows), 1), 2)}
    packages = ("rectools", "implicit", "librecommender", "torch", "numpy")
    report |= {"versions": {package: importlib.metadata.version(package) for package in packages}}
    (options.out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
