"""Fitting, stage by stage: words, channels, base, adapters, head. Each stage sees only the users it may see."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, final

import numpy as np
import torch

from recllm.adaptation.meta import AdaptationConfig, MetaLearner, contrast_of
from recllm.adaptation.train import MetaTrainer
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import Tasks, rolling_tasks, split_users
from recllm.encoders.finetuning.tuner import TextTuner
from recllm.encoders.history import HistoryEncoder, ItemEncoder
from recllm.encoders.text import TextEncoder, Whitening
from recllm.encoders.threads import reproducible
from recllm.encoders.train import BaseTrainer, encode_users, evaluating
from recllm.encoders.validation import few_shot_ndcg, mean_ndcg
from recllm.encoders.windows import Predictions, WindowSampler
from recllm.errors import DataError
from recllm.model.config import RecommenderConfig
from recllm.model.model import Model
from recllm.model.report import FitReport
from recllm.options import TrainOptions
from recllm.ranking.head import RankingHead, RankingTasks, fit_head
from recllm.retrieval.channels import OF_TEXT, Channels, Trend, binary_matrix
from recllm.retrieval.cooccurrence import Cooccurrence, affordable_items
from recllm.retrieval.learning import ChannelLearner
from recllm.retrieval.newcomers import Newcomers, ndcg_of_order, orders, sure_gain
from recllm.retrieval.profiles import Space

T = TypeVar("T")

FINETUNE_SHARE, BASE_SHARE, HEAD_SHARE, ADAPTATION_SHARE = 0.4, 0.7, 0.5, 0.6
"""Parts of the time that is left of a budget when a stage begins; what the last one leaves is for measuring."""

DRAWING_SHARE = 0.6
"""Part of the head's and the adapters' time at most for asking the channels about windows of users."""

LEAST_SHARE = 0.02
"""Part of the whole budget that every stage gets at least, however late it is: enough for a few steps."""

READING_SHARE = 0.5
"""Where texts take more of a budget than this, the report says so: reading them cannot be cut."""

CHANNELS_SHARE = 0.2
"""Part of the whole budget that co-occurrence may cost: over all events and over the liked ones."""

FEWEST_HELD_OUT = 30
"""Users wanted for the head and for early stopping, as long as that is not more than a fifth of all."""

WANTED_TASKS = 400
"""Validation tasks; where users for early stopping are few, they are asked at earlier moments as well."""

MOST_HELD_OUT = {"head": 1000, "stop": 400}
"""More users than this sharpen neither the head nor the validation figure, and are better trained on."""


FEWEST_TO_LEARN_FROM = 5
"""Reserved users who came back, below which the head stays a plain sum of the channels."""

MOST_ROUNDS = 60
"""Windows of one reserved user at most: the same events again and again teach nothing new."""

NOTHING_KNOWN = 0.1
"""Share of the head's tasks in which the user's events are hidden: newcomers are ranked for, too."""


def _example(events: Interactions) -> str:
    """What `Interactions.known_items` says about ids that the catalog does not have."""
    return f" ({events.report.notes[-1]})" if "unknown_item" in events.report.dropped else ""


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
        self.device = options.torch_device()  # what cannot be used is refused before anything is done
        self.feedback = Feedback.infer(events, config.liked_from)
        self.histories = make_histories(events, catalog, self.feedback, seed=options.seed)
        if not len(self.histories.item_rows):
            raise DataError(
                f"none of the {events.report.read:,} events is about one of the {len(catalog):,} items of the catalog"
                f"{_example(events)}; check that both use the same item ids, or build from the catalog alone."
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
        self.stopping = users[parts["stop"]]  # rows of the histories
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
        self._begin = self.options.clock()
        with reproducible():
            return self._run()

    def _run(self) -> Model:
        warm = np.zeros(len(self.catalog), dtype=bool)
        warm[self.base.item_rows] = True
        text_encoder, text, whitening = self._fit_text(warm)
        white = torch.from_numpy(whitening(text))
        channels = self._timed("channels", lambda: self._fit_channels(white))
        encoder, items = self._fit_base(text_encoder, white, warm)
        head = RankingHead(len(channels.names), self.config.ranking)
        model = Model(
            self.catalog,
            self.feedback,
            text,
            whitening,
            encoder,
            items,
            None,
            channels,
            head,
            self.config.retrieval,
            text_encoder.adapter,
            text_encoder.backbone.digest(),
        )
        self._rank_and_adapt(model)
        return model

    def _rank_and_adapt(self, model: Model) -> None:
        """Everything that is learned from the reserved users, whom base and channels have not seen."""
        self._timed("head", lambda: self._fit_head(model, self._share(HEAD_SHARE)))
        model.head.requires_grad_(False)
        self._fit_adaptation(model)
        self._timed("newcomers", lambda: self._welcome(model))
        self._measure(model)
        self._account()

    def _fit_text(self, warm: np.ndarray) -> tuple[TextEncoder, np.ndarray, Whitening]:
        """The text encoder, fine-tuned where that is wanted and pays, the items' vectors and their whitening."""
        encoder = TextEncoder(self.config.text)
        tuned = None
        if self.config.finetune == "lora":
            tuner = TextTuner(encoder, self.catalog, self.base, self.validation, self.config.finetuning, self.options)
            tuned = tuner.run(self._share(FINETUNE_SHARE))
            self.report.curves["fine-tuning"] = _measured(tuner.log.points)
            self.report.seconds["fine-tuning"] = tuner.log.seconds
            self.report.stopped["fine-tuning"] = tuner.log.verdict
        begin = self.options.clock()
        device, progress = str(self.device), reading(self.options, self.report, self._left())
        progress(0, 1)
        if tuned is None:
            text = encoder.encode_catalog(self.catalog, device=device, progress=progress)
            whitening = Whitening.fit(text[warm], self.config.text.shrinkage)
        else:
            encoder, whitening = TextEncoder(self.config.text, tuned.adapter), tuned.whitening
            text = tuned.complete(encoder, self.catalog, device=device, progress=progress)
        progress(1, 1)
        self.report.seconds["text"] = self.options.clock() - begin
        if self.device.type != "cpu":
            self.report.notes.append(f"texts were read on {device}; everything else ran on the CPU.")
        return encoder, text, whitening

    def _left(self) -> float | None:
        """Seconds that are left of the budget, perhaps fewer than none."""
        budget = self.options.budget_seconds()
        return None if budget is None else budget - (self.options.clock() - self._begin)

    def _share(self, part: float) -> float | None:
        """Seconds for a stage: a part of what is left of the budget, and always enough for a few steps."""
        left, budget = self._left(), self.options.budget_seconds()
        return None if left is None or budget is None else max(part * left, LEAST_SHARE * budget)

    def _timed(self, stage: str, run: Callable[[], T]) -> T:
        begin = self.options.clock()
        result = run()
        self.report.seconds[stage] = self.options.clock() - begin
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

    def _fit_adaptation(self, model: Model) -> None:
        """Meta-train on windows of the head's users; users whom nothing has seen say whether adapters do good."""
        config = self.config.adaptation
        if config is None:
            return
        learner = MetaLearner(model.base, config, contrast_of(model.base, config, self.options.seed), self.options.seed)
        model.learner = learner
        if config.epochs and len(self._windows()):
            self._meta_train(model, learner, config)
        elif config.epochs:
            learner.open.fill_(False)
            self.report.chosen["adapters"] = "left alone: nobody was there to learn from"
            self.report.notes.append("users' adapters are left alone: too few users came back to learn from them.")
        learner.requires_grad_(False)

    def _meta_train(self, model: Model, learner: MetaLearner, config: AdaptationConfig) -> None:
        seconds = self._share(ADAPTATION_SHARE)
        drawing = None if seconds is None else DRAWING_SHARE / 2 * seconds
        before = self._validated(replace(model, learner=None))
        begin = self.options.clock()
        histories, tasks = self._ranking_tasks(
            model, config.tasks, nothing_known=0.0, masked_items=0.0, seconds=drawing
        )
        left = None if seconds is None else max(seconds - (self.options.clock() - begin), seconds / 4)
        untouched = copy.deepcopy(model.head.state_dict()), copy.deepcopy(learner.state_dict())
        log = MetaTrainer(learner, model.base, histories, tasks, self.options).run(left)
        # The folds of meta-training have left out what did not help their own held-out users; these are others.
        gain = self._validated(model) - before
        # Less than a standard error above nothing is nothing: adapters rarely help a shop that has many users.
        if not len(gain) or not gain.mean() > gain.std() / max(len(gain) - 1, 1) ** 0.5:
            model.head.load_state_dict(untouched[0])
            learner.load_state_dict(untouched[1])
            learner.open.fill_(False)
        self.report.chosen["adapters"] = "used" if learner.open else "left alone: they did not help held-out users"
        if not len(gain):
            self.report.chosen["adapters"] = "left alone: nobody was held out to measure them on"
        if len(gain) and np.isfinite(gain).all():
            self.report.figures["adapters' gain"] = float(gain.mean())
        self.report.seconds["adaptation"], self.report.stopped["adaptation"] = log.seconds, log.stopped

    def _validated(self, model: Model) -> np.ndarray:
        """NDCG@10 of every validation task through its adapter, mean over the sizes of its support: float64 [tasks]."""
        values = few_shot_ndcg(
            lambda histories: model.scores(histories, model.adapt(histories) or None),
            self.validation,
            batch=model.batch_users,
        )
        mean: np.ndarray = np.mean(list(values.values()), axis=0)
        return mean

    def _note(self, stage: str, log: Any) -> None:
        self.report.curves[stage] = _measured(log.points)
        self.report.seconds[stage] = log.seconds
        self.report.stopped[stage] = log.stopped
        if np.isfinite(log.best):
            self.report.figures[stage] = log.best
        if "time budget" in log.stopped:
            done = log.points[-1][0] if log.points else 0
            self.report.notes.append(f"{stage}: cut by the time budget after {done:,} steps; more time may do better.")

    def _windows(self) -> WindowSampler:
        """Windows of the reserved users."""
        return WindowSampler(
            self.reserved,
            max_events=self.config.history.max_events,
            horizon=self.config.training.horizon,
            positions=1,
            mixed=True,
        )

    def _fit_head(self, model: Model, seconds: float | None = None) -> None:
        if len(self._windows()) < FEWEST_TO_LEARN_FROM:
            self.report.notes.append(
                f"the ranking is a plain sum of its channels: {len(self._windows())} of the {len(self.reserved)} users "
                f"kept for the head came back at a later moment, and {FEWEST_TO_LEARN_FROM} are needed to weigh them."
            )
            return
        config, begin = self.config.ranking, self.options.clock()
        _, tasks = self._ranking_tasks(
            model,
            config.tasks,
            nothing_known=NOTHING_KNOWN,
            masked_items=config.masked_items,
            seconds=None if seconds is None else DRAWING_SHARE * seconds,
        )
        left = None if seconds is None else max(seconds - (self.options.clock() - begin), seconds / 4)
        fit_head(model.head, tasks, self.options.seed, seconds=left, clock=self.options.clock)
        self._say("weigh the channels", 1, 1)

    def _ranking_tasks(
        self, model: Model, wanted: int, *, nothing_known: float, masked_items: float, seconds: float | None = None
    ) -> tuple[Histories, RankingTasks]:
        """Windows of the reserved users and what came next, the same number of each user.

        Args:
            model: Its base and channels.
            wanted: Tasks in all, roughly.
            nothing_known: Share of windows whose events are hidden.
            masked_items: Share of items that look new.
            seconds: After which no further round begins.
        """
        sampler, config = self._windows(), self.config.ranking
        rounds = min(max(config.rounds, -(-wanted // len(sampler))), MOST_ROUNDS)
        rng = np.random.default_rng(self.options.seed + 2)
        histories, tasks, begin = [], [], self.options.clock()
        for round_ in range(rounds):
            if round_ and seconds is not None and self.options.clock() - begin >= seconds:
                break
            self._say("weigh the channels", round_, rounds + 1)
            masked = torch.from_numpy(rng.random(len(self.catalog)) < masked_items)
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            with torch.no_grad():
                space = Space(model.items(hidden_delta=masked))
            for start in range(0, len(sampler), model.batch_users):
                users = np.arange(start, min(start + model.batch_users, len(sampler)))
                windows, predictions = sampler.draw_supports(users, rng)
                hidden = rng.random(len(windows)) < nothing_known
                windows = windows.drop_events(~hidden[windows.user_rows])
                histories.append(windows)
                tasks.append(self._asked(model, windows, predictions, space, masked, users, generator))
        # In one piece: small arrays that are kept among large ones that are not would hold on to the memory of both.
        return Histories.concatenate(histories), RankingTasks.concatenate(tasks)

    def _asked(
        self,
        model: Model,
        windows: Histories,
        predictions: Predictions,
        space: Space,
        masked: torch.Tensor,
        users: np.ndarray,
        generator: torch.Generator,
    ) -> RankingTasks:
        """A batch of windows as tasks; masked items have no events, as far as the channels can tell."""
        with evaluating(model.encoder):
            vectors = encode_users(model.encoder, windows, space.vectors)
        # What is popular now counts as it did at the time; at serving, now is when the log ends.
        scores = model.channels.scores(windows, vectors, space, predictions.asked_at)
        for place, name in enumerate(model.channels.names):
            if name not in ("history", *OF_TEXT):
                scores[:, place] = torch.where(masked, scores[:, place].amin(dim=1, keepdim=True), scores[:, place])
        target = torch.zeros(len(windows), len(self.catalog))
        target[predictions.user[predictions.target_of], predictions.target_item] = predictions.target_weight
        eligible = torch.from_numpy(binary_matrix(windows, len(self.catalog), liked_only=False).toarray() == 0)
        known = torch.from_numpy(windows.lengths.astype(np.float32))
        size = self.config.ranking.listed
        return RankingTasks.listing(scores, known, eligible, target, torch.from_numpy(users), size, generator)

    def _welcome(self, model: Model) -> None:
        """Whoever nothing is known of is served by the head where that is shown to be better than what is popular."""
        chosen, asked = Newcomers.choose(self.histories, model.ties, self.options.seed), self.validation.newest()
        served = chosen.name
        if len(asked.query):
            # Of those who are asked now, no event may be counted.
            others = np.setdiff1d(np.arange(len(self.histories)), self.stopping[asked.user_rows])
            counts = orders(self.histories.of(others), len(self.catalog))[chosen.name]
            heads = few_shot_ndcg(lambda nobody: model.scores(nobody, None), asked, (0,), batch=model.batch_users)[0]
            simple = ndcg_of_order(counts, model.ties, asked.query)
            if sure_gain(heads - simple) > 0:
                served, figure = "the head", float(heads.mean())
            else:
                figure = float(simple.mean())
            self.report.figures["nothing known"] = figure
        if served == chosen.name:
            model.channels = replace(model.channels, newcomers=chosen.counts)
        self.report.chosen["newcomers"] = served

    def _measure(self, model: Model) -> None:
        """Validation figures of the whole ranking, without and with adaptation, and of what it has to beat."""
        if not len(self.validation.query):
            self.report.notes.append(
                "how good the ranking is could not be measured: none of the users held out has 3 events at 2 moments, "
                "the last of them liked."
            )
            return
        batch, figures = model.batch_users, self.report.figures
        figures["ranking"] = mean_ndcg(lambda h: model.scores(h, None), self.validation, batch=batch)
        if model.learner is not None:
            figures["ranking, adapted"] = mean_ndcg(
                lambda h: model.scores(h, model.adapt(h)), self.validation, batch=batch
            )
        channels = model.channels
        figures["popularity"] = self._of_order(channels.popularity)
        figures["recent"] = self._of_order(channels.trend.at(np.array([channels.trend.end]))[0])

    def _of_order(self, counts: np.ndarray) -> float:
        """The validation figure of one list for everybody."""
        order = torch.from_numpy(counts)
        return mean_ndcg(lambda histories: order.expand(len(histories), -1), self.validation)

    def _account(self) -> None:
        """Say what a figure or a time means for whoever relies on the fit."""
        report, budget = self.report, self.options.budget_seconds()
        tasks, figures = len(self.validation.query), report.figures
        simple = max(("popularity", "recent"), key=lambda name: figures.get(name, 0.0))
        if "ranking" in figures and figures["ranking"] < figures[simple]:
            said = {"popularity": "what is popular", "recent": "what is popular now"}[simple]
            report.notes.append(
                f"the ranking is poor: NDCG@10 {figures['ranking']:.4f} on {tasks} tasks of users held out, where "
                f"{said} alone has {figures[simple]:.4f}; give it more time or more events."
            )
        if 0 < tasks < FEWEST_HELD_OUT:
            report.notes.append(f"figures rest on {tasks} tasks of users held out and say little.")
        spent = self.options.clock() - self._begin
        report.seconds["loading and else"] = max(spent - sum(report.seconds.values()), 0.0)
        if budget is not None and spent > 1.1 * budget:
            longest = max(report.seconds, key=report.seconds.__getitem__)
            report.notes.append(
                f"the fit took {spent:.0f} s of a budget of {budget:.0f} s; the longest stage was {longest} with "
                f"{report.seconds[longest]:.0f} s."
            )


def reading(options: TrainOptions, report: FitReport, left: float | None) -> Callable[[float, float], None]:
    """Tells how far reading the texts is; from the first ones on, it is known whether that fits into the time left."""
    begin, told = options.clock(), False

    def progress(done: float, total: float) -> None:
        nonlocal told
        seconds, note = (options.clock() - begin) * total / done if done else 0.0, ""
        if total > 1 and left is not None and seconds > READING_SHARE * max(left, 0.0):
            note = f"about {seconds:.0f} s, of {max(left, 0.0):.0f} s that are left of the budget"
            if not told:
                report.notes.append(
                    f"reading {total:,.0f} texts takes {note}, and cannot be cut; the other stages get what remains. "
                    "Vectors are kept, so that the next fit with these texts has all of its budget for learning."
                )
            told = True
        if options.progress is not None:
            options.progress("read the catalog", done, total, note)

    return progress


def _measured(points: Sequence[tuple[int, float | None, float]]) -> list[tuple[int, float | None, float | None]]:
    """Without numbers that are none: what could not be measured is None."""

    def plain(value: float | None) -> float | None:
        return value if value is not None and np.isfinite(value) else None

    return [(step, plain(loss), plain(value)) for step, loss, value in points]


UNSEEN_SHRINKAGE, UNSEEN_RIDGE = 0.3, 1.0
"""Of a catalog without events: at least so much shrinkage, and the ridge of a visitor's own direction of text."""


def untrained_model(
    config: RecommenderConfig, catalog: Catalog, options: TrainOptions | None = None, report: FitReport | None = None
) -> Model:
    """A model of a catalog without events: only text speaks, through each visitor's own closed-form update."""
    options, report = options or TrainOptions(), report or FitReport()
    device, begin = str(options.torch_device()), options.clock()
    text_encoder = TextEncoder(config.text)
    progress = reading(options, report, options.budget_seconds())
    text = text_encoder.encode_catalog(catalog, device=device, progress=progress)
    progress(1, 1)
    report.counts["items"], report.seconds["text"] = len(catalog), options.clock() - begin
    whitening = Whitening.fit(text, max(config.text.shrinkage, UNSEEN_SHRINKAGE))
    white = torch.from_numpy(whitening(text))
    nobody = Histories.empty(0)
    nothing = Cooccurrence.fit(binary_matrix(nobody, len(catalog), liked_only=False), regularisation=1.0, neighbours=1)
    channels = Channels(
        white, np.zeros(len(catalog), np.float32), Trend.fit(nobody, len(catalog)), nothing, None, ridge=UNSEEN_RIDGE
    )
    torch.manual_seed(0)
    feedback = Feedback()
    encoder = HistoryEncoder.build(text_encoder.backbone, feedback.n_tokens, config.history)
    items = ItemEncoder(white, torch.zeros(len(catalog), dtype=torch.bool), encoder.width, config.history.delta_bound)
    head = RankingHead(len(channels.names), config.ranking)
    with torch.no_grad():
        head.weights.bias.copy_(torch.tensor([float(name == "text") for name in channels.names]))
    for part in (encoder, items, head):
        part.requires_grad_(False)
    digest = text_encoder.backbone.digest()
    return Model(
        catalog, feedback, text, whitening, encoder, items, None, channels, head, config.retrieval, backbone=digest
    )
