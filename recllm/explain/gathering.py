"""From contributions to evidence: what is cited, what is not, and what else is true of a recommendation.

A history item may be cited if the user liked it or found it middling (what was disliked, or only shown, may push an
item up, but is not cited), if it is not the recommended item itself, if nothing forbids to name it, and if its
contribution is positive and above its average over the catalog (what lifts everything explains nothing). Cited is the
smallest set of them that carries the item, by taking sets out and ranking anew: without it, what the history brought
into the list leaves it, and what stays falls `HALF_WAY` to where it is without a history. To these come the strongest
until all have `ENOUGH` of the contributions, at most `MOST_CAUSES`, if the item falls as far without them all. If none
carries it, that without which it falls most is cited, and if it hardly falls without any, it is the history as a whole.

So whatever the history lifts has the reason "history". The rest has "popular" if it is in the most popular
`POPULAR_SHARE` of the catalog, else "weak"; popular is also what is popular and first without any history. What the
user has is "owned": it is no guess, and what is cited are other items that raise its score, wherever it would be
listed. A counterfactual comes only with the reason "history".
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.histories import Histories
from recllm.errors import DataError
from recllm.explain.contributions import contributions
from recllm.explain.evidence import Evidence, ReasonCode
from recllm.explain.judging import Background, Judge
from recllm.explain.ranker import RankFunction
from recllm.explain.removal import Removals

__all__ = ["Background", "gather_evidence", "not_by_history"]


def gather_evidence(
    rank: RankFunction,
    histories: Histories,
    user: int,
    item_rows: ArrayLike,
    background: Background,
    *,
    n: int = 10,
    channels: Sequence[str | None] | None = None,
    wishes: Sequence[Sequence[str]] | None = None,
    owned: Sequence[bool] | None = None,
) -> list[Evidence]:
    """The evidence for recommending `item_rows` to one user: one `Evidence` per row, in their order.

    What is cited, and when evidence is weak, stands at the top of this module.

    Args:
        rank: What is served, before any diversity.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items], catalog rows of the recommended items, all known.
        background: What may be named.
        n: Length of the list that the counterfactual speaks of.
        channels: [items], what retrieved each item.
        wishes: [items], wishes of the user's without which the item would not be in the list.
        owned: [items], what the user has; None: what is in the history.

    Raises:
        DataError: An item row is not in the catalog.
    """
    items = np.asarray(item_rows, dtype=np.int64).reshape(-1)
    _check_rows(items, len(background.catalog))
    known = histories.items_of(user)
    has = np.isin(items, known).tolist() if owned is None else list(owned)
    evidence = [
        _bare(histories.user_ids[user], item, background, "owned" if mine else "cold_start", len(known), n)
        for item, mine in zip(items.tolist(), has, strict=True)
    ]
    if len(known) and evidence:
        evidence = _judged(rank, histories, user, items, background, evidence, n)
    if channels is not None:
        evidence = [replace(one, channel=channel) for one, channel in zip(evidence, channels, strict=True)]
    if wishes is not None:
        evidence = [_wished(one, some) if some else one for one, some in zip(evidence, wishes, strict=True)]
    return evidence


def _check_rows(items: NDArray[np.int64], n_items: int) -> None:
    if np.any((items < 0) | (items >= n_items)):
        raise DataError(f"an item row is outside of the catalog's {n_items} rows; ask about items of the catalog only")


def _judged(
    rank: RankFunction,
    histories: Histories,
    user: int,
    items: NDArray[np.int64],
    background: Background,
    evidence: Sequence[Evidence],
    n: int,
) -> list[Evidence]:
    """`evidence` of each item with what the history has to do with it."""
    found = contributions(rank, histories, user, items, background.groups)
    removals = Removals(rank, histories, user, found, n)
    judge = Judge(found, removals, histories, user, background)
    attempts = [judge.attempt(number, item) for number, item in enumerate(items.tolist())]
    removals.try_all(causes for one in attempts for causes in one.coarse())
    removals.try_all(causes for one in attempts for causes in one.fine(removals))
    cited = [judge.cited(one, bare.reason_code == "owned") for one, bare in zip(attempts, evidence, strict=True)]
    removals.try_all(more for _, more in cited)
    return [
        judge.judged(bare, number, attempt, few, more)
        for number, (bare, attempt, (few, more)) in enumerate(zip(evidence, attempts, cited, strict=True))
    ]


def _bare(user_id: str, item: int, background: Background, reason: ReasonCode, n_events: int, n: int) -> Evidence:
    """What is true of item row `item` whatever the history is."""
    catalog, (rank, popular) = background.catalog, background.popular(item)
    return Evidence(
        user_id, catalog.item_ids[item], catalog.titles[item], reason, (), None, 0.0, rank, popular, n_events, n
    )


def _wished(evidence: Evidence, wishes: Sequence[str]) -> Evidence:
    """The same for an item that is in the list because of wishes: they are the reason."""
    return replace(not_by_history(evidence, "asked"), wishes=tuple(wishes))


def not_by_history(evidence: Evidence, code: ReasonCode) -> Evidence:
    """The same for an item that is in the list for a reason beside the history: of that nothing is said."""
    return replace(
        evidence, reason_code=code, causes=(), whole=False, attributes=(), counterfactual=None, against=None, wishes=()
    )
