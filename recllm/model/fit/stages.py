"""Fitting, stage by stage: text, channels, base, head, adapters. Each stage sees only the users it may see."""

import numpy as np
import torch

from recllm.encoders.threads import reproducible
from recllm.model.fit.adapt import fit_adaptation
from recllm.model.fit.base import fit_base, fit_channels
from recllm.model.fit.head import HEAD_SHARE, weigh_channels
from recllm.model.fit.judge import account, measure, welcome
from recllm.model.fit.run import FitRun
from recllm.model.fit.text import fit_text
from recllm.model.model import Model
from recllm.ranking.head import RankingHead


def fit_stages(run: FitRun) -> Model:
    """Fit every stage; `run.report` says what came of each."""
    with reproducible():
        model = _base(run)
        run.timed("head", lambda: weigh_channels(run, model, run.share(HEAD_SHARE)))
        model.head.requires_grad_(False)
        fit_adaptation(run, model)
        run.timed("newcomers", lambda: welcome(run, model))
        measure(run, model)
        account(run)
        return model


def _base(run: FitRun) -> Model:
    """What is learned from the base users, with a head that knows nothing yet."""
    warm = np.zeros(len(run.catalog), dtype=bool)
    warm[run.base.item_rows] = True
    text_encoder, text, whitening = fit_text(run, warm)
    white = torch.from_numpy(whitening(text))
    channels = run.timed("channels", lambda: fit_channels(run, white))
    encoder, items = fit_base(run, text_encoder, white, warm)
    return Model(
        catalog=run.catalog,
        feedback=run.feedback,
        text=text,
        whitening=whitening,
        encoder=encoder,
        items=items,
        channels=channels,
        head=RankingHead(len(channels.names), run.config.ranking),
        retrieval=run.config.retrieval,
        text_adapter=text_encoder.adapter,
        backbone=text_encoder.backbone.digest(),
    )
