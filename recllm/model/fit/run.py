"""One fit under way: who may be learned from and who says when it is good, how much time is left, what was seen."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar, final

import numpy as np

from recllm.adaptation.prior import open_prior
from recllm.adaptation.statistics import shop_statistics
from recllm.counts.apart import count_apart
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.counts.private import COARSER
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import Tasks, rolling_tasks, split_users
from recllm.data.users import Users
from recllm.encoders.windows import WindowSampler
from recllm.errors import ConfigError, DataError
from recllm.model.config import RecommenderConfig
from recllm.model.report import FitReport
from recllm.options import TrainOptions
from recllm.prompting.template import Prompt
from recllm.retrieval.people import People, profile_notes

T = TypeVar("T")

ADAPTATION_SHARE = 0.6
"""Part of the time that is left when the adapters begin; what they leave is for measuring."""

LEAST_SHARE = 0.02
"""Part of the whole budget that every stage gets at least, however late it is: enough for a few steps."""

FEWEST_HELD_OUT = 30
"""Users wanted for the head and for early stopping, as long as that is not more than a fifth of all."""

WANTED_TASKS = 400
"""Validation tasks; where users for early stopping are few, they are asked at earlier moments as well."""

FEWEST_TO_RESERVE, FEWEST_EVENTS_TO_RESERVE = 400, 4_000
"""Users or events below which, with a shop prior, all users are learned from and nobody is reserved."""

MOST_HELD_OUT = {"head": 1000, "stop": 400}
"""More users than this sharpen neither the head nor the validation figure, and are better trained on."""


@final
class FitRun:
    """What the stages of a fit share.

    Args:
        config: Hyper-parameters.
        catalog: Items.
        events: Events of training users; unknown items are left out and counted.
        options: Run options.
        reserves: See below; None: where there is no prior, or where there are enough users, or as long as texts may be
            tuned, which needs somebody who says whether that pays.
        prompt: What puts items into words; None: the one that the settings name.
        users: Profiles; None: nobody has one.

    Attributes:
        log: Events of training users.
        people: Users' profiles, as they are read.
        report: What was seen and measured so far.
        histories: Of all training users.
        base: Of the users whom base and channels learn from.
        warm: Which items those have seen, bool [items].
        reserved: Of those kept for the head and the adapters.
        stopping: Rows of `histories`: users kept for early stopping and for every choice.
        validation: Their tasks.
        prior: The shop prior, where there is one.
        reserves: Whether anybody is reserved; else everybody is a base user, and asked by channels without them.

    Raises:
        DataError: No event is about an item of the catalog.
    """

    def __init__(
        self,
        config: RecommenderConfig,
        catalog: Catalog,
        events: Interactions,
        options: TrainOptions,
        *,
        reserves: bool | None = None,
        prompt: Prompt | None = None,
        users: Users | None = None,
    ) -> None:
        self.config, self.catalog, self.options, self.prompt = config, catalog, options, prompt
        self.report = FitReport()
        self.device = options.torch_device()  # what cannot be used is refused before anything is done
        self.prior = None if config.prior is None else open_prior(config.prior)
        self.log = events
        self.people = self._profiles(users)
        self.feedback = Feedback.infer(events.frame, config.liked_from)
        self.histories = make_histories(events, catalog, self.feedback, seed=options.seed)
        if not len(self.histories.item_rows):
            raise DataError(
                f"none of the {events.report.read:,} events is about one of the {len(catalog):,} items of the catalog"
                f"{_example(events)}; check that both use the same item ids, or build from the catalog alone."
            )
        self._divide(not self.small or config.finetune != "none" if reserves is None else reserves)
        self.begin = options.clock()

    def _profiles(self, users: Users | None) -> People:
        if users is None:
            return People.nobody()
        if self.config.privacy is not None:
            raise ConfigError(
                "privacy covers what is counted of items and their pairs, and not by profile; fit without users=, or "
                "with privacy=None."
            )
        config = self.config.profiles
        people = People.of(users, self.log.user_ids, config)
        self.report.notes += profile_notes(users, config, people)
        return people

    @property
    def small(self) -> bool:
        """Whether there are too few users or events to reserve somebody, and a prior that makes up for it."""
        few = int((self.histories.lengths > 0).sum()) < FEWEST_TO_RESERVE
        return self.prior is not None and (few or self.histories.n_events < FEWEST_EVENTS_TO_RESERVE)

    def reserve_nobody(self) -> None:
        """Learn from everybody from here on; for a stage that is over and has left nothing to be judged."""
        self._divide(reserves=False)

    def _divide(self, reserves: bool) -> None:
        users = np.flatnonzero(self.histories.lengths > 0)
        ids = [self.histories.user_ids[user] for user in users]
        self.reserves = reserves
        wanted = min(0.2, FEWEST_HELD_OUT / len(ids))
        head = min(max(self.config.ranking.reserved, wanted), MOST_HELD_OUT["head"] / len(ids))
        stop = min(max(0.05, 0.75 * wanted), MOST_HELD_OUT["stop"] / len(ids))
        if not self.reserves:
            head, stop = 0.0, 0.0
        shares = {"base": 1 - head - stop, "head": head, "stop": stop}
        parts = split_users(ids, shares, seed=self.options.seed)
        self.base, self.reserved, stopping = (self.histories.of(users[parts[p]]) for p in ("base", "head", "stop"))
        self.stopping = users[parts["stop"]]  # rows of the histories
        if not len(self.base.item_rows):
            self.base = self.histories
        self.warm = np.zeros(len(self.catalog), dtype=bool)
        self.warm[self.base.item_rows] = True
        self.validation: Tasks = rolling_tasks(stopping, WANTED_TASKS)
        self.report.counts = {
            "items": len(self.catalog),
            "users": len(ids),
            "events": len(self.histories.item_rows),
            "base users": len(self.base),
            "head users": len(self.reserved),
            "validation tasks": len(self.validation.query),
        }

    @cached_property
    def counts(self) -> Counts:
        """What is counted of the base users."""
        return self.counted(self.base)

    def counted(self, histories: Histories) -> Counts:
        """What is counted of users; with noise where people's privacy is asked for."""
        resolution, privacy = resolution_of(self.histories.timestamps), self.config.privacy
        if privacy is None:
            return count_apart(histories, len(self.catalog), resolution, self.options.executor)
        return privacy.of(histories, len(self.catalog), COARSER * resolution)

    def counts_without(self, some: Histories, others: Histories) -> Counts:
        """What is counted of the base users but for some of them; noise cannot be taken apart, so it is drawn again."""
        if self.config.privacy is not None:
            return self.counted(others)
        return self.counts - self.counted(some)

    def statistics(self, channels: Sequence[str]) -> np.ndarray:
        """What the shop looks like to its prior, float32 [statistics]; see `shop_statistics`."""
        return shop_statistics(self.base, len(self.catalog), channels)

    @cached_property
    def everybody(self) -> Counts:
        """What is counted of all training users: what is served."""
        if self.config.privacy is not None:
            return self.counted(self.histories)  # all that is kept of people: noise is laid over it once
        if self.base is self.histories:
            return self.counts
        others = (self.reserved, self.histories.of(self.stopping))
        return sum((self.counted(part) for part in others), self.counts)

    def left(self) -> float | None:
        """Seconds that are left of the budget, perhaps fewer than none; None: there is no budget."""
        budget = self.options.budget_seconds()
        return None if budget is None else budget - (self.options.clock() - self.begin)

    def share(self, part: float) -> float | None:
        """Seconds for a stage: a part of what is left of the budget, and always enough for a few steps."""
        left, budget = self.left(), self.options.budget_seconds()
        return None if left is None or budget is None else max(part * left, LEAST_SHARE * budget)

    def timed(self, stage: str, run: Callable[[], T]) -> T:
        """The result of a stage whose seconds are reported."""
        begin = self.options.clock()
        result = run()
        self.report.seconds[stage] = self.options.clock() - begin
        return result

    def say(self, stage: str, done: float, total: float, note: str = "") -> None:
        """How far a stage is, for whoever watches."""
        if self.options.progress is not None:
            self.options.progress(stage, done, total, note)

    def note(self, stage: str, log: Any) -> None:
        """What training a stage has logged."""
        self.report.curves[stage] = measured(log.points)
        self.report.seconds[stage] = log.seconds
        self.report.stopped[stage] = log.stopped
        if np.isfinite(log.best):
            self.report.figures[stage] = log.best
        if "time budget" in log.stopped:
            done = log.points[-1][0] if log.points else 0
            self.report.notes.append(f"{stage}: cut by the time budget after {done:,} steps; more time may do better.")

    def windows(self, users: Histories | None = None) -> WindowSampler:
        """Windows of the reserved users, or of others."""
        return WindowSampler(
            self.reserved if users is None else users,
            max_events=self.config.history.max_events,
            horizon=self.config.training.horizon,
            positions=1,
            mixed=True,
        )


def measured(points: Sequence[tuple[int, float | None, float]]) -> list[tuple[int, float | None, float | None]]:
    """Without numbers that are none: what could not be measured is None."""

    def plain(value: float | None) -> float | None:
        return value if value is not None and np.isfinite(value) else None

    return [(step, plain(loss), plain(value)) for step, loss, value in points]


def _example(events: Interactions) -> str:
    """What `Interactions.known_items` says about ids that the catalog does not have."""
    return f" ({events.report.notes[-1]})" if "unknown_item" in events.report.dropped else ""
