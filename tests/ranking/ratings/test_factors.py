"""The factorisation: against the exact posterior, in a world made of factors, and for items known by text only."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from recllm.artifact.arrays import SavedArrays
from recllm.errors import ArtifactError
from recllm.ranking.ratings.factors import Factors, Rated

USERS, ITEMS, WIDTH, DIM = 300, 60, 3, 12


def world(seed: int = 0, noise: float = 0.3, share: float = 0.4) -> tuple[Rated, np.ndarray, np.ndarray]:
    """Ratings that are 3 + c + b + U·V, the texts of items, which say V, and the truth of all pairs."""
    rng = np.random.default_rng(seed)
    text = rng.normal(0, 1, (ITEMS, DIM))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    items = text @ rng.normal(0, 1.2, (DIM, WIDTH + 1))
    users = np.column_stack([rng.normal(0, 0.6, USERS), rng.normal(0, 0.7, (USERS, WIDTH))])
    truth = 3 + items[:, 0] + users[:, :1] + users[:, 1:] @ items[:, 1:].T
    u, i = np.nonzero(rng.random((USERS, ITEMS)) < share)
    return Rated(u, i, truth[u, i] + rng.normal(0, noise, len(u)), USERS), text, truth


@pytest.fixture(scope="module")
def learned() -> Factors:
    rated, text, _ = world()
    return Factors.learn(rated, text, factors=WIDTH, rounds=15, seed=0)


def test_it_finds_what_ratings_are_made_of(learned: Factors) -> None:
    rated, _, truth = world()
    users, _ = learned.users(rated)
    found = learned.alone + users @ learned.vectors.T
    unseen = np.ones_like(truth, dtype=bool)
    unseen[rated.users, rated.items] = False
    plain = learned.alone + users[:, :1]
    error, without = (np.sqrt(np.mean((one - truth)[unseen] ** 2)) for one in (found, plain))
    assert error < 0.25 < 0.6 < without
    assert learned.noise == pytest.approx(0.3**2, rel=0.25)
    assert learned.generosity[0] == pytest.approx(0.6**2, rel=0.3)


def test_a_users_numbers_are_the_posterior_of_a_linear_model(learned: Factors) -> None:
    items, values = np.array([3, 9, 20, 41]), np.array([5.0, 1.0, 4.0, 2.5])
    certain = replace(learned, spreads=np.zeros_like(learned.spreads))
    means, spreads = certain.users(Rated(np.zeros(4, dtype=int), items, values, 1), doubt=2.0)
    rows = certain.vectors[items]
    precision = np.diag(1 / certain.generosity) + rows.T @ rows / (2 * certain.noise)
    wanted = np.linalg.solve(precision, rows.T @ (values - certain.alone[items]) / (2 * certain.noise))
    assert_allclose(means[0], wanted, atol=1e-10)
    assert_allclose(spreads[0], np.linalg.inv(precision), atol=1e-10)


def test_an_item_that_few_have_rated_moves_a_user_less(learned: Factors) -> None:
    rated = Rated(np.zeros(1, dtype=int), np.array([5]), np.array([5.0]), 1)
    unsure = np.array(learned.spreads)
    unsure[5, 1:, 1:] += 10 * np.eye(WIDTH)
    moved = [np.abs(replace(learned, spreads=one).users(rated)[0][0, 1:]).sum() for one in (learned.spreads, unsure)]
    assert moved[1] < 0.5 * moved[0]


def test_nobody_is_the_mean_of_users(learned: Factors) -> None:
    none = np.zeros(0, dtype=int)
    means, spreads = learned.users(Rated(none, none, np.zeros(0), 2))
    assert_allclose(means, 0)
    assert_allclose(spreads, np.tile(np.diag(learned.generosity), (2, 1, 1)))


def test_a_new_item_is_what_its_text_says() -> None:
    rated, text, truth = world(share=0.6)
    known = rated.items < 50
    old = Rated(rated.users[known], rated.items[known], rated.values[known], USERS)
    learned = Factors.learn(old, text[:50], factors=WIDTH, rounds=15, seed=0)
    grown = learned.extended(text)
    users, _ = grown.users(old)
    found = (grown.alone + users @ grown.vectors.T)[:, 50:]
    assert np.corrcoef(found.ravel(), truth[:, 50:].ravel())[0, 1] > 0.8
    assert_allclose(grown.items[:50], learned.items)


def test_texts_that_say_nothing_are_not_believed() -> None:
    rated, text, _ = world()
    strange = np.random.default_rng(5).normal(0, 1, text.shape)
    believed = [np.abs(Factors.learn(rated, one, WIDTH, 6, seed=0).from_text).max() for one in (text, strange)]
    assert believed[0] > 1
    assert believed[1] < 0.1


def test_it_is_the_same_after_saving(learned: Factors) -> None:
    again = Factors.from_tensors(SavedArrays("factors", learned.tensors()), ITEMS, DIM)
    for name in ("mean", "items", "spreads", "generosity", "noise", "item_variance", "from_text"):
        assert_allclose(getattr(again, name), getattr(learned, name))
    with pytest.raises(ArtifactError, match="items"):
        Factors.from_tensors(SavedArrays("factors", learned.tensors()), ITEMS + 1, DIM)


def test_one_rating_is_enough() -> None:
    one = Rated(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.array([4.0]), 1)
    learned = Factors.learn(one, np.eye(3), factors=2, rounds=3, seed=0)
    assert np.isfinite(learned.items).all()
    assert learned.alone[0] == pytest.approx(4.0)
