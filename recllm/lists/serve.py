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
from recllm.encoders.lora import UserLora
from recllm.lists.orders import average_of, leading_channels, ordered_scores, predicted
from recllm.lists.request import ListRequest
from recllm.model.fitted import Fitted
from recllm.model.model import Model
from recllm.ranking.filters import matching_items, unmet_filters
from recllm.ranking.plan import Plan
from recllm.ranking.rules import best_items
from recllm.ranking.wishes import Wishes, moved
from recllm.retrieval.candidates import Candidates, counts_of, union
from recllm.retrieval.profiles import Profile, Shared


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
        self._terms = [term for term in (self.wishes.term, self.plan.term) if term is not None]
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
        self, histories: Histories, lora: UserLora | None, eligible: Bool[Tensor, "users items"], asked_at: np.ndarray
    ) -> "RankedBatch":
        """Retrieve, then rank, for a batch of users."""
        profiles = self.model.profiles(histories, lora, asked_at)
        return self._ranked(histories, lora, profiles, Candidates.of(self._retrieved(histories, profiles, eligible)))

    def rank_all(
        self, histories: Histories, lora: UserLora | None, eligible: Bool[Tensor, "users items"], asked_at: np.ndarray
    ) -> "RankedBatch":
        """Rank all that may be listed: where what the channels bring does not do."""
        return self.rank_these(histories, lora, Candidates.of(eligible), asked_at)

    def rank_these(
        self, histories: Histories, lora: UserLora | None, candidates: Candidates, asked_at: np.ndarray
    ) -> "RankedBatch":
        """Rank candidates that were found in another way."""
        return self._ranked(histories, lora, self.model.profiles(histories, lora, asked_at), candidates)

    def retrieve(
        self, histories: Histories, lora: UserLora | None, eligible: Bool[Tensor, "users items"], asked_at: np.ndarray
    ) -> Bool[Tensor, "users items"]:
        """What `rank` ranks."""
        return self._retrieved(histories, self.model.profiles(histories, lora, asked_at), eligible)

    def _retrieved(
        self, histories: Histories, profiles: Sequence[Profile], eligible: Bool[Tensor, "users items"]
    ) -> Bool[Tensor, "users items"]:
        """What the channels bring, of what is wanted more of, too, and what has to lead the list."""
        channels, size = self.model.channels, self.model.retrieval.per_channel + self.request.n
        chosen = channels.retrieve(profiles, histories, eligible, size)
        for term in self._terms:
            chosen |= channels.retrieve(profiles, histories, eligible & (term > 0), size)
        if self.request.by == "rating":
            own = Shared(predicted(self.model, histories), torch.arange(len(histories)))
            chosen |= union([own], eligible, size)
        if self.request.rules.pinned:
            for user, name in enumerate(histories.user_ids):
                pinned = self.plan.pinned(name)
                chosen[user, pinned] = eligible[user, pinned]
        return chosen

    def _ranked(
        self, histories: Histories, lora: UserLora | None, profiles: Sequence[Profile], candidates: Candidates
    ) -> "RankedBatch":
        model, by, rows = self.model, self.request.by, candidates.columns
        channels = model.channels.scores_of(profiles, rows)
        scores = ordered_scores(by, model, histories, channels, lora, rows)
        scores = scores.masked_fill(~candidates.real, -torch.inf)
        if self._terms:
            average = average_of(by, model, histories, lora)
            for term in self._terms:
                scores = moved(scores, term[candidates.rows], average)
        return RankedBatch(candidates, scores, channels)


@final
@dataclass(frozen=True, eq=False)
class RankedBatch:
    """Some users' candidates.

    Attributes:
        candidates: The items.
        scores: What lists are ordered by, −inf where a user has no item [users, width].
        channels: What each channel says of them.
    """

    candidates: Candidates
    scores: Float[Tensor, "users width"]
    channels: Float[Tensor, "users channels width"]

    def line(self, user: int, items: int) -> tuple[np.ndarray, np.ndarray]:
        """float32 and bool [items]: the user's scores over a catalog of so many items, and which are candidates."""
        real = self.candidates.real[user].numpy()
        rows = self.candidates.rows[user].numpy()[real]
        line, listed = np.full(items, -np.inf, dtype=np.float32), np.zeros(items, dtype=bool)
        line[rows], listed[rows] = self.scores[user].numpy()[real], True
        return line, listed

    def best(self, user: int, ties: np.ndarray, n: int) -> np.ndarray:
        """Rows of the user's best `n` candidates, best first."""
        rows = self.candidates.rows[user].numpy()
        order = best_items(self.scores[user].numpy(), self.candidates.real[user].numpy(), ties[rows], n)
        found: np.ndarray = rows[order]
        return found

    def said(self, user: int, rows: np.ndarray) -> tuple[np.ndarray, Float[Tensor, "channels rows"]]:
        """Scores of some of the user's candidates, and what each channel says of them."""
        places = np.searchsorted(self.candidates.rows[user].numpy(), rows)
        return self.scores[user].numpy()[places], self.channels[user][:, torch.from_numpy(places)]


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
        """Retrieve and rank for a batch of users: what they have, and what of it the ranking may know."""
        eligible, now = torch.from_numpy(self.served.eligible(seen)), self.served.asked_at(seen)
        batch = self.served.rank(known, lora, eligible, now)
        missing = counts_of(eligible) - counts_of(batch.candidates.real)
        for user in range(len(seen)):
            rows = self._chosen(batch, user, known)
            if len(rows) == self.served.request.n or not missing[user]:
                self._take(batch, user, rows, seen)
                continue
            # The rules leave too little of what the channels bring.
            one, own = known.of([user]), None if lora is None else {name: part[[user]] for name, part in lora.items()}
            whole = self.served.rank_all(one, own, eligible[[user]], now[[user]])
            self._take(whole, 0, self._chosen(whole, 0, one), seen.of([user]))

    def _chosen(self, batch: RankedBatch, user: int, known: Histories) -> np.ndarray:
        """The user's list: rows of candidates, best first."""
        plan, n = self.served.plan, self.served.request.n
        if plan.is_plain:
            return batch.best(user, self.served.model.ties, n)
        theirs = slice(known.offsets[user], known.offsets[user + 1])
        liked = known.item_rows[theirs][known.signals[theirs] > 0]
        line, listed = batch.line(user, len(self.served.model.catalog))
        return plan.rows(known.user_ids[user], line, listed, n, liked)

    def _take(self, batch: RankedBatch, user: int, rows: np.ndarray, seen: Histories) -> None:
        scores, said = batch.said(user, rows)
        self.users.append(seen.user_ids[user])
        self.rows.append(rows)
        self.scores.append(scores)
        names = self.served.model.channels.names
        self.leading.append(leading_channels(self.served.request.by, names, said).numpy())

    @classmethod
    def of(cls, state: Fitted, request: ListRequest, seen: Histories, kept: Kept | None) -> "Lists":
        """Ranked lists of users who have all of `seen`, through adapters that are kept or made for the call.

        Raises:
            DataError: A filter, a wish or something to leave out that the catalog does not know.
        """
        lists = cls(Served(state.model, request))
        for batch in seen.batches(state.model.listed_users):
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
