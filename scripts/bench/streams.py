"""A log as a shop lives it: learned up to a moment, then block by block; what is asked of each block before it is
learned.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

import recllm
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import make_tasks
from recllm.evaluation.arms import Arm

SHOTS = (1, 3, 5, 10)
CHOOSING_BLOCKS = 10
DAY = 86_400.0


@dataclass(frozen=True)
class Cut:
    """Where a log is cut: at a moment (unix seconds) or after a share of the events; and the length of its blocks.

    Attributes:
        only: Column and value of the events that count; the others are left out.
    """

    days: float
    moment: float | None = None
    share: float = 0.5
    only: tuple[str, str] | None = None


CUTS = {
    "uci-online-retail": Cut(days=7, moment=1_304_208_000.0),  # 2011-05-01
    "xwines-old-world": Cut(days=91.3125),
    "tldr-pages": Cut(days=91.3125, only=("lang", "en")),  # translators go through the alphabet
}


@dataclass(frozen=True, eq=False)
class Question:
    """What the users of one block are asked: all that is known of them before, and what they like next.

    Attributes:
        group: `known`: they had events before the block; `newcomers, K=…`: first seen after the cut, K events known.
        support: What is known [tasks].
        query: What comes next [tasks].
        asked_at: Time of the first event of each query, float64 [tasks].
    """

    group: str
    support: Histories
    query: Histories
    asked_at: np.ndarray

    def arm(self) -> Arm:
        """As the metrics want it."""
        return Arm(self.group, 0, self.support, self.query)

    def of(self, rows: np.ndarray) -> "Question":
        """Some of the tasks."""
        return Question(self.group, self.support.of(rows), self.query.of(rows), self.asked_at[rows])


@dataclass(frozen=True, eq=False)
class Block:
    """A week, or a quarter.

    Attributes:
        number: From 1.
        begin: Unix seconds.
        end: The next block's begin.
        events: What happened in it.
    """

    number: int
    begin: float
    end: float
    events: recllm.Interactions

    def shuffled(self) -> "Block":
        """The same users at the same times, and the items in another order: what is taken says nothing of anybody."""
        order = np.random.default_rng(self.number).permutation(len(self.events))
        frame = self.events.frame.with_columns(item_id=self.events.frame["item_id"].gather(order))
        return replace(self, events=recllm.Interactions(frame, self.events.report, self.events.user_ids))


@dataclass(frozen=True, eq=False)
class Stream:
    """A log that has been cut.

    Attributes:
        name: Of the data set.
        catalog: All items; those of no event before the cut are known by their texts.
        events: The log, events about items of the catalog only.
        cut: When the first block begins, unix seconds.
        days: Length of a block.
        fixed: Test users of other protocols, who are not asked where something is chosen.
    """

    name: str
    catalog: recllm.Catalog
    events: recllm.Interactions
    cut: float
    days: float
    fixed: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, name: str) -> "Stream":
        """One of `CUTS`, from the folder of data sets."""
        folder, how = Path(os.environ["RECLLM_DATA"]) / name, CUTS[name]
        catalog = recllm.Catalog.read(folder / "items.csv.gz")
        events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(catalog)
        if how.only is not None:
            events = events.select(
                (events.frame[how.only[0]].cast(pl.String) == how.only[1]).fill_null(False).to_numpy()
            )
        times = np.sort(events.frame["timestamp"].to_numpy())
        moment = float(times[int(how.share * len(times))]) if how.moment is None else how.moment
        fixed = folder / "test_users.txt"
        users = tuple(fixed.read_text(encoding="utf-8").split()) if fixed.exists() else ()
        return cls(name, catalog, events, moment, how.days, users)

    @cached_property
    def training(self) -> recllm.Interactions:
        """Everything before the cut."""
        return self.events.before(self.cut)

    @cached_property
    def feedback(self) -> Feedback:
        """What ratings and events mean, as is known at the cut."""
        return Feedback.infer(self.training.frame)

    @cached_property
    def histories(self) -> Histories:
        """Of everybody, to the end: each user's first event with an item."""
        return make_histories(self.events, self.catalog, self.feedback)

    @cached_property
    def edges(self) -> np.ndarray:
        """Where blocks begin, and the last one ends: float64 [blocks + 1]."""
        last = float(self.events.frame["timestamp"].max())  # type: ignore[arg-type]
        blocks = int((last - self.cut) // (self.days * DAY)) + 1
        return self.cut + self.days * DAY * np.arange(blocks + 1)

    def blocks(self) -> Iterator[Block]:
        """One after the other."""
        times = self.events.frame["timestamp"].to_numpy()
        for number, (begin, end) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True), start=1):
            yield Block(number, float(begin), float(end), self.events.select((times >= begin) & (times < end)))

    def questions(self, block: Block, *, choosing: bool) -> list[Question]:
        """What is asked before a block is learned.

        Where something is `choosing`, the fixed test users are not asked, and the log ends with the choosing blocks:
        which of a newcomer's events are their last ones must not be known from later.
        """
        newcomers, asked_at = self._newcomers_early if choosing else self._newcomers
        inside = np.flatnonzero((asked_at >= block.begin) & (asked_at < block.end))
        made = [self._known(block), *(question.of(inside) for question in newcomers)]
        if choosing:
            fixed = set(self.fixed)
            made = [q.of(np.array([u not in fixed for u in q.query.user_ids], dtype=bool).nonzero()[0]) for q in made]
        return [question for question in made if len(question.query)]

    def _known(self, block: Block) -> Question:
        """Users with events before the block: the first whole moments in it until there is a liked new item."""
        histories = self.histories
        before = histories.timestamps < block.begin
        liked = (histories.signals > 0) & ~before & (histories.timestamps < block.end)
        until = np.full(len(histories), np.inf)
        np.minimum.at(until, histories.user_rows[liked], histories.timestamps[liked])
        asked = ~before & (histories.timestamps <= until[histories.user_rows])
        asked &= np.isfinite(until)[histories.user_rows]
        first = np.full(len(histories), np.inf)
        np.minimum.at(first, histories.user_rows[asked], histories.timestamps[asked])
        support, query = histories.drop_events(before), histories.drop_events(asked)
        rows = np.flatnonzero((support.lengths > 0) & np.isfinite(until))
        return Question("known", support.of(rows), query.of(rows), first[rows])

    @cached_property
    def _newcomers(self) -> tuple[list[Question], np.ndarray]:
        return _newcomers(self.histories, self.cut)

    @cached_property
    def _newcomers_early(self) -> tuple[list[Question], np.ndarray]:
        last = self.edges[min(CHOOSING_BLOCKS, len(self.edges) - 1)]
        return _newcomers(self.histories.drop_events(self.histories.timestamps < last), self.cut)


def _newcomers(histories: Histories, cut: float) -> tuple[list[Question], np.ndarray]:
    """All tasks of users first seen after the cut, one question for each number of known events; when each is asked."""
    there = np.flatnonzero(histories.lengths > 0)
    tasks = make_tasks(histories.of(there[histories.timestamps[histories.offsets[:-1][there]] >= cut]))
    asked_at = tasks.query.timestamps[tasks.query.offsets[:-1]]
    asked = [Question(f"newcomers, K={k}", tasks.support.last(k), tasks.query, asked_at) for k in SHOTS]
    return asked, asked_at
