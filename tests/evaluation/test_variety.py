"""What variety costs, in the report."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError
from recllm.evaluation.metrics import distance
from recllm.evaluation.report import Report
from recllm.evaluation.run import evaluate
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for


@pytest.fixture(scope="module")
def catalog(toy: ToyShop) -> Catalog:
    departments = pl.Series("categories", [DEPARTMENTS[number] for number in toy.department])
    return Catalog.from_frame(toy.catalog.frame.with_columns(departments))


@pytest.fixture(scope="module")
def report(tiny: Path, toy: ToyShop, catalog: Catalog) -> Report:
    rec = Recommender.from_catalog(catalog, config=config_for(tiny))
    return evaluate({"ours": rec}, catalog, toy.events, shots=(1, 3), baselines=None, diversity=(0.0, 0.4, 1.0))


def test_every_way_and_strength_is_measured_at_the_largest_k(report: Report) -> None:
    steps = report.variety
    assert [(step["by"], step["diversity"]) for step in steps] == [
        (by, strength) for by in ("mmr", "dpp") for strength in (0.0, 0.4, 1.0)
    ]
    assert {(step["method"], step["shots"], step["protocol"]) for step in steps} == {("ours", 3, "users")}
    frame = report.to_pandas()
    frame = frame[(frame.shots == 3) & (frame.method == "ours")].set_index("metric")
    for metric in ("NDCG@10", "ILD@10", "Calibration@10"):
        assert steps[0]["metrics"][metric]["value"] == pytest.approx(frame.loc[metric, "value"], rel=1e-6)


def test_variety_grows_and_is_compared_with_the_list_by_score(report: Report) -> None:
    for steps in (report.variety[:3], report.variety[3:]):
        spread = [step["metrics"]["category ILD@10"] for step in steps]
        assert spread[0]["value"] < spread[1]["value"] < spread[2]["value"]
        assert (spread[0]["change"], spread[0]["low"]) == (0, 0)
        assert spread[2]["change"] == pytest.approx(spread[2]["value"] / spread[0]["value"] - 1)
        assert 0 < spread[2]["low"] < spread[2]["change"] < spread[2]["high"]


def test_the_page_and_json_have_it(report: Report) -> None:
    page = report.to_html()
    assert "What variety costs" in page
    assert "DPP, 0.4" in page
    assert 'aria-label="What variety costs: ours, users, K = 3"' in page
    assert "from the list by score alone to the right" in page
    assert json.loads(report.to_json())["about"]["variety"][1]["by"] == "mmr"


def test_nobody_who_asks_for_no_variety_pays_for_it(report: Report, catalog: Catalog, toy: ToyShop) -> None:
    plain = evaluate(None, catalog, toy.events, shots=(1,), baselines=("popularity",))
    assert plain.variety == []
    assert "What variety costs" not in plain.to_html()
    with pytest.raises(ConfigError, match="diversity lies between 0 and 1; got 2"):
        evaluate(None, catalog, toy.events, baselines=("popularity",), diversity=(2,))


def test_distance_is_the_mean_over_pairs() -> None:
    space = sparse.csr_array(np.array([[2.0, 0], [0, 3], [1, 1], [0, 0]]))
    rows = np.array([[0, 1, 2], [0, -1, -1], [2, 3, -1]], dtype=np.int32)
    found = distance(rows, space)
    cosine = 1 / np.sqrt(2)
    assert found[0] == pytest.approx(1 - (0 + cosine + cosine) / 3, abs=1e-6)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(1), "what has no category is unlike everything"
