"""How good a ranking is on tasks held out of training: the one figure that early stopping and every choice look at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recllm.data.histories import Histories
from recllm.data.tasks import Tasks

SHOTS = (1, 3, 5, 10, 20)
"""Support sizes that a validation figure averages over."""

DenseScores = Callable[[Histories], Float[Tensor, "users items"]]
Figure = Callable[[Float[Tensor, "users items"], Histories, Histories], Float[np.ndarray, "users"]]
"""Of scores, supports and queries."""


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
    hits, relevant = best_hits(scores, support, query, 10)
    discount = 1.0 / np.log2(np.arange(2, 12))
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(relevant, 10)]
    result: np.ndarray = hits @ discount[: hits.shape[1]] / ideal
    return result


def best_hits(
    scores: Float[Tensor, "users items"], support: Histories, query: Histories, depth: int
) -> tuple[Bool[np.ndarray, "users depth"], Int[np.ndarray, "users"]]:
    """Which of each user's best `depth` items, support items masked, are liked query items; and how many these are."""
    scores = scores.clone()
    scores[torch.from_numpy(support.user_rows), torch.from_numpy(support.item_rows)] = -torch.inf
    top = scores.topk(min(depth, scores.shape[1]), dim=1).indices
    relevant = torch.zeros_like(scores, dtype=torch.bool)
    liked = query.signals > 0
    relevant[torch.from_numpy(query.user_rows[liked]), torch.from_numpy(query.item_rows[liked])] = True
    return relevant.gather(1, top).numpy(), relevant.sum(dim=1).numpy()


def few_shot(
    score: DenseScores, tasks: Tasks, shots: Sequence[int] = SHOTS, *, figure: Figure = ndcg_at_10, batch: int = 256
) -> dict[int, Float[np.ndarray, "users"]]:
    """NDCG@10, or another figure, per user for each support size; the queries are the same for all of them."""
    result = {}
    for size in shots:
        parts = []
        for start in range(0, len(tasks.query), batch):
            rows = np.arange(start, min(start + batch, len(tasks.query)))
            support, query = tasks.support.of(rows).last(size), tasks.query.of(rows)
            parts.append(figure(score(support), support, query))
        result[size] = np.concatenate(parts) if parts else np.zeros(0)
    return result


def mean_ndcg(score: DenseScores, tasks: Tasks, shots: Sequence[int] = SHOTS, *, batch: int = 256) -> float:
    """Mean over users and support sizes; `batch` users are scored at once."""
    values = few_shot(score, tasks, shots, batch=batch)
    return float(np.mean([value.mean() for value in values.values()])) if len(tasks.query) else float("nan")
