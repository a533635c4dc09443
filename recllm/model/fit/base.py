"""The stages that learn from the base users: the channels, and the transformer over histories."""

from dataclasses import replace
from typing import Any

import torch

from recllm.counts.cooccurrence import affordable_items
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder
from recllm.encoders.text import TextEncoder
from recllm.encoders.train import BaseTrainer
from recllm.encoders.trainees import train_together
from recllm.model.fit.folds import Folds
from recllm.model.fit.run import ADAPTATION_SHARE, FitRun
from recllm.model.report import FitReport
from recllm.model.texts import ItemTexts
from recllm.retrieval.channel import Lesson
from recllm.retrieval.learning import learn_channels
from recllm.retrieval.scoring import Channels

BASE_SHARE = 0.7
"""Part of the time that is left when base training begins; without adaptation it gets that one's, too."""

CHANNELS_SHARE = 0.2
"""Part of the whole budget that co-occurrence may cost: over all events and over the liked ones, of the base users and
then of all."""


UNWATCHED_STEPS, EVENTS_PER_STEP, MOST_UNWATCHED = 60, 150, 250
"""Steps of base training where nobody says when it is good: so many, one more for so many events, and so many at most.
The shop prior has learned from transformers that were trained like that."""


def exact_items(run: FitRun) -> int | None:
    """Up to how many items EASE is solved for all: what is learned depends on the budget, and not on the clock."""
    budget = run.options.budget_seconds()
    return None if budget is None else affordable_items(CHANNELS_SHARE / 4 * budget)


def fit_channels(run: FitRun, texts: ItemTexts, folds: Folds | None) -> Channels:
    """What the channels remember of the base users, with the settings that users have chosen who were not counted."""
    config, exact = run.config.retrieval, exact_items(run)
    known: dict[str, Any] = {"counts": run.counts, "senses": texts.beside, "people": run.people}
    lesson = Lesson(run.base, run.validation, texts.white, config, exact, run.say, **known)
    if folds is not None:
        lesson.chosen |= folds.chosen
        lesson.figures |= folds.figures
    channels = learn_channels(lesson)
    run.report.chosen |= lesson.chosen
    run.report.figures |= lesson.figures
    return channels


def mind_blocks(
    report: FitReport, encoder: HistoryEncoder, text_encoder: TextEncoder, wanted: HistoryEncoderConfig
) -> None:
    """Say where a backbone reads the texts and cannot read histories."""
    if encoder.config.blocks != wanted.blocks:
        report.notes.append(
            f"the blocks of the backbone {text_encoder.backbone.name!r} cannot read histories (they take no vectors, "
            "or not each moment for itself), so they read the texts only, and a small transformer of width "
            f"{encoder.width} reads histories."
        )


def fit_base(run: FitRun, text_encoder: TextEncoder, texts: ItemTexts) -> tuple[HistoryEncoder, ItemEncoder]:
    """The history encoder and the item vectors, trained on the base users and then left as they are."""
    torch.manual_seed(run.options.seed)
    config = run.config.history
    encoder = HistoryEncoder.build(text_encoder.backbone, run.feedback.n_tokens, config)
    mind_blocks(run.report, encoder, text_encoder, config)
    warm, beside = torch.from_numpy(run.warm), texts.senses.inside
    items = ItemEncoder(texts.whole, warm, encoder.width, config.delta_bound, beside)
    training = run.config.training
    if not run.reserves:
        steps = min(UNWATCHED_STEPS + run.base.n_events // EVENTS_PER_STEP, MOST_UNWATCHED)
        training = replace(training, steps=min(training.steps, steps))
    trainer = BaseTrainer(encoder, items, run.base, run.validation, training, run.options)
    # Without adaptation its time goes to the base, so that both ways of spending a budget can be compared.
    rest = 0.0 if run.config.adaptation is not None else (1 - BASE_SHARE) * ADAPTATION_SHARE
    seconds = run.share(BASE_SHARE + rest)
    log = trainer.run(seconds) if run.options.trainers == 1 else train_together(trainer, seconds)
    items.requires_grad_(False)
    encoder.requires_grad_(False)
    run.note("base", log)
    return encoder, items
