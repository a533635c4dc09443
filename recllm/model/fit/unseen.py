"""A catalog without any events: only text speaks, through each visitor's own closed-form update."""

import numpy as np
import torch

from recllm.adaptation.own import OwnStep
from recllm.adaptation.prior import open_prior
from recllm.counts.cooccurrence import Cooccurrence
from recllm.counts.counts import Counts
from recllm.counts.items import USUAL, ItemCounts
from recllm.counts.trend import Popularity
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.data.trained import TrainedOn
from recllm.encoders.history import HistoryEncoder, ItemEncoder
from recllm.encoders.senses import Senses
from recllm.encoders.text import TextEncoder, Whitening
from recllm.model.config import RecommenderConfig
from recllm.model.counted import Counted
from recllm.model.fit.base import mind_blocks
from recllm.model.fit.text import mind_language, reading
from recllm.model.fitted import Fitted
from recllm.model.model import Model
from recllm.model.report import FitReport
from recllm.model.texts import ItemTexts
from recllm.options import TrainOptions
from recllm.prompting.template import Prompt
from recllm.ranking.head import RankingHead
from recllm.retrieval.channels.cooccurrence import TakenTogether
from recllm.retrieval.channels.history import History
from recllm.retrieval.channels.popularity import Popular, PopularNow, PopularWhenLastSeen
from recllm.retrieval.channels.senses import Senses as SensesChannel
from recllm.retrieval.channels.text import Text
from recllm.retrieval.newcomers import LIKED
from recllm.retrieval.saved import HALF_LIFE, NEWCOMERS
from recllm.retrieval.scoring import Channels

UNSEEN_SHRINKAGE, UNSEEN_RIDGE = 0.3, 1.0
"""Of a catalog without events: at least so much shrinkage, and the ridge of a visitor's own direction of text."""


def untrained_model(
    config: RecommenderConfig,
    catalog: Catalog,
    options: TrainOptions,
    report: FitReport,
    prompt: Prompt | None = None,
) -> Model:
    """A model of a catalog without events: only text speaks, through each visitor's own closed-form update."""
    device, begin = str(options.torch_device()), options.clock()
    text_encoder = TextEncoder(config.text, prompt=prompt)
    mind_language(report, text_encoder, catalog)
    progress = reading(options, report, options.budget_seconds())
    text = text_encoder.encode_catalog(catalog, device=device, progress=progress)
    progress(1, 1)
    report.counts["items"], report.seconds["text"] = len(catalog), options.clock() - begin
    texts = _texts(config, catalog, text_encoder, text)
    channels = _channels(config, texts)
    torch.manual_seed(0)
    feedback = Feedback()
    encoder = HistoryEncoder.build(text_encoder.backbone, feedback.n_tokens, config.history)
    mind_blocks(report, encoder, text_encoder, config.history)
    items = ItemEncoder(
        texts.whole,
        torch.zeros(len(catalog), dtype=torch.bool),
        encoder.width,
        config.history.delta_bound,
        texts.senses.inside,
        learns=False,
    )
    head = RankingHead(len(channels.names), config.ranking)
    with torch.no_grad():
        head.weights.bias.copy_(torch.tensor([float(name in ("text", "senses")) for name in channels.names]))
    for part in (encoder, items, head):
        part.requires_grad_(False)
    model = Model.of(config, catalog, feedback, texts, channels, encoder, items, head)
    if config.prior is not None:
        prior = open_prior(config.prior)
        head = prior.untaught_head(Histories.empty(0), len(catalog), channels.names, config.ranking)
        model.take(OwnStep.none(head.channels), head)
    return model


def _channels(config: RecommenderConfig, texts: ItemTexts) -> Channels:
    """What speaks of texts and other vectors, and what begins to speak with the first events."""
    nobody = ItemCounts.of(Histories.empty(0), len(texts.vectors), USUAL)
    popularity = Popularity.of(nobody)
    nothing = TakenTogether(Cooccurrence.empty(len(texts.vectors)))
    seen = (SensesChannel(),) if texts.senses.whitening else ()
    fitted = (History(), Text(UNSEEN_RIDGE), nothing, *seen, Popular(), PopularWhenLastSeen(), PopularNow())
    retrieval = config.retrieval
    settings = {
        "cooccurrence λ": retrieval.regularisation[len(retrieval.regularisation) // 2],
        HALF_LIFE: retrieval.half_lives[len(retrieval.half_lives) // 2],
        NEWCOMERS: LIKED,
    }
    return Channels(texts.white, popularity, fitted, settings, popularity.liked, texts.beside)


def _texts(config: RecommenderConfig, catalog: Catalog, encoder: TextEncoder, vectors: np.ndarray) -> ItemTexts:
    """What the items are known by, whitened over all of them: nobody says which have events."""
    shrinkage = max(config.text.shrinkage, UNSEEN_SHRINKAGE)
    senses = Senses.of(catalog, np.ones(len(catalog), dtype=bool), shrinkage)
    read = (None, encoder.backbone.digest(), encoder.prompt)
    return ItemTexts(vectors, Whitening.fit(vectors, shrinkage), *read, senses, senses.white(catalog))


def of_catalog(
    config: RecommenderConfig, catalog: Catalog, options: TrainOptions | None, prompt: Prompt | None = None
) -> Fitted:
    """See `Recommender.from_catalog`."""
    report, nothing = FitReport(), Interactions.from_mapping({})
    model = untrained_model(config, catalog, options or TrainOptions(), report, prompt)
    model.make_ready(None if options is None else options.progress)
    counted = Counted(Counts.of(Histories.empty(0), len(catalog), USUAL))
    return Fitted(config, model, Memory.of(nothing), TrainedOn.of(nothing), report, 0, counted)
