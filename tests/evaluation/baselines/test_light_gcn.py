"""LightGCN: the propagation and its gradient against dense matrices, and what a new user is told."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from torch.nn.functional import cross_entropy

from recllm.errors import ConfigError
from recllm.evaluation.baselines import light_gcn
from recllm.evaluation.baselines.light_gcn import LOOKS, LightGCN, Smoothed, graph_of, softmax_loss
from recllm.testing import ScorerContract, ToyShop


class TestLightGCN(ScorerContract):
    make = staticmethod(lambda: LightGCN(width=8, steps=LOOKS[0]))


def tiny_matrix(users: int = 7, items: int = 5) -> sparse.csr_array:
    """The last user and the last item have no events."""
    matrix = (np.random.default_rng(0).random((users, items)) < 0.5).astype(np.float32)
    matrix[-1], matrix[:, -1] = 0, 0
    return sparse.csr_array(matrix)


def dense_layers(matrix: np.ndarray, vectors: np.ndarray, layers: int) -> list[np.ndarray]:
    """As the paper has it (equations 3 and 8), neighbour by neighbour."""
    users, found = len(matrix), [vectors.astype(np.float64)]
    for _ in range(layers):
        last, layer = found[-1], np.zeros_like(found[-1])
        for user, item in zip(*np.nonzero(matrix), strict=True):
            weight = 1 / np.sqrt(matrix[user].sum() * matrix[:, item].sum())
            layer[user] += weight * last[users + item]
            layer[users + item] += weight * last[user]
        found.append(layer)
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_vectors_are_the_mean_of_all_layers(layers: int) -> None:
    matrix = tiny_matrix()
    vectors = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    found = Smoothed.apply(torch.from_numpy(vectors), graph_of(matrix), layers)
    assert_allclose(found.numpy(), np.mean(dense_layers(matrix.toarray(), vectors, layers), axis=0), atol=1e-6)


def test_the_gradient_flows_back_over_the_graph() -> None:
    graph = graph_of(tiny_matrix())
    vectors = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    (Smoothed.apply(vectors, graph, 2) * target).square().sum().backward()
    whole = torch.from_numpy(graph.toarray())
    dense = vectors.detach().clone().requires_grad_()
    mean = (dense + whole @ dense + whole @ whole @ dense) / 3
    (mean * target).square().sum().backward()
    assert dense.grad is not None
    assert vectors.grad is not None
    assert_allclose(vectors.grad.numpy(), dense.grad.numpy(), atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_every_event() -> None:
    matrix = tiny_matrix()
    users, items = torch.randn(7, 4), torch.randn(5, 4)
    rows, columns = (torch.from_numpy(places.astype(np.int64)) for places in matrix.nonzero())
    assert_allclose(softmax_loss(users, items, matrix), cross_entropy((users @ items.T)[rows], columns), rtol=1e-5)


def test_a_new_user_is_what_their_items_pass_on(toy: ToyShop) -> None:
    """As somebody of the graph would be whose own vector is zero; what nobody learned from stays zero."""
    fitted = LightGCN(width=8, layers=2).fit(toy.catalog, toy.events)
    matrix = fitted.known(toy.events).matrix(len(toy.catalog))
    vectors = np.random.default_rng(0).normal(size=(sum(matrix.shape), 4)).astype(np.float32)
    passed, compared = fitted._state(vectors, graph_of(matrix), matrix.shape[0])
    layers = dense_layers(matrix.toarray(), vectors, 2)
    users = matrix.shape[0]
    assert_allclose(compared, np.mean(layers, axis=0)[users:], atol=1e-5)
    known = matrix.toarray()[0].astype(bool)
    degrees = matrix.toarray().sum(axis=0)
    expected = sum(layers[k][users:][known] / np.sqrt(degrees[known])[:, None] for k in range(2)).sum(axis=0)
    assert_allclose(known @ passed, expected, atol=1e-5)  # but for the root of the user's own degree


def test_it_finds_the_department_and_steps_are_chosen_when_scoring(toy: ToyShop) -> None:
    fitted = LightGCN(width=16).fit(toy.catalog, toy.events)
    scores = {steps: fitted.reading(steps=steps).score(toy.events, toy.catalog.item_ids) for steps in LOOKS}
    best = scores[LOOKS[-1]].argsort(axis=1)[:, -5:]
    own = np.array([toy.favourite[user] for user in toy.events.user_ids])
    assert (toy.department[best] == own[:, None]).mean() > 0.9
    assert (scores[LOOKS[0]] != scores[LOOKS[-1]]).any()
    again = dataclasses.replace(fitted, steps=LOOKS[0]).fit(toy.catalog, toy.events)
    assert_array_equal(again.score(toy.events, toy.catalog.item_ids), scores[LOOKS[0]])


def test_users_take_turns_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_gcn, "LOGITS", 10)  # two users of five items
    batches = LightGCN()._batches(tiny_matrix())
    some = np.flatnonzero(tiny_matrix().toarray().any(axis=1))
    for _ in range(2):
        turn = [next(batches) for _ in range(-(-len(some) // 2))]
        assert max(map(len, turn)) == 2
        assert_array_equal(np.sort(np.concatenate(turn)), some)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="layers must be at least 1: a new user is known by the graph alone; got 0"):
        LightGCN(layers=0)
    with pytest.raises(ConfigError, match="steps must be one of 100, 200, 400, got 7"):
        LightGCN(steps=7)
