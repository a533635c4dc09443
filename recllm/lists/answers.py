"""Scores of items and search: what is asked for in any form, and answered by one fitted state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recllm.adaptation.adapters import Kept
from recllm.data.categories import valid_text
from recllm.data.doors import items_of
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.lists.orders import ratings_in
from recllm.lists.results import Recommendations
from recllm.lists.serve import list_columns
from recllm.model.fitted import Fitted, tell
from recllm.ranking.rules import best_items, check_list_options


def scores_of(
    state: Fitted, histories: Histories, items: dict[str, list[str]] | list[str], adapt: bool, kept: Kept | None
) -> np.ndarray:
    """See `Recommender.score`."""
    catalog = state.model.catalog
    shared = None if isinstance(items, dict) else catalog.rows(items)
    asked = items_of(items, histories.user_ids, "item_ids")
    rows = [catalog.rows(ids) if shared is None else shared for ids in asked]
    result = np.full((len(histories), max(map(len, rows), default=0)), np.nan, dtype=np.float32)
    known = [found[found >= 0] for found in rows]
    for user, scores in enumerate(state.scores_of(histories, adapt, kept, known)):
        result[user, : len(rows[user])][rows[user] >= 0] = scores
    return result


def predicted_ratings(
    state: Fitted, events: Interactions, items: dict[str, list[str]] | list[str], own: bool
) -> np.ndarray:
    """See `Recommender.predict_ratings`."""
    ratings, catalog = ratings_in(state.model), state.model.catalog
    histories, notes = state.histories(events)
    tell(notes, stacklevel=4)
    asked = items_of(items, histories.user_ids, "item_ids")
    result = np.full((len(histories), max(map(len, asked), default=0)), np.nan, dtype=np.float32)
    for batch in histories.batches(state.model.batch_users):
        for user, predicted in zip(batch, ratings.predict(histories.of(batch), own=own), strict=True):
            rows = catalog.rows(asked[user])
            result[user, : len(rows)][rows >= 0] = predicted[rows[rows >= 0]]
    return result


def search(state: Fitted, text: Any, n: Any) -> Recommendations:
    """See `Recommender.search`."""
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"the search text is empty or no text: {text!r}; write words, such as 'cosy winter lights'.")
    model = state.model
    with model.threads_for(1):
        vector = model.whitening(state.text_encoder.encode([valid_text(text)], keep=False))
    scores = (torch.from_numpy(vector) @ model.channels.text.T).numpy()
    # An id is no word: its vector lies far from all texts, and whitening puts what is far from all near to any.
    if model.catalog.in_words.any():
        scores[:, ~model.catalog.in_words] = -np.inf
    return nearest(state, [text], scores, n)


def nearest(
    state: Fitted, names: Sequence[str], scores: np.ndarray, n: Any, notes: Sequence[str] = ()
) -> Recommendations:
    """The `n` best items by each row of float32 [names, items]; never those at −inf."""
    n, _ = check_list_options(n, 0.0)
    rows = [best_items(line, np.isfinite(line), state.model.ties, n) for line in scores]
    lines = [line[found] for line, found in zip(scores, rows, strict=True)]
    return Recommendations(**list_columns(state.model.catalog, names, rows, lines), user_ids=list(names), notes=notes)
