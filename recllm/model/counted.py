"""What a served model counts: sums over its users that move with every event, and weights that follow them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from recllm.counts.counts import Counts
from recllm.counts.pairs import PairCounts
from recllm.data.histories import Histories, make_histories
from recllm.data.memory import Memory
from recllm.errors import DataError
from recllm.model.model import Model

RENEWED_AFTER = 0.02
"""Weights between items are fitted anew when this share of the events has come or gone since they were."""

SLOW_ITEMS, SLOW_RENEWED_AFTER = 6_000, 0.1
"""With more items than this, where fitting them takes from four seconds up to two minutes, at this share."""


@final
@dataclass(frozen=True, eq=False)
class Counted:
    """What is counted, and how much of it is new.

    Attributes:
        counts: Sums over all users.
        since_weights: Events that came or went since the weights between items were fitted.
        since_fit: Events taken in since everything was.
        weights_from: The newest event that everything was fitted to, unix seconds; None without times or events.
    """

    counts: Counts
    since_weights: int = 0
    since_fit: int = 0
    weights_from: float | None = None

    def extended(self, items: int) -> "Counted":
        """Over a catalog that has grown to `items`."""
        return replace(self, counts=self.counts.extended(items))

    def moved(
        self,
        before: Histories,
        after: Histories,
        model: Model,
        recount: Callable[[], PairCounts],
        *,
        weights: bool = True,
    ) -> tuple["Counted", Model]:
        """Users' old events are taken out and their new ones put in; popularity follows at once.

        Weights between items follow where enough has changed; where events have only gone, always: they are computed
        when they are first asked for.

        Args:
            before: The users as they were counted.
            after: The same users as they are now.
            model: Served until now.
            recount: Counts the pairs of all users as they are now, where they have not been counted yet.
            weights: Whether weights between items follow here; else they are left for `renewed`.

        Returns:
            The counts, and the model that goes by them.

        Raises:
            DataError: Events that go were never counted.
        """
        if _are_the_same(before, after):
            return self, model
        items, pairs = len(model.catalog), self.counts.has_pairs
        now, then = (Counts.of(part, items, self.counts.resolution, pairs=pairs) for part in (after, before))
        counts = self.counts.plus(now - then, recount)
        if not counts.is_possible:
            raise DataError("these events were not counted as they are given here, so nothing was deleted.")
        came = max(after.n_events - before.n_events, 0)
        gone = after.n_events < before.n_events
        changed = self.since_weights + (counts.events if gone else came)
        anew = weights and (gone or worth_fitting(changed, counts))
        channels = model.channels.moved(before, after).renewed(counts, model.retrieval, weights=anew)
        if anew and not gone:
            channels.tensors()  # in this call, so that nobody who asks has to wait
        moved = replace(self, counts=counts, since_weights=0 if anew else changed, since_fit=self.since_fit + came)
        return moved, model.with_channels(channels)

    def remembering(self, before: Histories, after: Histories) -> "Counted":
        """The same counts where noise lies over them, of which no part can be taken out; what came since is known.

        Exact changes on top would be told by the difference; the next fit counts them, and draws new noise.
        """
        return replace(self, since_fit=self.since_fit + max(after.n_events - before.n_events, 0))

    @property
    def weights_due(self) -> bool:
        """Whether weights between items should be fitted anew."""
        return worth_fitting(self.since_weights, self.counts)

    def renewed(self, model: Model) -> tuple["Counted", Model]:
        """Weights between items as they are counted now, computed."""
        channels = model.channels.renewed(self.counts, model.retrieval)
        channels.tensors()
        return replace(self, since_weights=0), model.with_channels(channels)


def worth_fitting(changed: int, counts: Counts) -> bool:
    """Whether so many events that weights between items do not know are worth fitting them anew."""
    slow = int((counts.items.taken > 0).sum()) > SLOW_ITEMS
    return changed >= (SLOW_RENEWED_AFTER if slow else RENEWED_AFTER) * max(counts.events, 1)


def _are_the_same(before: Histories, after: Histories) -> bool:
    return all(
        np.array_equal(getattr(before, part), getattr(after, part)) for part in ("item_rows", "timestamps", "signals")
    )


def counted_pairs(memory: Memory, model: Model, seed: int) -> PairCounts:
    """Pairs of items, counted from all that is remembered."""
    return PairCounts.of(make_histories(memory.log, model.catalog, model.feedback, seed=seed), len(model.catalog))
