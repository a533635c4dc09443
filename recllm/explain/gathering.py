"""From contributions to evidence: what is cited, what is not, and what else is true of a recommendation.

A history item is cited if the user liked it or found it middling (what was disliked, or only shown, may push an item
up, but is not cited), if it is not the recommended item itself, if nothing forbids to name it, and if its contribution
is positive, above its average over the catalog (what lifts everything explains nothing) and not much less than an even
share of the positive contributions. Cited are those without which the item leaves the list, if they are few, and the
strongest until all carry `ENOUGH`, at most `MOST_CAUSES`.

The evidence is weak if nothing can be cited, if the positive contributions add up to less than `LEAST_STRENGTH`
standard deviations of the user's scores, or if the item would have the same or a better place without any history
(except that the first place cannot be bettered, and that what may not be listed has none; equal scores count as the
middle of their places). Weak evidence has the reason "popular" if the history did not lift the item and it is in the
most popular `POPULAR_SHARE` of the catalog, else "weak". What the user has is "owned": it is no guess, and what is
cited are other items that raise its score, wherever it would be listed. A counterfactual comes only with causes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.data.feedback import RATING_TOKENS, Feedback
from recllm.data.histories import Histories
from recllm.errors import DataError
from recllm.explain.contributions import Contributions, Removal, contributions, removals
from recllm.explain.editions import edition_groups
from recllm.explain.evidence import Cause, Counterfactual, Evidence, ReasonCode
from recllm.explain.ranker import Floats, RankFunction
from recllm.explain.shared import SharedText
from recllm.model.config import ExplanationConfig

MOST_CAUSES = 3
ENOUGH = 0.7
"""No more is cited once the cited items make up this share of the positive contributions."""
LEAST_SHARE = 0.75
"""Of an even share of the contributions; an item with less is not cited."""
LEAST_ABOVE = 1e-4
LEAST_AGAINST = 0.2
LEAST_STRENGTH = 0.1
POPULAR_SHARE = 0.1


@final
@dataclass(frozen=True, eq=False)
class Background:
    """What evidence may name beside the ranking itself.

    Attributes:
        catalog: The items.
        popularity: Distinct users per item [items].
        feedback: Names the events of histories; without it, causes have no event.
        config: What may not be named.
        attributes: Of the catalog's items; None: they are looked up.
    """

    catalog: Catalog
    popularity: Floats
    feedback: Feedback | None = None
    config: ExplanationConfig = field(default_factory=ExplanationConfig)
    attributes: Attributes | None = None

    @cached_property
    def shared(self) -> SharedText:
        """Finds what items have in common."""
        return SharedText(self._attributes, self.config)

    @cached_property
    def _attributes(self) -> Attributes:
        return self.attributes or Attributes(self.catalog)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """int64 [items]: which items are one thing."""
        return edition_groups(self.catalog.titles)

    @cached_property
    def private(self) -> NDArray[np.bool_]:
        """bool [items]: what no reason names."""
        return self.config.private_items(self._attributes)

    def popular(self, item: int) -> tuple[float, bool]:
        """Share of items that are less popular, and whether the item is in the most popular tenth."""
        n_items, n_less = len(self.popularity), int((self.popularity < self.popularity[item]).sum())
        # In a catalog of fewer than ten items, its popular tenth is the single most popular one.
        popular = self.popularity[item] > 0 and n_less >= n_items - max(POPULAR_SHARE * n_items, 1)
        return n_less / n_items, bool(popular)


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
    judge = _Judge(found, histories, user, background)
    orders = [judge.nameable(number, item) for number, item in enumerate(items.tolist())]
    removed = removals(rank, histories, user, items, found, orders, n)
    lines = enumerate(zip(evidence, items.tolist(), removed, strict=True))
    return [judge.judged(bare, number, item, removal) for number, (bare, item, removal) in lines]


def _bare(user_id: str, item: int, background: Background, reason: ReasonCode, n_events: int, n: int) -> Evidence:
    """What is true of item row `item` whatever the history is."""
    catalog, (rank, popular) = background.catalog, background.popular(item)
    return Evidence(
        user_id, catalog.item_ids[item], catalog.titles[item], reason, (), None, 0.0, rank, popular, n_events, n
    )


def _wished(evidence: Evidence, wishes: Sequence[str]) -> Evidence:
    """The same for an item that is in the list because of wishes: they are the reason."""
    return replace(evidence, reason_code="asked", causes=(), attributes=(), counterfactual=None, wishes=tuple(wishes))


@final
class _Judge:
    """Decides as `gather_evidence` describes, for the items of one user."""

    def __init__(self, found: Contributions, histories: Histories, user: int, background: Background) -> None:
        self.found, self.background = found, background
        own = slice(histories.offsets[user], histories.offsets[user + 1])
        last = {row: place for place, row in enumerate(histories.item_rows[own].tolist())}
        self.rows = np.array([rows[0] for rows in found.causes], dtype=np.int64)
        events = np.array([last[row] for row in self.rows.tolist()], dtype=np.int64)
        signals, tokens = histories.signals[own][events], histories.tokens[own][events]
        liked, rated = signals > 0, (tokens > 0) & (tokens <= RATING_TOKENS)
        self.citable = liked | ((signals == 0) & rated)
        self.events = [
            _event(token, background.feedback) if is_liked else None
            for token, is_liked in zip(tokens.tolist(), liked.tolist(), strict=True)
        ]
        self.named = np.array([not background.private[rows].any() for rows in found.causes], dtype=bool)
        self.spread = float(found.ranking.scores[0].std())

    def nameable(self, number: int, item: int) -> list[int]:
        """Causes that push the item up and may be named, strongest first."""
        gains = self._gains(number, item)
        return [cause for cause in _strongest(gains) if gains[cause] > 0 and self.named[cause]]

    def judged(self, bare: Evidence, number: int, item: int, removal: Removal | None) -> Evidence:
        """Why item row `item`, line `number` of the contributions, is recommended."""
        gains = self._gains(number, item)
        total = float(gains.sum())
        strength = total / self.spread if self.spread > 0 else 0.0
        owned = bare.reason_code == "owned"
        lifted = strength >= LEAST_STRENGTH and (owned or self.found.ranking.rises(1, 0, item))
        cited = self._cited(gains, total, removal) if lifted else ()
        without: ReasonCode = "popular" if bare.popular and not lifted else "weak"
        return replace(
            bare,
            reason_code="owned" if owned else "history" if cited else without,
            causes=tuple(self._cause(cause, gains[cause], total) for cause in cited),
            attributes=self.background.shared.of(item, tuple(int(self.rows[cause]) for cause in cited)),
            confidence=strength / (1 + strength),
            counterfactual=self._counterfactual(removal) if cited and removal else None,
            against=self._against(number, item, total),
            place=self.found.ranking.place(0, item),
            place_without_history=self.found.ranking.place(1, item),
        )

    def _counterfactual(self, removal: Removal) -> Counterfactual:
        catalog = self.background.catalog
        rows = [row for cause in removal.causes for row in self.found.causes[cause].tolist()]
        ids, titles = (tuple(names[row] for row in rows) for names in (catalog.item_ids, catalog.titles))
        instead = removal.instead
        if instead is None or self.background.private[instead]:
            return Counterfactual(ids, tuple(dict.fromkeys(titles)))
        return Counterfactual(ids, tuple(dict.fromkeys(titles)), catalog.item_ids[instead], catalog.titles[instead])

    def _gains(self, number: int, item: int) -> Floats:
        """float64 [causes]: positive contributions; the item itself has none, another edition of it may have."""
        gains = np.maximum(self.found.values[number], 0).astype(np.float64)
        gains[self._is(item)] = 0.0
        return gains

    def _is(self, item: int) -> NDArray[np.bool_]:
        """bool [causes]: whether the item itself is among what was left out."""
        return np.array([item in rows for rows in self.found.causes], dtype=bool)

    def _cited(self, gains: Floats, total: float, removal: Removal | None) -> tuple[int, ...]:
        above = gains - np.maximum(self.found.average, 0)
        citable = self.citable & self.named & (above > LEAST_ABOVE * self.spread)
        least = LEAST_SHARE * total / max(1, int((gains > 0).sum()))
        needed = () if removal is None else removal.causes
        cited = list(needed) if len(needed) <= MOST_CAUSES and citable[list(needed)].all() else []
        for cause in _strongest(gains):
            enough = len(cited) == MOST_CAUSES or gains[cited].sum() >= ENOUGH * total
            if citable[cause] and gains[cause] >= least and not enough and cause not in cited:
                cited.append(cause)
        cited = cited or [cause for cause in needed if citable[cause]][:MOST_CAUSES]
        return tuple(sorted(cited, key=_strongest(gains).index))

    def _against(self, number: int, item: int, total: float) -> Cause | None:
        """What pushes the item down most, if that is not little beside what pushes it up."""
        losses = np.maximum(-self.found.values[number], 0).astype(np.float64)
        losses[~self.named | self._is(item)] = 0.0
        strongest = _strongest(losses)[0]
        if losses[strongest] <= 0 or losses[strongest] < max(LEAST_AGAINST * total, LEAST_STRENGTH * self.spread):
            return None
        return self._cause(strongest, -losses[strongest], -float(losses.sum()))

    def _cause(self, cause: int, contribution: float, total: float) -> Cause:
        catalog, rows = self.background.catalog, self.found.causes[cause].tolist()
        return Cause(
            catalog.item_ids[rows[0]],
            catalog.titles[rows[0]],
            float(contribution),
            float(contribution / total),
            self.events[cause],
            tuple(catalog.item_ids[row] for row in rows[1:]),
        )


def _strongest(values: Floats) -> list[int]:
    """Places by value, highest first; the newer one at a tie."""
    order: list[int] = (len(values) - 1 - np.argsort(-values[::-1], kind="stable")).tolist()
    return order


def _event(token: int, feedback: Feedback | None) -> str | None:
    if feedback is None or token <= 0:
        return None
    if token <= RATING_TOKENS:
        return "rating"
    name = token - RATING_TOKENS - 1
    return feedback.event_names[name] if name < len(feedback.event_names) else None
