"""An event is asked of a model that does not know it yet."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recllm.adaptation.support import Contrast, Support
from recllm.counts.cooccurrence import Cooccurrence
from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.retrieval.channels.cooccurrence import TakenTogether

from .conftest import ITEMS, WINDOW, World


@pytest.fixture
def knowing(world: World) -> World:
    """Its co-occurrence has something to say, too."""
    taken = binary_matrix(world.histories(40, 5)[0], ITEMS, liked_only=False)
    model = TakenTogether(Cooccurrence.fit(taken, regularisation=1.0, neighbours=ITEMS))
    known = world.base.channels
    channels = replace(known, fitted=tuple(model if one.name == model.name else one for one in known.fitted))
    return World(replace(world.base, channels=channels), world.popularity)


@pytest.mark.parametrize("asked", [0, 3, WINDOW - 1])
@pytest.mark.parametrize("one_basket", [False, True])
def test_a_question_does_not_know_its_answer_nor_what_came_later(knowing: World, asked: int, one_basket: bool) -> None:
    history = knowing.histories(1, 0)[0]
    if one_basket:
        history = replace(history, timestamps=np.zeros(WINDOW, dtype=np.int64))
    fresh = np.setdiff1d(np.arange(ITEMS), history.item_rows)[: WINDOW - asked]
    other = replace(history, item_rows=np.concatenate([history.item_rows[:asked], fresh]))
    one, two = (scores_of_all(knowing, part) for part in (history, other))
    # All items but those that are known, of which the scores are those of the same columns.
    torch.testing.assert_close(one[0][asked], two[0][asked], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one[1][asked], two[1][asked], atol=1e-5, rtol=1e-4)
    if asked + 1 < WINDOW:
        assert not torch.allclose(one[0][asked + 1], two[0][asked + 1], atol=1e-3), "the next one knows it"


def scores_of_all(world: World, history: Histories) -> tuple[torch.Tensor, torch.Tensor]:
    """Channel scores and head's scores of every item, for each question."""
    support = Support.collate(world.base, history, Contrast(torch.arange(ITEMS), torch.zeros(ITEMS)))
    return support.scores[:, :, 1:], support.served[:, 1:]
