"""How good text similarity is by itself, for all items and for items that fine-tuning has not read."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.validation import DenseScores, best_hits, few_shot

DEPTH, DEPTH_SHARE = 200, 0.1
"""Recall looks at this many of the candidates, and at no more than this share of them."""


SURE = 2.0
"""Standard errors by which fine-tuning has to be better."""


@final
@dataclass(frozen=True)
class TextFigures:
    """Figures of one state of the vectors, each a mean over support sizes; float64 [users].

    Attributes:
        recall: Of liked query items among the best of all items.
        ndcg: NDCG@10 among all items.
        cold_recall: Recall when only held-out items are candidates; NaN for users who like none of them.
        cold_ndcg: Likewise.
    """

    recall: np.ndarray
    ndcg: np.ndarray
    cold_recall: np.ndarray
    cold_ndcg: np.ndarray

    @classmethod
    def measure(
        cls, vectors: Float[np.ndarray, "items dim"], tasks: Tasks, held_out: Bool[np.ndarray, "items"]
    ) -> "TextFigures":
        """Rank by the cosine to the mean vector of the liked items known, as the text channel does."""
        table = torch.from_numpy(vectors)
        cold = Tasks(tasks.support, tasks.query.drop_events(held_out[tasks.query.item_rows]), tasks.user_rows, {})
        only_cold = torch.where(torch.from_numpy(held_out), 0.0, -torch.inf)
        without = _without_liked(cold.query)

        def scores(histories: Histories) -> Float[Tensor, "users items"]:
            liked = histories.signals > 0
            profile = torch.zeros(len(histories), table.shape[1])
            owner = torch.from_numpy(histories.user_rows[liked])
            profile.index_add_(0, owner, table[torch.from_numpy(histories.item_rows[liked])])
            return torch.nn.functional.normalize(profile, dim=1) @ table.T

        def cold_scores(histories: Histories) -> Float[Tensor, "users items"]:
            return scores(histories) + only_cold

        def mean(values: dict[int, np.ndarray]) -> np.ndarray:
            return np.mean(list(values.values()), axis=0)

        cold_recall = _recall(cold_scores, cold, int(held_out.sum()))
        cold_ndcg = mean(few_shot(cold_scores, cold))
        cold_ndcg[without], cold_recall[without] = np.nan, np.nan
        return cls(_recall(scores, tasks, len(vectors)), mean(few_shot(scores, tasks)), cold_recall, cold_ndcg)

    def means(self) -> dict[str, float]:
        """Each figure's mean over users; left out where it says nothing about anybody."""
        named = {
            "recall": self.recall,
            "NDCG@10": self.ndcg,
            "recall, new items": self.cold_recall,
            "NDCG@10, new items": self.cold_ndcg,
        }
        return {name: float(np.nanmean(values)) for name, values in named.items() if not np.isnan(values).all()}

    @property
    def value(self) -> float:
        """One number to compare states by: recall of all items and of new ones."""
        means = self.means()
        return float(np.mean([means[name] for name in ("recall", "recall, new items") if name in means]))


def pays_off(frozen: TextFigures, tuned: TextFigures) -> tuple[bool, str]:
    """Whether fine-tuning is to be kept, and the figures in words.

    It is kept if recall is better by two standard errors of the difference (paired by user), and recall of held-out
    items is not worse.
    """
    gain = tuned.recall - frozen.recall
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else float("inf")
    before, after = frozen.means(), tuned.means()
    new_items = "recall, new items"
    pays = float(gain.mean()) > SURE * error and after.get(new_items, 0.0) >= before.get(new_items, 0.0)
    words = ", ".join(f"{name} {before[name]:.4f} -> {after[name]:.4f}" for name in before)
    return pays, f"text alone on {len(gain)} validation users: {words}"


def restricted(tasks: Tasks, rows: Int[np.ndarray, "rows"], items: int) -> Tasks:
    """The same tasks over the items `rows` of a catalog only, numbered by their place there.

    Users who like nothing of these in their query are left out.
    """
    place = np.full(items, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))

    def narrow(histories: Histories) -> Histories:
        kept = histories.drop_events(place[histories.item_rows] >= 0)
        return replace(kept, item_rows=place[kept.item_rows])

    support, query = narrow(tasks.support), narrow(tasks.query)
    keep = np.flatnonzero(~_without_liked(query))
    return Tasks(support.of(keep), query.of(keep), tasks.user_rows[keep], {})


def _without_liked(histories: Histories) -> Bool[np.ndarray, "users"]:
    return np.bincount(histories.user_rows[histories.signals > 0], minlength=len(histories)) == 0


def _recall(scores: DenseScores, tasks: Tasks, candidates: int) -> Float[np.ndarray, "users"]:
    """Share of each user's liked query items among the best candidates, mean over support sizes."""
    depth = max(1, min(DEPTH, int(DEPTH_SHARE * candidates)))

    def recall(scores: Tensor, support: Histories, query: Histories) -> np.ndarray:
        hits, relevant = best_hits(scores, support, query, depth)
        share = hits.sum(axis=1).astype(np.float32) / np.maximum(relevant, 1).astype(np.float32)
        return np.asarray(share, dtype=np.float64)

    return np.mean(list(few_shot(scores, tasks, figure=recall).values()), axis=0)
