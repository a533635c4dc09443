"""From scores to lists: what was asked for, retrieve, rank, then the rules."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recllm.adaptation.adapters import Kept
from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.data.doors import Items
from recllm.data.histories import Histories
from recllm.lists.orders import leading_channels, ordered_scores
from recllm.lists.request import ListRequest
from recllm.model.fitted import Fitted
from recllm.model.model import Model
from recllm.ranking.filters import matching_items, unmet_filters
from recllm.ranking.plan import Plan
from recllm.ranking.wishes import Wishes
from recllm.retrieval.candidates import top_candidates


@final
class Served:
    """A request as one model serves it: which items may be listed, and how users are scored.

    Args:
        model: The fitted parts.
        request: What was asked for.

    Raises:
        DataError: A filter, a wish or something to leave out that the catalog does not know.
    """

    def __init__(self, model: Model, request: ListRequest) -> None:
        self.model, self.request, attributes = model, request, model.attributes
        self.wishes = Wishes.of(request.wishes, attributes)
        self.allowed = ~self.wishes.ruled_out
        if request.filters:
            self.allowed &= matching_items(model.catalog, request.filters)
        self.plan = Plan(request.rules, attributes, model.channels.text.numpy(), model.ties, request.diversity)
        self.left_out = _left_out(model.catalog, attributes, request.without or ())

    def known(self, histories: Histories) -> Histories:
        """What the ranking may know of the users: without what shall be left out."""
        return histories.drop_events(~self.left_out[histories.item_rows]) if self.left_out.any() else histories

    def eligible(self, histories: Histories) -> np.ndarray:
        """bool [users, items]: what may be listed for users who have all of `histories`."""
        eligible = eligible_items(self.model.catalog, histories, self.allowed, self.request.candidates)
        if self.request.exclude is not None:
            eligible &= ~items_named(self.model.catalog, histories, self.request.exclude)
        if self.request.exclude_seen:
            eligible[histories.user_rows, histories.item_rows] = False
        if self.request.rules.ceilings:
            eligible &= np.array([self.plan.below_ceilings(user) for user in histories.user_ids])
        return eligible

    def why_empty(self, user: str) -> str:
        """In words, why nothing is left to be listed for a user."""
        request, catalog, candidates = self.request, self.model.catalog, self.request.candidates
        if request.filters and not matching_items(catalog, request.filters).any():
            return unmet_filters(catalog, request.filters)
        if above := self.plan.why_none(user):
            return above
        if isinstance(candidates, Mapping) and user not in candidates:
            return "candidates are given by user, and not for this one"
        own = candidates.get(user, []) if isinstance(candidates, Mapping) else candidates
        if own is not None and not (catalog.rows(own) >= 0).any():
            return f"none of the {len(own):,} candidates is in the catalog"
        return "filters, ceilings, candidates, what is excluded, wishes and what the user has already leave nothing"

    def asked_at(self, histories: Histories) -> np.ndarray:
        """float64 [users]: now, for users who have all of `histories`; what is left out of them changes no clock."""
        return self.model.channels.now(histories)

    def rank(
        self,
        histories: Histories,
        lora: dict[str, Tensor] | None,
        eligible: Bool[Tensor, "users items"],
        asked_at: np.ndarray,
    ) -> "RankedBatch":
        """Retrieve and score for a batch of users."""
        model, wishes, plan = self.model, self.wishes, self.plan
        channels, scores = self._scores(histories, lora, asked_at)
        if not plan.varies:  # the best by score are listed, whichever channel would bring them
            return RankedBatch(eligible, scores, channels)
        retrieved = top_candidates(channels, eligible, max(model.retrieval.per_channel, self.request.n))
        if len(wishes) or self.request.rules.boosted:
            retrieved |= eligible & (wishes.wanted | torch.from_numpy(plan.boosted))
        # No channel need bring what the head, which weighs them all, scores best.
        best = scores.masked_fill(~eligible, -torch.inf).topk(min(self.request.n, scores.shape[1]), dim=1).values
        retrieved |= eligible & (scores >= best[:, -1:])
        return RankedBatch(retrieved, scores, channels)

    def scores(
        self, histories: Histories, lora: dict[str, Tensor] | None, asked_at: np.ndarray
    ) -> Float[Tensor, "users items"]:
        """What lists are ordered by, for a batch of users."""
        return self._scores(histories, lora, asked_at)[1]

    def _scores(self, histories: Histories, lora: dict[str, Tensor] | None, asked_at: np.ndarray) -> tuple[Any, Any]:
        channels = self.model.channel_scores(histories, lora, asked_at)
        scores = ordered_scores(self.request.by, self.model, histories, channels, lora)
        return channels, self.plan.boost(self.wishes.apply(scores))


@final
@dataclass(frozen=True, eq=False)
class RankedBatch:
    """Some users' items.

    Attributes:
        retrieved: What may be listed; for a varied list, of that what the channels bring and the head scores best.
        scores: What lists are ordered by.
        channels: What each channel says.
    """

    retrieved: Bool[Tensor, "users items"]
    scores: Float[Tensor, "users items"]
    channels: Float[Tensor, "users channels items"]


@final
class Lists:
    """Collects ranked lists batch by batch."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.users: list[str] = []
        self.rows: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.leading: list[np.ndarray] = []
        """For each line, the number of the channel that says most for its item."""

    def add(self, seen: Histories, known: Histories, lora: dict[str, Tensor] | None) -> None:
        """Rank for a batch of users: what they have, and what of it the ranking may know."""
        model, request = self.served.model, self.served.request
        eligible = self.served.eligible(seen)
        batch = self.served.rank(known, lora, torch.from_numpy(eligible), self.served.asked_at(seen))
        for user, (line, retrieved) in enumerate(zip(batch.scores.numpy(), batch.retrieved.numpy(), strict=True)):
            theirs = slice(known.offsets[user], known.offsets[user + 1])
            liked = known.item_rows[theirs][known.signals[theirs] > 0]
            name = seen.user_ids[user]
            rows = self.served.plan.rows(name, line, eligible[user], request.n, retrieved, liked)
            self.users.append(name)
            self.rows.append(rows)
            self.scores.append(line[rows])
            said = batch.channels[user][:, torch.from_numpy(rows)]
            self.leading.append(leading_channels(request.by, model.channels.names, said).numpy())

    @classmethod
    def of(cls, state: Fitted, request: ListRequest, seen: Histories, kept: Kept | None) -> "Lists":
        """Ranked lists of users who have all of `seen`, through adapters that are kept or made for the call.

        Raises:
            DataError: A filter, a wish or something to leave out that the catalog does not know.
        """
        lists = cls(Served(state.model, request))
        for batch in state.batches(len(seen)):
            known = lists.served.known(seen.of(batch))
            with state.model.threads_for(len(known)):
                lists.add(seen.of(batch), known, state.adapted(known, request.adapt, kept))
        return lists

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the request was passed over; and of users whose list is empty, why it is."""
        empty = [user for user, rows in zip(self.users, self.rows, strict=True) if not len(rows)]
        if not empty:
            return self.served.plan.notes
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        why = self.served.why_empty(empty[0]).rstrip(".")
        return (*self.served.plan.notes, f"no item is left for {empty[0]!r}{more}: {why}.")

    def columns(self, catalog: Catalog) -> dict[str, Any]:
        """As `Recommendations` wants them."""
        return list_columns(catalog, self.users, self.rows, self.scores)


def list_columns(
    catalog: Catalog, users: Sequence[str], rows: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Columns of `Recommendations` from each user's item rows and their scores."""
    return {
        "user_id": [user for user, found in zip(users, rows, strict=True) for _ in found],
        "item_id": [catalog.item_ids[row] for found in rows for row in found],
        "rank": [place + 1 for found in rows for place in range(len(found))],
        "score": [float(score) for line in scores for score in line],
        "title": [catalog.titles[row] for found in rows for row in found],
    }


def eligible_items(catalog: Catalog, histories: Histories, allowed: np.ndarray, candidates: Items | None) -> np.ndarray:
    """bool [users, items]: allowed, and among the candidates where there are any."""
    eligible = np.tile(allowed, (len(histories), 1))
    if candidates is None:
        return eligible
    result: np.ndarray = eligible & items_named(catalog, histories, candidates)
    return result


def items_named(catalog: Catalog, histories: Histories, items: Items) -> np.ndarray:
    """bool [users, items]: the same for all users, or each user's own; unknown ids are passed over."""
    named = np.zeros((len(histories), len(catalog)), dtype=bool)
    if isinstance(items, Mapping):
        for row, user in enumerate(histories.user_ids):
            found = catalog.rows(items.get(user, []))
            named[row, found[found >= 0]] = True
    else:
        found = catalog.rows(items)
        named[:, found[found >= 0]] = True
    return named


def _left_out(catalog: Catalog, attributes: Attributes, without: Sequence[Any]) -> np.ndarray:
    """bool [items]: items named by id, and all that have a named value; an id comes first."""
    left_out = np.zeros(len(catalog), dtype=bool)
    for one, row in zip(without, catalog.rows(without).tolist(), strict=True):
        if row >= 0:
            left_out[row] = True
            continue
        having = attributes.items_valued(str(one))
        left_out |= having
        if not having.any():
            warnings.warn(
                f"without names {one!r}, which is neither an item nor a value of the catalog; it is passed over.",
                stacklevel=5,
            )
    return left_out
