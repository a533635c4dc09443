"""Order, ties, filters and diversity."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError, DataError
from recllm.ranking.filters import matching_items
from recllm.ranking.rules import (
    best_items,
    best_lists,
    check_list_options,
    tie_order,
)


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


def test_list_options() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        check_list_options(0, 0)
    with pytest.raises(ConfigError, match="between 0"):
        check_list_options(1, 1.5)


def sorted_in_full(scores: NDArray, allowed: NDArray, ties: NDArray, length: int) -> NDArray:
    result = np.full((len(scores), length), -1)
    for user, line in enumerate(scores):
        order = np.lexsort((ties, -line))
        kept = [item for item in order if allowed[user, item] and line[item] > -np.inf][:length]
        result[user, : len(kept)] = kept
    return result


SCORES = st.sampled_from([-np.inf, -2.5, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 1.0000001, 3e38])


@given(st.data(), st.integers(0, 4), st.integers(0, 12), st.integers(0, 14))
def test_lists_of_many_users_are_a_full_sort(data: st.DataObject, users: int, items: int, length: int) -> None:
    cells = {"min_size": users * items, "max_size": users * items}
    scores = np.array(data.draw(st.lists(SCORES, **cells)), dtype=np.float32).reshape(users, items)
    allowed = np.array(data.draw(st.lists(st.booleans(), **cells)), dtype=bool).reshape(users, items)
    ties = np.array(data.draw(st.permutations(range(items))), dtype=np.int64) * 10**15 - 2**62
    before = scores.copy()
    best = best_lists(scores, allowed, ties, length)
    assert best.dtype == np.int32
    np.testing.assert_array_equal(best, sorted_in_full(scores, allowed, ties, length))
    np.testing.assert_array_equal(scores, before)


def test_lists_of_many_users_with_few_distinct_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (50, 300)).astype(np.float32)
    allowed, ties = rng.random((50, 300)) < 0.9, rng.permutation(300)
    wanted = sorted_in_full(scores, allowed, ties, 200)
    np.testing.assert_array_equal(best_lists(scores, allowed, ties, 200), wanted)
    monkeypatch.setattr("recllm.ranking.rules._CELLS", 1000)
    np.testing.assert_array_equal(best_lists(scores, allowed, ties, 200), wanted)


def test_nan_is_never_listed() -> None:
    scores = np.array([[np.nan, 1.0, -np.nan, np.inf]], dtype=np.float32)
    best = best_lists(scores, np.ones((1, 4), dtype=bool), np.arange(4), 4)
    assert best.tolist() == [[3, 1, -1, -1]]
