"""How good an item prompt is, with nothing trained: text alone, on users and items that were held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import Tasks, make_tasks, split_users
from recllm.encoders.finetuning.figures import TextFigures, restricted
from recllm.encoders.text import TextEncoder, Whitening, describe_items
from recllm.errors import DataError
from recllm.prompting.template import Prompt

FEWEST_USERS = 20
"""Of select and report users each; fewer say nothing."""

MOST_USERS = 2_000
"""Of each; more sharpen no choice."""

HELD_OUT = 0.15
"""Share of the items that are known by their text only."""


@final
@dataclass(frozen=True)
class Scope:
    """Items among which users are asked, and the users' tasks there.

    Attributes:
        rows: Catalog rows, ascending.
        held_out: bool [rows]: known by their text only; not even the whitening has seen them.
        tasks: Group (`select`, `report`) -> tasks over these items, numbered by their place in `rows`.
    """

    rows: Int[np.ndarray, "rows"]
    held_out: Bool[np.ndarray, "rows"]
    tasks: dict[str, Tasks]


@final
class ItemJudge:
    """Measures item prompts by what users choose who have had no part in choosing the prompt.

    Args:
        catalog: The items.
        events: Whose users are split in two: those who choose a prompt, and those who say what it is worth.
        encoder: Reads the texts.
        seed: Of the split of users and of the items held out.
        liked_from: As in the recommender's settings.
        device: Where texts are read.

    Raises:
        DataError: Too few users can be asked.
    """

    def __init__(
        self,
        catalog: Catalog,
        events: Interactions,
        encoder: TextEncoder,
        *,
        seed: int,
        liked_from: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.catalog, self.encoder, self.device = catalog, encoder, device
        known = events.known_items(catalog)
        histories = make_histories(known, catalog, Feedback.infer(known.frame, liked_from), seed=seed)
        tasks = make_tasks(histories)
        parts = split_users(tasks.user_ids, {"select": 0.5, "report": 0.5}, seed=seed)
        if min(map(len, parts.values())) < FEWEST_USERS:
            raise DataError(
                f"{len(tasks)} users have enough events to be asked, and {2 * FEWEST_USERS} are needed to choose a "
                "prompt and to say what it is worth; compose one from the catalog instead, or give more events."
            )
        self.tasks = {name: _of(tasks, rows[:MOST_USERS]) for name, rows in parts.items()}
        self.counts = np.bincount(histories.item_rows, minlength=len(catalog))
        seen = np.flatnonzero(self.counts)
        self.held_out = np.zeros(len(catalog), dtype=bool)
        self.held_out[np.random.default_rng(seed).permutation(seen)[: round(HELD_OUT * len(seen))]] = True

    def scope(self, items: int | None = None) -> Scope:
        """All items, or those with the most events, among which most of what users did is found."""
        rows = np.arange(len(self.catalog))
        if items is not None and items < len(rows):
            rows = np.sort(np.argsort(-self.counts, kind="stable")[:items])
        tasks = self.tasks
        if len(rows) < len(self.catalog):
            tasks = {name: restricted(asked, rows, len(self.catalog)) for name, asked in tasks.items()}
        return Scope(rows, self.held_out[rows], tasks)

    def texts(self, prompt: Prompt, rows: Sequence[int] | Int[np.ndarray, "rows"]) -> list[str]:
        """What a prompt says of some items."""
        frame = self.catalog.frame[np.asarray(rows)]
        return describe_items(Catalog(frame, self.catalog.report), prompt)

    def white(self, prompt: Prompt, scope: Scope) -> Float[np.ndarray, "rows dim"]:
        """The items' vectors, read or found in the cache, whitened by those that have events and are not held out."""
        vectors = self.encoder.reading(prompt).encode(self.texts(prompt, scope.rows), device=self.device)
        learned = (self.counts[scope.rows] > 0) & ~scope.held_out
        return Whitening.fit(vectors[learned], self.encoder.config.shrinkage)(vectors)

    def figures(self, prompt: Prompt, scope: Scope) -> dict[str, TextFigures]:
        """Of select and report users, asked as text alone is."""
        white = self.white(prompt, scope)
        return {name: TextFigures.measure(white, tasks, scope.held_out) for name, tasks in scope.tasks.items()}


def shares(figures: TextFigures, standing: TextFigures) -> Float[np.ndarray, "users"]:
    """Each user's value of a prompt, in shares of the standing prompt's mean, so that .01 is one per cent.

    The mean of what a user has of recall, NDCG@10 and recall of held-out items, each counted by the mean over the
    spread that it has for the standing prompt: what differs more from user to user says less.
    """
    total, weights = np.zeros(len(figures.recall)), np.zeros(len(figures.recall))
    for name in ("recall", "ndcg", "cold_recall"):
        before = np.asarray(getattr(standing, name), dtype=np.float64)
        known = before[~np.isnan(before)]
        mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        if mean <= 0:
            continue
        weight = mean / spread if spread > 0 else 1.0
        share = np.asarray(getattr(figures, name), dtype=np.float64) / mean
        total += np.where(np.isnan(share), 0.0, weight * share)
        weights += np.where(np.isnan(share), 0.0, weight)
    return np.where(weights > 0, total / np.maximum(weights, 1e-12), 1.0)


def _of(tasks: Tasks, rows: Int[np.ndarray, "rows"]) -> Tasks:
    return Tasks(tasks.support.of(rows), tasks.query.of(rows), tasks.user_rows[rows], {})
