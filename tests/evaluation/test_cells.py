"""Cells: what is finished is not done again, and what is damaged is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.evaluation.arms import Ranked
from recllm.evaluation.baselines.baseline import Baseline
from recllm.evaluation.baselines.ease import EASE
from recllm.evaluation.baselines.item_knn import ItemKNN
from recllm.evaluation.baselines.popularity import Popularity
from recllm.evaluation.cells import Cell, Cells
from recllm.evaluation.report import Report
from recllm.evaluation.run import evaluate
from recllm.model.config import RecommenderConfig
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import QUICK_HEAD

NAMES = ["popularity", "item-kNN", "EASE"]

CELL = Cell(
    {
        "users/0": Ranked(np.array([[3, 1, -1], [2, -1, -1]], dtype=np.int32), 0.25),
        "cold: new user, known item, 10 % of events/20": Ranked(np.zeros((0, 200), dtype=np.int32), 0.0),
    },
    {"chosen": {"events": "liked", "window": None}, "🎁": [1, 2.5]},
    {"users/0": {"bytes per user": 12.5}},
    {"users/0": {"MSE": np.array([0.5, np.nan]), "Accuracy": np.array([1.0, 0.0])}},
)


def never() -> Cell:
    raise AssertionError("this cell is there already")


def same(one: Cell, other: Cell) -> None:
    assert list(one.ranked) == list(other.ranked)
    for arm, ranked in one.ranked.items():
        np.testing.assert_array_equal(ranked.rows, other.ranked[arm].rows)
        assert ranked.rows.dtype == other.ranked[arm].rows.dtype
        assert ranked.seconds == other.ranked[arm].seconds
    assert one.about == other.about
    assert one.extra == other.extra
    flat = [
        {(arm, metric): values for arm, found in cell.errors.items() for metric, values in found.items()}
        for cell in (one, other)
    ]
    assert flat[0].keys() == flat[1].keys()
    for key, values in flat[0].items():
        np.testing.assert_array_equal(values, flat[1][key])


# --- keeping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [CELL, Cell({}), Cell({"users/1": CELL.ranked["users/0"]})])
def test_a_kept_cell_comes_back(tmp_path: Path, cell: Cell) -> None:
    cells = Cells(tmp_path / "deep" / "cache")
    assert cells.get(("a", "b"), lambda: cell) is cell
    same(cells.get(("a", "b"), never), cell)
    same(Cells(str(tmp_path / "deep" / "cache")).get(("a", "b"), never), cell)


def test_without_a_folder_nothing_is_kept() -> None:
    made = []
    for _ in range(2):
        Cells(None).get(("a",), lambda: made.append(1) or CELL)  # type: ignore[func-returns-value]
    assert len(made) == 2
    assert Cells(None).place(("a",)) is None


def test_every_key_has_a_place_of_its_own(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    keys = [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), ("a", "../b"), ()]
    places = [cells.place(key) for key in keys] + [cells.place(keys[0], "model")]
    assert len(set(places)) == len(places)
    assert {place.parent for place in places if place is not None} == {tmp_path}


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    cells = Cells(tmp_path)

    def fails() -> Cell:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells.get(("a",), fails)
    assert list(tmp_path.iterdir()) == []
    same(cells.get(("a",), lambda: CELL), CELL)


def flip_a_byte(place: Path) -> None:
    path = place / "ranked.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        lambda place: (place / "about.json").unlink(),
        lambda place: (place / "manifest.json").write_text("{}"),
        lambda place: (place / "errors.safetensors").write_bytes(b""),
    ],
)
def test_a_damaged_cell_is_made_again(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    cells = Cells(tmp_path)
    cells.get(("a",), lambda: Cell({}))
    place = cells.place(("a",))
    assert place is not None
    damage(place)
    made = []
    same(cells.get(("a",), lambda: made.append(1) or CELL), CELL)  # type: ignore[func-returns-value]
    assert made == [1]
    same(cells.get(("a",), never), CELL)


# --- evaluations that go on ------------------------------------------------------------------------------------------


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every fit and every scoring of a baseline."""
    work: list[str] = []
    for kind in (Popularity, ItemKNN, EASE):
        some = kind.choices[:2]
        monkeypatch.setattr(kind, "choices", some)
    fit, score = Baseline.fit_known, Baseline.scores_of
    monkeypatch.setattr(Baseline, "fit_known", lambda self, *args: work.append(f"fit {self.name}") or fit(self, *args))
    monkeypatch.setattr(
        Baseline, "scores_of", lambda self, *args: work.append(f"score {self.name}") or score(self, *args)
    )
    return work


def ask(toy: ToyShop, cache: Path | None, method: Any = None, **options: Any) -> Report:
    defaults: dict[str, Any] = {"shots": (0, 3), "baselines": NAMES, "cache": cache}
    return evaluate(
        method, options.pop("catalog", toy.catalog), options.pop("events", toy.events), **(defaults | options)
    )


def figures(report: Report) -> pd.DataFrame:
    return report.to_pandas()


def test_a_second_evaluation_does_no_work(toy: ToyShop, tmp_path: Path, worked: list[str]) -> None:
    first = figures(ask(toy, tmp_path))
    assert {f"{verb} {name}" for verb in ("fit", "score") for name in NAMES} == set(worked)
    worked.clear()
    second = figures(ask(toy, tmp_path))
    assert worked == []
    pd.testing.assert_frame_equal(first, second)  # times included: those of the first
    ask(toy, None)
    assert worked


def test_what_differs_is_done(toy: ToyShop, tmp_path: Path, worked: list[str]) -> None:
    ask(toy, tmp_path)
    less = Interactions.from_frame(toy.events.frame[:-1])
    for options in ({"seeds": (1,)}, {"shots": (0, 1)}, {"events": less}, {"protocol": "basket"}, {"sparsity": (0.5,)}):
        worked.clear()
        ask(toy, tmp_path, **options)
        assert set(worked) >= {f"fit {name}" for name in NAMES}, options


@pytest.mark.parametrize("what", ["order of items", "ratings"])
def test_what_the_fingerprint_does_not_tell_is_done_too(
    toy: ToyShop, tmp_path: Path, worked: list[str], what: str
) -> None:
    events = toy.events.frame.with_columns(pl.lit(5.0).alias("rating"))
    ask(toy, tmp_path, events=Interactions.from_frame(events))
    worked.clear()
    catalog = toy.catalog
    if what == "order of items":
        catalog = Catalog.from_frame(toy.catalog.frame[::-1])
    else:
        # The newest one of somebody who trains, from one degree of liking to another.
        events = events.with_columns(pl.Series("rating", [4.0, *events["rating"][1:]]))
    again = figures(ask(toy, tmp_path, events=Interactions.from_frame(events), catalog=catalog))
    assert set(worked) >= {f"fit {name}" for name in NAMES}
    plain = figures(ask(toy, None, events=Interactions.from_frame(events), catalog=catalog))
    columns = ["method", "shots", "metric", "value"]
    timeless = [frame[frame.metric != "ms per user"][columns] for frame in (again, plain)]
    pd.testing.assert_frame_equal(*timeless)


def test_an_evaluation_that_was_stopped_goes_on(
    toy: ToyShop, tmp_path: Path, worked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def stop(self: EASE, *args: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(EASE, "_fit", stop)
        with pytest.raises(KeyboardInterrupt):
            ask(toy, tmp_path)
    worked.clear()
    resumed = figures(ask(toy, tmp_path))
    assert set(worked) == {"fit EASE", "score EASE"}
    whole = figures(ask(toy, None))
    columns = ["method", "shots", "metric", "value", "ci_low", "ci_high", "n_users"]
    timeless = [frame[frame.metric != "ms per user"][columns] for frame in (resumed, whole)]
    pd.testing.assert_frame_equal(*timeless)


def test_a_model_is_fitted_once(toy: ToyShop, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[str] = []
    fit, recommend = Recommender.fit, Recommender.recommend
    monkeypatch.setattr(Recommender, "fit", lambda self, *a, **k: work.append("fit") or fit(self, *a, **k))
    monkeypatch.setattr(
        Recommender, "recommend", lambda self, *a, **k: work.append("recommend") or recommend(self, *a, **k)
    )
    config = RecommenderConfig(
        text=TextEncoderConfig(backbone=str(tiny)),
        history=HistoryEncoderConfig(max_events=8, lora_rank=4),
        training=BaseTrainingConfig(steps=2, batch_users=16, validate_every=2),
        ranking=QUICK_HEAD,
        adaptation=None,
    )
    first = figures(ask(toy, tmp_path, config, baselines=None))
    assert work.count("fit") == 1
    assert work.count("recommend") == 2  # one for every K
    work.clear()
    second = figures(ask(toy, tmp_path, config, baselines=None))
    assert work == []
    ours = [frame[frame.method == "recllm"].reset_index(drop=True) for frame in (first, second)]
    pd.testing.assert_frame_equal(*ours)
    # The lists are damaged, the model is not: it is asked, not fitted.
    for place in tmp_path.glob("cell-*"):
        flip_a_byte(place)
    again = figures(ask(toy, tmp_path, config, baselines=None))
    assert work == ["recommend", "recommend"]
    again = again[again.metric == "NDCG@10"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, second[second.metric == "NDCG@10"].reset_index(drop=True))
