"""The factorisations: normal equations, gradients and known answers."""

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.evaluation.baselines import ials
from recllm.evaluation.baselines.factorisation import Factorisation, loss_and_gradient, split_parameters
from recllm.evaluation.baselines.ials import IALS, ridge, solve_ials
from recllm.testing import ScorerContract, ToyShop


class TestIALS(ScorerContract):
    make = staticmethod(lambda: IALS(factors=8))


class TestFactorisation(ScorerContract):
    make = staticmethod(lambda: Factorisation(factors=4, iterations=20))


# -- iALS -------------------------------------------------------------------------------------------------------------


def tiny_matrix(users: int = 12, items: int = 9) -> sparse.csr_array:
    return sparse.csr_array((np.random.default_rng(0).random((users, items)) < 0.3).astype(np.float64))


def ials_loss(matrix: sparse.csr_array, users: np.ndarray, items: np.ndarray, penalty: float, weight: float) -> float:
    """The loss as the docstring has it, pair by pair."""
    seen, scores = matrix.toarray(), users @ items.T
    per_user = seen.sum(axis=1) + weight * len(items)
    per_item = seen.sum(axis=0) + weight * len(users)
    fit = (seen * (scores - 1) ** 2).sum() + weight * (scores**2).sum()
    return float(fit + penalty * (per_user @ (users**2).sum(axis=1) + per_item @ (items**2).sum(axis=1)))


def test_ials_solves_its_normal_equations_and_its_loss_never_grows() -> None:
    matrix, penalty, weight = tiny_matrix(), 0.05, 0.2
    items = np.random.default_rng(1).normal(0, 0.3, (matrix.shape[1], 4))
    losses = []
    for _ in range(8):
        users = solve_ials(matrix, items, penalty, weight)
        losses.append(ials_loss(matrix, users, items, penalty, weight))
        table = torch.tensor(users, requires_grad=True)
        seen, fixed = torch.tensor(matrix.toarray()), torch.tensor(items)
        scores = table @ fixed.T
        loss = (seen * (scores - 1) ** 2).sum() + weight * scores.square().sum()
        loss = loss + penalty * ((seen.sum(dim=1) + weight * len(items)) * table.square().sum(dim=1)).sum()
        assert_allclose(torch.autograd.grad(loss, table)[0].numpy(), 0, atol=1e-10)
        items = solve_ials(sparse.csr_array(matrix.T), users, penalty, weight)
        losses.append(ials_loss(matrix, users, items, penalty, weight))
    assert (np.diff(losses) <= 1e-10).all()
    assert losses[-1] < 0.8 * losses[0]


def test_systems_are_solved_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, others = tiny_matrix(), np.random.default_rng(2).normal(size=(9, 3))
    whole = ridge(matrix, others, np.full(12, 0.5))
    monkeypatch.setattr(ials, "SOLVED_TOGETHER", 45)  # five users
    assert_allclose(ridge(matrix, others, np.full(12, 0.5)), whole)
    expected = [
        np.linalg.solve(others[row].T @ others[row] + 0.5 * np.eye(3), others[row].sum(axis=0))
        for row in (matrix.toarray() > 0)
    ]
    assert_allclose(whole, expected)


def test_a_stored_zero_is_a_target() -> None:
    targets = sparse.csr_array((np.array([0.0]), np.array([0]), np.array([0, 1, 1])), shape=(2, 1))
    assert_array_equal(ridge(targets, np.ones((1, 1)), np.ones(2)), [[0.0], [0.0]])


def test_ials_folds_in_new_users_as_it_solves_known_ones(toy: ToyShop) -> None:
    fitted = IALS(factors=8).fit(toy.catalog, toy.events)
    scores = fitted.score(toy.events, toy.catalog.item_ids)
    best = scores.argsort(axis=1)[:, -5:]
    own = np.array([toy.favourite[user] for user in toy.events.user_ids])
    assert (toy.department[best] == own[:, None]).mean() > 0.9
    renamed = Interactions.from_mapping(
        {"new": toy.events.frame.filter(pl.col("user_id") == "u0")["item_id"].to_list()}
    )
    assert_allclose(fitted.score(renamed, toy.catalog.item_ids)[0], scores[0], rtol=1e-4, atol=1e-6)


# -- the textbook one -------------------------------------------------------------------------------------------------


def test_the_written_gradient_is_the_gradient() -> None:
    rng = np.random.default_rng(0)
    users, items, factors, penalty = 5, 7, 3, 0.7
    pairs = np.sort(rng.choice(users * items, 14, replace=False))
    owners, columns, values = pairs // items, pairs % items, rng.normal(size=14)
    ratings = sparse.csr_array((values, (owners, columns)), shape=(users, items))
    parameters = rng.normal(size=(users + items) * (factors + 1))
    loss, gradient = loss_and_gradient(parameters, ratings, penalty)

    flat = torch.tensor(parameters, requires_grad=True)
    u, v = split_parameters(flat, users, users + items)  # type: ignore[arg-type]
    table = u[:, :-1] @ v[:, :-1].T + u[:, -1:] + v[:, -1]  # type: ignore[attr-defined]
    errors = table[owners, columns] - torch.tensor(values)
    expected = errors.square().sum() + penalty * flat.square().sum()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert_allclose(gradient, torch.autograd.grad(expected, flat)[0].numpy(), rtol=1e-6, atol=1e-10)


def rated_world(users: int = 60, items: int = 20, seen: float = 0.6) -> tuple[Catalog, Interactions, np.ndarray]:
    """Ratings from 1 to 5 of rank one beyond the biases, whole numbers, most of them given."""
    rng = np.random.default_rng(3)
    truth = 3 + rng.normal(0, 0.4, (users, 1)) + rng.normal(0, 0.5, items)
    truth = np.clip(truth + rng.normal(size=(users, 1)) * rng.normal(size=items), 1, 5)
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{item}" for item in range(items)]}))
    owners, columns = np.nonzero(rng.random((users, items)) < seen)
    frame = pl.DataFrame(
        {
            "user_id": [f"u{owner}" for owner in owners],
            "item_id": [f"i{column}" for column in columns],
            "timestamp": np.arange(len(owners)),
            "rating": np.round(truth[owners, columns] * 2) / 2,
        }
    )
    return catalog, Interactions.from_frame(frame), truth


def test_ratings_are_predicted_for_new_users_on_the_logs_scale() -> None:
    catalog, events, truth = rated_world()
    known, asked = events.user_ids[:40], events.user_ids[40:]
    fitted = Factorisation(factors=2, regularisation=0.5).fit(catalog, events.of_users(known))
    predicted = fitted.rate(events.of_users(asked), catalog.item_ids)
    rows = [int(user[1:]) for user in asked]
    unseen = fitted.known(events.of_users(asked)).matrix(len(catalog)).toarray() == 0
    error = np.sqrt(np.square(predicted - truth[rows])[unseen].mean())
    bias = np.sqrt(
        np.square(fitted.rate(Interactions.from_mapping({"n": []}), catalog.item_ids) - truth[rows])[unseen].mean()
    )
    assert predicted.dtype == np.float32
    assert 1 <= predicted.min() <= predicted.max() <= 5
    assert error < 0.6 * bias
    assert error < 0.5


def test_folded_in_training_users_stand_where_training_left_them() -> None:
    """At the optimum, the closed form for users given items leaves no slope at all, neither for users nor for items."""
    catalog, events, _ = rated_world(users=20, items=8)
    fitted = Factorisation(factors=2, regularisation=1.0, iterations=3000)
    fitted.fit(catalog, events)
    known = fitted.known(events)
    ratings = fitted._judged(known)
    ratings.data -= fitted._mean
    parameters = np.concatenate([fitted._folded_in(known), fitted._vectors]).ravel()
    slope = loss_and_gradient(parameters, ratings, 1.0)[1]
    assert np.abs(slope[: 20 * 3]).max() < 1e-9
    assert np.abs(slope[20 * 3 :]).max() < 0.05


def test_a_user_without_events_is_rated_by_the_mean_of_items() -> None:
    catalog, events, _ = rated_world()
    fitted = Factorisation(factors=2, regularisation=1e-3, iterations=200).fit(catalog, events)
    nobody = Interactions.from_mapping({"n": []})
    assert np.ptp(fitted.rate(nobody, catalog.item_ids)) > 0.5
    assert_array_equal(np.isnan(fitted.rate(nobody, ["i0", "who"])), [[False, True]])


def test_events_without_ratings_are_ones_among_sampled_zeros(toy: ToyShop) -> None:
    fitted = Factorisation(factors=8, regularisation=1.0).fit(toy.catalog, toy.events)
    scores = fitted.score(toy.events, toy.catalog.item_ids)
    own = np.array([toy.favourite[user] for user in toy.events.user_ids])
    inside = toy.department == own[:, None]
    assert scores[inside].mean() > scores[~inside].mean() + 0.2
    best = scores.argsort(axis=1)[:, -5:]
    assert (toy.department[best] == own[:, None]).mean() > 0.9
    assert_array_equal(
        scores,
        Factorisation(factors=8, regularisation=1.0)
        .fit(toy.catalog, toy.events)
        .score(toy.events, toy.catalog.item_ids),
    )


def test_events_without_a_rating_are_left_out_of_a_rated_log() -> None:
    catalog, events, _ = rated_world(users=12, items=6)
    extra = Interactions.from_frame(
        pl.DataFrame(
            {"user_id": ["u0"], "item_id": ["i5"], "timestamp": [10_000], "rating": [None]},
            schema_overrides={"rating": pl.Float32},
        )
    )
    both = events.of_users(events.user_ids[1:]).extend(extra)
    fitted = Factorisation(factors=2, iterations=10).fit(catalog, both)
    assert np.isfinite(fitted.score(both, catalog.item_ids)).all()
    popular = fitted.known(both).matrix(6).sum(axis=0)
    assert_array_equal(fitted.score(extra, catalog.item_ids)[0], popular)
