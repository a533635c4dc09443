"""Co-occurrence against the textbook formula."""

import numpy as np
import pytest
from scipy import sparse

from recllm.retrieval import cooccurrence
from recllm.retrieval.cooccurrence import Cooccurrence


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
    np.testing.assert_allclose(model.scores(matrix), dense @ expected, atol=1e-4)


def test_items_without_events_score_zero_and_change_nothing() -> None:
    matrix = log()
    wider = sparse.csr_array(np.insert(matrix.toarray(), 3, 0, axis=1))
    one = Cooccurrence.fit(matrix, regularisation=7.0, neighbours=15).weights.toarray()
    other = Cooccurrence.fit(wider, regularisation=7.0, neighbours=15).weights.toarray()
    assert not other[3].any()
    assert not other[:, 3].any()
    np.testing.assert_allclose(np.delete(np.delete(other, 3, 0), 3, 1), one, atol=1e-6)


def test_large_catalogs_use_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "EXACT_ITEMS", 10)
    matrix = log()
    dense = matrix.toarray()
    norms = np.linalg.norm(dense, axis=0)
    expected = dense.T @ dense / (np.outer(norms, norms) + 2.0)
    np.fill_diagonal(expected, 0)
    model = Cooccurrence.fit(matrix, regularisation=2.0, neighbours=15)
    np.testing.assert_allclose(model.weights.toarray(), expected, atol=1e-5)


def test_the_strongest_neighbours_are_kept() -> None:
    full = Cooccurrence.fit(log(), regularisation=7.0, neighbours=15).weights.toarray()
    cut = Cooccurrence.fit(log(), regularisation=7.0, neighbours=4).weights.toarray()
    for row in range(15):
        kept = np.flatnonzero(cut[row])
        assert len(kept) <= 4
        assert np.abs(full[row][kept]).min() >= np.sort(np.abs(full[row]))[-len(kept)] - 1e-7


def test_nobody() -> None:
    model = Cooccurrence.fit(sparse.csr_array((0, 5), dtype=np.float32), regularisation=1.0, neighbours=3)
    assert model.scores(sparse.csr_array((2, 5), dtype=np.float32)).shape == (2, 5)
    assert model.extended(8).weights.shape == (8, 8)
