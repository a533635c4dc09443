"""The stage that meta-trains users' adapters, and finds out whether they do good."""

import copy
from dataclasses import replace

import numpy as np

from recllm.adaptation.meta import AdaptationConfig, MetaLearner, learner_for
from recllm.adaptation.train import MetaTrainer
from recllm.encoders.validation import few_shot
from recllm.model.fit.head import DRAWING_SHARE, ranking_tasks
from recllm.model.fit.run import ADAPTATION_SHARE, FitRun
from recllm.model.model import Model


def fit_adaptation(run: FitRun, model: Model) -> None:
    """Meta-train on windows of the head's users; users whom nothing has seen say whether adapters do good."""
    config = run.config.adaptation
    if config is None:
        return
    learner = learner_for(model.base, config, run.options.seed)
    model.learner = learner
    if config.epochs and len(run.windows()):
        _meta_train(run, model, learner, config)
    elif config.epochs:
        learner.open.fill_(False)
        run.report.chosen["adapters"] = "not used: nobody was there to learn from"
        run.report.notes.append("users' adapters are not used: too few users came back to learn from them.")
    learner.requires_grad_(False)


def _meta_train(run: FitRun, model: Model, learner: MetaLearner, config: AdaptationConfig) -> None:
    seconds = run.share(ADAPTATION_SHARE)
    drawing = None if seconds is None else DRAWING_SHARE / 2 * seconds
    before = validated(run, replace(model, learner=None))
    begin = run.options.clock()
    histories, tasks = ranking_tasks(
        run, model, run.windows(), config.tasks, nothing_known=0.0, masked_items=0.0, seconds=drawing
    )
    left = None if seconds is None else max(seconds - (run.options.clock() - begin), seconds / 4)
    untouched = copy.deepcopy(model.head.state_dict()), copy.deepcopy(learner.state_dict())
    log = MetaTrainer(learner, model.base, histories, tasks, run.options).run(left)
    # The folds of meta-training have left out what did not help their own held-out users; these are others.
    gain = validated(run, model) - before
    # Less than a standard error above nothing is nothing: adapters rarely help a shop that has many users.
    if not len(gain) or not gain.mean() > gain.std() / max(len(gain) - 1, 1) ** 0.5:
        model.head.load_state_dict(untouched[0])
        learner.load_state_dict(untouched[1])
        learner.open.fill_(False)
    run.report.chosen["adapters"] = "used" if learner.open else "not used: they did not help held-out users"
    if not len(gain):
        run.report.chosen["adapters"] = "not used: nobody was held out to measure them on"
    if len(gain) and np.isfinite(gain).all():
        run.report.figures["adapters' gain"] = float(gain.mean())
    run.report.seconds["adaptation"], run.report.stopped["adaptation"] = log.seconds, log.stopped


def validated(run: FitRun, model: Model) -> np.ndarray:
    """NDCG@10 of every validation task through its adapter, mean over the sizes of its support: float64 [tasks]."""
    values = few_shot(
        lambda histories: model.scores(histories, model.adapt(histories) or None),
        run.validation,
        batch=model.batch_users,
    )
    mean: np.ndarray = np.mean(list(values.values()), axis=0)
    return mean
