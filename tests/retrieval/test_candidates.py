"""The union of what channels bring, and each user's part of it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recllm.retrieval.candidates import Candidates, recall, union
from recllm.retrieval.profiles import Shared


def of(*lines: list[float]) -> list[Shared]:
    """One user, and a channel for each line."""
    return [Shared(torch.tensor([line], dtype=torch.float32), torch.zeros(1, dtype=torch.long)) for line in lines]


def brought(profiles: list[Shared], eligible: torch.Tensor, size: int) -> list[int]:
    return union(profiles, eligible, size)[0].nonzero().ravel().tolist()


def test_candidates_are_the_union_of_the_best() -> None:
    profiles, everything = of([5, 4, 0, 0, 0, 0], [0, 0, 0, 0, 4, 5]), torch.ones(1, 6, dtype=torch.bool)
    assert brought(profiles, everything, 1) == [0, 5]
    assert brought(profiles, everything & (torch.arange(6) != 5), 1) == [0, 4], "filters reach into what is brought"


def test_where_channels_could_bring_all_that_is_eligible_all_of_it_is() -> None:
    profiles = of([5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0])
    few = torch.tensor([[True, False, False, True, False, True]])
    assert brought(profiles, few, 1) == [0], "of three, when two could be brought"
    assert brought(profiles, few, 2) == [0, 3, 5]


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
    assert found.rows.shape[1] == max(1, max(map(sum, chosen))), "no wider than needed"


def test_recall() -> None:
    scores = torch.tensor([[5.0, 4, 3, 2, 1]])
    relevant = torch.tensor([[True, False, False, True, False]])
    everything = torch.ones(1, 5, dtype=torch.bool)
    assert recall(scores, everything, relevant, 2).tolist() == pytest.approx([0.5])
