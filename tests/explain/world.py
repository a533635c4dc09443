"""A ranker whose causes are planted, and histories for it."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.explain import Background, Evidence, ExplanationConfig, Ranking, gather_evidence

N_ITEMS = 20
IDS = [f"i{row}" for row in range(N_ITEMS)]
CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": IDS, "title": [f"Title {row}" for row in range(N_ITEMS)]}))
# Items 18 and 19 are the popular tenth.
POPULARITY = np.arange(N_ITEMS, dtype=np.float64)


class Additive:
    """Score of item i = prior[i] + sum of weights[j, i] over the distinct history items j; `seen` is not listed."""

    def __init__(
        self,
        weights: dict[tuple[int, int], float],
        prior: dict[int, float] | None = None,
        seen: Sequence[int] = (),
        items: int = N_ITEMS,
    ) -> None:
        self.weights = np.zeros((items, items), dtype=np.float32)
        for pair, weight in weights.items():
            self.weights[pair] = weight
        self.prior = np.zeros(items, dtype=np.float32)
        for item, value in (prior or {}).items():
            self.prior[item] = value
        self.listed = np.ones(items, dtype=bool)
        self.listed[list(seen)] = False
        self.calls: list[Histories] = []

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        sums = [self.weights[np.unique(histories.items_of(u))].sum(axis=0) for u in range(len(histories))]
        return np.stack(sums) + self.prior

    def __call__(self, histories: Histories) -> Ranking:
        self.calls.append(histories)
        return Ranking.of_scores(self.scores(histories), self.listed)


class Saturating(Additive):
    """The same where one is as good as several: of the weights only the largest counts.

    Args:
        least: So many history items with a weight are needed for any of it.
    """

    def __init__(
        self,
        weights: dict[tuple[int, int], float],
        prior: dict[int, float] | None = None,
        seen: Sequence[int] = (),
        items: int = N_ITEMS,
        least: int = 1,
    ) -> None:
        super().__init__(weights, prior, seen, items)
        self.least = least

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        known = [self.weights[np.unique(histories.items_of(u))] for u in range(len(histories))]
        best = [rows.max(axis=0, initial=0.0) * ((rows > 0).sum(axis=0) >= self.least) for rows in known]
        return np.stack(best) + self.prior


def users(
    *item_rows: Sequence[int], signals: Sequence[int] | None = None, tokens: Sequence[int] | None = None
) -> Histories:
    lengths = [len(rows) for rows in item_rows]
    n_events = sum(lengths)
    return Histories(
        tuple(f"u{number}" for number in range(len(item_rows))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([row for rows in item_rows for row in rows], dtype=np.int64),
        np.arange(n_events),
        np.array(signals if signals is not None else [1] * n_events, dtype=np.int8),
        np.array(tokens if tokens is not None else [0] * n_events, dtype=np.int64),
    )


def background(
    catalog: Catalog = CATALOG, popularity: NDArray[np.float64] = POPULARITY, **config: object
) -> Background:
    return Background(catalog, popularity, config=ExplanationConfig(**config))  # type: ignore[arg-type]


def gather(
    rank: Additive,
    histories: Histories,
    items: Sequence[int],
    user: int = 0,
    about: Background | None = None,
    **more: object,
) -> list[Evidence]:
    return gather_evidence(rank, histories, user, items, about or background(), **more)  # type: ignore[arg-type]


def cited(evidence: Evidence) -> list[str]:
    return [cause.item_id for cause in evidence.causes]
