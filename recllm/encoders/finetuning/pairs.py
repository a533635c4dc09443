"""Which texts belong together: those of items that the same people like, and titles with what they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.text import describe_items
from recllm.prompting.template import Prompt

LEAST_COMMON = 2
"""Users in common that two items need to be a pair."""


def liked_together(likes: sparse.csr_array, neighbours: int) -> Int[np.ndarray, "pairs 2"]:
    """Each item with those that the same people like: the nearest by cosine, which does not favour the popular.

    Args:
        likes: float32 [users, items], 0 or 1.
        neighbours: Pairs per item at most.
    """
    common = (likes.T @ likes).toarray()
    return nearest(common, common.diagonal().copy(), neighbours)


def nearest(
    common: Float[np.ndarray, "items items"], counts: Float[np.ndarray, "items"], neighbours: int
) -> Int[np.ndarray, "pairs 2"]:
    """`liked_together`, from how many users like both of two items, and each of them."""
    np.fill_diagonal(common, 0)
    common[common < LEAST_COMMON] = 0
    cosine = common / np.sqrt(np.maximum(np.outer(counts, counts), 1))
    others = np.argsort(-cosine, axis=1, kind="stable")[:, :neighbours]
    first = np.repeat(np.arange(len(cosine)), others.shape[1])
    pairs = np.stack([first, others.ravel()], axis=1)
    return pairs[cosine[pairs[:, 0], pairs[:, 1]] > 0].astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """What may be known of people where noise lies over it.

    Attributes:
        taken: Users who have each item [items].
        liked: Users who like it [items].
        both: Users who like both of two items, CSR [items, items], above the diagonal.
    """

    taken: np.ndarray
    liked: np.ndarray
    both: sparse.csr_array

    def liked_together(self, rows: Int[np.ndarray, "rows"], neighbours: int) -> Int[np.ndarray, "pairs 2"]:
        """`liked_together` among some items: pairs of their places."""
        common = sparse.csr_array(self.both + self.both.T)[rows][:, rows].toarray().astype(np.float32)
        return nearest(common, self.liked[rows].astype(np.float32), neighbours)


@final
@dataclass(frozen=True)
class Material:
    """What fine-tuning may learn from.

    Attributes:
        rows: Catalog rows, those with most events first.
        held_out: Which of them are in no pair.
        items: The texts of `rows`.
        titles: Title -> whole text, of some items whose text says more than their title.
        sums: What may be known of people; None: their events.
    """

    rows: Int[np.ndarray, "rows"]
    held_out: Bool[np.ndarray, "rows"]
    items: tuple[str, ...]
    titles: Mapping[str, str]
    sums: Sums | None = None

    @classmethod
    def choose(
        cls,
        catalog: Catalog,
        prompt: Prompt,
        histories: Histories,
        config: FinetuneConfig,
        rng: np.random.Generator,
        sums: Sums | None = None,
    ) -> "Material":
        """The items with most events, a share of them held out."""
        events = np.bincount(histories.item_rows, minlength=len(catalog)) if sums is None else sums.taken
        rows = np.argsort(-events, kind="stable")[: config.items]
        held_out = (rng.random(len(rows)) < config.held_out) & (events[rows] > 0)
        described = describe_items(catalog, prompt)
        longer = [row for row in rows[~held_out].tolist() if catalog.frame["text"][row]]
        chosen = rng.permutation(longer)[: round(config.titles * config.pairs)].astype(np.int64)
        titles = {catalog.titles[row]: described[row] for row in chosen.tolist()}
        return cls(rows, held_out, tuple(described[row] for row in rows), titles, sums)

    @property
    def texts(self) -> list[str]:
        """All texts, those of items first."""
        return [*self.items, *self.titles]

    def first(self, texts: int) -> "Material":
        """What the first so many texts allow."""
        known, items = self.texts[:texts], min(texts, len(self.rows))
        titles = {title: self.titles[title] for title in known[items:] if self.titles[title] in known[:items]}
        return replace(
            self, rows=self.rows[:items], held_out=self.held_out[:items], items=self.items[:items], titles=titles
        )

    def together(self, histories: Histories, config: FinetuneConfig) -> Int[np.ndarray, "pairs 2"]:
        """Places of items that the same people like."""
        if self.sums is not None:
            known = np.flatnonzero(~self.held_out)
            return known[self.sums.liked_together(self.rows[known], config.neighbours)]
        place = np.full(int(max(self.rows.max(), histories.item_rows.max())) + 1, -1, dtype=np.int64)
        place[self.rows[~self.held_out]] = np.flatnonzero(~self.held_out)
        liked = (histories.signals > 0) & (place[histories.item_rows] >= 0)
        users, items = histories.user_rows[liked], place[histories.item_rows[liked]]
        shape = (len(histories), len(self.rows))
        likes = sparse.csr_array((np.ones(len(users), dtype=np.float32), (users, items)), shape)
        likes.sum_duplicates()
        likes.data[:] = 1.0
        return liked_together(likes, config.neighbours)

    def pairs(self, histories: Histories, config: FinetuneConfig, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Texts that belong together, in random order."""
        together = rng.permutation(self.together(histories, config))[: config.pairs - len(self.titles)]
        pairs = [(self.items[first], self.items[second]) for first, second in together]
        pairs = [(first, second) for first, second in pairs if first != second] + list(self.titles.items())
        return [pairs[place] for place in rng.permutation(len(pairs))]
