"""Variety: unlike items, and categories as the user likes them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError
from recllm.ranking.asked import DiversityBy, Rules
from recllm.ranking.plan import Plan
from recllm.ranking.rules import best_items, tie_order
from recllm.ranking.variety import Calibration, Dpp, Mmr


def unit(rows: list[list[float]]) -> NDArray[np.float32]:
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plan_for(vectors: NDArray, diversity: float, categories: list[str] | None = None, **rules: object) -> Plan:
    ids = [f"i{row}" for row in range(len(vectors))]
    columns = {"item_id": ids, "title": ids} | ({} if categories is None else {"categories": categories})
    attributes = Attributes(Catalog.from_frame(pl.DataFrame(columns)))
    return Plan(Rules(**rules), attributes, vectors, np.arange(len(ids)), diversity)  # type: ignore[arg-type]


def varied(vectors: NDArray, scores: list[float], n: int, diversity: float, by: DiversityBy = "mmr") -> list[int]:
    everything = np.ones(len(scores), dtype=bool)
    plan = plan_for(vectors, diversity, diversity_by=by)
    return plan.rows("u", np.array(scores, dtype=np.float32), everything, n).tolist()


@pytest.mark.parametrize("by", ["mmr", "dpp"])
def test_diversity_trades_score_for_variety(by: DiversityBy) -> None:
    vectors = unit([[1, 0], [1, 0.01], [0, 1]])
    scores = [3.0, 2.9, 2.0]
    assert varied(vectors, scores, 2, 0.01, by) == [0, 1]
    assert varied(vectors, scores, 2, 0.7, by) == [0, 2]
    assert varied(vectors, scores, 9, 1.0, by) == [0, 2, 1], "all of them, the unlike ones first"


def test_each_next_item_is_unlike_all_before_it() -> None:
    vectors = unit([[1, 0], [0, 1], [1, 0.01], [-0.7, -0.7]])
    assert varied(vectors, [3.0, 2.9, 2.8, 1.0], 3, 0.8) == [0, 1, 3], "2 is unlike 1 and like 0"


def test_of_two_halves_a_determinant_knows_that_together_they_say_all() -> None:
    """The third item lies between the first two: the most similar one alone is rather unlike it."""
    between, alone = unit([[1, 0, 0], [0, 1, 0], [1, 1, 0.2], [0.72, 0, 0.7]]), [2.0, 1.9, 1.0, 1.0]
    assert varied(between, alone, 3, 0.95, "mmr") == [0, 1, 2], "of two as like as this the one with the smaller tie"
    assert varied(between, alone, 3, 0.95, "dpp") == [0, 1, 3]


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_the_greedy_steps_are_those_of_determinants(size: int, seed: int) -> None:
    """What an item adds is the quotient of the determinants with and without it."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(size, 4)).tolist()).astype(np.float64)
    kernel, spread, chosen = vectors @ vectors.T, Dpp(vectors), list[int]()
    for place in rng.permutation(size)[:3].tolist():
        for other in range(size):
            both = [*chosen, other]
            before = np.linalg.det(kernel[np.ix_(chosen, chosen)]) if chosen else 1.0
            added = max(np.linalg.det(kernel[np.ix_(both, both)]) / before, 1e-6) if other not in chosen else 1e-6
            assert np.exp(2 * spread.gains()[other]) == pytest.approx(added, rel=1e-2, abs=2e-6)
        if np.exp(2 * spread.gains()[place]) < 1e-3:
            return  # what nothing is left of decides by rounding
        spread.take(place)
        chosen.append(place)


@given(st.integers(1, 40), st.integers(1, 15), st.sampled_from(["mmr", "dpp"]), st.integers(0, 2**31))
def test_without_diversity_the_order_is_that_of_scores(items: int, n: int, by: DiversityBy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=items).round(1).astype(np.float32)
    ties = tie_order([f"i{row}" for row in range(items)])
    vectors, everything = unit(rng.normal(size=(items, 3)).tolist()), np.ones(items, dtype=bool)
    attributes = Attributes(Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(items)]})))
    plan = Plan(Rules(diversity_by=by), attributes, vectors, ties, 1e-12)
    expected = best_items(scores, everything, ties, n).tolist()
    assert scores[plan.rows("u", scores, everything, n)].tolist() == scores[expected].tolist()


def test_what_is_pinned_counts_as_before() -> None:
    """The first pinned item is like the best one, which therefore is not next."""
    vectors = unit([[1, 0], [0, 1], [1, 0.01]])
    for by in ("mmr", "dpp"):
        plan = plan_for(vectors, 0.7, diversity_by=by, pinned=["i2"])
        scores = np.array([3.0, 2.9, 1.0], dtype=np.float32)
        assert plan.rows("u", scores, np.ones(3, dtype=bool), 2).tolist() == [2, 1]


def test_a_varied_list_is_as_long_as_it_can_be() -> None:
    plan = plan_for(unit([[1, 0]] * 30), 0.5)
    found = plan.rows("u", np.arange(30, dtype=np.float32), np.arange(30) < 5, 6)
    assert sorted(found.tolist()) == [0, 1, 2, 3, 4]


def test_a_calibrated_list_has_the_categories_of_what_was_liked() -> None:
    """Seven of ten liked items are comedies, three are dramas; by score alone the list would be comedies only."""
    categories = ["Comedy"] * 30 + ["Drama"] * 30 + ["War"] * 30
    scores = np.linspace(1, 0, 90, dtype=np.float32)
    liked = np.array([0, 1, 2, 3, 4, 5, 6, 30, 31, 32])
    eligible = np.ones(90, dtype=bool)
    eligible[liked] = False
    vectors = unit([[1, 0]] * 90)

    def shares(calibrated: float, liked: NDArray | None) -> list[int]:
        rows = plan_for(vectors, 0.0, categories, calibrated=calibrated).rows("u", scores, eligible, 10, liked=liked)
        return [sum(categories[row] == name for row in rows) for name in ("Comedy", "Drama", "War")]

    assert shares(0.0, liked) == [10, 0, 0]
    assert shares(0.99, liked) == [7, 3, 0]
    assert shares(0.9, None) == [10, 0, 0], "nothing is known of the user"


def test_the_divergence_is_stecks() -> None:
    wanted, shares = np.array([0.5, 0.25, 0.25, 0.0]), np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])
    calibration = Calibration(wanted, shares)
    for taken in ([], [0], [0, 1]):
        for other in range(3):
            found = shares[[*taken, other]].mean(axis=0)
            mixed = 0.99 * found + 0.01 * wanted
            expected = (wanted[:3] * np.log(wanted[:3] / mixed[:3])).sum()
            assert -calibration.gains()[other] == pytest.approx(expected)
        calibration.take(min(len(taken), 1))


def test_calibrating_needs_categories() -> None:
    with pytest.raises(DataError, match="calibrated needs categories, and no item"):
        plan_for(unit([[1, 0]]), 0.0, calibrated=0.5)


def test_ways_to_variety_are_two() -> None:
    with pytest.raises(ConfigError, match="diversity_by is 'mmr' or 'dpp'; got 'other'"):
        Rules(diversity_by="other")  # type: ignore[arg-type]
    assert Mmr(unit([[1, 0]])).gains().tolist() == [0]
