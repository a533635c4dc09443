"""How good a ranking is on tasks held out of training: the one figure that early stopping and every choice look at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.data.histories import Histories
from recllm.data.tasks import Tasks

SHOTS = (1, 3, 5, 10, 20)
"""Support sizes that a validation figure averages over."""

DenseScores = Callable[[Histories], Float[Tensor, "users items"]]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside; for training only: the mode of a module is every thread's."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def ndcg_at_10(
    scores: Float[Tensor, "users items"], support: Histories, query: Histories
) -> Float[np.ndarray, "users"]:
    """NDCG@10 of each user's full ranking with binary gains: liked query items are relevant, support items masked."""
    scores = scores.clone()
    owner = support.user_rows
    scores[torch.from_numpy(owner), torch.from_numpy(support.item_rows)] = -torch.inf
    top = scores.topk(min(10, scores.shape[1]), dim=1).indices
    relevant = torch.zeros_like(scores, dtype=torch.bool)
    liked = query.signals > 0
    query_owner = query.user_rows[liked]
    relevant[torch.from_numpy(query_owner), torch.from_numpy(query.item_rows[liked])] = True
    discount = 1.0 / np.log2(np.arange(2, 12))
    gain = relevant.gather(1, top).numpy() @ discount[: top.shape[1]]
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(relevant.sum(dim=1).numpy(), 10)]
    result: np.ndarray = gain / ideal
    return result


def few_shot_ndcg(
    score: DenseScores, tasks: Tasks, shots: Sequence[int] = SHOTS, *, batch: int = 256
) -> dict[int, Float[np.ndarray, "users"]]:
    """NDCG@10 per user for each support size; the queries are the same for all of them."""
    result = {}
    for size in shots:
        parts = []
        for start in range(0, len(tasks.query), batch):
            rows = np.arange(start, min(start + batch, len(tasks.query)))
            support, query = tasks.support.of(rows).last(size), tasks.query.of(rows)
            parts.append(ndcg_at_10(score(support), support, query))
        result[size] = np.concatenate(parts) if parts else np.zeros(0)
    return result


def mean_ndcg(score: DenseScores, tasks: Tasks, shots: Sequence[int] = SHOTS, *, batch: int = 256) -> float:
    """Mean over users and support sizes; `batch` users are scored at once."""
    values = few_shot_ndcg(score, tasks, shots, batch=batch)
    return float(np.mean([figure.mean() for figure in values.values()])) if len(tasks.query) else float("nan")
