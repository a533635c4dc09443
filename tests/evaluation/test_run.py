"""`recllm.evaluate`: what may be given, what comes back, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ConfigError
from recllm.evaluation import methods
from recllm.evaluation.arms import Arm, Ranked
from recllm.evaluation.baselines.baseline import Baseline
from recllm.evaluation.baselines.text import TextMean
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.tuning import Tuned, tune
from recllm.options import TrainOptions
from recllm.scale.executor import open_executor
from recllm.testing import ToyShop
from tests.scale.here import Here

COLUMNS = ["protocol", "dataset", "fold", "seed", "method", "shots"]
COLUMNS += ["metric", "value", "ci_low", "ci_high", "n_users"]


class Own:
    """Knows the departments: the best that can be done in the toy shop."""

    def __init__(self, department: np.ndarray) -> None:
        self.department = department
        self.fitted_on: Interactions | None = None

    def fit(self, catalog: Catalog, events: Interactions) -> None:
        self.catalog, self.fitted_on = catalog, events

    def score(self, users: Interactions, item_ids: list[str]) -> np.ndarray:
        counts = np.zeros((len(users.user_ids), 4), dtype=np.float32)
        np.add.at(counts, (users.user_rows, self.department[users.item_rows(self.catalog)]), 1)
        return counts[:, self.department[self.catalog.rows(item_ids)]]


def value(report: Any, method: str, shots: int, metric: str = "NDCG@10") -> float:
    frame = report.to_pandas()
    found = frame[(frame.method == method) & (frame.shots == shots) & (frame.metric == metric)]
    assert len(found) == 1
    return float(found.value.iloc[0])


def test_a_scorer_is_fitted_on_a_copy_and_measured(toy: ToyShop) -> None:
    scorer = Own(toy.department)
    report = evaluate(scorer, toy.catalog, toy.events, shots=(0, 3), baselines=["popularity"])
    assert scorer.fitted_on is None
    frame = report.to_pandas()
    assert list(frame.columns) == COLUMNS
    assert set(frame.method) == {"Own", "popularity"}
    assert set(frame.shots) == {0, 3}
    assert frame.n_users.max() == 16  # a fifth of 80
    assert value(report, "Own", 3) > value(report, "popularity", 3) + 0.2
    assert value(report, "Own", 3, "Recall@10") > 0.8


def test_several_methods_by_name_and_several_folds_and_seeds(toy: ToyShop) -> None:
    methods = {"one": Own(toy.department), "two": Own(toy.department)}
    report = evaluate(methods, toy.catalog, toy.events, shots=(3,), folds=2, seeds=(0, 1), baselines=None)
    frame = report.to_pandas()
    main = frame[(frame.metric == "NDCG@10") & (frame.method == "one")]
    assert sorted(zip(main.fold.dropna(), main.seed.dropna(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    (pooled,) = main[main.fold.isna()].to_dict("records")
    assert pooled["n_users"] == 80
    assert pooled["ci_low"] < pooled["value"] < pooled["ci_high"]
    same = frame.pivot_table(index=["fold", "seed", "metric"], columns="method", values="value")
    quality = same[~same.index.get_level_values("metric").str.startswith("ms")]
    assert (quality.one == quality.two).all()


@pytest.mark.parametrize("executor", [Here(), pytest.param("local:2", marks=pytest.mark.slow)])
def test_workers_measure_the_same(toy: ToyShop, executor: Any) -> None:
    asked: Any = {"shots": (1, 3), "folds": 2, "seeds": (0, 1), "baselines": ["popularity", "item-kNN"]}
    methods = {"own": Own(toy.department)}
    alone = evaluate(methods, toy.catalog, toy.events, **asked)
    seen: list[float] = []
    options = TrainOptions(progress=lambda stage, done, total, note="": seen.append(done))
    with open_executor(executor) if isinstance(executor, str) else executor as workers:
        report = evaluate(methods, toy.catalog, toy.events, **asked, executor=workers, options=options)
    measured, measured_alone = (one.to_pandas() for one in (report, alone))
    timeless = ~measured.metric.str.contains("ms")
    assert measured[timeless].equals(measured_alone[timeless])
    told, as_told_alone = (json.loads(one.to_json())["about"]["methods"] for one in (report, alone))
    assert [len(told[name]) for name in told] == [len(as_told_alone[name]) for name in told] == [4, 4]
    assert seen == [1, 2, 3, 4] if isinstance(executor, str) else executor.done == [0, 1, 2, 3]


def test_sparsity_measures_every_share(toy: ToyShop) -> None:
    report = evaluate(None, toy.catalog, toy.events, shots=(3,), sparsity=(0.3, 1.0), baselines=["item-kNN"])
    frame = report.to_pandas().query("metric == 'NDCG@10'").set_index("protocol")
    assert set(frame.index) == {"users, 30 % of events", "users"}
    assert frame.value["users"] > frame.value["users, 30 % of events"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"baselines": None}, "nothing to evaluate"),
        ({"baselines": ["itemknn", "svd++"]}, "svd"),
        ({"protocol": "leave-one-out"}, "leave-one-out"),
        ({"shots": ()}, "shots"),
        ({"shots": (-1,)}, "shots"),
        ({"folds": 0}, "folds"),
        ({"folds": 2, "test_users": ["u1"]}, "test_users"),
        ({"seeds": ()}, "seeds"),
        ({"executor": "local:2"}, "executor are workers, from recllm.scale.open_executor"),
        ({"sparsity": ()}, "sparsity"),
        ({"sparsity": (2.0,)}, "share"),
        ({"shots": "1,3"}, "shots"),
        ({"shots": None}, "shots"),
        ({"shots": (1.5,)}, "shots"),
        ({"shots": (True,)}, "shots"),
        ({"shots": ["1"]}, "shots"),
        ({"seeds": {}}, "seeds"),
        ({"seeds": "0"}, "seeds"),
        ({"folds": 1.5}, "folds"),
        ({"folds": "2"}, "folds"),
        ({"sparsity": "0.5"}, "sparsity"),
        ({"square": True}, "RecommenderConfig"),
    ],
)
def test_options_that_make_no_sense(toy: ToyShop, arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part.replace("+", r"\+")):
        evaluate(None, toy.catalog, toy.events, **arguments)


@pytest.mark.parametrize("name", ["EASE", "ease", "item_knn", "Item-KNN", "recent_popularity", "whitened text knn"])
def test_baselines_are_found_however_they_are_spelt(name: str) -> None:
    from recllm.evaluation.baselines.registry import BASELINES, baseline_named

    assert baseline_named(name) in BASELINES.values()


def test_predicted_ratings_are_measured_where_there_are_ratings() -> None:
    rng = np.random.default_rng(0)
    taste, quality = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    rows = []
    for user in range(60):
        for time, item in enumerate(rng.permutation(40)[:20]):
            rating = np.clip(np.round(3 + taste[user] @ quality[item]), 1, 5)
            rows.append((f"u{user}", f"i{item}", 1000 + time, float(rating)))
    events = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "rating"], orient="row"))
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{i}" for i in range(40)], "title": "thing"}))
    report = evaluate(None, catalog, events, shots=(0, 10), baselines=["factorisation", "popularity"])
    assert value(report, "factorisation", 10, "RMSE") == pytest.approx(value(report, "factorisation", 10, "MSE") ** 0.5)
    assert value(report, "factorisation", 10, "RMSE") < value(report, "factorisation", 0, "RMSE")
    assert 0 < value(report, "factorisation", 10, "Accuracy") < 1
    frame = report.to_pandas()
    assert not len(frame[(frame.method == "popularity") & (frame.metric == "RMSE")].value.dropna())


def test_the_report_says_how_it_was_made(toy: ToyShop, tmp_path: Path) -> None:
    report = evaluate(
        None,
        toy.catalog,
        toy.events,
        shots=(1,),
        baselines=["popularity"],
        dataset="toy",
        command="recllm evaluate …",
        save_splits=tmp_path,
    )
    about = report.to_dict()["about"]
    assert about["command"] == "recllm evaluate …"
    assert about["versions"]["recllm"] == recllm.__version__
    (split,) = about["splits"]
    assert len(split["fingerprint"]) == 64
    assert (tmp_path / "split.json").is_file()
    assert set(report.to_pandas().dataset) == {"toy"}


def test_settings_for_new_items_are_chosen_on_rehearsed_ones(
    toy: ToyShop, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "TextEncoderConfig", lambda: TextEncoderConfig(backbone=str(tiny)))
    asked: dict[str, int | None] = {}

    def tuned(name: str, catalog: Catalog, fitting: Interactions, validation: Sequence[Arm], **rest: Any) -> Tuned:
        rehearsed = all(arm.candidates is not None for arm in validation)
        monkeypatch.setattr(TextMean, "choices", [{"window": 5 if rehearsed else 10}])
        return tune(name, catalog, fitting, validation, **rest)

    def ranked(name: str, baseline: Baseline, arm: Arm, catalog: Catalog) -> Ranked:
        if name == "text mean":
            asked[arm.protocol] = baseline.window
        return rank_arm(name, baseline, arm, catalog)

    monkeypatch.setattr(methods, "tune", tuned)
    monkeypatch.setattr(methods, "rank_arm", ranked)
    report = evaluate(
        None, toy.catalog, toy.events, protocol="cold", shots=(1, 3), baselines=["text mean", "popularity"]
    )
    assert asked == {
        f"cold: {user} user, {item} item": 5 if item == "new" else 10
        for user in ("known", "new")
        for item in ("known", "new")
    }
    assert report.about["methods"]["text mean"][0]["for new items"]["chosen"]["window"] == 5
    assert "for new items" not in report.about["methods"]["popularity"][0], "it cannot tell new items apart"


def test_data_in_any_form_and_one_number_for_several(toy: ToyShop, tmp_path: Path) -> None:
    toy.events.frame.write_parquet(tmp_path / "events.parquet")
    whole = evaluate(None, toy.catalog, toy.events, shots=(3,), seeds=(1,), baselines="popularity", dataset="x")
    frames = toy.catalog.frame.to_pandas(), tmp_path / "events.parquet"
    other = evaluate(None, *frames, shots=3, seeds=1, sparsity=1, baselines="popularity", dataset="x")
    columns = ["method", "shots", "metric", "value"]
    assert (
        other.to_pandas()[columns]
        .query("metric == 'NDCG@10'")
        .equals(whole.to_pandas()[columns].query("metric == 'NDCG@10'"))
    )
