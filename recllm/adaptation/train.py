"""The outer loop: what the users who were kept for the head teach about adapting to others."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.adaptation.meta import MetaLearner
from recllm.adaptation.support import HEAD, Base, Support, bends_encoder, through_adapters
from recllm.data.histories import Histories
from recllm.encoders.history import encode_users
from recllm.encoders.schedule import Schedule
from recllm.encoders.stopping import Best, Weights
from recllm.encoders.train import TrainingLog
from recllm.options import TrainOptions
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.profiles import InSpace

TRUST_RATE = 10.0
"""How much faster gate and scale learn than start and step sizes."""

PREPARING_SHARE = 0.5
"""Part of the time at most for asking about supports."""

BATCH = 128
"""Users whose support is asked about together."""


@final
@dataclass(frozen=True)
class Lesson:
    """What an outer step learns from: users' supports, and what they took next.

    Attributes:
        histories: The supports [tasks].
        support: The same as questions.
        tasks: What came next, with the base's channel scores [tasks].
        served: What the base's head makes of these [tasks, listed].
    """

    histories: Histories
    support: Support
    tasks: RankingTasks
    served: Float[Tensor, "tasks listed"]

    @classmethod
    def prepare(cls, learner: MetaLearner, base: Base, histories: Histories, tasks: RankingTasks) -> "Iterator[Lesson]":
        """Lessons of up to `BATCH` tasks each, in this order, each made when it is wanted."""
        for rows in torch.arange(len(histories)).split(BATCH):
            supports, queries = histories.of(rows.numpy()), tasks.of(rows)
            with torch.no_grad():
                support, served = Support.collate(base, supports, learner.contrast), _served(base, queries)
            yield cls(supports, support, queries, served)

    def of(self, rows: Tensor) -> "Lesson":
        """Some of its tasks."""
        return Lesson(self.histories.of(rows.numpy()), self.support.of(rows), self.tasks.of(rows), self.served[rows])


@final
class MetaTrainer:
    """Trains a `MetaLearner` on windows of users: support = the window, query = what comes next.

    Args:
        learner: Trained in place.
        base: Constant, but for the head where the method trains it, too.
        histories: The windows [tasks].
        tasks: What came next [tasks].
        options: Run options.
    """

    def __init__(
        self, learner: MetaLearner, base: Base, histories: Histories, tasks: RankingTasks, options: TrainOptions
    ) -> None:
        self.learner, self.base, self.options = learner, base, options
        chosen = torch.randperm(len(tasks), generator=torch.Generator().manual_seed(options.seed))
        chosen = chosen[: learner.config.tasks].sort().values
        self.histories, self.tasks = histories.of(chosen.numpy()), tasks.of(chosen)

    def run(self, seconds: float | None = None) -> TrainingLog:
        """Train on all folds, and keep the mean of what each found.

        The state before the first step is one of the candidates of every fold: users who were not trained on decide.
        """
        config, log = self.learner.config, TrainingLog()
        schedule = Schedule(max(config.epochs * config.folds, 1), seconds, warmup=1, clock=self.options.clock)
        if not config.epochs or len(self.tasks) < 2:
            log.stopped = "nothing to learn from, or no epochs"
            return log
        self.base.head.requires_grad_(self.learner.trains_head)
        head = self.base.head.named_parameters() if self.learner.trains_head else ()
        self.weights = Weights(dict(self.learner.named_parameters()) | {f"head.{name}": part for name, part in head})
        first = self.weights.copy()
        found = []
        try:
            self._prepare(schedule)
            folds = self.tasks.folds(config.folds, self.options.seed)
            for number, fold in enumerate(folds):
                self.weights.restore(first)
                found.append(self._fold(fold, number, len(folds), schedule, log))
                if schedule.progress(0) >= 1:
                    log.stopped = "the time budget"
                    break
        except KeyboardInterrupt:
            log.stopped = "interrupted; the best state so far is kept"
        mean = {name: torch.stack([state[name] for state in found]).mean(dim=0) for name in first} if found else first
        self.weights.restore(mean)
        self.base.head.requires_grad_(False)
        log.stopped = log.stopped or "all folds done"
        log.seconds = schedule.elapsed()
        return log

    def _prepare(self, schedule: Schedule) -> None:
        """Make the lessons, in up to half of the time; what it does not suffice for is not learned from."""
        self.lessons: list[Lesson] = []
        for lesson in Lesson.prepare(self.learner, self.base, self.histories, self.tasks):
            self.lessons.append(lesson)
            if schedule.progress(0) >= PREPARING_SHARE:
                break
        prepared = torch.arange(sum(len(lesson.tasks) for lesson in self.lessons))
        self.histories, self.tasks = self.histories.of(prepared.numpy()), self.tasks.of(prepared)

    def _fold(
        self, fold: tuple[Tensor, Tensor], number: int, folds: int, schedule: Schedule, log: TrainingLog
    ) -> dict[str, Tensor]:
        """Train without the users of the fold; the state that is best for them."""
        config = self.learner.config
        train, held = (self._lessons(rows) for rows in fold)
        generator = torch.Generator().manual_seed(self.options.seed + number)
        optimiser = torch.optim.Adam(self._groups())
        best = Best(self.weights.copy(), begun := -self._loss(held), config.patience)
        for epoch in range(config.epochs):
            for place in torch.randperm(len(train), generator=generator).tolist():
                order = torch.randperm(len(train[place].tasks), generator=generator)
                for rows in order.split(config.batch_users):
                    if schedule.progress(0) >= 1:
                        break
                    self._step(train[place].of(rows), optimiser)
            value = -self._loss(held)
            log.points.append((number * config.epochs + epoch + 1, None, value - begun))
            best.offer(value, self.weights.copy)
            if self.options.progress is not None:
                self.options.progress("learn to adapt", number + (epoch + 1) / config.epochs, folds, "")
            if best.stale or schedule.progress(number * config.epochs + epoch + 1) >= 1:
                break
        return best.state

    def _groups(self) -> list[dict[str, Any]]:
        """What is trained, and how fast: the few numbers that say how far to trust an update learn faster."""
        learner, rate = self.learner, self.learner.config.learning_rate
        trust = [learner.gate, *(part for name, part in learner.start().items() if name == f"{HEAD}.A")]
        others = [p for p in learner.parameters() if p.requires_grad and all(p is not known for known in trust)]
        joint = list(self.base.head.parameters()) if learner.trains_head else []
        return [{"params": others + joint, "lr": rate}, {"params": trust, "lr": TRUST_RATE * rate}]

    def _lessons(self, rows: Tensor) -> list[Lesson]:
        parts = [rows[(rows >= start) & (rows < start + BATCH)] - start for start in range(0, len(self.tasks), BATCH)]
        return [lesson.of(part) for lesson, part in zip(self.lessons, parts, strict=True) if len(part)]

    def _step(self, lesson: Lesson, optimiser: torch.optim.Optimizer) -> None:
        loss = self.learner.outer_loss(
            self.base, self._today(lesson.support), lambda lora: query_losses(self.base, lesson, lora).mean()
        )
        if loss is None:
            return
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
        optimiser.step()

    @torch.no_grad()
    def _today(self, support: Support) -> Support:
        """As the head serves now, where the method trains it as well."""
        if not self.learner.trains_head:
            return support
        return replace(support, served=self.base.head(support.scores, support.known))

    @torch.no_grad()
    def _loss(self, lessons: list[Lesson]) -> float:
        parts = [
            query_losses(self.base, lesson, self.learner.adapt_support(self.base, self._today(lesson.support)))
            for lesson in lessons
        ]
        return float(torch.cat(parts).mean()) if parts else float("nan")


def query_losses(base: Base, lesson: Lesson, lora: dict[str, Tensor]) -> Float[Tensor, "tasks"]:
    """How badly each user's next items are ranked through their adapters."""
    tasks, served = lesson.tasks, lesson.served
    if bends_encoder(lora):
        tasks = replace(tasks, scores=_history_again(base, lesson, lora))
    if tasks is not lesson.tasks or base.head.weights.weight.requires_grad:
        served = _served(base, tasks)
    everyone = torch.arange(len(tasks))
    return tasks.losses(through_adapters(served, tasks.scores.nan_to_num(0.0), lora, everyone, tasks.known))


def _served(base: Base, tasks: RankingTasks) -> Float[Tensor, "tasks listed"]:
    scores: Tensor = base.head(tasks.scores.nan_to_num(0.0), tasks.known)
    return scores


def _history_again(base: Base, lesson: Lesson, lora: dict[str, Tensor]) -> Float[Tensor, "tasks channels listed"]:
    """The tasks' scores with the history channel's as the adapters make them."""
    tasks, place = lesson.tasks, base.channels.names.index("history")
    users = encode_users(base.encoder, lesson.histories, base.space.vectors, lora)
    users = users * (tasks.known > 0).unsqueeze(1)
    mean, square = InSpace(users, base.space).moments()
    spread = (square - mean.square()).clamp(min=1e-12).sqrt().unsqueeze(1)
    raw = torch.einsum("uw,ulw->ul", users, base.space.vectors[tasks.rows])
    fresh = ((raw - mean.unsqueeze(1)) / spread).masked_fill(tasks.scores[:, place].isnan(), float("nan"))
    return torch.cat([tasks.scores[:, :place], fresh.unsqueeze(1), tasks.scores[:, place + 1 :]], dim=1)
