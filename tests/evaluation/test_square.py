"""The square on a tiny model: each row is what it says, and the controls are wrong in one respect only."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from recllm.adaptation.meta import AdaptationConfig
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ConfigError
from recllm.evaluation.names import OTHERS, SHUFFLED, A, B, C, D
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.split import Split
from recllm.evaluation.square import (
    INNER_RATES,
    Serving,
    channel_cells,
    shuffled,
    square_cells,
    swapped,
)
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import QUICK_HEAD


def config_for(tiny: Path) -> RecommenderConfig:
    return RecommenderConfig(
        text=TextEncoderConfig(backbone=str(tiny)),
        history=HistoryEncoderConfig(max_events=8, lora_rank=4),
        training=BaseTrainingConfig(steps=20, batch_users=32, validate_every=10, learning_rate=5e-3),
        ranking=QUICK_HEAD,
        # A rate this high moves every list, and no outer step takes it back.
        adaptation=AdaptationConfig(epochs=0, inner_learning_rate=30.0),
    )


@pytest.fixture(scope="module")
def split(toy: ToyShop) -> Split:
    return make_splits(toy.catalog, toy.events, shots=(0, 3))[0]


@pytest.fixture(scope="module")
def meta(tiny: Path, split: Split) -> Recommender:
    return Recommender(config_for(tiny)).fit(split.catalog, split.train, options=TrainOptions(seed=0))


@pytest.fixture(scope="module")
def base(tiny: Path, split: Split) -> Recommender:
    config = dataclasses.replace(config_for(tiny), adaptation=None)
    return Recommender(config).fit(split.catalog, split.train, options=TrainOptions(seed=0))


def test_every_row_is_what_it_says(base: Recommender, meta: Recommender, split: Split) -> None:
    cells = {name: make() for name, make in square_cells(lambda: base, lambda: meta, split, TrainOptions()).items()}
    assert list(cells) == [A, B, C, D, OTHERS, SHUFFLED]
    rows = {name: {arm: ranked.rows for arm, ranked in cell.ranked.items()} for name, cell in cells.items()}
    known = split.arms[1].known_events()
    for name, adapt in ((C, False), (D, True)):
        lists = meta.recommend(known, 5, adapt=adapt)
        for task, user in enumerate(known.user_ids):
            listed = [row.item_id for row in lists.for_user(user)]
            assert [split.catalog.item_ids[row] for row in rows[name]["users/3"][task, :5]] == listed
    for name in (C, D, OTHERS, SHUFFLED):  # nothing known: nothing to adapt to
        np.testing.assert_array_equal(rows[name]["users/0"], rows[D]["users/0"])
    np.testing.assert_array_equal(rows[A]["users/0"], rows[B]["users/0"])
    assert (rows[C]["users/3"] != rows[D]["users/3"]).any()
    assert (rows[OTHERS]["users/3"] != rows[D]["users/3"]).any()
    assert (rows[SHUFFLED]["users/3"] != rows[D]["users/3"]).any()
    assert cells[B].about["chosen"]["inner_learning_rate"] in INNER_RATES
    assert set(cells[B].about["chosen"]["tried"]) == {f"{rate:g}" for rate in INNER_RATES}
    assert cells[D].extra["users/3"]["bytes per user"] > 0
    assert not cells[A].extra


def test_wrong_adapters_are_wrong_in_one_respect(toy: ToyShop) -> None:
    events = toy.events.of_users([*toy.events.user_ids[:6], "nobody"])
    other = swapped(events)
    assert other.user_ids == events.user_ids
    items = {u: events.of_users([u]).frame["item_id"].to_list() for u in events.user_ids}
    theirs = {u: other.of_users([u]).frame["item_id"].to_list() for u in events.user_ids}
    assert theirs["nobody"] == []
    assert sorted(map(tuple, theirs.values())) == sorted(map(tuple, items.values()))
    assert all(theirs[user] != items[user] for user in events.user_ids[:6])
    mixed = shuffled(events)
    assert mixed.frame["user_id"].to_list() == events.frame["user_id"].to_list()
    assert mixed.frame["timestamp"].to_list() == events.frame["timestamp"].to_list()
    assert sorted(mixed.frame["item_id"]) == sorted(events.frame["item_id"])
    assert mixed.frame["item_id"].to_list() != events.frame["item_id"].to_list()
    assert swapped(Interactions.from_mapping({"a": [], "b": []})).user_ids == ("a", "b")


def test_controls_leave_the_right_history_out_of_the_lists(meta: Recommender, split: Split) -> None:
    arm = split.arms[1]
    rows = rank_arm("control", Serving(meta, adapt=True, twist=swapped), arm, split.catalog).rows
    for task in range(len(arm)):
        assert not set(rows[task]) & set(arm.support.items_of(task))


def test_channels_and_their_union(base: Recommender, split: Split) -> None:
    cells = channel_cells(base, split)
    names = list(base.model.channels.names)
    assert list(cells) == [f"channel: {name}" for name in [*names, "union"]]
    union = cells["channel: union"].ranked["users/3"].rows
    first = np.stack([cells[f"channel: {name}"].ranked["users/3"].rows[:, 0] for name in names], axis=1)
    for line, best in zip(union, first, strict=True):
        listed = line[line >= 0]
        assert len(set(listed.tolist())) == len(listed)
        assert set(best[best >= 0]) <= set(listed[: len(names)])
    silent = cells["channel: history"].ranked["users/0"].rows
    assert (silent == -1).all()


def test_evaluate_takes_the_square_apart(tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    config = config_for(tiny)
    report = evaluate(config, toy.catalog, toy.events, shots=(3,), baselines=None, square=True, cache=tmp_path)
    frame = report.to_pandas()
    assert {A, B, C, D, OTHERS, SHUFFLED, "channel: union"} <= set(frame.method)
    recall = frame[(frame.metric == "Recall@200") & (frame.method == "channel: union")]
    assert recall.value.tolist() == [1.0]  # 48 items: all of them are among 200
    assert report.verdict(D, A)
    with pytest.raises(ConfigError, match="adaptation"):
        evaluate(dataclasses.replace(config, adaptation=None), toy.catalog, toy.events, square=True)
