"""How fast lists grow old: held-out users are asked about later and later moments, from counts that stood still."""

from itertools import pairwise
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from recllm.counts.counts import Counts
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks, split_users
from recllm.encoders.validation import few_shot
from recllm.model.counted import SLOW_ITEMS
from recllm.model.fit.run import FitRun
from recllm.model.freshness import WEEK
from recllm.model.model import Model
from recllm.model.moments import Moments, tasks_of
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.scoring import Channels

STOOD_STILL = 0.5
"""Share of the events that are counted when the clock is stopped."""

PERIODS = 6
"""Equally many events lie in each period of the rest of the log."""

MOST_ASKED = 50
"""Users, where nobody is held out."""

AGEING_SHARE = 0.05
"""Part of a time budget that is spent on finding out; what is not reached then is not measured."""


@final
class Ages:
    """Held-out users of a fit, asked about the periods of the later half of its log.

    Args:
        run: The fit.
        model: With its head; its channels say which settings are used.

    Attributes:
        batches: What the shop's adapter would have learned from in each period but the first, for `choose`.
    """

    def __init__(self, run: FitRun, model: Model) -> None:
        self.run, self.model = run, model
        self.batches: list[RankingTasks] = []
        if run.reserves:
            users = Histories.concatenate([run.reserved, run.histories.of(run.stopping)])
        else:
            # Others are asked: what is counted until a moment holds nothing of what comes after it, from anybody.
            share = min(1.0, MOST_ASKED / len(run.base))
            users = run.base.of(split_users(run.base.user_ids, {"asked": share}, run.options.seed)["asked"])
        # Once each: where users are few, the same ones serve for both.
        self.users = users.of(np.sort(np.unique(users.user_ids, return_index=True)[1]))

    def curve(self) -> list[tuple[float, float, float, int]]:
        """(weeks since the clock was stopped, NDCG@10 of counts that stood still, of renewed ones, tasks).

        Nothing where time does not tell: one moment, no one to ask, or catalogs whose weights take minutes to fit.
        """
        times = self.run.base.timestamps
        if not len(times) or int((self.run.counts.items.taken > 0).sum()) > SLOW_ITEMS:
            return []
        edges = np.quantile(times, np.linspace(STOOD_STILL, 1, PERIODS + 1), method="lower")
        begin, budget = self.run.options.clock(), self.run.options.budget_seconds()
        old, points = self._counted_until(edges[0]), []
        for number, (start, end) in enumerate(pairwise(edges.tolist())):
            if number and budget is not None and self.run.options.clock() - begin > AGEING_SHARE * budget:
                break
            self.run.say("find out how fast lists grow old", number, PERIODS)
            tasks = self._asked(start, end if number + 1 < PERIODS else np.inf)
            if not len(tasks):
                continue
            stale = fresh = self._ndcg(old, tasks, start)
            if number:
                renewed = self._counted_until(start)
                fresh = self._ndcg(renewed, tasks, start)
                self.batches.append(self._learned(renewed, start, end))
            middle = float(tasks.query.timestamps[tasks.query.offsets[:-1]].mean())
            points.append((float(middle - edges[0]) / WEEK, stale, fresh, len(tasks)))
        return points

    def _counted_until(self, moment: float) -> Channels:
        past = self.run.base.drop_events(self.run.base.timestamps < moment)
        counts = Counts.of(past, len(self.run.catalog), self.run.counts.resolution)
        return self.model.channels.renewed(counts, self.model.retrieval)

    def _learned(self, channels: Channels, start: float, end: float) -> RankingTasks:
        before, after = (self.users.drop_events(self.users.timestamps < moment) for moment in (start, end))
        return tasks_of(self.model.with_channels(channels), Moments.of(before, after, seed=self.run.options.seed))

    def _asked(self, start: float, end: float) -> Tasks:
        """Whoever was there before takes something they like for the first time in this period."""
        users = self.users
        inside = (users.timestamps >= start) & (users.timestamps < end) & (users.signals > 0)
        first = np.full(len(users), np.inf)
        np.minimum.at(first, users.user_rows[inside], users.timestamps[inside])
        support = users.drop_events(users.timestamps < start)
        query = users.drop_events(inside & (users.timestamps == first[users.user_rows]))
        rows = np.flatnonzero((support.lengths > 0) & (query.lengths > 0))
        return Tasks(support.of(rows), query.of(rows), rows, {})

    def _ndcg(self, channels: Channels, tasks: Tasks, now: float) -> float:
        """Everybody is asked when the period begins."""
        model, longest = self.model.with_channels(channels), int(tasks.support.lengths.max())

        def scores(histories: Histories) -> Float[Tensor, "users items"]:
            return model.best_scores(histories, asked_at=np.full(len(histories), now))

        return float(few_shot(scores, tasks, (longest,), batch=model.batch_users)[longest].mean())
