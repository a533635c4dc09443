"""Small shops, before and after the shop prior, beside what they have to beat; on catalogs that the prior has not seen.

    RECLLM_DATA=… python scripts/bench/shops.py ml-100k … --shops FOLDER --values FOLDER [--sizes 30 100 400 all]

Each cell of the grid is a sub-shop (`subshops.cut`): so many users, so much of the events, a draw. Its other users are
asked at K = 1, 3, 5, 10, 20 known events, NDCG@10. The prior is one that has not seen the cell's catalog.

| arm | |
|---|---|
| A | the ranking head knows this shop only, from users who are reserved for it (`prior=None`) |
| P | the prior alone; nobody is reserved |
| D | the prior and the shop's own step |
| shuffled | the prior with the statistics of another shop |
| global | one head for all shops: the prior at their mean statistics |
| sum | the plain sum of the channels |
| popularity, recent, item-kNN, EASE | each with the setting that was best for the shop's own users, held out in parts |
"""

import argparse
import json
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from build_adapters import NUMBERS, without
from numpy.typing import NDArray
from subshops import Cut, SubShop, cut, training_shops

import recllm
from recllm.adaptation.many_shops import TrainingShop
from recllm.adaptation.prior import ShopPrior
from recllm.adaptation.statistics import shop_statistics
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import make_tasks, split_users
from recllm.errors import DataError
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.registry import baseline_named
from recllm.evaluation.metrics import ndcg_at_10
from recllm.evaluation.scorers import rank_scores
from recllm.evaluation.tuning import tune
from recllm.model.model import Model
from recllm.ranking.head import RankingHead
from recllm.ranking.rules import tie_order

RIVALS = ("popularity", "recent popularity", "item-kNN", "EASE")
SHOTS = (0, 1, 3, 5, 10, 20)
ASKED = 600
TUNED_ON = 0.2

Scores = Callable[[slice], NDArray[np.float32]]


class Asked:
    """The other users of a sub-shop, at every number of known events."""

    def __init__(self, shop: SubShop) -> None:
        self.shop = shop
        self.feedback = Feedback.infer(shop.events.frame)
        self.arms = arms_of(shop, shop.others, self.feedback)
        self.ties = tie_order(shop.catalog.item_ids)

    def __len__(self) -> int:
        return len(self.arms[0])

    def ndcg(self, scores_of: Callable[[Arm], Scores]) -> NDArray[np.float16]:
        """NDCG@10 of every user, [shots, users]."""
        items = len(self.shop.catalog)
        values = [
            ndcg_at_10(rank_scores(arm, self.ties, scores_of(arm), length=10).rows, arm.asked(items))
            for arm in self.arms
        ]
        return np.array(values, dtype=np.float16)

    def of_model(self, model: Model, head: RankingHead | None = None) -> NDArray[np.float16]:
        """Of a model, or of it with another head."""
        if head is not None:
            model = copy(model)
            model.served = head

        def scores_of(arm: Arm) -> Scores:
            rows = np.arange(len(arm))
            return lambda tasks: model.scores(arm.support.of(rows[tasks]), None).numpy()

        return self.ndcg(scores_of)

    def of_rival(self, name: str) -> NDArray[np.float16]:
        """Of a baseline with the setting that was best for a fifth of the shop's users, fitted to all of them."""
        kind, shop = baseline_named(name), self.shop
        held = split_users(shop.events.user_ids, {"held": TUNED_ON}, seed=0)["held"]
        ids = [shop.events.user_ids[row] for row in held]
        try:
            validation = [arm for arm in arms_of(shop, shop.events.of_users(ids), self.feedback) if arm.shots]
            settings = tune(kind, shop.catalog, shop.events.without_users(ids), validation).settings
        except DataError:  # nobody in so small a part can be asked
            settings = {}
        fitted = kind(**settings).fit(shop.catalog, shop.events)
        return self.ndcg(lambda arm: lambda tasks: fitted.scores_of(fitted.known(arm.known_events(tasks))))


def arms_of(shop: SubShop, log: Interactions, feedback: Feedback) -> list[Arm]:
    """What users of a log are asked."""
    tasks = make_tasks(make_histories(log, shop.catalog, feedback, seed=0))
    return [Arm("shop", shots, tasks.support.last(shots), tasks.query, log=log) for shots in SHOTS]


Arms = dict[str, NDArray[np.float16]]


def measured(how: Cut, prior: Path, strange: TrainingShop, known: Arms) -> tuple[dict[str, Any], Arms]:
    """A cell: facts, and NDCG@10 of every arm that is not known yet, [shots, users]; D is always measured."""
    shop = cut(how)
    asked = Asked(shop)
    facts: dict[str, Any] = {"users": len(shop.events.user_ids), "events": len(shop.events), "asked": len(asked)}
    arms, models = dict(known), {}
    for arm, name in {"A": None, "D": str(prior)}.items():
        if arm != "D" and arm in known:
            continue
        begin = time.monotonic()
        config = recllm.RecommenderConfig(adaptation=None, prior=name)
        rec = recllm.Recommender(config).fit(shop.catalog, shop.events, options=recllm.TrainOptions(seed=0))
        facts[f"seconds of {arm}"] = round(time.monotonic() - begin, 1)
        models[arm] = rec.model
        arms[arm] = asked.of_model(rec.model)
    facts["own step"] = rec.report.chosen.get("ranking")
    model, made = models["D"], ShopPrior.load(prior)
    histories = make_histories(shop.events, shop.catalog, model.feedback, seed=0)
    statistics = shop_statistics(histories, len(shop.catalog), model.channels.names)
    heads = {
        "P": made.head(statistics, model.channels.names, rec.config.ranking),
        "shuffled": made.head(strange.statistics, model.channels.names, rec.config.ranking),
        "global": made.head(made.mean, model.channels.names, rec.config.ranking),
        "sum": RankingHead(len(model.channels.names), rec.config.ranking),
    }
    arms |= {name: asked.of_model(model, head) for name, head in heads.items() if name not in known}
    arms |= {name: asked.of_rival(name) for name in RIVALS if name not in known}
    return facts, arms


def cells(names: list[str], sizes: list[int | None], shares: list[float], draws: int) -> list[Cut]:
    """The grid, draw by draw."""
    return [
        Cut(name, size, share, 10_000 + draw, asked=ASKED)
        for draw in range(draws)
        for size in sizes
        for share in shares
        for name in names
    ]


def main() -> None:
    """Measure the cells that are not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--shops", type=Path, required=True, help="where training shops and priors are kept")
    parser.add_argument("--values", type=Path, required=True, help="where each cell's values are kept")
    parser.add_argument("--sizes", nargs="+", default=["30", "100", "400", "all"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.3, 1.0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--known", type=Path, help="values of an earlier run, whose arms but D are taken over")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.values.mkdir(parents=True, exist_ok=True)
    shops = [shop for _, shop in training_shops(NUMBERS, recllm.TrainOptions(seed=0), options.shops)]
    sizes = [None if size == "all" else int(size) for size in options.sizes]
    for number, how in enumerate(cells(options.names, sizes, options.shares, options.draws)):
        place = options.values / f"{how.name}-{how.users or 'all'}-{how.share:g}-{how.seed}.npz"
        if place.exists():
            continue
        others = [shop for shop in shops if shop.catalog != how.name]
        known: Arms = {}
        earlier: dict[str, Any] = {}
        if options.known is not None and (options.known / place.name).exists():
            with np.load(options.known / place.name) as saved:
                known = {arm: saved[arm] for arm in saved.files if arm != "facts"}
                earlier = json.loads(str(saved["facts"]))
        facts, arms = measured(how, without(shops, how.name, options.shops), others[number % len(others)], known)
        facts = earlier | facts
        np.savez(place, facts=json.dumps(facts), **arms)  # type: ignore[arg-type]
        print(place.stem, facts, {arm: round(float(np.nanmean(v[1:])), 4) for arm, v in arms.items()}, flush=True)


if __name__ == "__main__":
    main()
