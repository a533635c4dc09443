"""The validation figure against a slow, plain computation."""

import numpy as np
import torch

from recllm.data.histories import Histories
from recllm.encoders.validation import ndcg_at_10


def one_user(items: list[int], signals: list[int]) -> Histories:
    return Histories(
        ("u",),
        np.array([0, len(items)]),
        np.array(items, dtype=np.int64),
        np.arange(len(items), dtype=np.int64),
        np.array(signals, dtype=np.int8),
        np.zeros(len(items), dtype=np.int64),
    )


def test_against_a_plain_computation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.normal(size=30).astype(np.float32)
        items = rng.permutation(30)
        support, query = items[:5].tolist(), items[5:17].tolist()
        signals = rng.choice([-1, 1], 12).tolist()
        ranking = [item for item in np.argsort(-scores).tolist() if item not in support][:10]
        liked = {item for item, signal in zip(query, signals, strict=True) if signal > 0}
        gain = sum(1 / np.log2(place + 2) for place, item in enumerate(ranking) if item in liked)
        ideal = sum(1 / np.log2(place + 2) for place in range(min(len(liked), 10)))
        found = ndcg_at_10(torch.from_numpy(scores)[None], one_user(support, [1] * 5), one_user(query, signals))
        np.testing.assert_allclose(found, [gain / ideal if liked else 0], atol=1e-6)


def test_scores_are_not_changed() -> None:
    scores = torch.arange(5.0)[None]
    ndcg_at_10(scores, one_user([4], [1]), one_user([3], [1]))
    torch.testing.assert_close(scores, torch.arange(5.0)[None])
