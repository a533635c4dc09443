"""Fitting, stage by stage: words, channels, base, adapters, head. Each stage sees only the users it may see."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch

from recllm.adaptation.meta import AdaptationConfig, MetaLearner, MetaTrainer
from recllm.config import read_toml, write_toml
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import Tasks, rolling_tasks, split_users
from recllm.encoders.finetuning.tuner import FinetuneConfig, TextTuner
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder
from recllm.encoders.text import TextEncoder, TextEncoderConfig, Whitening
from recllm.encoders.train import BaseTrainer, BaseTrainingConfig
from recllm.encoders.validation import mean_ndcg
from recllm.encoders.windows import WindowSampler
from recllm.errors import DataError
from recllm.model import Model
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig, RankingHead, RankingTasks, fit_head
from recllm.retrieval.channels import OF_TEXT, Channels, RetrievalConfig, Trend, binary_matrix
from recllm.retrieval.cooccurrence import Cooccurrence, affordable_items
from recllm.retrieval.learning import ChannelLearner

FINETUNE_SHARE, BASE_SHARE, ADAPTATION_SHARE = 0.4, 0.75, 0.6
"""Parts of the time that is left of a budget when a stage begins; the head takes the rest."""

CHANNELS_SHARE = 0.2
"""Part of the whole budget that co-occurrence may cost: over all events and over the liked ones."""

FEWEST_HELD_OUT = 30
"""Users wanted for the head and for early stopping, as long as that is not more than a fifth of all."""

WANTED_TASKS = 400
"""Validation tasks; where users for early stopping are few, they are asked at earlier moments as well."""

MOST_HELD_OUT = {"head": 1000, "stop": 400}
"""More users than this sharpen neither the head nor the validation figure, and are better trained on."""


NOTHING_KNOWN = 0.1
"""Share of the head's tasks in which the user's events are hidden: newcomers are ranked for, too."""


@final
@dataclass(frozen=True)
class RecommenderConfig:
    """Everything that shapes a recommender, and is saved with it.

    Attributes:
        text: How item text becomes vectors.
        history: The transformer over events.
        training: Base training.
        adaptation: How a user's own adapter is learned; None for the base alone.
        retrieval: Channels and candidates.
        ranking: The head.
        finetune: `lora` fine-tunes the text encoder on the catalog and keeps it frozen where that does not pay.
        finetuning: How.
        liked_from: Lowest rating that counts as liking; None: 4 on a scale of 5, and alike on others.
        domain: Whose words reasons use: `neutral`, `ecommerce`, `social`, `education` or `finance`.
    """

    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    history: HistoryEncoderConfig = field(default_factory=HistoryEncoderConfig)
    training: BaseTrainingConfig = field(default_factory=BaseTrainingConfig)
    adaptation: AdaptationConfig | None = field(default_factory=AdaptationConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    finetune: Literal["none", "lora"] = "none"
    finetuning: FinetuneConfig = field(default_factory=FinetuneConfig)
    liked_from: float | None = None
    domain: str = "neutral"

    @classmethod
    def read(cls, path: str | Path) -> "RecommenderConfig":
        """From a TOML file; what it leaves out keeps its default.

        Raises:
            ConfigError: An unknown key or a wrong value; the message lists what is known.
        """
        return read_toml(cls, path)

    def write(self, path: str | Path) -> None:
        """To a TOML file that `read` reads."""
        write_toml(self, path)

    @classmethod
    def demo(cls) -> "RecommenderConfig":
        """A profile that learns the shipped shop in about three minutes on two cores."""
        return cls(
            text=TextEncoderConfig(prompt="item.ecommerce", max_tokens=48),
            training=BaseTrainingConfig(steps=250),
            adaptation=AdaptationConfig(outer_steps=40, validate_every=10),
            domain="ecommerce",
        )


@final
@dataclass
class FitReport:
    """What fitting saw and measured; part of the card.

    Attributes:
        counts: Users, items and events, and how users were divided.
        figures: Validation NDCG@10 (mean over 1, 3, 5, 10 and 20 events) after each stage.
        curves: Training and validation figures over the steps of each stage.
        seconds: Time of each stage.
        stopped: Why each training stage ended.
    """

    counts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float | None, float]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


@final
class Fitter:
    """Runs the stages in order.

    Args:
        config: Hyper-parameters.
        catalog: Items.
        events: Events of training users; unknown items are left out and counted.
        options: Run options.
    """

    def __init__(
        self, config: RecommenderConfig, catalog: Catalog, events: Interactions, options: TrainOptions
    ) -> None:
        self.config, self.catalog, self.options = config, catalog, options
        self.report = FitReport()
        self.feedback = Feedback.infer(events, config.liked_from)
        self.histories = make_histories(events, catalog, self.feedback, seed=options.seed)
        if not len(self.histories.item_rows):
            raise DataError(
                f"none of the {len(events)} events is about one of the {len(catalog)} items of the catalog; check that "
                "both use the same item ids, or build from the catalog alone."
            )
        self._divide()

    def _divide(self) -> None:
        users = np.flatnonzero(self.histories.lengths > 0)
        ids = [self.histories.user_ids[user] for user in users]
        wanted = min(0.2, FEWEST_HELD_OUT / len(ids))
        head = min(max(self.config.ranking.reserved, wanted), MOST_HELD_OUT["head"] / len(ids))
        stop = min(max(0.05, 0.75 * wanted), MOST_HELD_OUT["stop"] / len(ids))
        parts = split_users(ids, {"base": 1 - head - stop, "head": head, "stop": stop}, seed=self.options.seed)
        self.base, self.reserved, stopping = (self.histories.of(users[parts[p]]) for p in ("base", "head", "stop"))
        if not len(self.base.item_rows):
            self.base = self.histories
        self.validation: Tasks = rolling_tasks(stopping, WANTED_TASKS)
        self.report.counts = {
            "items": len(self.catalog),
            "users": len(ids),
            "events": len(self.histories.item_rows),
            "base users": len(self.base),
            "head users": len(self.reserved),
            "validation tasks": len(self.validation.query),
        }

    def run(self) -> Model:
        """Fit every stage."""
        self._begin = time.monotonic()
        warm = np.zeros(len(self.catalog), dtype=bool)
        warm[self.base.item_rows] = True
        text_encoder, text, whitening = self._fit_text(warm)
        white = torch.from_numpy(whitening(text))
        channels = self._timed("channels", lambda: self._fit_channels(white))
        encoder, items = self._fit_base(text_encoder, white, warm)
        learner = self._fit_adaptation(encoder, items, warm)
        head = RankingHead(len(channels.names), self.config.ranking)
        model = Model(
            self.catalog,
            self.feedback,
            text,
            whitening,
            encoder,
            items,
            learner,
            channels,
            head,
            self.config.retrieval,
            text_encoder.adapter,
        )
        self._timed("head", lambda: self._fit_head(model))
        self._measure(model)
        return model

    def _fit_text(self, warm: np.ndarray) -> tuple[TextEncoder, np.ndarray, Whitening]:
        """The text encoder, fine-tuned where that is wanted and pays, the items' vectors and their whitening."""
        encoder = TextEncoder(self.config.text)
        tuned = None
        if self.config.finetune == "lora":
            tuner = TextTuner(encoder, self.catalog, self.base, self.validation, self.config.finetuning, self.options)
            tuned = tuner.run(self._share(FINETUNE_SHARE))
            self.report.curves["fine-tuning"] = tuner.log.points
            self.report.seconds["fine-tuning"] = tuner.log.seconds
            self.report.stopped["fine-tuning"] = tuner.log.verdict
        begin = time.monotonic()
        self._say("read the catalog", 0, 1)
        device = str(self.options.torch_device())

        def progress(done: float, total: float) -> None:
            self._say("read the catalog", done, total)

        if tuned is None:
            text = encoder.encode_catalog(self.catalog, device=device, progress=progress)
            whitening = Whitening.fit(text[warm], self.config.text.shrinkage)
        else:
            encoder, whitening = TextEncoder(self.config.text, tuned.adapter), tuned.whitening
            text = tuned.complete(encoder, self.catalog, device=device, progress=progress)
        self._say("read the catalog", 1, 1)
        self.report.seconds["text"] = time.monotonic() - begin
        return encoder, text, whitening

    def _share(self, part: float) -> float | None:
        """Seconds for a stage: a part of what is left of the budget, and always enough for a few steps."""
        budget = self.options.budget_seconds()
        if budget is None:
            return None
        return max(part * (budget - (time.monotonic() - self._begin)), 0.02 * budget)

    def _timed(self, stage: str, run: Any) -> Any:
        begin = time.monotonic()
        result = run()
        self.report.seconds[stage] = time.monotonic() - begin
        return result

    def _say(self, stage: str, done: float, total: float, note: str = "") -> None:
        if self.options.progress is not None:
            self.options.progress(stage, done, total, note)

    def _fit_channels(self, white: torch.Tensor) -> Channels:
        budget = self.options.budget_seconds()  # as it was given: what is learned must not depend on the clock
        exact = None if budget is None else affordable_items(CHANNELS_SHARE / 2 * budget)
        items = len(self.catalog)
        learner = ChannelLearner(self.base, self.validation, items, self.config.retrieval, exact, self._say)
        channels = learner.fit(white)
        self.report.chosen |= learner.chosen
        self.report.figures |= learner.figures
        return channels

    def _fit_base(
        self, text_encoder: TextEncoder, white: torch.Tensor, warm: np.ndarray
    ) -> tuple[HistoryEncoder, ItemEncoder]:
        torch.manual_seed(self.options.seed)
        config = self.config.history
        encoder = HistoryEncoder.build(text_encoder.backbone, self.feedback.n_tokens, config)
        items = ItemEncoder(white, torch.from_numpy(warm), encoder.width, config.delta_bound)
        trainer = BaseTrainer(encoder, items, self.base, self.validation, self.config.training, self.options)
        # Without adaptation its time goes to the base, so that both ways of spending a budget can be compared.
        rest = 0.0 if self.config.adaptation is not None else (1 - BASE_SHARE) * ADAPTATION_SHARE
        log = trainer.run(self._share(BASE_SHARE + rest))
        items.requires_grad_(False)
        encoder.requires_grad_(False)
        self._note("base", log)
        return encoder, items

    def _fit_adaptation(self, encoder: HistoryEncoder, items: ItemEncoder, warm: np.ndarray) -> MetaLearner | None:
        config = self.config.adaptation
        if config is None:
            return None
        rows = np.flatnonzero(warm)
        contrast = np.random.default_rng(self.options.seed).permutation(rows)[: config.contrast_items]
        learner = MetaLearner(encoder, config, torch.from_numpy(np.sort(contrast)), self.options.seed)
        with torch.no_grad():
            vectors = items()
        trainer = MetaTrainer(learner, encoder, vectors, rows, self.base, self.validation, self.options)
        log = trainer.run(self._share(ADAPTATION_SHARE), self.config.training.softmax_items)
        learner.requires_grad_(False)
        self._note("adaptation", log)
        return learner

    def _note(self, stage: str, log: Any) -> None:
        self.report.curves[stage] = log.points
        self.report.seconds[stage] = log.seconds
        self.report.stopped[stage] = log.stopped
        if np.isfinite(log.best):
            self.report.figures[stage] = log.best

    def _fit_head(self, model: Model) -> None:
        config = self.config.ranking
        sampler = WindowSampler(
            self.reserved,
            max_events=self.config.history.max_events,
            horizon=self.config.training.horizon,
            positions=1,
            mixed=True,
        )
        if len(sampler) < 5:  # too few to learn from: a plain sum of the channels
            return
        rng = np.random.default_rng(self.options.seed + 2)
        tasks = []
        for round_ in range(config.rounds):
            self._say("weigh the channels", round_, config.rounds + 1)
            tasks += self._head_tasks(model, sampler, rng, adapted=round_ % 2 == 0)
        torch.manual_seed(self.options.seed)
        fit_head(model.head, tasks, self.options.seed)
        self._say("weigh the channels", 1, 1)

    def _head_tasks(
        self, model: Model, sampler: WindowSampler, rng: np.random.Generator, *, adapted: bool
    ) -> list[RankingTasks]:
        """One window of every reserved user; some items look new in it."""
        masked = torch.from_numpy(rng.random(len(self.catalog)) < self.config.ranking.masked_items)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.no_grad():
            seen_vectors = model.vectors
            model.vectors = model.items(hidden_delta=masked)
        tasks = []
        try:
            order = np.arange(len(sampler))
            for start in range(0, len(order), model.batch_users):
                supports, predictions = sampler.draw_supports(order[start : start + model.batch_users], rng)
                nobody = rng.random(len(supports)) < NOTHING_KNOWN
                supports = supports.drop_events(~nobody[supports.user_rows])
                lora = model.adapt(supports) if adapted else None
                # What is popular now counts as it did at the time; at serving, now is when the log ends.
                scores = model.channel_scores(supports, lora, predictions.asked_at)
                for place, name in enumerate(model.channels.names):
                    if name not in ("history", *OF_TEXT):
                        scores[:, place] = torch.where(
                            masked, scores[:, place].amin(dim=1, keepdim=True), scores[:, place]
                        )
                target = torch.zeros(len(supports), len(self.catalog))
                target[predictions.user[predictions.target_of], predictions.target_item] = predictions.target_weight
                seen = torch.from_numpy(binary_matrix(supports, len(self.catalog), liked_only=False).toarray() > 0)
                known = torch.from_numpy(supports.lengths.astype(np.float32))
                tasks.append(RankingTasks.listing(scores, known, ~seen, target, self.config.ranking.listed, generator))
        finally:
            model.vectors = seen_vectors
        # In one piece: small arrays that are kept among large ones that are not would hold on to the memory of both.
        return [RankingTasks.concatenate(tasks)]

    def _measure(self, model: Model) -> None:
        """Validation figures of the whole ranking, without and with adaptation."""
        if not len(self.validation.query):
            return
        batch = model.batch_users
        self.report.figures["ranking"] = mean_ndcg(lambda h: model.scores(h, None), self.validation, batch=batch)
        if model.learner is not None:
            self.report.figures["ranking, adapted"] = mean_ndcg(
                lambda h: model.scores(h, model.adapt(h)), self.validation, batch=batch
            )


def untrained_model(config: RecommenderConfig, catalog: Catalog) -> Model:
    """A model of a catalog without events: only text similarity speaks."""
    text_encoder = TextEncoder(config.text)
    text = text_encoder.encode_catalog(catalog)
    whitening = Whitening.fit(text, config.text.shrinkage)
    white = torch.from_numpy(whitening(text))
    nobody = Histories.empty(0)
    nothing = Cooccurrence.fit(binary_matrix(nobody, len(catalog), liked_only=False), regularisation=1.0, neighbours=1)
    channels = Channels(white, np.zeros(len(catalog), np.float32), Trend.fit(nobody, len(catalog)), nothing, None)
    torch.manual_seed(0)
    feedback = Feedback()
    encoder = HistoryEncoder.build(text_encoder.backbone, feedback.n_tokens, config.history)
    items = ItemEncoder(white, torch.zeros(len(catalog), dtype=torch.bool), encoder.width, config.history.delta_bound)
    head = RankingHead(len(channels.names), config.ranking)
    with torch.no_grad():
        head.weights.bias.copy_(torch.tensor([float(name == "text") for name in channels.names]))
    for part in (encoder, items, head):
        part.requires_grad_(False)
    return Model(catalog, feedback, text, whitening, encoder, items, None, channels, head, config.retrieval)
