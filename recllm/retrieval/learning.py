"""Learning the channels; their settings are chosen by validation NDCG@10."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from scipy import sparse

from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.validation import SHOTS, DenseScores, mean_ndcg
from recllm.retrieval.channels import Channels, RetrievalConfig, Trend, binary_matrix, cooccurrence_scores
from recllm.retrieval.company import Company
from recllm.retrieval.cooccurrence import Cooccurrence
from recllm.retrieval.following import what_follows

CHOOSING_ITEMS = 6_000
"""Where there are more, λ is chosen with the most popular ones only: EASE costs the cube of their number."""


@final
@dataclass
class ChannelLearner:
    """Learns what the channels remember.

    Attributes:
        base: Users to learn from.
        validation: Other users, on whom settings are chosen; the middle ones where there is nobody.
        items: Size of the catalog.
        config: The settings to choose from.
        exact_items: Items up to which EASE is solved for all; None: as many as ever.
        say: Called with (stage, done, total).
        chosen: The settings chosen so far.
        figures: And their validation NDCG@10.
    """

    base: Histories
    validation: Tasks
    items: int
    config: RetrievalConfig
    exact_items: int | None = None
    say: Callable[[str, float, float], None] = lambda *_: None
    chosen: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def fit(self, text: torch.Tensor) -> Channels:
        """The channels of a catalog with these whitened unit text vectors, float32 [items, dim]."""
        liked = binary_matrix(self.base, self.items, liked_only=True)
        known = binary_matrix(self.base, self.items, liked_only=False)
        every_event_is_liked = liked.nnz == known.nnz
        cooccurrence = self.cooccurrence("cooccurrence", known)
        warm = np.asarray(known.sum(axis=0)).ravel() > 0
        channels = Channels(
            text=text,
            popularity=np.asarray(liked.sum(axis=0)).ravel().astype(np.float32),
            trend=self.trend(),
            cooccurrence=cooccurrence,
            liked=None if every_event_is_liked else self.cooccurrence("liked", liked),
            following=self.following(),
            company=Company.fit(cooccurrence, text.numpy(), warm),
        )
        self.say("count what goes together", 1, 1)
        return channels

    def trend(self) -> Trend:
        """Chosen for users of whom nothing is known, whom it serves almost alone."""

        def now(half_life: float) -> DenseScores:
            trend = Trend.fit(self.base, self.items, half_life)
            latest = torch.from_numpy(trend.at(np.array([trend.end])))
            return lambda nobody: latest.expand(len(nobody), -1)

        tries = ((half_life, now(half_life)) for half_life in self.config.half_lives)
        half_life = self._best("popularity now", self.config.half_lives, tries, self.validation.newest(), shots=(0,))
        self.chosen["half-life"] = half_life
        return Trend.fit(self.base, self.items, half_life)

    def cooccurrence(self, name: str, matrix: sparse.csr_array) -> Cooccurrence:
        """EASE with the best λ."""
        few = _most_popular(matrix, CHOOSING_ITEMS)
        models: dict[float, Cooccurrence] = {}

        def fitted(matrix: sparse.csr_array, l2: float) -> Cooccurrence:
            return Cooccurrence.fit(
                matrix, regularisation=l2, neighbours=self.config.neighbours, exact_items=self.exact_items
            )

        def tries() -> Iterable[tuple[float, DenseScores]]:
            for place, l2 in enumerate(self.config.regularisation):
                self.say("count what goes together", place, len(self.config.regularisation))
                models[l2] = fitted(few, l2)
                yield l2, _scorer(models[l2], liked_only=name == "liked")

        l2 = self._best(name, self.config.regularisation, tries(), self.validation)
        self.chosen[f"{name} λ"] = l2
        return models[l2] if few is matrix and l2 in models else fitted(matrix, l2)

    def following(self) -> Cooccurrence | None:
        """None where no user has events at two moments."""
        if not self.base.blocks.any():
            return None
        self.say("count what follows", 0, 1)
        config = self.config
        model = what_follows(self.base, self.items, shrinkage=config.shrinkage, neighbours=config.neighbours)
        if len(self.validation.query):
            self.figures["following"] = mean_ndcg(_scorer(model, liked_only=False), self.validation)
        return model

    def _best(
        self,
        figure: str,
        settings: Sequence[Any],
        tries: Iterable[tuple[Any, DenseScores]],
        tasks: Tasks,
        shots: Sequence[int] = SHOTS,
    ) -> Any:
        if not len(tasks) or len(settings) == 1:
            return settings[len(settings) // 2]
        values = {setting: mean_ndcg(score, tasks, shots) for setting, score in tries}
        best = max(values, key=values.__getitem__)
        self.figures[figure] = values[best]
        return best


def _scorer(model: Cooccurrence, *, liked_only: bool) -> DenseScores:
    return lambda histories: cooccurrence_scores(model, histories, liked_only=liked_only)


def _most_popular(matrix: sparse.csr_array, items: int) -> sparse.csr_array:
    """The matrix with the events of its most popular items only; itself if there are no more than that."""
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    if (counts > 0).sum() <= items:
        return matrix
    popular = np.zeros(len(counts), dtype=bool)
    popular[np.argsort(-counts, kind="stable")[:items]] = True
    entries = matrix.tocoo()
    keep = popular[entries.col]
    return sparse.csr_array((entries.data[keep], (entries.row[keep], entries.col[keep])), shape=matrix.shape)
