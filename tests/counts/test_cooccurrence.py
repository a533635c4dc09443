"""Co-occurrence against the textbook formula."""

import numpy as np
import pytest
from scipy import sparse

from recllm.counts import cooccurrence
from recllm.counts.cooccurrence import Cooccurrence, Gram, affordable_items, solve


def log(users: int = 60, items: int = 15, seed: int = 0) -> sparse.csr_array:
    return sparse.csr_array((np.random.default_rng(seed).random((users, items)) < 0.3).astype(np.float32))


def test_ease_golden() -> None:
    """Steck 2019, eq. 8, by a plain inverse."""
    matrix = log()
    dense = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 7.0 * np.eye(dense.shape[1]))
    expected = np.eye(dense.shape[1]) - inverse / np.diag(inverse)
    model = Cooccurrence.fit(matrix, regularisation=7.0, neighbours=15)
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-5)
    np.testing.assert_allclose((matrix @ model.weights).toarray(), dense @ expected, atol=1e-4)


def test_items_without_events_score_zero_and_change_nothing() -> None:
    matrix = log()
    wider = sparse.csr_array(np.insert(matrix.toarray(), 3, 0, axis=1))
    one = Cooccurrence.fit(matrix, regularisation=7.0, neighbours=15).weights.toarray()
    other = Cooccurrence.fit(wider, regularisation=7.0, neighbours=15).weights.toarray()
    assert not other[3].any()
    assert not other[:, 3].any()
    np.testing.assert_allclose(np.delete(np.delete(other, 3, 0), 3, 1), one, atol=1e-6)


def test_large_catalogs_are_solved_around_their_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same formula on dense matrices."""
    monkeypatch.setattr(cooccurrence, "EXACT_ITEMS", 10)
    monkeypatch.setattr(cooccurrence, "HUBS", 6)
    matrix = log()
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    order = np.argsort(-np.diag(gram), kind="stable")
    hubs, rest = order[:6], order[6:]
    inverse = np.linalg.inv(gram[np.ix_(hubs, hubs)] + 2 * np.eye(6))
    expected = np.zeros_like(gram)
    expected[np.ix_(hubs, hubs)] = np.eye(6) - inverse / np.diag(inverse)
    expected[np.ix_(hubs, rest)] = inverse @ gram[np.ix_(hubs, rest)]
    left = gram[rest] - gram[np.ix_(rest, hubs)] @ expected[hubs]
    expected[rest] = left / (np.diag(gram)[rest] + 2)[:, None]
    np.fill_diagonal(expected, 0)
    for row in rest:  # as many as it was taken with, the strongest
        together = (gram[row] > 0).sum() - 1
        expected[row, np.argsort(-np.abs(expected[row]))[together:]] = 0
    model = Cooccurrence.fit(matrix, regularisation=2.0, neighbours=15)
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-5)


def test_an_item_that_little_was_taken_with_keeps_as_many_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hubs leave of nothing is no more than that; who was taken with many has the same weights as ever."""
    monkeypatch.setattr(cooccurrence, "EXACT_ITEMS", 10)
    monkeypatch.setattr(cooccurrence, "HUBS", 6)
    matrix = log(30, 15).toarray()
    rare = np.argmin(matrix.sum(axis=0))
    matrix[:, rare] = 0
    matrix[0, rare] = 1
    together = (matrix.T @ matrix > 0).sum(axis=1) - (matrix.sum(axis=0) > 0)
    kept = Cooccurrence.fit(sparse.csr_array(matrix), regularisation=2.0, neighbours=15).weights
    hubs = np.argsort(-matrix.sum(axis=0), kind="stable")[:6]
    few = np.setdiff1d(np.arange(15), hubs)
    assert (np.diff(kept.indptr)[few] <= together[few]).all()
    assert 0 < np.diff(kept.indptr)[rare] <= together[rare] < 14


def test_hubs_are_enough_to_tell_groups_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups of users with items of their own, half of these rare: each item's neighbours are of its group."""
    rng = np.random.default_rng(0)
    chance = np.tile([0.5] * 5 + [0.1] * 15, 2)
    groups = np.arange(40) // 20
    taken = (rng.random((400, 40)) < chance) & (groups == (np.arange(400) % 2)[:, None])
    for exact in (100, 0):
        monkeypatch.setattr(cooccurrence, "EXACT_ITEMS", exact)
        monkeypatch.setattr(cooccurrence, "HUBS", 10)
        model = Cooccurrence.fit(sparse.csr_array(taken.astype(np.float32)), regularisation=5.0, neighbours=40)
        alike = model.weights.toarray()
        np.fill_diagonal(alike, -np.inf)
        nearest = np.argsort(-alike, axis=1)[:, :5]
        assert (groups[nearest] == groups[:, None]).mean() > 0.95


def test_the_strongest_neighbours_are_kept() -> None:
    full = Cooccurrence.fit(log(), regularisation=7.0, neighbours=15).weights.toarray()
    cut = Cooccurrence.fit(log(), regularisation=7.0, neighbours=4).weights.toarray()
    for row in range(15):
        kept = np.flatnonzero(cut[row])
        assert len(kept) <= 4
        assert np.abs(full[row][kept]).min() >= np.sort(np.abs(full[row]))[-len(kept)] - 1e-7


def test_nobody() -> None:
    model = Cooccurrence.fit(sparse.csr_array((0, 5), dtype=np.float32), regularisation=1.0, neighbours=3)
    assert model.weights.shape == (5, 5)
    assert model.extended(8).weights.shape == (8, 8)


def test_a_short_budget_pays_for_fewer_items() -> None:
    assert affordable_items(1e6) == affordable_items(cooccurrence.SECONDS) == cooccurrence.EXACT_ITEMS
    assert affordable_items(cooccurrence.SECONDS / 8) == cooccurrence.EXACT_ITEMS // 2
    assert affordable_items(0.001) == cooccurrence.HUBS


def test_above_what_is_affordable_only_hubs_are_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "HUBS", 6)
    matrix = log(50, 20)
    exact, around = (
        solve(Gram.of(matrix), regularisation=5.0, neighbours=20, exact_items=limit).toarray() for limit in (20, 19)
    )
    assert np.abs(exact - around).max() > 1e-3


def test_a_gram_is_what_everybody_took_together() -> None:
    matrix = log()
    dense = matrix.toarray().T @ matrix.toarray()
    gram = Gram.of(matrix)
    np.testing.assert_array_equal(gram.whole.toarray() + np.diag(gram.diagonal), dense)
    for order in ([2, 5, 7], [9, 0, 4, 3]):
        part = gram.among(np.array(order))
        np.testing.assert_array_equal(part.whole.toarray() + np.diag(part.diagonal), dense[np.ix_(order, order)])


def test_the_most_popular_alone_are_weighed_as_if_there_were_no_others() -> None:
    matrix = log()
    counts = matrix.sum(axis=0)
    popular = np.sort(np.argsort(-counts, kind="stable")[:6])
    few = Gram.of(matrix).most_popular(6)
    assert np.flatnonzero(few.diagonal).tolist() == popular.tolist()
    alone = sparse.csr_array(np.where(np.isin(np.arange(15), popular), matrix.toarray(), 0))
    np.testing.assert_array_equal(
        solve(few, regularisation=3.0, neighbours=15).toarray(),
        Cooccurrence.fit(alone, regularisation=3.0, neighbours=15).weights.toarray(),
    )
    whole = Gram.of(matrix)
    assert whole.most_popular(15) is whole
