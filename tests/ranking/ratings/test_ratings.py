"""Predicted ratings: worlds in which it is known what is rated how, and by whom."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from recllm.artifact.arrays import SavedArrays
from recllm.data.histories import Histories
from recllm.errors import ArtifactError, DataError
from recllm.ranking.ratings.features import NAMES, Features, rated
from recllm.ranking.ratings.head import FEWEST, RatingHead
from recllm.ranking.ratings.ratings import RatingConfig, Ratings

ITEMS, TEXT = 30, np.eye(30, dtype=np.float32)


def rating(items: list[list[int]], values: list[list[float]]) -> Histories:
    lengths = [len(one) for one in items]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.array([item for one in items for item in one], dtype=np.int64)
    told = np.array([value for one in values for value in one], dtype=np.float32)
    times = np.concatenate([np.arange(length, dtype=float) for length in lengths]) if lengths else np.zeros(0)
    signals = np.where(np.nan_to_num(told) >= 4, 1, -1).astype(np.int8)
    names = tuple(f"u{user}" for user in range(len(items)))
    return Histories(names, offsets, rows, times, signals, np.zeros(len(rows), dtype=np.int64), ratings=told)


def two_camps(users: int = 120, seed: int = 0) -> Histories:
    """Half of the users give the first half of the items 5 and the others 1, the other half the other way round."""
    rng = np.random.default_rng(seed)
    items = [rng.permutation(ITEMS)[:20].tolist() for _ in range(users)]
    values = [
        [5.0 if (item < ITEMS // 2) == (user % 2 == 0) else 1.0 for item in one] for user, one in enumerate(items)
    ]
    return rating(items, values)


@pytest.fixture(scope="module")
def learned() -> Ratings:
    return Ratings.learn(two_camps(), TEXT, RatingConfig(factors=2), seed=0)


def test_a_few_ratings_tell_the_camp(learned: Ratings) -> None:
    asked = rating([[0, 20], [0, 20], []], [[5.0, 1.0], [1.0, 5.0], []])
    first, second, nobody = learned.predict(asked)
    assert first[5] > 4.5 > 1.5 > first[25]
    assert second[25] > 4.5 > 1.5 > second[5]
    assert 2.5 < nobody.min() <= nobody.max() < 3.5


def test_without_numbers_of_their_own_users_differ_in_generosity_only(learned: Ratings) -> None:
    asked = rating([[0, 20], [0, 20]], [[5.0, 1.0], [1.0, 5.0]])
    first, second = learned.predict(asked, own=False)
    assert np.ptp(first) < 1
    assert_allclose(first, second, atol=1.0)


def test_generous_and_strict_users_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    items = [rng.permutation(ITEMS)[:12].tolist() for _ in range(100)]
    values = [[3.0 + (1.5 if user % 2 else -1.5) + rng.normal(0, 0.2) for _ in one] for user, one in enumerate(items)]
    found = Ratings.learn(rating(items, values), TEXT, RatingConfig(factors=2), seed=0)
    for own in (True, False):
        generous, strict = found.predict(rating([[1, 2, 3]] * 2, [[4.5] * 3, [1.5] * 3]), own=own)
        assert generous.mean() == pytest.approx(4.5, abs=0.3)
        assert strict.mean() == pytest.approx(1.5, abs=0.3)


def test_a_scale_that_moves_with_time_is_learned() -> None:
    """Everybody gives more and more: users who were not learned from say so, and the factorisation cannot."""
    rng = np.random.default_rng(0)
    items = [rng.permutation(ITEMS)[:20].tolist() for _ in range(150)]
    values = [[1.5 + 0.15 * place + rng.normal(0, 0.1) for place in range(20)] for _ in items]
    found = Ratings.learn(rating(items, values), TEXT, RatingConfig(factors=2), seed=0)
    asked = rating([[1, 2, 3, 4, 5]], [[2.4, 2.55, 2.7, 2.85, 3.0]])
    factors = found.factors
    still = factors.alone + factors.users(rated(asked))[0] @ factors.vectors.T
    assert still.mean() < 3
    assert found.predict(asked).mean() > 3.1


def test_events_without_a_rating_say_nothing(learned: Ratings) -> None:
    unrated = rating([[0, 20, 7], []], [[np.nan, np.nan, np.nan], []])
    first, nobody = learned.predict(unrated)
    assert_allclose(first, nobody)
    some = learned.predict(rating([[0, 7, 20]], [[5.0, np.nan, 1.0]]))
    assert_allclose(some, learned.predict(rating([[0, 20]], [[5.0, 1.0]])))


@given(st.lists(st.lists(st.floats(1, 5, allow_nan=False, width=16), max_size=6), min_size=1, max_size=4))
def test_what_is_predicted_is_on_the_scale(learned: Ratings, values: list[list[float]]) -> None:
    items = [list(range(len(one))) for one in values]
    found = learned.predict(rating(items, values))
    assert found.shape == (len(values), ITEMS)
    assert ((found >= 1) & (found <= 5)).all()


def test_pairs_and_whole_rows_are_the_same(learned: Ratings) -> None:
    asked = two_camps(4, seed=3)
    features = Features.of(learned.factors, learned.popularity, asked)
    weights = np.random.default_rng(0).normal(size=len(NAMES))
    users, items = np.divmod(np.arange(4 * ITEMS), ITEMS)
    assert_allclose(features.pairs(users, items) @ weights, features.weighted(weights).ravel(), atol=1e-8)


def test_too_few_users_change_nothing() -> None:
    plain = RatingHead.learn(np.ones((5, len(NAMES))), np.ones(5), np.ones(5), FEWEST - 1)
    assert_allclose(plain.weights, RatingHead.plain().weights)
    one = Ratings.learn(rating([[0, 1, 2]], [[4.0, 4.0, 2.0]]), TEXT, RatingConfig(factors=2), seed=0)
    assert np.isfinite(one.predict(rating([[0]], [[4.0]]))).all()


def test_the_same_seed_gives_the_same(learned: Ratings) -> None:
    again = Ratings.learn(two_camps(), TEXT, RatingConfig(factors=2), seed=0)
    for name, array in learned.tensors().items():
        assert (array == again.tensors()[name]).all(), name


def test_another_scale_is_refused(learned: Ratings) -> None:
    learned.check(np.array([1.0, 5.0, np.nan, 6.0, 0.0]))
    for strange in (8.0, 80.0, -4.0):
        with pytest.raises(DataError, match=rf"{strange:g} came.*from 1 to 5"):
            learned.check(np.array([3.0, strange]))
        told = learned.predict(rating([[0, 7, 20]], [[5.0, strange, 1.0]]))
        assert_allclose(told, learned.predict(rating([[0, 20]], [[5.0, 1.0]])), err_msg="one that was taken in before")


def test_it_is_the_same_after_saving(learned: Ratings) -> None:
    asked = two_camps(3, seed=1)
    again = Ratings.from_tensors(SavedArrays("ratings", learned.tensors()), ITEMS, ITEMS)
    assert_allclose(again.predict(asked), learned.predict(asked))
    turned = learned.tensors() | {"scale": np.array([5.0, 1.0])}
    with pytest.raises(ArtifactError, match="scale"):
        Ratings.from_tensors(SavedArrays("ratings", turned), ITEMS, ITEMS)


def test_new_items_are_predicted(learned: Ratings) -> None:
    grown = learned.extended(np.concatenate([TEXT, TEXT[:2]]))
    asked = two_camps(3, seed=1)
    assert_allclose(grown.predict(asked)[:, :ITEMS], learned.predict(asked))
    assert np.isfinite(grown.predict(asked)[:, ITEMS:]).all()
