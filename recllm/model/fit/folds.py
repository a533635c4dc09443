"""Nobody is reserved: each part of the users is asked by channels that have counted the others only.

The channels are sums over users, so those of everybody less a part are a subtraction away. The transformer is not: in
the parts it says nothing, and how far it is believed comes from the shop prior.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from recllm.data.histories import Histories
from recllm.data.tasks import Tasks, rolling_tasks, split_users
from recllm.encoders.validation import few_shot
from recllm.model.fit.run import WANTED_TASKS, FitRun
from recllm.model.texts import ItemTexts
from recllm.retrieval.channel import Lesson
from recllm.retrieval.learning import learn_channels
from recllm.retrieval.scoring import Channels

PARTS = 4
"""Groups of users. More of them leave each with more to learn from, and cost a solution of EASE each."""

Scored = Callable[[Channels, Histories], Tensor]
"""From channels and histories to scores [users, items]."""


@final
@dataclass(frozen=True, eq=False)
class Folds:
    """Users who are asked, and the channels that have not seen them.

    Attributes:
        parts: Pairs of both.
        chosen: The settings of the channels that were best over all parts, by name.
        figures: And their NDCG@10.
    """

    parts: tuple[tuple[Histories, Channels], ...]
    chosen: dict[str, Any]
    figures: dict[str, float]

    @classmethod
    def of(cls, run: FitRun, texts: ItemTexts, exact_items: int | None = None) -> "Folds":
        """Fit the channels to all users but one part after the other.

        Args:
            run: The fit; its base users are everybody.
            texts: What the items are known by.
            exact_items: Items up to which EASE is solved for all; see `Lesson`.
        """
        users, config = run.base, run.config.retrieval
        groups = split_users(users.user_ids, {str(part): 1 / PARTS for part in range(PARTS)}, run.options.seed)
        fitted, tried = [], _Tried()
        for number, group in enumerate(groups.values()):
            run.say("count what goes together", number, PARTS + 1)
            asked = users.of(group)
            others = users.of(np.setdiff1d(np.arange(len(users)), group))
            counts = run.counts_without(asked, others)
            asks = _questions(asked)
            known: dict[str, Any] = {"counts": counts, "senses": texts.beside, "people": run.people}
            lesson = Lesson(others, asks, texts.white, config, exact_items, **known)
            fitted.append((asked, counts, learn_channels(lesson)))
            tried.add(lesson)
        chosen, figures = tried.best()
        parts = tuple(
            (asked, replace(channels, settings=dict(channels.settings) | chosen).renewed(counts, config))
            for asked, counts, channels in fitted
        )
        return cls(parts, chosen, figures)

    @cached_property
    def asked(self) -> tuple[Tasks, ...]:
        """What each part's users are asked."""
        return tuple(_questions(users) for users, _ in self.parts)

    def ndcg(self, scored: Sequence[Scored], batch: int = 256) -> Float[np.ndarray, "tasks"]:
        """NDCG@10 of the tasks of all parts, mean over the sizes of their support.

        Args:
            scored: For each part, from its channels and histories to scores [users, items].
            batch: Users who are scored at once.
        """
        values = []
        for (_, channels), tasks, score in zip(self.parts, self.asked, scored, strict=True):
            found = few_shot(partial(score, channels), tasks, batch=batch)
            values.append(np.mean(list(found.values()), axis=0))
        return np.concatenate(values)


def _questions(users: Histories) -> Tasks:
    return rolling_tasks(users, WANTED_TASKS // PARTS)


class _Tried:
    """What each setting was worth in each part, and so in all."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[Any, float]] = {}
        self.tasks: dict[str, int] = {}

    def add(self, lesson: Lesson) -> None:
        for name, (values, tasks) in lesson.tried.items():
            sums = self.sums.setdefault(name, {})
            for setting, value in values.items():
                sums[setting] = sums.get(setting, 0.0) + tasks * value
            self.tasks[name] = self.tasks.get(name, 0) + tasks

    def best(self) -> tuple[dict[str, Any], dict[str, float]]:
        chosen = {name: max(sums, key=sums.__getitem__) for name, sums in self.sums.items()}
        return chosen, {name: self.sums[name][setting] / self.tasks[name] for name, setting in chosen.items()}
