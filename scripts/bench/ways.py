"""Ways of a shop to keep up with time: what each of them answers from, and what it makes of a block of events."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from streams import Block, Question, Stream

import recllm
from recllm.data.histories import Histories, make_histories
from recllm.evaluation.asking import few_shot
from recllm.evaluation.baselines.baseline import Baseline, Known
from recllm.evaluation.tuning import tune
from recllm.model.fit.run import FitRun
from recllm.model.model import Model

TUNED_SHOTS = (1, 3, 5, 10, 20)


class Way:
    """One way to keep up: asked for scores, then told what happened.

    Attributes:
        borrowed: Seconds that an earlier run has spent for it.
        knows_time: Whether it is told when a question is asked. As served, now is when what is counted ends or, if that
            is later, when the user was last seen.
    """

    borrowed = 0.0
    knows_time = False

    def scores(self, question: Question) -> np.ndarray:
        """float32 [tasks, items]."""
        raise NotImplementedError

    def learn(self, block: Block) -> None:
        """What happened in a block that has been asked."""

    def settle(self) -> None:
        """Do what learning has put off until somebody asks."""


class Frozen(Way):
    """F."""

    def __init__(self, stream: Stream, rec: recllm.Recommender) -> None:
        self.stream, self.rec = stream, rec

    def model(self) -> Model:
        """What answers now."""
        return self.rec.model

    def scores(self, question: Question) -> np.ndarray:
        model, parts = self.model(), []
        for start in range(0, len(question.query), model.batch_users):
            part = question.of(np.arange(start, min(start + model.batch_users, len(question.query))))
            channels = model.channel_scores(part.support, None, part.asked_at if self.knows_time else None)
            parts.append(model.rank(part.support, channels).numpy())
        return np.concatenate(parts)


class Updated(Frozen):
    """U; with `shuffled`, its control."""

    def __init__(self, stream: Stream, rec: recllm.Recommender, *, shuffled: bool = False) -> None:
        # `update` changes the recommender, and another way answers from this one.
        super().__init__(stream, rec.with_model(rec.model, rec.config))
        self.shuffled = shuffled

    def settle(self) -> None:
        self.model().channels.tensors()  # weights between items are solved when they are first asked for

    def learn(self, block: Block) -> None:
        self.rec.update(block.shuffled().events if self.shuffled else block.events)


class Drifting(Updated):
    """D: the shop's adapter learns a block, too, from what was served before it.

    With `labels_shuffled`, its control: counts are true, and what the adapter learns is shuffled in time.
    """

    def __init__(self, stream: Stream, rec: recllm.Recommender, *, labels_shuffled: bool = False) -> None:
        super().__init__(stream, rec)
        self.labels_shuffled = labels_shuffled

    def learn(self, block: Block) -> None:
        if not self.labels_shuffled:
            self.rec.update(block.events, adapt="shop")
            return
        misled = self.rec.with_model(self.rec.model, self.rec.config)
        misled.update(block.shuffled().events, adapt="shop")
        self.rec.update(block.events)
        if misled.model.drift is not None:
            self.rec = self.rec.with_model(self.rec.model.with_drift(misled.model.drift), self.rec.config)


class Refitted(Updated):
    """R; `fits` gives the model that is fitted before a block."""

    def __init__(self, stream: Stream, rec: recllm.Recommender, every: int, fits: "Fits") -> None:
        super().__init__(stream, rec)
        self.every, self.fits, self.log = every, fits, stream.training

    def learn(self, block: Block) -> None:
        super().learn(block)
        self.log = self.log.join(block.events)
        if block.number % self.every == 0 and block.number >= self.fits.since:
            begin = time.perf_counter()
            self.rec = self.fits(block.number, self.log)
            self.borrowed += max(0.0, sum(self.rec.report.seconds.values()) - (time.perf_counter() - begin))


class Refreshed(Way):
    """E and P: a baseline that is fitted anew, with the settings of the cut."""

    def __init__(self, stream: Stream, baseline: Baseline) -> None:
        self.stream, self.log = stream, stream.training
        self.kind, self.settings = type(baseline), baseline.settings
        self._fitted: Baseline | None = None

    def scores(self, question: Question) -> np.ndarray:
        self.settle()
        assert self._fitted is not None
        return self._fitted.scores_of(_known(question.support))

    def settle(self) -> None:
        if self._fitted is None:
            catalog, feedback = self.stream.catalog, self.stream.feedback
            known = _known(make_histories(self.log, catalog, feedback))
            self._fitted = self.kind(**self.settings).fit_known(catalog, feedback, known)

    def learn(self, block: Block) -> None:
        self.log = self.log.join(block.events)
        self._fitted = None


def _known(histories: Histories) -> Known:
    return Known(histories, np.zeros(0, dtype=np.float32), timed=True)


# --- what they start from ----------------------------------------------------------------------------------------


class Fits:
    """Models as they are fitted, kept in a folder where one is given: a fit takes minutes.

    Attributes:
        since: The first block after which it is worth while to fit anew: none before is asked.
    """

    def __init__(self, stream: Stream, folder: Path | None, since: int = 0) -> None:
        self.stream, self.folder, self.since = stream, folder, since
        self.config = recllm.RecommenderConfig(adaptation=None)

    def __call__(self, block: int, log: recllm.Interactions) -> recllm.Recommender:
        """Fitted on what was there before block `block` + 1."""
        kept = None if self.folder is None else self.folder / f"{self.stream.name}-{block:02}"
        if kept is not None and kept.exists():
            return recllm.Recommender.load(kept)
        rec = recllm.Recommender(self.config).fit(self.stream.catalog, log, options=recllm.TrainOptions(seed=0))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            rec.save(kept)
        return rec

    @cached_property
    def first(self) -> recllm.Recommender:
        """Fitted at the cut."""
        return self(0, self.stream.training)

    def baseline(self, name: str) -> Baseline:
        """Tuned on the validation users of the first fit."""
        training = self.stream.training
        run = FitRun(self.config, self.stream.catalog, training, recllm.TrainOptions(seed=0))
        chosen = [run.histories.user_ids[row] for row in run.stopping]
        log = training.of_users(chosen)
        arms, _ = few_shot("users", make_histories(log, self.stream.catalog, self.stream.feedback), TUNED_SHOTS)
        arms = [replace(arm, log=log) for arm in arms]
        return tune(name, self.stream.catalog, training.without_users(chosen), arms).baseline


Maker = Callable[[Stream, Fits, int], Way]

WAYS: dict[str, Maker] = {
    "F": lambda stream, fits, every: Frozen(stream, fits.first),
    "U": lambda stream, fits, every: Updated(stream, fits.first),
    "D": lambda stream, fits, every: Drifting(stream, fits.first),
    "R": lambda stream, fits, every: Refitted(stream, fits.first, every, fits),
    "E": lambda stream, fits, every: Refreshed(stream, fits.baseline("EASE")),
    "P": lambda stream, fits, every: Refreshed(stream, fits.baseline("popularity")),
    "P recent": lambda stream, fits, every: Refreshed(stream, fits.baseline("recent popularity")),
    "U shuffled": lambda stream, fits, every: Updated(stream, fits.first, shuffled=True),
    "D shuffled": lambda stream, fits, every: Drifting(stream, fits.first, labels_shuffled=True),
}
"""By name; a further one is one line here, and its differences are one line in `through_time.PAIRS`."""


def ways(stream: Stream, fits: Fits, wanted: Sequence[str], every: int) -> dict[str, Way]:
    """Some of `WAYS`; refitting happens after so many blocks."""
    return {name: WAYS[name](stream, fits, every) for name in wanted}
