"""Fitting, stage by stage: text, channels, base, head, adapters. Each stage sees only the users it may see."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from recllm.adaptation.drift import Drift, DriftConfig, choose
from recllm.artifact import check_table, check_target
from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.data.trained import TrainedOn
from recllm.data.users import Users
from recllm.encoders.threads import reproducible
from recllm.errors import DataError
from recllm.model.config import RecommenderConfig
from recllm.model.counted import Counted, worth_fitting
from recllm.model.fit.adapt import fit_adaptation
from recllm.model.fit.ageing import Ages
from recllm.model.fit.base import exact_items, fit_base, fit_channels
from recllm.model.fit.folds import Folds
from recllm.model.fit.head import HEAD_SHARE, weigh_channels
from recllm.model.fit.judge import account, measure, welcome
from recllm.model.fit.ratings import check_ratings, fit_ratings
from recllm.model.fit.run import FitRun
from recllm.model.fit.text import fit_text
from recllm.model.fitted import Fitted
from recllm.model.model import Model
from recllm.options import TrainOptions
from recllm.prompting.template import Prompt
from recllm.ranking.head import RankingHead
from recllm.retrieval.saved import LIKED_EVENTS


def fit_stages(run: FitRun) -> Model:
    """Fit every stage; `run.report` says what came of each."""
    with reproducible():
        model, folds = _base(run)
        run.timed("head", lambda: weigh_channels(run, model, folds, run.share(HEAD_SHARE)))
        model.head.requires_grad_(False)
        fit_adaptation(run, model)
        run.timed("newcomers", lambda: welcome(run, model))
        measure(run, model, folds)
        if run.config.objective == "rating":
            run.timed("ratings", lambda: fit_ratings(run, model))
        run.timed("ageing", lambda: grow_old(run, model))
        run.timed("counting everybody", lambda: serve_everybody(run, model))
        account(run)
        return model


def grow_old(run: FitRun, model: Model) -> None:
    """Find out how fast lists grow old, and how far the shop's adapter may move to follow."""
    ages = Ages(run, model)
    run.report.ageing = ages.curve()
    config = choose(model.scores_as_fitted, ages.batches)
    if config != DriftConfig():
        model.drift = Drift.none(model.head.channels, config)
        run.report.chosen["shop's adapter"] = f"pull {config.pull:g}, reach {config.reach:g}"


def serve_everybody(run: FitRun, model: Model) -> None:
    """Counts of all training users from now on; those of the reserved ones would have told the head too much."""
    liked, unknown = int(run.everybody.items.clock.liked.sum()), run.everybody.events - run.counts.events
    settings = dict(model.channels.settings) | ({LIKED_EVENTS: liked} if liked else {})
    channels = replace(model.channels, settings=settings)
    if run.base is not run.histories:
        others = Histories.concatenate([run.reserved, run.histories.of(run.stopping)])
        channels = channels.moved(Histories.empty(others.user_ids), others)
    weights = run.config.privacy is not None or worth_fitting(unknown, run.everybody)
    model.channels = channels.renewed(run.everybody, model.retrieval, weights=weights)
    model.channels.tensors()  # so that nobody who asks has to wait


def _base(run: FitRun) -> tuple[Model, Folds | None]:
    """What is learned from the base users, with a head that knows nothing yet; and the folds if nobody is reserved."""
    text_encoder, texts = fit_text(run)
    folds = None if run.reserves else run.timed("folds", lambda: Folds.of(run, texts, exact_items(run)))
    channels = run.timed("channels", lambda: fit_channels(run, texts, folds))
    encoder, items = fit_base(run, text_encoder, texts)
    head = RankingHead(len(channels.names), run.config.ranking)
    return Model.of(run.config, run.catalog, run.feedback, texts, channels, encoder, items, head), folds


def fit(
    config: RecommenderConfig,
    catalog: Catalog,
    log: Interactions,
    options: TrainOptions,
    prompt: Prompt | None = None,
    users: Users | None = None,
) -> Fitted:
    """See `Recommender.fit`; whatever could make `save` fail is found out before training."""
    check_table("the catalog", catalog.frame)
    if options.checkpoint is not None:
        check_target(Path(options.checkpoint))
    known = log.known_items(catalog)
    if len(log) and not len(known):
        raise DataError(
            f"none of the {len(log):,} events is about one of the {len(catalog):,} items of the catalog "
            f"({known.report.notes[-1]}); write the same item ids in both, or use from_catalog."
        )
    run = FitRun(config, catalog, known, options, prompt=prompt, users=users)
    check_ratings(run)
    model = fit_stages(run)
    if not config.keep_histories:  # nor whose profile is whose
        model.channels = replace(model.channels, people=replace(run.people, users=run.people.users.of(())))
    model.make_ready(options.progress)
    kept = known if config.keep_histories else known.select(np.zeros(0, dtype=np.int64), ())
    trained = TrainedOn.of(known)
    unknown = run.everybody.events - run.counts.events
    since = 0 if config.privacy is not None or worth_fitting(unknown, run.everybody) else unknown
    counted = Counted(run.everybody, since_weights=since, weights_from=trained.until if known.timed else None)
    return Fitted(config, model, Memory.of(kept), trained, run.report, options.seed, counted)
