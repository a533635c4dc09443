"""From contributions to evidence: what is cited, what is not, and what else is true of a recommendation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

    A history item is cited if the user liked it or found it middling (what was disliked, or only shown, may push an
    item up, but is not cited), if it is not the recommended item itself, if nothing forbids to name it,
    and if its contribution is positive, above its average over the catalog (what lifts everything explains
    nothing) and not much less than an even share of the positive contributions. Cited are those without which the item
    leaves the list, if they are few, and the strongest until all carry `ENOUGH`, at most `MOST_CAUSES`.

    The evidence is weak if nothing can be cited, if the positive contributions add up to less than `LEAST_STRENGTH`
    standard deviations of the user's scores, or if the item would have the same or a better place without any history
    (except that the first place cannot be bettered, and that what may not be listed has none; equal scores count as
    the middle of their places). Weak evidence has the reason "popular" if the history did not lift the item and it is
    in the most popular `POPULAR_SHARE` of the catalog, else "weak". What the user has is "owned": it is no guess, and
    what is cited are other items that raise its score, wherever it would be listed. A counterfactual comes only with
    causes.

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
    if np.any((items < 0) | (items >= len(background.catalog))):
        n_items = len(background.catalog)
        raise DataError(f"an item row is outside of the catalog's {n_items} rows; ask about items of the catalog only")
    if not len(items):
        return []
    has = np.isin(items, histories.items_of(user)).tolist() if owned is None else list(owned)
    verdicts = [_Verdict("owned" if mine else "cold_start") for mine in has]
    if len(histories.items_of(user)):
        found = contributions(rank, histories, user, items, background.groups)
        judge = _Judge(found, histories, user, background)
        orders = [judge.nameable(number, item) for number, item in enumerate(items.tolist())]
        removed = removals(rank, histories, user, items, found, orders, n)
        verdicts = [
            judge.verdict(number, item, removed[number], has[number]) for number, item in enumerate(items.tolist())
        ]
    return [
        _evidence(
            histories.user_ids[user],
            item,
            verdict,
            background,
            n_events=len(histories.items_of(user)),
            n=n,
            channel=channels[number] if channels is not None else None,
            wishes=tuple(wishes[number]) if wishes is not None else (),
        )
        for number, (item, verdict) in enumerate(zip(items.tolist(), verdicts, strict=True))
    ]


@final
@dataclass(frozen=True)
class _Verdict:
    """A decision on one item; `counterfactual` in rows."""

    reason_code: ReasonCode
    causes: tuple[Cause, ...] = ()
    cited: tuple[int, ...] = ()
    confidence: float = 0.0
    counterfactual: tuple[tuple[int, ...], int | None] | None = None
    against: Cause | None = None
    place: int | None = None
    place_without_history: int | None = None


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

    def verdict(self, number: int, item: int, removal: Removal | None, owned: bool) -> _Verdict:
        """Why item row `item`, line `number` of the contributions, is recommended."""
        gains = self._gains(number, item)
        total = float(gains.sum())
        strength = total / self.spread if self.spread > 0 else 0.0
        before, now = self.found.ranking.place(1, item), self.found.ranking.place(0, item)
        lifted = strength >= LEAST_STRENGTH and (owned or self.found.ranking.rises(1, 0, item))
        cited = self._cited(gains, total, removal) if lifted else ()
        _, popular = self.background.popular(item)
        instead = None if removal is None or removal.instead is None else self._named_item(removal.instead)
        return _Verdict(
            "owned" if owned else "history" if cited else "popular" if popular and not lifted else "weak",
            tuple(self._cause(cause, gains[cause], total) for cause in cited),
            tuple(int(self.rows[cause]) for cause in cited),
            strength / (1 + strength),
            (self._members(removal.causes), instead) if cited and removal else None,
            self._against(number, item, total),
            now,
            before,
        )

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

    def _members(self, causes: Sequence[int]) -> tuple[int, ...]:
        return tuple(row for cause in causes for row in self.found.causes[cause].tolist())

    def _named_item(self, row: int) -> int | None:
        return None if self.background.private[row] else row


def _evidence(
    user_id: str,
    item: int,
    verdict: _Verdict,
    background: Background,
    *,
    n_events: int,
    n: int,
    channel: str | None,
    wishes: tuple[str, ...],
) -> Evidence:
    catalog = background.catalog
    rank, popular = background.popular(item)
    counterfactual = None
    if verdict.counterfactual is not None and not wishes:
        removed, instead = verdict.counterfactual
        counterfactual = Counterfactual(
            tuple(catalog.item_ids[row] for row in removed),
            tuple(dict.fromkeys(catalog.titles[row] for row in removed)),
            None if instead is None else catalog.item_ids[instead],
            None if instead is None else catalog.titles[instead],
        )
    return Evidence(
        user_id=user_id,
        item_id=catalog.item_ids[item],
        title=catalog.titles[item],
        reason_code="asked" if wishes else verdict.reason_code,
        causes=() if wishes else verdict.causes,
        channel=channel,
        confidence=verdict.confidence,
        popularity_rank=rank,
        popular=popular,
        n_events=n_events,
        n=n,
        attributes=() if wishes else background.shared.of(item, verdict.cited),
        counterfactual=counterfactual,
        against=verdict.against,
        wishes=wishes,
        place=verdict.place,
        place_without_history=verdict.place_without_history,
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
