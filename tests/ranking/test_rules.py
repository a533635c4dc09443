"""Order, ties, filters and diversity."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError
from recllm.ranking.rules import best_items, check_list_options, diversified, matching_items, tie_order


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=200), st.integers(1, 20), st.randoms())
def test_best_items_are_a_stable_sort_by_score_then_tie(scores: list[float], n: int, random: object) -> None:
    values = np.array(scores, dtype=np.float32)
    allowed = np.array([random.random() < 0.8 for _ in scores])  # type: ignore[attr-defined]
    ties = tie_order([f"i{row}" for row in range(len(scores))])
    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-values[row], ties[row]))[:n]
    assert best_items(values, allowed, ties, n).tolist() == expected


def test_ties_do_not_follow_the_catalog() -> None:
    ids = [f"item {row}" for row in range(50)]
    order = [ids[row] for row in np.argsort(tie_order(ids))]
    shuffled = ids[::-1]
    assert [shuffled[row] for row in np.argsort(tie_order(shuffled))] == order
    assert order != sorted(ids)


def test_filters() -> None:
    frame = pl.DataFrame(
        {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "categories": ["Comedy|War", "Drama", ""]}
    )
    catalog = Catalog.from_frame(frame)
    assert matching_items(catalog, {"categories": "Comedy"}).tolist() == [True, False, False]
    assert matching_items(catalog, {"categories": ["War", "Drama"]}).tolist() == [True, True, False]
    assert matching_items(catalog, {"title": "C", "categories": "War"}).tolist() == [False, False, False]
    with pytest.raises(DataError, match=r"'colour'.*its columns are item_id"):
        matching_items(catalog, {"colour": "red"})


def test_diversity_trades_score_for_variety() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)
    scores = np.array([3.0, 2.9, 2.0], dtype=np.float32)
    ranked = np.array([0, 1, 2])
    assert diversified(ranked, scores, vectors, 2, 0.01).tolist() == [0, 1]
    assert diversified(ranked, scores, vectors, 2, 0.7).tolist() == [0, 2]
    assert diversified(ranked, scores, vectors, 9, 1.0).tolist()[0] in (0, 1, 2)


def test_list_options() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        check_list_options(0, 0)
    with pytest.raises(ConfigError, match="between 0"):
        check_list_options(1, 1.5)
