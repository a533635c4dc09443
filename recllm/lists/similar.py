"""What is like an item or goes with a basket: texts that read alike, and what the same people take."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.doors import items_of, one_of, read_items
from recllm.errors import DataError
from recllm.lists.answers import nearest
from recllm.lists.results import Recommendations
from recllm.model.asked import histories_of
from recllm.model.fitted import Fitted
from recllm.ranking.rules import check_list_options
from recllm.retrieval.channels.cooccurrence import TakenTogether

__all__ = ["Likeness", "similar_for", "similar_items"]

Likeness = Literal["text", "together"]

SHRINKAGE = 5.0
"""Of what is taken together, in people: a pair that two have taken by chance is no pair. Chosen on baskets of
`uci-online-retail`, of validation users; anything from 0 to 50 is about as good."""

ALIKE = 5
"""A user's list is the best for them among this many times as many alike items as are wanted."""

BASKET = "basket"
"""Whose list it is that goes with all of a basket."""


def similar_items(state: Fitted, item_ids: Any, n: Any, by: Likeness = "text", basket: bool = False) -> Recommendations:
    """See `Recommender.similar_items`: a list for each item, or one for all of them."""
    asked = read_items(item_ids, "item_ids")
    if isinstance(asked, dict):
        raise DataError("item_ids: ids of items were expected, got each user's own; write a list of item ids.")
    asked = list(dict.fromkeys(asked))
    rows = _known(state, asked)
    groups = [rows] if basket else [rows[place : place + 1] for place in range(len(rows))]
    names = [BASKET] if basket else asked
    alike = _likeness(state, groups, by, basket)
    return nearest(state, names, alike, n, _notes(alike, names, by))


def similar_for(state: Fitted, users: Any, item_ids: Any, n: Any, by: Likeness = "text") -> Recommendations:
    """See `Recommender.similar_items`: a list for each user."""
    histories, notes = histories_of(state, users)
    items = items_of(read_items(item_ids, "item_ids"), histories.user_ids, "item_ids")
    groups = [_known(state, list(dict.fromkeys(own))) for own in items]
    alike = _likeness(state, groups, by)
    alike[histories.user_rows, histories.item_rows] = -np.inf
    n, _ = check_list_options(n, 0.0)
    pool = nearest(state, histories.user_ids, alike, n * ALIKE)
    scores = np.full_like(alike, -np.inf)
    rows = [state.model.catalog.rows([row.item_id for row in pool[user]]) for user in histories.user_ids]
    for place, line in enumerate(state.scores_of(histories, True, None, rows)):
        scores[place, rows[place]] = line
    return nearest(state, histories.user_ids, scores, n, (*notes, *_notes(scores, histories.user_ids, by)))


def taken_together(state: Fitted, asked: sparse.csr_array) -> NDArray[np.float32]:
    """How often the same people take items and those of some groups, float32 [groups, items].

    Of a pair `c_ij / √((c_i + s) (c_j + s))`: the cosine between who took either, shrunk where few did.

    Args:
        state: Whose counts.
        asked: Weights of the groups' items, float32 CSR [groups, items].
    """
    counts = state.counted.counts
    above, scale = counts.pairs.taken, (1 / np.sqrt(counts.items.taken + SHRINKAGE)).astype(np.float32)
    asked = sparse.csr_array(asked.multiply(scale[None, :]))
    both = sparse.csr_array(asked @ above) + sparse.csr_array(asked @ above.T)
    together: NDArray[np.float32] = both.toarray().astype(np.float32) * scale
    return together


def goes_with(state: Fitted, asked: sparse.csr_array) -> NDArray[np.float32] | None:
    """The weights of EASE from whole baskets, float32 [groups, items]; None where the model has none.

    They count what several items of a basket say together once: of baskets of 3 to 30 items in `uci-online-retail`
    they find a hidden one among ten for 34 %, cosines for 27 %; from one item alone neither is better.
    """
    name = TakenTogether.name
    channel = state.model.channels[name] if name in state.model.channels.names else None
    if not isinstance(channel, TakenTogether):
        return None
    found: NDArray[np.float32] = sparse.csr_array(asked @ channel.model.weights).toarray().astype(np.float32)
    return found


def _likeness(
    state: Fitted, groups: Sequence[NDArray[np.int64]], by: Likeness, basket: bool = False
) -> NDArray[np.float32]:
    """float32 [groups, items]: the mean likeness to a group's items; −inf for these, and for what has nothing of it.

    Raises:
        ConfigError: Items are not alike in this way.
        DataError: Nothing was taken yet.
    """
    one_of(by, get_args(Likeness), "by")
    owners = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *groups])
    share = (1 / np.array([max(len(own), 1) for own in groups], dtype=np.float32))[owners]
    items = len(state.model.catalog)
    asked = sparse.csr_array((share, (owners, rows)), shape=(len(groups), items))
    if by == "text":
        text = state.model.channels.text.numpy()
        alike = np.asarray((asked @ text) @ text.T, dtype=np.float32)
    else:
        if not state.counted.counts.events:
            raise DataError("nothing was taken together yet, for there are no events; use by='text', or update first.")
        whole = goes_with(state, asked) if basket else None
        alike = taken_together(state, asked) if whole is None else whole
        alike[alike <= 0] = -np.inf
    alike[owners, rows] = -np.inf
    alike[[not len(own) for own in groups]] = -np.inf  # like nothing, nothing is alike
    return alike


def _known(state: Fitted, asked: Sequence[str]) -> NDArray[np.int64]:
    rows = state.model.catalog.rows(asked)
    if (rows < 0).any():
        raise DataError(f"item {asked[int(np.argmin(rows))]!r} is not in the catalog.")
    return rows


def _notes(alike: NDArray[np.float32], names: Sequence[str], by: Likeness) -> tuple[str, ...]:
    """Where nothing was taken together."""
    empty = [name for name, line in zip(names, alike, strict=True) if not np.isfinite(line).any()]
    if not empty:
        return ()
    more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
    if by == "text":
        return (f"no item is left for {empty[0]!r}{more}: item_ids names none to be like, or there is no other.",)
    return (f"no item goes together with others for {empty[0]!r}{more}; by='text' also knows items that nobody took.",)
