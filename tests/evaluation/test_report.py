"""What an evaluation says: frames, pooled figures, words, JSON."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import polars
import pytest

from recllm.errors import ArtifactError, DataError
from recllm.evaluation.figures import COLUMNS, Measured
from recllm.evaluation.findings import NOTHING
from recllm.evaluation.names import OTHERS, SHUFFLED, SQUARE, Place, series_of
from recllm.evaluation.report import Report
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import Comparison, best_of, in_words, number, with_interval
from tests.evaluation.example import make_example, measured

USERS = 60
RNG = np.random.default_rng(0)
TASTE = RNG.uniform(0, 0.2, USERS)
NOISE = RNG.normal(0, 0.01, USERS)
HERE = Place("ml-100k", "users")


def row_of(frame: pandas.DataFrame, **cells: Any) -> pandas.Series:
    for name, value in cells.items():
        frame = frame[frame[name].isna() if value is pandas.NA else frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


# --- frames ------------------------------------------------------------------------------------------------------


def test_pandas_columns() -> None:
    frame = Report([measured("EASE", 5, TASTE, of_lists={"Coverage@10": 0.25})], {}).to_pandas()
    assert tuple(frame.columns) == COLUMNS
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "protocol": "str",
        "dataset": "str",
        "fold": "Int64",
        "seed": "Int64",
        "method": "str",
        "shots": "int64",
        "metric": "str",
        "value": "float64",
        "ci_low": "float64",
        "ci_high": "float64",
        "n_users": "int64",
    }
    assert len(frame) == 2  # one fold and seed: nothing to pool
    ndcg = row_of(frame, metric="NDCG@10")
    assert ndcg["value"] == pytest.approx(TASTE.mean())
    assert ndcg["ci_low"] < ndcg["value"] < ndcg["ci_high"]
    assert (ndcg["fold"], ndcg["seed"], ndcg["n_users"]) == (0, 0, USERS)
    coverage = row_of(frame, metric="Coverage@10")
    assert (coverage["value"], coverage["n_users"]) == (0.25, USERS)
    assert np.isnan(coverage["ci_low"])
    assert np.isnan(coverage["ci_high"])


def test_polars_holds_the_same() -> None:
    report = Report([measured("EASE", 5, TASTE), measured("EASE", 5, TASTE, seed=1)], {})
    frame = report.to_polars()
    assert tuple(frame.columns) == COLUMNS
    assert frame.schema["fold"] == polars.Int64
    assert frame.schema["value"] == polars.Float64
    assert frame.schema["method"] == polars.String
    assert frame["seed"].to_list() == [0, 1, None]
    assert frame["value"].to_list() == report.to_pandas()["value"].tolist()


def test_folds_and_seeds_are_pooled_by_user() -> None:
    first, second = measured("EASE", 5, TASTE), measured("EASE", 5, TASTE, seed=1)
    others = tuple(f"other-{row}" for row in range(20))
    third = measured("EASE", 5, np.ones(20), fold=1, users=others, of_lists={"Coverage@10": 0.5})
    frame = Report([first, second, third], {}).to_pandas()
    pooled = row_of(frame, fold=pandas.NA, seed=pandas.NA, metric="NDCG@10")
    assert pooled["value"] == pytest.approx(np.concatenate([TASTE, TASTE, np.ones(20)]).mean())
    assert pooled["n_users"] == USERS + 20
    # The same users measured twice say nothing new: the interval must not shrink.
    single = Report([first], {}).to_pandas().iloc[0]
    double = row_of(Report([first, second], {}).to_pandas(), fold=pandas.NA)
    assert double["ci_low"] == pytest.approx(single["ci_low"])
    assert double["ci_high"] == pytest.approx(single["ci_high"])
    assert row_of(frame, fold=pandas.NA, metric="Coverage@10")["value"] == 0.5


def test_protocols_and_datasets_are_never_pooled() -> None:
    runs = [
        measured("EASE", 5, TASTE),
        measured("EASE", 5, TASTE, protocol="early"),
        measured("EASE", 5, TASTE, dataset="b"),
    ]
    frame = Report(runs, {}).to_pandas()
    assert len(frame) == 3
    assert not frame["fold"].isna().any()


def test_rmse_is_the_root_of_the_mean_squared_error() -> None:
    errors = RNG.gamma(2, 0.5, USERS)
    errors[3] = np.nan
    frame = Report([measured("factorisation", 5, errors, metric="MSE")], {}).to_pandas()
    mse, rmse = row_of(frame, metric="MSE"), row_of(frame, metric="RMSE")
    for name in ("value", "ci_low", "ci_high"):
        assert rmse[name] == pytest.approx(np.sqrt(mse[name]), rel=1e-2)
    assert rmse["value"] == pytest.approx(np.sqrt(np.nanmean(errors)))
    assert mse["n_users"] == USERS - 1


def test_metrics_come_in_the_order_of_tables() -> None:
    run = measured("EASE", 5, TASTE, of_lists={"ms per user": 1.0, "mine": 2.0, "Gini@10": 0.5})
    assert Report([run], {}).to_pandas()["metric"].tolist() == ["NDCG@10", "Gini@10", "ms per user", "mine"]


def test_what_cannot_be_reported_is_refused() -> None:
    with pytest.raises(DataError, match="measured twice at users/5"):
        Report([measured("EASE", 5, TASTE), measured("EASE", 5, TASTE)], {})
    with pytest.raises(DataError, match="'EASE' has 2 users but columns of shape"):
        measured("EASE", 5, TASTE, users=("a", "b"))
    with pytest.raises(DataError, match="no method 'EASY'; it has EASE"):
        Report([measured("EASE", 5, TASTE)], {}).compare("EASY", "EASE")


# --- words -------------------------------------------------------------------------------------------------------


def duel(gains: Mapping[int, float], **place: Any) -> list[Measured]:
    """`ours` is better than `EASE` by a factor at each K, with some noise."""
    runs = [measured("ours", k, TASTE * (1 + gain) + NOISE * (gain != 0), **place) for k, gain in gains.items()]
    return runs + [measured("EASE", k, TASTE, **place) for k in gains]


def test_a_win() -> None:
    text = Report(duel({10: 0.5, 1: 0.001}), {}).verdict("ours", "EASE")
    assert text.startswith("ours beats EASE by 50.8 % [4")
    assert "at K=10; not at K=1 (differences within ±" in text
    assert text.endswith(" %).")


def test_a_loss() -> None:
    text = Report(duel({10: -0.3}), {}).verdict("ours", "EASE")
    assert text.startswith("ours loses to EASE by 29.2 % [2")
    assert text.endswith("] at K=10.")
    assert "-" not in text  # a size, not a signed difference


def test_nothing_to_tell_apart() -> None:
    text = Report(duel({5: 0.001, 10: 0.002}), {}).verdict("ours", "EASE")
    assert text.startswith("ours and EASE cannot be told apart at K=5, 10 (differences within ±")


def test_all_outcomes_in_one_sentence() -> None:
    text = Report(duel({0: 0.0, 1: -0.3, 3: 0.001, 10: 0.5}), {}).verdict("ours", "EASE")
    assert [part.split(" ")[:2] for part in text.split("; ")] == [
        ["ours", "beats"],
        ["it", "loses"],
        ["not", "at"],
        ["the", "two"],
    ]
    assert text.endswith("the two are the same at K=0.")
    text = Report(duel({1: -0.3, 3: 0.001}), {}).verdict("ours", "EASE")
    assert "; the two cannot be told apart at K=3" in text  # "not at" would say that it does not lose


def test_many_wins_are_told_as_a_range() -> None:
    text = Report(duel({1: 0.3, 3: 0.4, 5: 0.5, 10: 0.6}), {}).verdict("ours", "EASE")
    assert text.count("[") == 1
    assert "] at K=10 and " in text
    assert text.endswith(" % at K=1, 3, 5.")


def test_lower_may_be_better() -> None:
    runs = [measured("ours", 5, TASTE, metric="MSE"), measured("EASE", 5, TASTE * 2 + NOISE, metric="MSE")]
    report = Report(runs, {})
    assert report.verdict("ours", "EASE", "MSE").startswith("ours beats EASE by 5")
    assert report.verdict("EASE", "ours", "MSE").startswith("EASE loses to ours by")
    assert report.verdict("ours", "EASE", "RMSE").startswith("ours beats EASE by 2")
    assert report.verdict("ours", "EASE") == "ours and EASE were not measured on the same users by NDCG@10."
    assert best_of({"a": 0.2, "b": 0.1, "c": float("nan")}, "MSE") == "b"
    assert best_of({"a": 0.2, "b": 0.1}, "NDCG@10") == "a"
    assert best_of({"c": float("nan")}, "NDCG@10") is None


def test_one_sentence_per_protocol() -> None:
    text = Report([*duel({10: 0.5}), *duel({10: -0.3}, protocol="early")], {}).verdict("ours", "EASE")
    assert text.startswith("users: ours beats EASE")
    assert " early: ours loses to EASE" in text


def test_few_users_make_no_claim() -> None:
    runs = [measured("ours", 5, np.ones(4)), measured("EASE", 5, np.linspace(0, 0.5, 4))]
    assert Report(runs, {}).verdict("ours", "EASE") == "ours and EASE: too few users to compare at K=5."


def test_without_a_base_the_difference_is_absolute() -> None:
    runs = [measured("ours", 5, TASTE), measured("EASE", 5, np.zeros(USERS))]
    text = Report(runs, {}).verdict("ours", "EASE")
    assert "%" not in text
    assert text.startswith(f"ours beats EASE by {number(float(TASTE.mean()))} [")


def test_comparisons_are_paired() -> None:
    # The same users in another order, and one user whom only one of the two was asked about.
    backwards = tuple(f"someone-{row}" for row in range(USERS))[::-1]
    runs = [measured("ours", 5, TASTE + 0.001), measured("EASE", 5, TASTE[::-1], users=backwards)]
    found = Report(runs, {}).compare("ours", "EASE")[0]
    assert isinstance(found, Comparison)
    assert (found.protocol, found.shots) == ("users", 5)
    assert found.difference == Estimate(
        pytest.approx(0.001),
        pytest.approx(0.001),
        pytest.approx(0.001),
        USERS,  # type: ignore[arg-type]
    )
    assert found.ratio.value == pytest.approx(0.001 / TASTE.mean())


def test_one_seed_of_a_method_without_chance_serves_all_seeds() -> None:
    runs = [measured("ours", 5, TASTE + 0.01 * seed, seed=seed) for seed in (0, 1, 2)] + [measured("EASE", 5, TASTE)]
    assert Report(runs, {}).compare("ours", "EASE")[0].difference.value == pytest.approx(0.01)
    # Other users in the other seeds: they have no partner.
    others = tuple(f"other-{row}" for row in range(USERS))
    runs = [
        measured("ours", 5, TASTE),
        measured("ours", 5, TASTE + 1, seed=1, users=others),
        measured("EASE", 5, TASTE),
    ]
    assert Report(runs, {}).compare("ours", "EASE")[0].difference.value == 0


def test_the_headline_names_the_best_rival_at_each_k() -> None:
    runs = [measured("recllm", k, TASTE * 2 + NOISE) for k in (0, 10)]
    runs += [measured("popularity", k, TASTE * (1.2 - k / 20)) for k in (0, 10)]
    runs += [measured("EASE", k, TASTE * (1 + k / 100)) for k in (0, 10)]
    text = Report(runs, {}).headline()
    assert text.startswith("recllm beats the best other method by ")
    assert "at K=0 (popularity) and" in text
    assert text.endswith("at K=10 (EASE).")
    assert Report(runs, {"ours": "popularity"}).headline().startswith("popularity loses to recllm by")
    assert Report(runs[2:], {}).headline().startswith("EASE has the best NDCG@10 at K=10: ")


def test_the_square() -> None:
    report = make_example()
    pairs = [(ours, theirs) for ours, theirs, _ in report.square(HERE)]
    assert pairs == [
        *((SQUARE[3], other) for other in SQUARE[:3]),
        (OTHERS, SQUARE[0]),
        (SHUFFLED, SQUARE[0]),
    ]
    assert report.square(HERE)[0][2].endswith("the two are the same at K=0.")
    assert report.ours(HERE) == SQUARE[::-1]
    assert report.rivals(HERE) == ("popularity", "item-kNN", "EASE")


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("users", None),
        ("time: known users, next basket", None),
        ("users, 10 % of events", "share"),
        ("cold: new user, new item", "cold"),
        ("cold: new user, new item, 10 % of events", "cold"),
        ("prequential", "prequential"),
    ],
)
def test_series(protocol: str, kind: str | None) -> None:
    assert series_of(protocol) == kind


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1074, ".107"),
        (-0.1074, "−.107"),
        (0.00123, ".0012"),
        (1.0, "1.00"),
        (0.99999, "1.000"),
        (45.23, "45.2"),
        (12288.0, "12,288"),
        (0.0, "0"),
        (10.05, "10.1"),
        (float("nan"), "–"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_intervals() -> None:
    assert with_interval(Estimate(0.1, 0.05, 0.15, 9)) == ".100 [.050, .150]"
    assert with_interval(Estimate(0.1, float("nan"), float("nan"), 1)) == ".100"
    assert in_words("a", "b", []) == ""


# --- segments ----------------------------------------------------------------------------------------------------


def test_segments_are_thirds_of_users() -> None:
    report = Report([measured("EASE", 10, np.arange(30.0)), measured("ours", 10, np.zeros(30))], {})
    segments = report.segments()
    assert list(segments) == ["3–21 events", "23–41 events", "43–61 events"]
    assert [found["EASE"].value for found in segments.values()] == [4.5, 14.5, 24.5]
    assert {found["ours"].n for found in segments.values()} == {10}
    assert report.segments(shots=3) == {}


def test_users_alike_are_in_one_segment() -> None:
    run = Measured("d", 0, 0, "EASE", "users", 5, ("a", "b"), {"NDCG@10": np.ones(2)}, {}, np.array([4, 4]))
    assert list(Report([run], {}).segments()) == ["4 events"]


# --- ways out ----------------------------------------------------------------------------------------------------


def has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_nan, value.values()))
    if isinstance(value, list):
        return any(map(has_nan, value))
    return isinstance(value, float) and not np.isfinite(value)


def test_json(tmp_path: Any) -> None:
    about = {
        "shape": (np.int64(3), np.float32(0.5)),
        "bad": float("inf"),
        "when": tmp_path,
        "estimate": Estimate(1, 0, 2, 3),
    }
    report = Report([measured("EASE", 5, TASTE, of_lists={"Coverage@10": 0.5})], about)
    text = report.to_json(tmp_path / "deep" / "report.json")
    found = json.loads(text)
    assert found == report.to_dict() == json.loads((tmp_path / "deep" / "report.json").read_text(encoding="utf-8"))
    assert not has_nan(found)
    assert "NaN" not in text
    assert "someone-" not in text
    assert found["rows"][1] == {
        **dict.fromkeys(COLUMNS),
        **{"protocol": "users", "dataset": "ml-100k", "fold": 0, "seed": 0, "method": "EASE", "shots": 5},
        **{"metric": "Coverage@10", "value": 0.5, "n_users": USERS},
    }
    assert found["about"] == {
        "shape": [3, 0.5],
        "bad": None,
        "when": str(tmp_path),
        "estimate": {"value": 1, "low": 0, "high": 2, "n": 3},
    }
    with pytest.raises(ArtifactError, match=r"cannot write .*Is a directory"):
        report.to_json(tmp_path)


def test_shown_as_text_and_in_notebooks() -> None:
    name = "<b>ours</b>\u202e [red]x[/red]"
    report = Report([measured(name, 5, TASTE * 2 + NOISE), measured("EASE", 5, TASTE)], {})
    text = str(report)
    assert "NDCG@10" in text
    assert "<b>ours</b> [red]x[/red] beats EASE by" in text
    assert f"[{number(report.figures.estimate(HERE, 'EASE', 5).low)}, " in text
    assert max(map(len, text.splitlines())) <= 100
    page = report._repr_html_()
    assert "&lt;b&gt;ours&lt;/b&gt; [red]" in page
    assert "<b>ours" not in page
    assert "\u202e" not in page + text
    assert "K=5" in page


def test_nothing_measured() -> None:
    empty = Report([], {})
    assert len(empty.to_pandas()) == len(empty.to_polars()) == 0
    assert tuple(empty.to_pandas().columns) == COLUMNS
    assert empty.headline() == NOTHING
    assert str(empty) == NOTHING
    assert NOTHING in empty._repr_html_()
    assert empty.segments() == {}
    assert json.loads(empty.to_json())["rows"] == []
    nobody = Report([measured("EASE", 5, np.zeros(0)), measured("ours", 5, np.zeros(0))], {})
    assert nobody.headline() == NOTHING
    assert nobody.verdict("ours", "EASE") == "ours and EASE: too few users to compare at K=5."
    assert nobody.to_pandas()["n_users"].tolist() == [0, 0]
    assert nobody.segments() == {}
    assert not has_nan(nobody.to_dict())
    assert NOTHING in str(nobody)


def test_channels_are_judged_by_what_they_bring_only() -> None:
    values = np.linspace(0, 1, 20)
    shares = [measured(name, 10, values, metric="Recall@200") for name in ("popularity", "channel: text")]
    report = Report([*shares, measured("popularity", 1, values), measured("channel: text", 1, values)], {})

    def shown(metric: str) -> list[str]:
        return [str(cell) for cell in report.table(metric).columns[0].cells]

    assert shown("NDCG@10") == ["popularity"]
    assert shown("Recall@200") == ["popularity", "channel: text"]


def test_it_is_said_where_ours_is_behind() -> None:
    rng = np.random.default_rng(0)
    taste = rng.uniform(0.1, 0.3, 60)

    def runs(novelty: float, coverage: float) -> list[Any]:
        made = []
        for method, gain, by_list, by_user in (("recllm", 2.0, coverage, novelty), ("EASE", 1.0, 0.3, 0.5)):
            one = measured(method, 10, taste * gain, of_lists={"Coverage@10": by_list, "Gini@10": by_list})
            per_user = {**one.per_user, "Novelty@10": by_user + taste}
            made.append(dataclasses.replace(one, per_user=per_user))
        return made

    text = Report(runs(0.4, 0.2), {}).behind()
    assert re.fullmatch(
        r"At K=10 recllm is behind in Coverage@10 \(.200; EASE .300\) and Novelty@10 \(.+; EASE .+\)\.", text
    )
    report = Report(runs(0.6, 0.3), {})
    assert report.behind() == "By no other metric is recllm behind the best of them at K=10."
    assert report.behind() in " ".join(repr(report).split())
    assert report.to_dict()["headlines"][0]["behind"] == report.behind()
    assert Report(runs(0.6, 0.3)[1:], {}).behind() == "", "there is none in question"
    assert Report([], {}).behind() == ""


def test_rows_as_arrow() -> None:
    report = make_example(20)
    assert report.to_arrow().column_names == list(COLUMNS)
    assert report.to_dataset().num_rows == len(report.to_polars())
