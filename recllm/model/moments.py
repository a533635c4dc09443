"""New events as tasks for the shop's adapter: what the model had to predict of them before it learned them."""

from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import torch
from torch import Tensor

from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.model.model import Model
from recllm.ranking.objective import RankingTasks

MOST_MOMENTS = 1_000
"""Moments of a batch that are asked, drawn by chance from more: a few hundred numbers are learned from them."""

LISTED = 200
"""Items each list is judged on, as where the head was fitted."""


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Moments (baskets) at which users took something that was new to them and liked it.

    Attributes:
        before: What was known of the user, histories [moments].
        liked: What they liked at the moment, histories [moments].
        asked_at: When it was, float64 [moments].
    """

    before: Histories
    liked: Histories
    asked_at: np.ndarray

    def __len__(self) -> int:
        return len(self.asked_at)

    @classmethod
    def of(cls, before: Histories, after: Histories, most: int = MOST_MOMENTS, seed: int = 0) -> "Moments":
        """The new moments of users, given as they were remembered and as they are now; in the same order.

        Events of one time belong to one moment. An event that arrives late is asked from what came before its time.

        Args:
            before: Without the new events.
            after: With them.
            most: Moments at most.
            seed: Of which ones, if there are more.
        """
        items = int(max(before.item_rows.max(initial=0), after.item_rows.max(initial=0))) + 1
        fresh = ~np.isin(after.user_rows * items + after.item_rows, before.user_rows * items + before.item_rows)
        key = np.stack([after.user_rows, after.blocks], axis=1)
        begins = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(axis=1)][: after.n_events])
        moment = np.cumsum(np.isin(np.arange(after.n_events), begins)) - 1
        wanted = fresh & (after.signals > 0)
        chosen = np.unique(moment[wanted])
        if len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:most])
        first = begins[chosen]
        whole = after.of(after.user_rows[first])
        place = whole.positions - np.repeat(after.positions[first], whole.lengths)
        # Places in `after` of the events of `whole`, to look up what is new in it.
        source = np.repeat(first, whole.lengths) + place
        liked = wanted[source] & (moment[source] == np.repeat(chosen, whole.lengths))
        return cls(whole.drop_events(place < 0), whole.drop_events(liked), after.timestamps[first])


def tasks_of(
    model: Model, moments: Moments, *, clock: np.ndarray | None = None, listed: int = LISTED, seed: int = 0
) -> RankingTasks:
    """Two tasks for each moment: all that was known, and the newest few events only, for newcomers are served as well.

    Args:
        model: As it served before it learned these events.
        moments: Of catalog rows that the model has.
        clock: When each was asked, float64 [moments]; None: as the model serves, where now is when its counts end or
            the user was last seen.
        listed: Items of each task: what was liked, and a sample of the others that were not known.
        seed: Of the samples.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    few = np.exp(rng.random(len(moments)) * np.log(model.encoder.config.max_events)).round().astype(np.int64)
    before, tasks = moments.before, []
    newest = before.drop_events(before.positions >= np.repeat(before.lengths - few, before.lengths))
    for start in range(0, len(moments), model.batch_users):
        rows = np.arange(start, min(start + model.batch_users, len(moments)))
        known, asked = before.of(rows), None if clock is None else clock[rows]
        target, eligible = _wanted(known, moments.liked.of(rows), len(model.catalog))
        owners = torch.from_numpy(np.unique(moments.liked.user_ids, return_inverse=True)[1][rows])
        for support in (known, newest.of(rows)):
            said = partial(model.channels.scores_of, model.profiles(support, None, asked))
            lengths = torch.from_numpy(support.lengths.astype(np.float32))
            tasks.append(RankingTasks.listing(said, lengths, eligible, target, owners, listed, generator))
    return RankingTasks.concatenate(tasks) if tasks else RankingTasks.none(len(model.channels.names), 1)


def _wanted(known: Histories, liked: Histories, items: int) -> tuple[Tensor, Tensor]:
    """Soft targets, and what may be listed: nothing that was known."""
    target = torch.zeros(len(liked), items)
    each = np.repeat(1.0 / np.maximum(liked.lengths, 1), liked.lengths).astype(np.float32)
    target[liked.user_rows, liked.item_rows] = torch.from_numpy(each)
    return target, torch.from_numpy(binary_matrix(known, items, liked_only=False).toarray() == 0)
