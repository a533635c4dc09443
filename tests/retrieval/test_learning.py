"""What channels learn from: liked events where liking is meant, all of them where what goes together is."""

import numpy as np
import torch

from recllm.data.histories import Histories
from recllm.data.tasks import make_tasks
from recllm.retrieval.channel import Lesson
from recllm.retrieval.channels.cooccurrence import LikedTogether, TakenTogether
from recllm.retrieval.config import RetrievalConfig
from recllm.retrieval.learning import learn_channels
from recllm.retrieval.scoring import Channels

ITEMS = 6


def learned() -> Channels:
    """Everybody took items 0 and 1; 1 was disliked by all, 2 liked by one."""
    rows, signals = [0, 1, 0, 1, 0, 1, 2], [1, -1, 1, -1, 1, -1, 1]
    base = Histories(
        ("a", "b", "c"),
        np.array([0, 2, 4, 7]),
        np.array(rows),
        np.arange(7, dtype=np.float64),
        np.array(signals, dtype=np.int8),
        np.zeros(7, dtype=np.int64),
    )
    text = torch.nn.functional.normalize(torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    return learn_channels(Lesson(base, make_tasks(Histories.empty(0)), text, RetrievalConfig(neighbours=ITEMS)))


def test_popular_is_what_is_liked() -> None:
    channels = learned()
    assert channels.popularity.liked.tolist() == [3, 0, 1, 0, 0, 0]
    assert channels.trend.total.tolist() == [3, 0, 1, 0, 0, 0]


def test_what_is_taken_together_is_over_all_events_and_liked_over_liked_ones() -> None:
    channels = learned()
    taken, liked = channels["cooccurrence"], channels["liked"]
    assert isinstance(taken, TakenTogether)
    assert isinstance(liked, LikedTogether)
    assert taken.model.weights[[0], [1]].sum() > 0
    assert not liked.model.weights[:, [1]].nnz
    assert liked.model.weights[[0], [2]].sum() > 0
