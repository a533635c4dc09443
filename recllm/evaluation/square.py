"""The square: what meta-training adds, what the inner loop adds, and two controls that should add nothing.

- A: the base alone, with all the time that C and D have.
- B: the base and an inner loop whose step size is chosen on validation users; nothing is meta-trained.
- C: meta-trained, no inner steps.
- D: meta-trained, with inner steps: what `Recommender` serves.

Adapters are worth their name only if D beats A, B and C. The controls rank with the right history and a wrong adapter:
another user's, or one learned from shuffled items.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import polars as pl

from recllm.adaptation.meta import AdaptationConfig, learner_for
from recllm.data.interactions import Interactions
from recllm.encoders.validation import mean_ndcg
from recllm.evaluation.arms import LENGTH, Arm, Ranked
from recllm.evaluation.cells import Cell
from recllm.evaluation.names import CHANNEL, OTHERS, SHUFFLED, A, B, C, D
from recllm.evaluation.ratings import errors_of
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.split import Split
from recllm.lists.results import Recommendations
from recllm.model.fit.run import FitRun
from recllm.model.model import Model
from recllm.options import TrainOptions
from recllm.ranking.rules import best_lists
from recllm.recommender import Recommender

INNER_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Step sizes that B chooses from."""


@final
@dataclass(frozen=True)
class Serving:
    """A recommender that serves in one particular way.

    Attributes:
        recommender: Fitted.
        adapt: Whether users get an adapter.
        twist: From users' events to the events their adapters are learned from; None: their own.
    """

    recommender: Recommender
    adapt: bool
    twist: Callable[[Interactions], Interactions] | None = None

    def recommend(self, users: Interactions, n: int, *, candidates: Any, exclude_seen: bool) -> Recommendations:
        """Lists as served."""
        adapters = None if self.twist is None else self.recommender.adapt(self.twist(users))
        return self.recommender.recommend(
            users, n, adapt=self.adapt, adapters=adapters, candidates=candidates, exclude_seen=exclude_seen
        )

    def rate(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        """Predicted ratings, float32 [users, items]."""
        return self.recommender.predict_ratings(users, item_ids, adapt=self.adapt)


def swapped(events: Interactions, seed: int = 0) -> Interactions:
    """Everybody with events gets another such user's events."""
    users = events.frame["user_id"].unique(maintain_order=True).to_list()
    order = [users[row] for row in np.random.default_rng(seed).permutation(len(users))]
    owner = dict(zip(order, order[1:] + order[:1], strict=True))
    frame = events.frame.with_columns(pl.col("user_id").replace(owner))
    return Interactions(frame, events.report, events.user_ids, events.timed)


def shuffled(events: Interactions, seed: int = 0) -> Interactions:
    """The items of all events, dealt out anew: who took what is lost, how much and when is kept."""
    order = np.random.default_rng(seed).permutation(len(events))
    frame = events.frame.with_columns(events.frame["item_id"][order])
    return Interactions(frame, events.report, events.user_ids, events.timed)


def square_cells(
    base: Callable[[], Recommender],
    meta: Callable[[], Recommender],
    split: Split,
    options: TrainOptions,
) -> Mapping[str, Callable[[], Cell]]:
    """How each row of the square is measured; nothing is fitted before one is called.

    Args:
        base: Gives the recommender without adaptation, fitted on the split.
        meta: Gives the meta-trained one.
        split: What is asked.
        options: Run options both were fitted with.
    """
    return {
        A: lambda: served(A, Serving(base(), adapt=False), split),
        B: lambda: _untrained_cell(base(), meta(), split, options),
        C: lambda: served(C, Serving(meta(), adapt=False), split),
        D: lambda: served(D, Serving(meta(), adapt=True), split),
        OTHERS: lambda: served(OTHERS, Serving(meta(), adapt=True, twist=swapped), split),
        SHUFFLED: lambda: served(SHUFFLED, Serving(meta(), adapt=True, twist=shuffled), split),
    }


def served(name: str, serving: Serving, split: Split) -> Cell:
    """What a recommender serves on every arm, with the times of its training and the size of its adapters."""
    ranked = {arm.name: rank_arm(name, serving, arm, split.catalog) for arm in split.arms}
    recommender, extra = serving.recommender, {}
    if serving.adapt and recommender.model.learner is not None:
        someone = next((arm for arm in split.arms if arm.support.n_events), None)
        if someone is not None:
            size = float(recommender.adapt(someone.known_events(slice(0, 1))).bytes_per_user)
            extra = {arm.name: {"bytes per user": size} for arm in split.arms}
    rater = serving if recommender.model.ratings is not None else None
    report = recommender.report
    about = {"seconds": dict(report.seconds), "validation": dict(report.figures), "stopped": dict(report.stopped)}
    return Cell(ranked, about, extra, errors_of(rater, split))


def _untrained_cell(base: Recommender, meta: Recommender, split: Split, options: TrainOptions) -> Cell:
    """The base with a learner that no outer loop has touched, and the step size best for the base's held-out users."""
    adaptation = meta.config.adaptation
    assert adaptation is not None
    validation = FitRun(base.config, split.catalog, split.train, options).validation
    value_of: dict[float, float] = {}
    models: dict[float, Model] = {}
    for rate in INNER_RATES:
        learner = learner_for(base.model.base, _with_rate(adaptation, rate), options.seed)
        models[rate] = model = replace(base.model, learner=learner.requires_grad_(False))
        value_of[rate] = _validation(model, validation)
    # Of equals the first; where nobody is held out, all of which are no numbers, too.
    best = max(value_of, key=lambda rate: np.nan_to_num(value_of[rate], nan=-1.0))
    chosen = base.with_model(models[best], replace(base.config, adaptation=_with_rate(adaptation, best)))
    tried = {f"{rate:g}": None if np.isnan(value) else round(value, 5) for rate, value in value_of.items()}
    cell = served(B, Serving(chosen, adapt=True), split)
    return replace(cell, about={**cell.about, "chosen": {"inner_learning_rate": best, "tried": tried}})


def _with_rate(adaptation: AdaptationConfig, rate: float) -> AdaptationConfig:
    return replace(adaptation, inner_learning_rate=rate, epochs=0)


def _validation(model: Model, validation: Any) -> float:
    return mean_ndcg(
        lambda histories: model.scores(histories, model.adapt(histories)), validation, batch=model.batch_users
    )


def channel_cells(recommender: Recommender, split: Split) -> dict[str, Cell]:
    """Each channel's own lists, and those of their union: channels take turns."""
    names = [*recommender.model.channels.names, "union"]
    ranked: dict[str, dict[str, Ranked]] = {name: {} for name in names}
    for arm in split.arms:
        lists = _channel_lists(recommender.model, arm)
        for name, found in zip(names, [*lists, _union(lists)], strict=True):
            ranked[name][arm.name] = found
    return {f"{CHANNEL}{name}": Cell(lists) for name, lists in ranked.items()}


def _channel_lists(model: Model, arm: Arm) -> list[Ranked]:
    begin, items = time.perf_counter(), len(model.catalog)
    parts: list[list[np.ndarray]] = [[] for _ in model.channels.names]
    for start in range(0, len(arm), model.batch_users):
        tasks = slice(start, min(start + model.batch_users, len(arm)))
        scores = model.channel_scores(arm.support.of(np.arange(tasks.start, tasks.stop)), None).numpy()
        allowed = arm.allowed(tasks, items)
        for place, part in enumerate(parts):
            # A channel that has nothing to say of a user brings nobody.
            speaks = np.ptp(scores[:, place], axis=1) > 0
            part.append(best_lists(scores[:, place], allowed & speaks[:, None], model.ties, LENGTH))
    seconds = time.perf_counter() - begin
    return [Ranked(np.concatenate(part), seconds / len(parts)) for part in parts]


def _union(lists: list[Ranked]) -> Ranked:
    """The best of every channel, then the second of every channel, until `LENGTH` distinct items are found."""
    turns = np.stack([ranked.rows for ranked in lists], axis=2).reshape(len(lists[0].rows), -1)
    result = np.full((len(turns), LENGTH), -1, dtype=np.int32)
    for task, line in enumerate(turns):
        line = line[line >= 0]
        _, first = np.unique(line, return_index=True)
        found = line[np.sort(first)][:LENGTH]
        result[task, : len(found)] = found
    return Ranked(result, sum(ranked.seconds for ranked in lists))
