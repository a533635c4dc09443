"""Whatever its form, a profile says the same of all items, of some, and of the best."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recllm.retrieval import profiles
from recllm.retrieval import space as spaces
from recllm.retrieval.index import NOBODY
from recllm.retrieval.profiles import InSpace, Profile, Shared, Sparse, all_standardised, standardised
from recllm.retrieval.space import Space

USERS, ITEMS = 4, 40


class Plain(Profile):
    """One that somebody registers: only what has to be there."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores

    def all(self) -> torch.Tensor:
        return self.scores

    def at(self, items: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.scores.gather(1, own.unsqueeze(1)), self.scores[:, items]], dim=1)

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.scores.mean(dim=1), self.scores.square().mean(dim=1)


def made(kind: str, seed: int) -> Profile:
    rng = np.random.default_rng(seed)
    if kind == "sparse":
        scores = sparse.random_array((USERS, ITEMS), density=0.3, rng=rng, format="csr", dtype=np.float32)
        scores.data -= 0.2
        return Sparse(sparse.csr_array(scores))
    if kind == "shared":
        table = torch.from_numpy(rng.integers(0, 9, (2, ITEMS)).astype(np.float32))
        return Shared(table, torch.from_numpy(rng.integers(0, 2, USERS)))
    vectors, users = (torch.from_numpy(rng.normal(size=(count, 8)).astype(np.float32)) for count in (ITEMS, USERS))
    users[0] = 0
    return InSpace(users, Space(vectors)) if kind == "space" else Plain(users @ vectors.T)


@pytest.mark.parametrize("kind", ["space", "sparse", "shared", "plain"])
@given(seed=st.integers(0, 10_000), size=st.integers(1, 2 * ITEMS))
def test_what_a_profile_says_of_some_items_is_what_it_says_of_all(kind: str, seed: int, size: int) -> None:
    profile, rng = made(kind, seed), np.random.default_rng(seed)
    rows = torch.from_numpy(rng.integers(0, ITEMS, (USERS, 7)))
    everything = profile.all()
    torch.testing.assert_close(profile.of(rows), everything.gather(1, rows))
    whole = standardised(everything)
    torch.testing.assert_close(all_standardised([profile])[:, 0], whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(all_standardised([profile], rows)[:, 0], whole.gather(1, rows), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(profile.least(), everything.amin(dim=1))
    least = whole.amin(dim=1, keepdim=True)
    torch.testing.assert_close(profile.standardised_least(), least, atol=1e-4, rtol=1e-4)

    eligible = torch.from_numpy(rng.random((USERS, ITEMS)) < 0.7)
    found = profile.best(eligible, size)
    for user in range(USERS):
        mine = found[user][found[user] != NOBODY]
        assert len(set(mine.tolist())) == len(mine)
        assert eligible[user][mine].all()
        said = everything[user]
        silent = float(said.max()) == float(said.min())
        possible = eligible[user] & (said > 0) if kind == "sparse" else eligible[user]
        assert len(mine) == (0 if silent else min(size, int(possible.sum())))
        if len(mine):
            others = possible.clone()
            others[mine] = False
            assert not others.any() or said[others].max() <= said[mine].min()


def test_an_index_finds_and_exact_vectors_score(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = made("space", 1)
    everything = torch.ones(USERS, ITEMS, dtype=torch.bool)
    wanted = exact.best(everything, 5).sort(dim=1).values
    monkeypatch.setattr(spaces, "EXACT_ITEMS", 10)
    indexed = made("space", 1)
    found = indexed.best(everything, 5).sort(dim=1).values
    assert found[0].tolist() == [NOBODY] * 5, "of whom nothing is known"
    assert torch.equal(found[1:], wanted[1:])
    nobody = InSpace(torch.zeros(2, 8), Space(torch.randn(ITEMS, 8)))
    assert nobody.best(everything[:2], 5).tolist() == [[NOBODY] * 5] * 2, "where only strangers ask, too"
    rows = torch.arange(ITEMS).expand(USERS, -1)
    torch.testing.assert_close(indexed.of(rows), exact.all())
    torch.testing.assert_close(indexed.of(rows.contiguous()), exact.all())


def test_what_is_looked_up_stays_in_its_process() -> None:
    space = Space(torch.randn(30, 8))
    assert space.index is space.index
    again = pickle.loads(pickle.dumps(space))
    assert torch.equal(again.vectors, space.vectors)
    assert "index" not in vars(again)


def test_profiles_of_one_space_read_its_vectors_once() -> None:
    space, users = Space(torch.randn(ITEMS, 8)), torch.randn(3, USERS, 8)
    inside = [InSpace(users[0], space), InSpace(users[1], space), InSpace(users[2], Space(torch.randn(ITEMS, 8)))]
    alone = torch.cat([all_standardised([InSpace(one.users, one.space)]) for one in inside], dim=1)
    torch.testing.assert_close(all_standardised(inside), alone)
    memory = [one.all().untyped_storage().data_ptr() for one in inside]
    assert memory[0] == memory[1] != memory[2], "one product for both"


def test_standardised_is_exact_for_what_hardly_differs() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 3852)) * np.array([1.0, 1e-5, 3e-6, 1e-7, 0.0, 0.0])[:, None]
    rows = (rows + np.array([1e3, 0.0, 0.0, 0.0, 5.3, 0.0])[:, None]).astype(np.float32).astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    wanted = centred / np.maximum(centred.std(axis=1, keepdims=True), profiles.SMALLEST_SPREAD)
    found = standardised(torch.from_numpy(rows.astype(np.float32)))
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-3)
    assert not found[4:].any(), "who says the same of all items says nothing"


def test_vectors_that_two_channels_read_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "EXACT_ITEMS", 0)
    rng = np.random.default_rng(0)
    one, other = (Space(torch.from_numpy(rng.normal(size=(ITEMS, 8)).astype(np.float32))) for _ in range(2))
    users = torch.from_numpy(rng.normal(size=(3, USERS, 8)).astype(np.float32))
    asked = [InSpace(users[0], one), made("sparse", 1), InSpace(users[1], other), InSpace(users[2], one)]
    rows = torch.from_numpy(rng.integers(0, ITEMS, (USERS, 7)))
    alone = torch.cat([all_standardised([profile], rows) for profile in asked], dim=1)
    read, take = [], np.take
    monkeypatch.setattr(np, "take", lambda *args, **more: read.append(args[0]) or take(*args, **more))
    torch.testing.assert_close(all_standardised(asked, rows), alone, atol=1e-5, rtol=1e-5)
    assert sum(array.shape == (ITEMS, 8) for array in read) == 2 * USERS, "once in each of the two spaces"
