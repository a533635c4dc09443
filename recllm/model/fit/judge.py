"""The last stage: how good the whole is on users held out, who is served otherwise, and what is to be said of it."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from recllm.counts.items import ItemCounts, resolution_of
from recllm.data.histories import Histories
from recllm.encoders.validation import few_shot, mean_ndcg
from recllm.model.fit.folds import Folds
from recllm.model.fit.run import FEWEST_HELD_OUT, FitRun
from recllm.model.model import Model
from recllm.retrieval.channels.profile import SameProfile
from recllm.retrieval.newcomers import Newcomers, ndcg_of_order, order_of, sure_gain
from recllm.retrieval.saved import NEWCOMERS
from recllm.retrieval.scoring import Channels


def welcome(run: FitRun, model: Model) -> None:
    """Whoever nothing is known of is served by the head where that is shown to be better than what is popular."""
    chosen, asked = Newcomers.choose(run.histories, model.ties, run.options.seed), run.validation.newest()
    served = chosen.name
    if len(asked.query):
        # Of those who are asked now, no event may be counted.
        others = np.setdiff1d(np.arange(len(run.histories)), run.stopping[asked.user_rows])
        known = run.histories.of(others)
        counts = order_of(chosen.name, ItemCounts.of(known, len(run.catalog), resolution_of(known.timestamps)))
        heads = few_shot(model.best_scores, asked, (0,), batch=model.batch_users)[0]
        simple = ndcg_of_order(counts, model.ties, asked.query)
        if SameProfile.name in model.channels.names:
            likely = partial(model.channels.likely, counts)
            simple = few_shot(lambda nobody: likely(nobody.user_ids), asked, (0,), batch=model.batch_users)[0]
        if sure_gain(heads - simple) > 0:
            served, figure = "the head", float(heads.mean())
        else:
            figure = float(simple.mean())
        run.report.figures["nothing known"] = figure
    if served == chosen.name:
        settings = dict(model.channels.settings) | {NEWCOMERS: chosen.name}
        model.channels = replace(model.channels, newcomers=chosen.counts, settings=settings)
    run.report.chosen["newcomers"] = served


def measure(run: FitRun, model: Model, folds: Folds | None) -> None:
    """Validation figures of the whole ranking, without and with adaptation, and of what it has to beat."""
    if folds is not None:
        _measure_in_parts(run, folds)
        return
    if not len(run.validation.query):
        run.report.notes.append(
            "how good the ranking is could not be measured: none of the users held out has 3 events at 2 moments, "
            "the last of them liked."
        )
        return
    batch, figures = model.batch_users, run.report.figures
    figures["ranking"] = mean_ndcg(model.best_scores, run.validation, batch=batch)
    if model.learner is not None:
        figures["ranking, adapted"] = mean_ndcg(
            lambda h: model.best_scores(h, model.adapt(h)), run.validation, batch=batch
        )
    channels = model.channels
    figures["popularity"] = _of_order(run, channels.popularity.liked)
    figures["recent"] = _of_order(run, channels.trend.at(np.array([channels.trend.end]))[0])


def _measure_in_parts(run: FitRun, folds: Folds) -> None:
    """Of what everybody was asked, the ranking is measured already; and of what it has to beat."""
    figures = run.report.figures
    run.report.counts["validation tasks"] = sum(map(len, folds.asked))
    if "shop prior and own users" in figures:
        figures["ranking"] = figures["shop prior and own users"]
        run.report.notes.append(
            "every user was learned from; figures are of channels without the user who is asked, and without the "
            "transformer, which has read them."
        )
    for name, scores in {"popularity": _popular, "recent": _popular_now}.items():
        values = folds.ndcg([scores] * len(folds.parts))
        if len(values):
            figures[name] = float(values.mean())


def _popular(channels: Channels, histories: Histories) -> torch.Tensor:
    return torch.from_numpy(channels.popularity.liked).expand(len(histories), -1)


def _popular_now(channels: Channels, histories: Histories) -> torch.Tensor:
    trend = channels.trend
    return torch.from_numpy(trend.at(np.array([trend.end]))).expand(len(histories), -1)


def _of_order(run: FitRun, counts: np.ndarray) -> float:
    """The validation figure of one list for everybody."""
    order = torch.from_numpy(counts)
    return mean_ndcg(lambda histories: order.expand(len(histories), -1), run.validation)


def account(run: FitRun) -> None:
    """Say what a figure or a time means for whoever relies on the fit."""
    report, budget = run.report, run.options.budget_seconds()
    tasks, figures = report.counts["validation tasks"], report.figures
    simple = max(("popularity", "recent"), key=lambda name: figures.get(name, 0.0))
    if "ranking" in figures and figures["ranking"] < figures[simple]:
        said = {"popularity": "what is popular", "recent": "what is popular now"}[simple]
        report.notes.append(
            f"the ranking is poor: NDCG@10 {figures['ranking']:.4f} on {tasks} tasks of users held out, where "
            f"{said} alone has {figures[simple]:.4f}; give it more time or more events."
        )
    if 0 < tasks < FEWEST_HELD_OUT:
        report.notes.append(f"figures rest on {tasks} tasks of users held out and say little.")
    spent = run.options.clock() - run.begin
    report.seconds["loading and else"] = max(spent - sum(report.seconds.values()), 0.0)
    if budget is not None and spent > 1.1 * budget:
        longest = max(report.seconds, key=report.seconds.__getitem__)
        report.notes.append(
            f"the fit took {spent:.0f} s of a budget of {budget:.0f} s; the longest stage was {longest} with "
            f"{report.seconds[longest]:.0f} s."
        )
