"""Figures, lists and reasons of a small real fit, kept: whoever changes them has to say so.

`scripts/test tests/test_golden.py --renew-golden` writes them anew; the commit that does says why. Machines round
differently, and training carries that on; so figures have a tolerance, and lists are compared item by item.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop, toy_shop
from tests.small import config_for, newcomer

KEPT = Path(__file__).parent / "golden" / "toy_shop.json"
NDCG, SCORE, SHARE = 5e-3, 2e-3, 5e-3
"""How far figures may lie apart on another machine; on one machine they are equal to four digits."""
SHOTS, LENGTH = (0, 1, 3, 5), 5


@pytest.fixture(scope="module")
def found(tiny: Path, toy: ToyShop) -> dict[str, Any]:
    """What the shop with its departments as categories gives today, in plain values of four digits."""
    departments = pl.Series("categories", [DEPARTMENTS[number] for number in toy.department])
    catalog = Catalog.from_frame(toy.catalog.frame.with_columns(departments))
    rec = Recommender(config_for(tiny, domain="ecommerce")).fit(catalog, toy.events, options=TrainOptions(seed=0))
    customers = {"nobody": [], **{name: newcomer(toy, row) for row, name in enumerate(DEPARTMENTS)}}
    lists = rec.recommend(customers, n=LENGTH, explain=True)
    return {
        "NDCG@10": _ndcg(rec, catalog),
        "lists": {user: {row.item_id: round(row.score, 4) for row in lists.for_user(user)} for user in customers},
        "reasons": {
            user: [
                {
                    "reason_code": row.reason_code,
                    "explanation": row.explanation,
                    "causes": {cause["item_id"]: round(cause["share"], 4) for cause in row.evidence["causes"]},
                }
                for row in lists.for_user(user)
            ]
            for user in customers
        },
    }


def _ndcg(rec: Recommender, catalog: Catalog) -> dict[str, float]:
    """Of other customers of the same shop, by how many of their events are known."""
    frame = toy_shop(users=60, seed=7).events.frame
    others = Interactions.from_frame(frame.with_columns(pl.format("other {}", "user_id").alias("user_id")))
    asked = others.user_ids[:40]
    report = recllm.evaluate(rec, catalog, others, shots=SHOTS, test_users=asked, baselines=[]).to_pandas()
    figures = report[(report["metric"] == "NDCG@10") & (report["method"] == "recllm")]
    return {str(shots): round(value, 4) for shots, value in zip(figures["shots"], figures["value"], strict=True)}


@pytest.fixture(scope="module")
def kept(found: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.config.getoption("--renew-golden"):
        KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(KEPT.read_text(encoding="utf-8"))


def test_the_figures_for_customers_it_has_never_seen(found: dict[str, Any], kept: dict[str, Any]) -> None:
    assert found["NDCG@10"] == pytest.approx(kept["NDCG@10"], abs=NDCG)


def test_the_lists(found: dict[str, Any], kept: dict[str, Any]) -> None:
    for user, scores in kept["lists"].items():
        assert found["lists"][user] == pytest.approx(scores, abs=SCORE), user


def test_the_reasons(found: dict[str, Any], kept: dict[str, Any]) -> None:
    for user, lines in kept["reasons"].items():
        for here, there in zip(found["reasons"][user], lines, strict=True):
            assert here["causes"] == pytest.approx(there["causes"], abs=SHARE), user
            assert {**here, "causes": None} == {**there, "causes": None}, user
