"""What is popular, the same for everybody."""

from dataclasses import dataclass
from typing import final

import numpy as np

from recllm.data.catalog import Catalog
from recllm.evaluation.baselines.baseline import EVENTS, Baseline, Known, Scores, grid


@final
@dataclass(eq=False, kw_only=True)
class Popularity(Baseline):
    """Distinct users of each item, the same for everybody."""

    name = "popularity"
    choices = grid(events=EVENTS)

    def _fit(self, catalog: Catalog, known: Known) -> None:
        pass

    def _scores(self, known: Known) -> Scores:
        return np.tile(self._popularity[self.events], (len(known.histories), 1))


@final
@dataclass(eq=False, kw_only=True)
class RecentPopularity(Baseline):
    """Distinct users of each item, recent ones counting more; plain popularity for a log without times.

    Age is measured in events, not in seconds: the share of the log that is newer. So it does not matter how a log
    spreads over time, nor in which unit time is given.

    Attributes:
        half_life: Share of the log after which an event counts half.
    """

    name = "recent popularity"
    choices = grid(events=EVENTS, half_life=(0.5, 0.2, 0.1, 0.05, 0.02))
    half_life: float = 0.1

    def _fit(self, catalog: Catalog, known: Known) -> None:
        times = known.histories.timestamps if known.timed else np.zeros(known.histories.n_events)
        newer = 1 - np.searchsorted(np.sort(times), times, side="right") / max(len(times), 1)
        self._counts = np.bincount(
            known.histories.item_rows, weights=0.5 ** (newer / self.half_life), minlength=len(catalog)
        ).astype(np.float32)

    def _scores(self, known: Known) -> Scores:
        return np.tile(self._counts, (len(known.histories), 1))
