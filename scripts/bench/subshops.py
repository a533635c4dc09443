"""Shops of many sizes, cut from the catalogs at hand: what the shop prior learns from and is measured on.

A sub-shop has some of a catalog's users, some of their events, perhaps some of its categories and a window of its time.
The catalog's other users, thinned alike, are those who are asked.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import torch

import recllm
from recllm.adaptation.many_shops import TrainingShop
from recllm.data.histories import Histories, make_histories
from recllm.encoders.threads import reproducible
from recllm.model.fit.base import fit_base, fit_channels
from recllm.model.fit.folds import Folds
from recllm.model.fit.head import NOTHING_KNOWN, ranking_tasks
from recllm.model.fit.run import FitRun
from recllm.model.fit.text import fit_text
from recllm.model.model import Model
from recllm.ranking.head import RankingHead
from recllm.ranking.objective import RankingTasks

SHIPPABLE = ("uci-online-retail", "xwines-old-world", "tldr-pages", "mooccube-2k", "stackexchange-beer-coffee")
"""Catalogs whose licence lets what is learned from them be given away."""

UNTIMED = ("mooccube-2k",)
"""Their timestamps are positions in a list, and no clock."""

SHARES = (0.1, 0.2, 0.3, 0.6, 1.0, 1.0)
FEWEST_EVENTS, FEWEST_ASKED, READ_FROM = 40, 40, 500
WANTED = 900


@dataclass(frozen=True)
class Cut:
    """How a sub-shop is cut.

    Attributes:
        name: Of the data set.
        users: How many; None: 85 % of those there are.
        share: Of the events that are kept, drawn event by event.
        seed: Of what is drawn.
        asked: Other users at most.
        categories: Whether only a third of the commonest categories is kept.
        window: Whether only four tenths of the time are kept.
    """

    name: str
    users: int | None
    share: float
    seed: int
    asked: int = 500
    categories: bool = False
    window: bool = False


@dataclass(frozen=True, eq=False)
class SubShop:
    """A catalog, its events, and those of other users."""

    catalog: recllm.Catalog
    events: recllm.Interactions
    others: recllm.Interactions


@lru_cache(maxsize=4)
def source(name: str) -> tuple[recllm.Catalog, pl.DataFrame]:
    """A catalog and its events."""
    folder = Path(os.environ["RECLLM_DATA"]) / name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    frame = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(catalog).frame
    if name == "tldr-pages":  # translators go through the alphabet
        frame = frame.filter(pl.col("event").is_in(["add", "edit"]))
    return catalog, frame


def cut(how: Cut) -> SubShop:
    """The sub-shop."""
    catalog, frame = source(how.name)
    rng = np.random.default_rng([how.seed, how.users or 0, int(100 * how.share), sum(map(ord, how.name))])
    if how.window and how.name not in UNTIMED:
        begin = 0.6 * rng.random()
        low, high = np.quantile(frame["timestamp"].to_numpy(), [begin, begin + 0.4])
        frame = frame.filter(pl.col("timestamp").is_between(low, high))
    if how.categories:
        values = catalog.frame["categories"].explode().drop_nulls()
        common = values.filter(values.str.len_chars() > 0).value_counts(sort=True).head(30)["categories"].to_list()
        if len(common) > 5:
            kept = rng.choice(sorted(common), len(common) // 3, replace=False).tolist()
            part = catalog.frame.filter(pl.col("categories").list.set_intersection(kept).list.len() > 0)
            catalog = recllm.Catalog.from_frame(part)
            frame = frame.filter(pl.col("item_id").is_in(part["item_id"].implode()))
    if how.share < 1:
        frame = frame.filter(pl.Series(rng.random(len(frame)) < how.share))
    counted = frame.group_by("user_id").len().sort("user_id")
    order = rng.permutation(len(counted))
    users = counted[order.tolist()]
    size = int(0.85 * len(users)) if how.users is None else how.users
    others = users[size:].filter(pl.col("len") >= 3)["user_id"].head(how.asked)

    def of(ids: pl.Series) -> recllm.Interactions:
        return recllm.Interactions.from_frame(frame.filter(pl.col("user_id").is_in(ids.implode())))

    return SubShop(catalog, of(users["user_id"].head(size)), of(others))


def draw(number: int, names: Sequence[str]) -> Cut:
    """One of the training shops."""
    rng = np.random.default_rng(number)
    name, share = str(rng.choice(names)), float(rng.choice(SHARES))
    users = int(np.exp(rng.uniform(np.log(25), np.log(700))))
    whole = rng.random() < 0.1 and not (name == "uci-online-retail" and share > 0.2)
    categories, window = rng.random(2) < 0.25
    return Cut(name, None if whole else users, share, number, categories=bool(categories), window=bool(window))


def training_shop(how: Cut, options: recllm.TrainOptions) -> TrainingShop | None:
    """What the prior learns of it: other users, asked by channels that have counted everybody of the shop.

    Two of five shops have a transformer; the others, and small ones, do without. None where too little is left.
    """
    shop = cut(how)
    if len(shop.events) < FEWEST_EVENTS or not len(shop.others):
        return None
    config = recllm.RecommenderConfig(adaptation=None, prior=None)
    run = FitRun(config, shop.catalog, shop.events, options, reserves=False)
    others = make_histories(shop.others, shop.catalog, run.feedback, seed=options.seed)
    sampler = run.windows(others)
    if len(sampler) < FEWEST_ASKED:
        return None
    reads = run.base.n_events > READ_FROM and how.seed % 5 < 2
    with reproducible():
        model = _model(run, reads)
        wanted = max(WANTED, 2 * len(sampler))
        _, tasks = ranking_tasks(
            run,
            model,
            sampler,
            wanted,
            nothing_known=NOTHING_KNOWN,
            masked_items=config.ranking.masked_items,
            seconds=None,
            reads=reads,
        )
    names = model.channels.names
    known = tuple(name for name in names if reads or name != "history")
    chosen = torch.from_numpy(np.sort(np.random.default_rng(how.seed).permutation(len(tasks))[:WANTED]))
    return TrainingShop(how.name, names, run.statistics(known), tasks.of(chosen))


def _model(run: FitRun, reads: bool) -> Model:
    text_encoder, texts = fit_text(run)
    channels = fit_channels(run, texts.white, Folds.of(run, texts.white))
    if not reads:
        nobody = Histories.empty(0)
        run.base, base = nobody, run.base
        encoder, items = fit_base(run, text_encoder, texts.white)
        run.base = base
    else:
        encoder, items = fit_base(run, text_encoder, texts.white)
    head = RankingHead(len(channels.names), run.config.ranking)
    return Model.of(run.config, run.catalog, run.feedback, texts, channels, encoder, items, head)


def kept_shop(how: Cut, options: recllm.TrainOptions, folder: Path) -> TrainingShop | None:
    """As `training_shop`, kept in a folder: cutting the shops takes most of the time."""
    place = folder / f"{how.seed:05d}.npz"
    if not place.exists():
        shop = training_shop(how, options)
        arrays = {} if shop is None else _arrays(shop)
        np.savez(place, how=json.dumps(asdict(how)), **arrays)  # type: ignore[arg-type]
    with np.load(place) as saved:
        if json.loads(str(saved["how"])) != asdict(how):
            raise SystemExit(f"{place} holds another shop; empty the folder, or name another one.")
        return _shop(how.name, saved) if "statistics" in saved else None


def _arrays(shop: TrainingShop) -> dict[str, np.ndarray]:
    tasks = {name: getattr(shop.tasks, name).numpy() for name in shop.tasks.__dataclass_fields__ if name != "rows"}
    return {"channels": np.array(shop.channels), "statistics": shop.statistics} | {
        name: array.astype(np.float16) if name == "scores" else array for name, array in tasks.items()
    }


def _shop(name: str, saved: "np.lib.npyio.NpzFile") -> TrainingShop:
    arrays = {part: torch.from_numpy(saved[part]) for part in ("scores", "known", "target", "rest", "users")}
    arrays["scores"] = arrays["scores"].float()
    rows = torch.zeros(arrays["target"].shape, dtype=torch.long)
    channels = tuple(map(str, saved["channels"]))
    return TrainingShop(name, channels, saved["statistics"], RankingTasks(rows=rows, **arrays))


def training_shops(
    numbers: Sequence[int], options: recllm.TrainOptions, folder: Path, names: Sequence[str] = SHIPPABLE
) -> Iterator[tuple[Cut, TrainingShop]]:
    """Those in which there is enough to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        how = draw(number, names)
        shop = kept_shop(how, options, folder)
        if shop is not None:
            yield how, shop
