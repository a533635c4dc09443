"""Leaks: orders that give answers away, names that must not matter, and models that know whom they are asked about."""

import dataclasses
import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import make_tasks
from recllm.data.trained import TrainedOn
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import LeakageError
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.ease import EASE
from recllm.evaluation.baselines.item_knn import ItemKNN
from recllm.evaluation.baselines.popularity import Popularity
from recllm.evaluation.methods import check_strangers
from recllm.evaluation.metrics import ItemFacts, measure
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.report import Report
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import rank_arm
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop, toy_shop
from tests.small import QUICK_HEAD

BASELINES = (Popularity, ItemKNN, EASE)
NAMES = [kind.name for kind in BASELINES]
FIRST_USERS = [f"u{user}" for user in range(30)]

# --- orders that users share -----------------------------------------------------------------------------------------

ITEMS = 60
NUMBERS = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row:02}" for row in range(ITEMS)]}))
ASKED_USERS = [f"u{user}" for user in range(250)]


class HighRowsFirst:
    """Ranks items by their row in the catalog, last rows first: all it knows is an order."""

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        return np.tile(np.arange(len(item_ids), dtype=np.float32), (len(users.user_ids), 1))


class PartnerOfTheNewest:
    """Lists a single item: the one 30 rows before the one event it is told of."""

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        scores = np.full((len(users.user_ids), len(item_ids)), -np.inf, dtype=np.float32)
        scores[users.user_rows, users.item_rows(NUMBERS) - 30] = 1
        return scores


def log_of_blocks(users: list[list[list[int]]]) -> Interactions:
    """Of each user's blocks of item rows; lines of a second are in the order of items, by row and by name."""
    rows = [
        (f"u{user}", f"i{row:02}", time)
        for user, blocks in enumerate(users)
        for time, block in enumerate(blocks)
        for row in sorted(block)
    ]
    return Interactions.from_frame(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))


def in_file_order(log: Interactions) -> Histories:
    """What the histories would be if ties in time were broken by the order of the file, which is that of the items."""
    found = make_histories(log, NUMBERS, Feedback())
    order = np.lexsort((found.event_rows, found.timestamps, found.user_rows))
    columns = {
        name: getattr(found, name)[order] for name in ("item_rows", "timestamps", "signals", "tokens", "event_rows")
    }
    return dataclasses.replace(found, **columns)


def figure(metric: str, method: Any, arm: Arm, log: Interactions) -> float:
    per_user, _ = measure(rank_arm("it", method, arm, NUMBERS), arm, ItemFacts.of(NUMBERS, log))
    return float(per_user[metric].mean())


@pytest.mark.parametrize("shots", [0, 5])
def test_the_order_of_lines_does_not_tell_the_query(shots: int) -> None:
    # Everybody takes 3 x 12 random items. Asked for the last 4 lines, one would know that they have high rows.
    rng = np.random.default_rng(0)
    log = log_of_blocks([rng.permutation(ITEMS)[:36].reshape(3, 12).tolist() for _ in range(300)])
    (split,) = make_splits(NUMBERS, log, shots=(shots,), test_users=ASKED_USERS)
    (arm,) = split.arms
    assert len(arm) == 250
    assert set(arm.query.lengths) == {12}
    # Each of the 60 - K items that may be listed is as likely as any other to be one of the 12; with 10 or more to
    # find, that share is the expected NDCG@10. One user's standard deviation is about .14: .035 is four of the mean's.
    chance = 12 / (ITEMS - shots)
    assert figure("NDCG@10", HighRowsFirst(), arm, log) == pytest.approx(chance, abs=0.035)

    histories = in_file_order(log.of_users(ASKED_USERS))
    last = histories.positions >= 32
    leaking = dataclasses.replace(
        arm, support=histories.drop_events(~last).last(shots), query=histories.drop_events(last)
    )
    four = np.sum(1 / np.log2(np.arange(2, 12))) / np.sum(1 / np.log2(np.arange(2, 6))) * 4 / (ITEMS - shots)
    assert figure("NDCG@10", HighRowsFirst(), leaking, log) > 2.5 * four


def test_the_order_of_lines_does_not_tell_which_event_was_the_newest() -> None:
    # Of the 12 items of the first basket, the one with the highest row, which stands last, is 30 rows after an item of
    # the second basket; no other one is. Who is told of that one event knows what comes.
    rng = np.random.default_rng(1)
    users = []
    for _ in range(300):
        low = rng.permutation(30).tolist()
        asked, others = low[:6], low[6:17]
        users.append([[*others, asked[0] + 30], asked])
    log = log_of_blocks(users)
    (split,) = make_splits(NUMBERS, log, shots=(1,), test_users=ASKED_USERS)
    (arm,) = split.arms
    assert len(arm) == 250
    assert set(arm.query.lengths) == {6}
    # One of the 12 is told, each as likely; four standard deviations of the mean of 250 are .07.
    assert figure("HR@10", PartnerOfTheNewest(), arm, log) == pytest.approx(1 / 12, abs=0.07)

    asked_log = log.of_users(ASKED_USERS)
    tasks = make_tasks(in_file_order(asked_log))
    leaking = Arm("users", 1, tasks.support.last(1), tasks.query, log=asked_log)
    assert figure("HR@10", PartnerOfTheNewest(), leaking, log) == 1


# --- what must not matter --------------------------------------------------------------------------------------------


def figures_of(report: Report) -> pd.DataFrame:
    """All figures but times, sorted."""
    frame = report.to_pandas()
    frame = frame[frame.metric != "ms per user"]
    return frame.sort_values(["protocol", "method", "shots", "metric"]).reset_index(drop=True)


def evaluated(catalog: Catalog, events: Interactions, **options: Any) -> pd.DataFrame:
    return figures_of(evaluate(None, catalog, events, **({"baselines": NAMES, "shots": (0, 1, 3)} | options)))


def same_figures(first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str]) -> None:
    assert len(first) > 50
    pd.testing.assert_frame_equal(first[list(columns)], second[list(columns)], rtol=1e-6, check_exact=False)


VALUES = ("protocol", "method", "shots", "metric", "value", "n_users")


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame[np.random.default_rng(seed).permutation(frame.height)]


def with_ids(frame: pl.DataFrame, column: str, names: dict[str, str]) -> pl.DataFrame:
    return frame.with_columns(pl.col(column).replace_strict(names))


@pytest.fixture
def one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tuned, so that it does not matter who the validation users are."""
    for kind in BASELINES:
        monkeypatch.setattr(kind, "choices", [{"events": "all"}])


@pytest.mark.parametrize(
    ("protocol", "names"),
    [(protocol, NAMES) for protocol in ("users", "time", "prequential", "basket", "cold")],
)
def test_the_order_of_files_changes_no_figure(toy: ToyShop, protocol: str, names: list[str]) -> None:
    found = evaluated(toy.catalog, toy.events, protocol=protocol, baselines=names)
    again = evaluated(
        Catalog.from_frame(shuffled(toy.catalog.frame, 1)),
        Interactions.from_frame(shuffled(toy.events.frame, 2)),
        protocol=protocol,
        baselines=names,
    )
    same_figures(found, again, [*VALUES, "ci_low", "ci_high"])
    assert found[found.metric == "NDCG@10"].value.nunique() >= 3


@pytest.mark.parametrize("ties", [True, False])
def test_new_names_of_items_change_no_figure_but_by_ties(ties: bool, one_setting: None) -> None:
    """Equal scores are ordered by a hash of the item's id, so popularity, full of ties, is free to change with names.

    Either no two items have the same score here, or new names are chosen whose hashes are in the old order.
    """
    shop = toy_shop() if ties else without_ties()
    if not ties:
        nothing_is_tied(shop)
    ids = list(shop.catalog.item_ids)
    fresh = [f"renamed {row}" for row in range(len(ids))]
    old, new = ids, [fresh[row] for row in np.random.default_rng(4).permutation(len(fresh))]
    if ties:
        old, new = (sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()) for names in (ids, fresh))
    names = dict(zip(old, new, strict=True))
    found = evaluated(shop.catalog, shop.events, test_users=FIRST_USERS)
    renamed = evaluated(
        Catalog.from_frame(with_ids(shop.catalog.frame, "item_id", names)),
        Interactions.from_frame(with_ids(shop.events.frame, "item_id", names)),
        test_users=FIRST_USERS,
    )
    same_figures(found, renamed, [*VALUES, "ci_low", "ci_high"])
    assert found[found.metric == "NDCG@10"].value.nunique() > 4


def without_ties() -> ToyShop:
    """40 items with 30, 32, 34 … buyers among those who are not asked; nobody buys two things at once."""
    rng = np.random.default_rng(3)
    buys = np.zeros((150, 40), dtype=bool)
    buys[:30] = rng.random((30, 40)) < 0.4
    for item in range(40):
        buys[30 + rng.permutation(120)[: 30 + 2 * item], item] = True
    rows = [
        (f"u{user}", f"i{item}", time)
        for user in range(150)
        for time, item in enumerate(rng.permutation(np.flatnonzero(buys[user])).tolist())
    ]
    events = Interactions.from_frame(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(40)]}))
    return ToyShop(catalog, events, np.zeros(40), {})


def nothing_is_tied(shop: ToyShop) -> None:
    (split,) = make_splits(shop.catalog, shop.events, shots=(1, 3), test_users=FIRST_USERS)
    for kind in BASELINES:
        baseline = kind(events="all").fit(shop.catalog, split.train)
        for arm in split.arms:
            scores = baseline.score(arm.known_events(), shop.catalog.item_ids)
            scores[~arm.allowed(slice(None), len(shop.catalog))] = np.nan
            assert all(len(np.unique(row[~np.isnan(row)])) == (~np.isnan(row)).sum() for row in scores), kind.name


def test_new_names_of_users_change_no_figure(toy: ToyShop, one_setting: None) -> None:
    asked = list(toy.events.user_ids[10:40])
    fresh = np.random.default_rng(5).permutation(len(toy.events.user_ids))
    names = {user: f"renamed {row}" for user, row in zip(toy.events.user_ids, fresh, strict=True)}
    found = evaluated(toy.catalog, toy.events, test_users=asked)
    renamed = evaluated(
        toy.catalog,
        Interactions.from_frame(with_ids(toy.events.frame, "user_id", names)),
        test_users=[names[user] for user in asked],
    )
    same_figures(found, renamed, VALUES)  # the bootstrap draws users in another order


# --- models that know whom they are asked about ----------------------------------------------------------------------

SOMEBODY = "somebody-unmistakable"


def config_for(tiny: Path) -> RecommenderConfig:
    return RecommenderConfig(
        text=TextEncoderConfig(backbone=str(tiny)),
        history=HistoryEncoderConfig(max_events=8, lora_rank=4),
        training=BaseTrainingConfig(steps=2, batch_users=16, validate_every=2),
        ranking=QUICK_HEAD,
        adaptation=None,
    )


@pytest.fixture(scope="module")
def shop(toy: ToyShop) -> ToyShop:
    frame = toy.events.frame.with_columns(pl.col("user_id").replace({"u5": SOMEBODY}))
    return dataclasses.replace(toy, events=Interactions.from_frame(frame))


@pytest.fixture(scope="module")
def saved(tiny: Path, shop: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommender fitted on the first 60 of 80 users."""
    events = shop.events.of_users(shop.events.user_ids[:60])
    folder = tmp_path_factory.mktemp("fitted") / "model"
    Recommender(config_for(tiny)).fit(shop.catalog, events, options=TrainOptions(seed=0)).save(folder)
    return folder


def ask(method: Any, shop: ToyShop, **options: Any) -> Report:
    return evaluate(method, shop.catalog, shop.events, **({"shots": (1,), "baselines": None} | options))


def test_users_of_training_are_refused(saved: Path, shop: ToyShop) -> None:
    asked = make_splits(shop.catalog, shop.events, shots=(1,))[0].arms[0].user_ids
    known = [user for user in asked if user in shop.events.user_ids[:60]]
    assert 0 < len(known) < len(asked)
    said = f"^{len(known)} of {len(asked)} users to be asked were in the training of this recommender, for example "
    with pytest.raises(LeakageError, match=said + f"{known[0]!r}; pass its config"):
        ask(Recommender.load(saved), shop)
    one = shop.events.user_ids[59:80]
    with pytest.raises(LeakageError, match=f"^1 of 21 users to be asked .*{one[0]!r}"):
        ask(Recommender.load(saved), shop, test_users=one)


def test_strangers_may_be_asked(saved: Path, shop: ToyShop) -> None:
    frame = ask(Recommender.load(saved), shop, test_users=shop.events.user_ids[60:]).to_pandas()
    assert set(frame.method) == {"recllm"}
    (ndcg,) = frame[frame.metric == "NDCG@10"].itertuples()
    assert ndcg.n_users == 20
    assert 0 <= ndcg.value <= 1


def test_weights_remember_whom_events_forget(saved: Path, shop: ToyShop, tmp_path: Path) -> None:
    gone = shop.events.user_ids[:10]
    assert SOMEBODY in gone
    recommender = Recommender.load(saved).forget(gone)
    with pytest.raises(LeakageError, match=r"^10 of 10 users"):
        ask(recommender, shop, test_users=gone)
    recommender.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    with pytest.raises(LeakageError, match=r"^10 of 10 users"):
        ask(again, shop, test_users=gone)
    assert again.trained_on.until == recommender.trained_on.until == shop.events.frame["timestamp"].max()
    # Remembered as a hash: the name itself is gone from the disk.
    names = [
        any(SOMEBODY.encode() in path.read_bytes() for path in folder.iterdir())
        for folder in (saved, tmp_path / "model")
    ]
    assert names == [True, False]


def test_another_name_for_the_same_model_does_not_help(saved: Path, shop: ToyShop) -> None:
    recommender = Recommender.load(saved)
    twin = recommender.with_model(recommender.model, recommender.config)
    for method in (twin, {"mine": twin}):
        with pytest.raises(LeakageError, match=r"^5 of 5 users"):
            ask(method, shop, test_users=shop.events.user_ids[:5])


def test_a_model_from_after_the_cut_is_refused(saved: Path, tiny: Path, shop: ToyShop) -> None:
    (split,) = make_splits(shop.catalog, shop.events, protocol="time", shots=(1,))
    assert split.until is not None
    with pytest.raises(LeakageError, match=f"^this recommender was trained on events after {split.until:.15g}"):
        ask(Recommender.load(saved), shop, protocol="time")
    before = Recommender(config_for(tiny)).fit(shop.catalog, split.train, options=TrainOptions(seed=0))
    assert before.trained_on.until < split.until
    frame = ask(before, shop, protocol="time").to_pandas()
    assert set(frame.protocol) == {"time: known users, next basket"}


def test_a_model_that_knows_the_new_items_is_refused(shop: ToyShop) -> None:
    """Its users are none of those who are asked; what it learned of the items is enough."""
    (split,) = make_splits(shop.catalog, shop.events, protocol="cold", shots=(1,))
    assert split.cold_items is not None
    for warm, refused in ((np.ones(len(shop.catalog), dtype=bool), True), (~split.cold_items, False)):
        model = SimpleNamespace(items=SimpleNamespace(warm=torch.from_numpy(warm)))
        nobody = TrainedOn.of(Interactions.from_mapping({}))
        fitted = SimpleNamespace(trained_on=nobody, catalog=shop.catalog, model=model)
        with pytest.raises(LeakageError, match="items that are to be new") if refused else nullcontext():
            check_strangers(fitted, split)  # type: ignore[arg-type]


def test_a_model_that_knows_the_answers_of_known_users_is_refused(saved: Path, shop: ToyShop) -> None:
    # Protocol cold asks known users for events that it takes out of training; this model was fitted with them.
    with pytest.raises(LeakageError):
        ask(Recommender.load(saved), shop, protocol="cold", test_users=shop.events.user_ids[60:])


def test_a_config_is_fitted_without_the_users_it_is_asked_about(
    tiny: Path, shop: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[set[str]] = []
    fit = Recommender.fit

    def spy(self: Recommender, catalog: Catalog, events: Interactions, **options: Any) -> Recommender:
        learned.append(set(events.user_ids))
        return fit(self, catalog, events, **options)

    monkeypatch.setattr(Recommender, "fit", spy)
    asked = shop.events.user_ids[:20]
    frame = ask(config_for(tiny), shop, test_users=asked).to_pandas()
    assert learned == [set(shop.events.user_ids[20:])]
    assert frame[(frame.method == "recllm") & (frame.metric == "NDCG@10")].n_users.tolist() == [20]
