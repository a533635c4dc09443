"""From scores to lists: retrieve, rank, then the rules."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.model import Model
from recllm.ranking.rules import SIMILARITY_POOL, best_items, diversified
from recllm.retrieval.candidates import top_candidates


@final
class Lists:
    """Collects ranked lists batch by batch: retrieve, rank, then the rules."""

    def __init__(self, model: Model, n: int, diversity: float) -> None:
        self.model, self.n, self.diversity = model, n, diversity
        self.users: list[str] = []
        self.rows: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.channels: list[list[str]] = []

    def add(self, histories: Histories, lora: dict[str, Tensor] | None, eligible: np.ndarray) -> None:
        """Rank the eligible items (bool [users, items]) of a batch of users."""
        model, config = self.model, self.model.retrieval
        channel_scores = model.channel_scores(histories, lora)
        retrieved = top_candidates(channel_scores, torch.from_numpy(eligible), max(config.per_channel, self.n)).numpy()
        scores = model.rank(histories, channel_scores, lora).numpy()
        pool = self.n * SIMILARITY_POOL if self.diversity else self.n
        for user, line in enumerate(scores):
            rows = best_items(line, retrieved[user], self.model.ties, pool)
            if self.diversity:
                rows = diversified(rows, line, model.channels.text.numpy(), self.n, self.diversity)
            best = channel_scores[user, :, torch.from_numpy(rows)].argmax(dim=0).tolist()
            self.users.append(histories.user_ids[user])
            self.rows.append(rows)
            self.scores.append(line[rows])
            self.channels.append([model.channels.names[channel] for channel in best])

    def columns(self, catalog: Catalog) -> dict[str, Any]:
        """As `Recommendations` wants them."""
        return list_columns(catalog, self.users, self.rows, self.scores)


def list_columns(
    catalog: Catalog, users: Sequence[str], rows: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Columns of `Recommendations` from each user's item rows and their scores."""
    return {
        "user_id": [user for user, found in zip(users, rows, strict=True) for _ in found],
        "item_id": [catalog.item_ids[row] for found in rows for row in found],
        "rank": [place + 1 for found in rows for place in range(len(found))],
        "score": [float(score) for line in scores for score in line],
        "title": [catalog.titles[row] for found in rows for row in found],
    }


def eligible_items(
    catalog: Catalog,
    histories: Histories,
    allowed: np.ndarray,
    candidates: Sequence[Any] | Mapping[Any, Sequence[Any]] | None,
) -> np.ndarray:
    """bool [users, items]: allowed, and among the candidates where there are any."""
    eligible = np.tile(allowed, (len(histories), 1))
    if candidates is None:
        return eligible
    chosen = np.zeros_like(eligible)
    if isinstance(candidates, Mapping):
        by_user = {str(user): ids for user, ids in candidates.items()}
        for row, user in enumerate(histories.user_ids):
            found = catalog.rows(by_user.get(user, []))
            chosen[row, found[found >= 0]] = True
    else:
        found = catalog.rows(candidates)
        chosen[:, found[found >= 0]] = True
    result: np.ndarray = eligible & chosen
    return result
