"""The union of what channels bring, and each user's part of it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recllm.retrieval import candidates
from recllm.retrieval.candidates import Candidates, recall, union
from recllm.retrieval.profiles import Shared


@pytest.fixture
def retrieving(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a catalog that is too large to be ranked as a whole."""
    monkeypatch.setattr(candidates, "RANKED_WHOLE", 0)


def of(*lines: list[float]) -> list[Shared]:
    """One user, and a channel for each line."""
    return [Shared(torch.tensor([line], dtype=torch.float32), torch.zeros(1, dtype=torch.long)) for line in lines]


def brought(profiles: list[Shared], eligible: torch.Tensor, size: int) -> list[int]:
    return union(profiles, eligible, size)[0].nonzero().ravel().tolist()


@pytest.mark.usefixtures("retrieving")
def test_candidates_are_the_union_of_the_best() -> None:
    profiles, everything = of([5, 4, 0, 0, 0, 0], [0, 0, 0, 0, 4, 5]), torch.ones(1, 6, dtype=torch.bool)
    assert brought(profiles, everything, 1) == [0, 5]
    assert brought(profiles, everything & (torch.arange(6) != 5), 1) == [0, 4], "filters reach into what is brought"


@pytest.mark.usefixtures("retrieving")
def test_where_channels_could_bring_all_that_is_eligible_all_of_it_is() -> None:
    profiles = of([5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0])
    few = torch.tensor([[True, False, False, True, False, True]])
    assert brought(profiles, few, 1) == [0], "of three, when two could be brought"
    assert brought(profiles, few, 2) == [0, 3, 5]


@pytest.mark.usefixtures("retrieving")
def test_a_silent_channel_brings_nobody_and_a_short_union_is_filled() -> None:
    everything = torch.ones(1, 9, dtype=torch.bool)
    silent = [0.0] * 9
    assert brought(of(silent, [0, 0, 0, 1, 0, 0, 0, 0, 0]), everything, 1) == [3]
    assert brought(of(silent, silent), everything, 2) == list(range(9)), "nothing speaks: everything eligible stays"


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_every_user_has_their_own_candidates(chosen: list[list[bool]]) -> None:
    found = Candidates.of(torch.tensor(chosen))
    assert len(found) == len(chosen)
    for row, wanted in enumerate(chosen):
        assert found.rows[row][found.real[row]].tolist() == [place for place, is_one in enumerate(wanted) if is_one]
    widest = max(map(sum, chosen))
    assert found.rows.shape[1] == (5 if widest > 2 else max(1, widest)), "no wider than needed, or the catalog"
    assert (found.columns is None) == (widest > 2) == found.whole
    assert (found.rows.diff(dim=1) >= 0).all(), "in order, also where there are no more"


def test_a_small_catalog_is_ranked_as_a_whole() -> None:
    everything = torch.ones(1, 6, dtype=torch.bool)
    assert brought(of([5, 4, 0, 0, 0, 0]), everything, 1) == list(range(6))
    same = Candidates.same(torch.arange(6), 3, 6)
    assert (len(same), same.columns) == (3, None)
    assert Candidates.same(torch.arange(5), 3, 6).columns is not None


def test_recall() -> None:
    scores = torch.tensor([[5.0, 4, 3, 2, 1]])
    relevant = torch.tensor([[True, False, False, True, False]])
    everything = torch.ones(1, 5, dtype=torch.bool)
    assert recall(scores, everything, relevant, 2).tolist() == pytest.approx([0.5])


@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4))
def test_scores_of_candidates_are_written_out_at_their_places(chosen: list[list[bool]]) -> None:
    wanted = torch.where(torch.tensor(chosen), torch.arange(9.0), -torch.inf)
    found = Candidates.of(torch.tensor(chosen))
    torch.testing.assert_close(found.written_out(found.rows.float(), 9), wanted)
