"""Which history items are cited for a recommendation, and with which reason; see `recllm.explain.gathering`."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.data.feedback import RATING_TOKENS, Feedback
from recllm.data.histories import Histories
from recllm.explain.contributions import EMPTY, WHOLE, Contributions
from recllm.explain.editions import edition_groups
from recllm.explain.evidence import Cause, Counterfactual, Evidence, ReasonCode
from recllm.explain.ranker import Floats
from recllm.explain.removal import LARGEST_SET, Attempt, Causes, Removals
from recllm.explain.shared import SharedText
from recllm.model.config import ExplanationConfig

MOST_CAUSES = 3
"""More are cited only where it takes more to carry the item."""
ENOUGH = 0.7
"""No more is cited once the cited items make up this share of the positive contributions."""
LEAST_SHARE = 0.75
"""Of an even share of the contributions; an item with less is cited only where it takes it to carry the item."""
LEAST_ABOVE = 1e-4
LEAST_AGAINST = 0.2
LEAST_STRENGTH = 0.1
POPULAR_SHARE = 0.1
LEADING = 2
"""How many are named of a history that carries an item as a whole."""


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


@final
class Judge:
    """Decides as `recllm.explain.gathering` describes, for the items of one user.

    Args:
        found: What history items contribute.
        removals: What happens without sets of them.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        background: What may be named.
    """

    def __init__(
        self, found: Contributions, removals: Removals, histories: Histories, user: int, background: Background
    ) -> None:
        self.found, self.removals, self.background = found, removals, background
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
        self.spread = found.ranking.spread(WHOLE)

    def attempt(self, number: int, item: int) -> Attempt:
        """What to take out for item row `item`, line `number` of the contributions."""
        gains = self._gains(number, item)
        citable = self._citable(gains)
        order = _positive(np.where(citable, gains, 0))
        named = _positive(np.where(self.named, gains, 0))
        return Attempt(item, gains, tuple(order), tuple(named), tuple(self._alike(item, order)))

    def cited(self, attempt: Attempt, owned: bool) -> tuple[Causes, Causes]:
        """What carries the item (of what the user has, nothing need), and this with the strongest of what is left."""
        needed = () if owned or not self.removals.lifted(attempt.item) else attempt.carrying(self.removals)
        gains, citable = attempt.gains, self._citable(attempt.gains)
        total, more = float(gains.sum()), list(needed)
        least = LEAST_SHARE * total / max(1, int((gains > 0).sum()))
        for cause in strongest(gains) if needed or owned else ():
            enough = len(more) >= MOST_CAUSES or gains[more].sum() >= ENOUGH * total
            if citable[cause] and gains[cause] >= least and not enough and cause not in more:
                more.append(cause)
        return tuple(needed), tuple(more)

    def judged(self, bare: Evidence, number: int, attempt: Attempt, needed: Causes, more: Causes) -> Evidence:
        """Why an item is recommended, with what `cited` has found."""
        item, gains, owned = attempt.item, attempt.gains, bare.reason_code == "owned"
        total = float(gains.sum())
        strength = total / self.spread if self.spread > 0 else 0.0
        # What is first for everybody is first because it is popular, however far ahead the history puts it.
        first = bare.popular and self.found.ranking.middle(EMPTY, item) == 1
        lifted = not owned and not first and self.removals.lifted(item)
        chosen = self._chosen(attempt, needed, more) if lifted else more if strength >= LEAST_STRENGTH and owned else ()
        whole = lifted and not chosen
        cited = sorted(chosen or (self._leading(attempt) if whole else ()), key=strongest(gains).index)
        leaving = self._leaving(attempt, chosen) if lifted else ()
        without: ReasonCode = "popular" if bare.popular and not lifted else "weak"
        return replace(
            bare,
            reason_code="owned" if owned else "history" if lifted else without,
            causes=tuple(self._cause(cause, gains[cause], total) for cause in cited),
            whole=whole,
            attributes=self.background.shared.of(item, [int(self.rows[cause]) for cause in cited]),
            confidence=strength / (1 + strength),
            counterfactual=self._counterfactual(leaving) if leaving else None,
            against=self._against(number, item, total),
            place=self.found.ranking.place(WHOLE, item),
            place_without_history=self.found.ranking.place(EMPTY, item),
        )

    def _chosen(self, attempt: Attempt, needed: Causes, more: Causes) -> Causes:
        """The larger set, unless what carries the item carries less with it."""
        item, removals = attempt.item, self.removals
        if not needed or removals.carries(needed, item) > removals.carries(more, item):
            return needed
        return more if removals.falls(more, item) >= removals.falls(needed, item) else needed

    def _leaving(self, attempt: Attempt, cited: Causes) -> Causes:
        """The smallest set without which the item is not in the list; what is cited, if it is no larger."""
        leaving = attempt.leaving(self.removals)
        fits = 0 < len(cited) <= (len(leaving) or LARGEST_SET)
        return cited if fits and self.removals.leaves(cited, attempt.item) else leaving

    def _leading(self, attempt: Attempt) -> Causes:
        """The strongest of the history that may be cited, if nothing else of it is stronger."""
        gains, citable = attempt.gains, self._citable(attempt.gains)
        others = float(gains[~citable].max(initial=0.0))
        return tuple(cause for cause in strongest(gains) if citable[cause] and gains[cause] >= others)[:LEADING]

    def _counterfactual(self, causes: Causes) -> Counterfactual:
        catalog = self.background.catalog
        rows = [row for cause in causes for row in self.found.causes[cause].tolist()]
        ids, titles = (tuple(names[row] for row in rows) for names in (catalog.item_ids, catalog.titles))
        instead = self.removals.instead(causes)
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

    def _citable(self, gains: Floats) -> NDArray[np.bool_]:
        above = gains - np.maximum(self.found.average, 0)
        found: NDArray[np.bool_] = self.citable & self.named & (above > LEAST_ABOVE * self.spread)
        return found

    def _alike(self, item: int, order: list[int]) -> list[Causes]:
        """Causes that share a value with the item, the strongest first."""
        of_row = {int(self.rows[cause]): cause for cause in order}
        return [tuple(of_row[row] for row in rows) for rows in self.background.shared.alike(item, list(of_row))]

    def _against(self, number: int, item: int, total: float) -> Cause | None:
        """What pushes the item down most, if that is not little beside what pushes it up."""
        losses = np.maximum(-self.found.values[number], 0).astype(np.float64)
        losses[~self.named | self._is(item)] = 0.0
        cause = strongest(losses)[0]
        if losses[cause] <= 0 or losses[cause] < max(LEAST_AGAINST * total, LEAST_STRENGTH * self.spread):
            return None
        return self._cause(cause, -losses[cause], -float(losses.sum()))

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


def strongest(values: Floats) -> list[int]:
    """Places by value, highest first; the newer one at a tie."""
    order: list[int] = (len(values) - 1 - np.argsort(-values[::-1], kind="stable")).tolist()
    return order


def _positive(values: Floats) -> list[int]:
    return [place for place in strongest(values) if values[place] > 0]


def _event(token: int, feedback: Feedback | None) -> str | None:
    if feedback is None or token <= 0:
        return None
    if token <= RATING_TOKENS:
        return "rating"
    name = token - RATING_TOKENS - 1
    return feedback.event_names[name] if name < len(feedback.event_names) else None
