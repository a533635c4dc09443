"""Base training: the shared LoRA, the text projection and the id-deltas learn to predict what users like next."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from recllm.artifact import fingerprint
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.checkpoint import Checkpoint, optimiser_arrays, restore_optimiser
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.devices import mixed_precision, on_device
from recllm.encoders.history import EventBatch, HistoryEncoder, ItemEncoder, encode_users
from recllm.encoders.schedule import Average, Schedule
from recllm.encoders.shared_lora import add_shared_lora, merge_shared_lora
from recllm.encoders.softmax import draw_candidates, softmax_loss
from recllm.encoders.stopping import Best, Weights
from recllm.encoders.together import Alone, Peers, own_part
from recllm.encoders.validation import evaluating, mean_ndcg
from recllm.encoders.windows import Predictions, WindowSampler
from recllm.options import TrainOptions


@final
@dataclass
class TrainingLog:
    """What training saw; goes into the model's card.

    Attributes:
        points: (step, training loss since the last one, validation NDCG@10) at each look.
        best_step: The step that was kept.
        stopped: Why training ended.
        seconds: How long it took.
    """

    points: list[tuple[int, float | None, float]] = field(default_factory=list)
    best_step: int = 0
    stopped: str = ""
    seconds: float = 0.0

    @property
    def best(self) -> float:
        """Validation NDCG@10 of the state that was kept."""
        return max((value for _, _, value in self.points), default=float("nan"))


@final
class BaseTrainer:
    """Trains a history encoder and an item encoder together.

    Args:
        encoder: Trained in place; its shared LoRA is merged at the end.
        items: Trained in place.
        histories: Training users.
        validation: Tasks of users who are not among them.
        config: Hyper-parameters.
        options: Run options.
        peers: Processes that train beside this one, each a part of every batch.
    """

    def __init__(
        self,
        encoder: HistoryEncoder,
        items: ItemEncoder,
        histories: Histories,
        validation: Tasks,
        config: BaseTrainingConfig,
        options: TrainOptions,
        peers: Peers | None = None,
    ) -> None:
        self.encoder, self.items, self.config, self.options = encoder, items, config, options
        self.peers: Peers = Alone() if peers is None else peers
        self.device = options.torch_device()
        self.validation = validation
        self.sampler = WindowSampler(
            histories, max_events=encoder.config.max_events, horizon=config.horizon, positions=config.positions
        )
        self.warm = np.flatnonzero(items.warm.numpy())
        self.rng = np.random.default_rng(options.seed)

    def run(self, seconds: float | None = None) -> TrainingLog:
        """Train until the steps, the seconds or the patience are used up, and keep the best state."""
        torch.manual_seed(self.options.seed + self.peers.rank)
        if self.encoder.config.blocks == "pretrained":
            add_shared_lora(self.encoder)
        log = TrainingLog()
        if len(self.sampler):
            try:
                # All that train together stop at one step, so they go by one clock.
                clock = partial(_of_first, self.peers, self.options.clock)
                with on_device(self.device, self.encoder, self.items):
                    self._loop(log, Schedule(self._steps(), seconds, clock=clock))
            except KeyboardInterrupt:
                log.stopped = "interrupted; the best state so far is kept"
        else:
            log.stopped = "no training user has events with something liked after them"
        if self.encoder.config.blocks == "pretrained":
            merge_shared_lora(self.encoder)
        self.encoder.eval()
        return log

    def _steps(self) -> int:
        """Steps after which every place to predict from was seen `epochs` times, if that is fewer."""
        passes = self.config.epochs * len(self.sampler.edges) // self.config.batch_users
        return min(self.config.steps, max(passes, 50))

    def _loop(self, log: TrainingLog, schedule: Schedule) -> None:
        run = _Run(self, log, schedule)
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            checkpoint.resume(run)
        losses: list[float] = []
        try:
            while schedule.progress(run.step) < 1:
                losses.append(run.advance())
                over = schedule.progress(run.step) >= 1
                if run.step % self.config.validate_every == 0 or over:
                    run.look(float(np.mean(losses)), over=over)
                    losses.clear()
                    state = run.state()  # taken by all, because they tell the time together
                    if checkpoint is not None and self.peers.rank == 0:
                        checkpoint.save(*state)
                self._say(schedule.progress(run.step), log.best)
            out_of_time = schedule.seconds is not None and schedule.elapsed() >= schedule.seconds
            log.stopped = log.stopped or ("the time budget" if out_of_time else "all steps done")
        finally:
            log.seconds = schedule.elapsed()
            run.weights.restore(run.best.state)

    def _checkpoint(self) -> Checkpoint | None:
        if self.options.checkpoint is None:
            return None
        histories, query = self.sampler.histories, self.validation.query
        settings = repr((self.config, self.encoder.config, self.options.seed))
        data = (histories.offsets, histories.item_rows, histories.timestamps, histories.signals, histories.tokens)
        words = self.items.text.cpu().numpy(), self.items.warm.cpu().numpy()
        return Checkpoint(
            Path(self.options.checkpoint), fingerprint(settings, *data, query.offsets, query.item_rows, *words)
        )

    def _say(self, progress: float, best: float) -> None:
        if self.options.progress is not None:
            note = f"NDCG@10 {best:.3f}" if np.isfinite(best) else ""
            self.options.progress("learn the shop", progress, 1.0, note)

    def optimiser(self) -> torch.optim.Optimizer:
        """Over all that learns, with the rate that each part has at its peak."""
        config = self.config
        shared = [p for p in self.encoder.parameters() if p.requires_grad] + list(self.items.project.parameters())
        groups: list[dict[str, Any]] = [
            {"params": shared, "peak": config.learning_rate, "weight_decay": config.weight_decay}
        ]
        if self.items.bound > 0:
            groups.append({"params": [self.items.delta], "peak": config.delta_learning_rate, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=config.learning_rate)

    def step(self, users: np.ndarray, optimiser: torch.optim.Optimizer) -> float:
        """One gradient step on a window of each of these users; its loss."""
        self.encoder.train()
        batch, predictions = self.sampler.draw(users, self.rng)
        hidden = torch.from_numpy(self.rng.random(len(self.items.text)) < self.encoder.config.delta_dropout)
        targets, asked = predictions.target_item, len(predictions.user)
        candidates = draw_candidates(self.warm, targets.numpy(), self.config.softmax_items, self.rng)
        batch, predictions = own_part(batch, predictions, self.peers)
        optimiser.zero_grad()
        loss = self._loss(batch, predictions, candidates, targets, hidden) * (len(predictions.user) / asked)
        if len(predictions.user):
            loss.backward()
        learned = [p for group in optimiser.param_groups for p in group["params"]]
        self.peers.add_up(learned)
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        return self.peers.total(float(loss.detach()))

    def _loss(
        self, batch: EventBatch, predictions: Predictions, candidates: Tensor, targets: Tensor, hidden: Tensor
    ) -> Tensor:
        if not len(predictions.user):
            return torch.zeros(())
        batch, predictions = batch.to(self.device), predictions.to(self.device)
        candidates, targets, hidden = (part.to(self.device) for part in (candidates, targets, hidden))
        # Only the items of this step are projected, whatever the size of the catalog.
        rows = torch.unique(torch.cat([candidates, batch.item_rows.ravel()]))
        place = torch.zeros(len(self.items.text), dtype=torch.long, device=self.device)
        place[rows] = torch.arange(len(rows), device=self.device)
        vectors = self.items(rows, hidden)
        with mixed_precision(self.device):
            states = self.encoder(replace(batch, item_rows=place[batch.item_rows]), vectors)
        states = states[predictions.user, predictions.time].float()
        here = replace(predictions, target_item=place[predictions.target_item])
        return softmax_loss(states, vectors, here, place[candidates], len(self.warm), place[targets])

    def validate(self) -> float:
        """Mean NDCG@10 of the history vector alone on the validation users."""
        with evaluating(self.encoder):
            vectors = self.items()

            def scores(histories: Histories) -> Tensor:
                return (encode_users(self.encoder, histories, vectors) @ vectors.T).cpu()

            return mean_ndcg(scores, self.validation)


class _Run:
    """What changes while base training runs; all of it is in `state`, so that a run can go on."""

    def __init__(self, trainer: BaseTrainer, log: TrainingLog, schedule: Schedule) -> None:
        self.trainer, self.log, self.schedule = trainer, log, schedule
        self.optimiser = trainer.optimiser()
        self.average = Average(p for group in self.optimiser.param_groups for p in group["params"])
        learned = {name: p for name, p in trainer.encoder.named_parameters() if p.requires_grad}
        self.weights = Weights(learned | {f"items.{name}": p for name, p in trainer.items.named_parameters()})
        # Without anybody to validate on, the last state is the best guess.
        self.best = Best[dict[str, Tensor]]({}, float("nan"), trainer.config.patience)
        self.step = 0
        self.waiting = np.zeros(0, dtype=np.int64)  # users of this pass who have not been drawn yet

    def advance(self) -> float:
        """One gradient step; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self.schedule.factor(self.step)
        loss = self.trainer.step(self._users(), self.optimiser)
        self.average.update()
        self.step += 1
        return loss

    def _users(self) -> np.ndarray:
        size, users = self.trainer.config.batch_users, len(self.trainer.sampler)
        if len(self.waiting) < size:
            self.waiting = self.trainer.rng.permutation(users)
            if users < size:  # a small shop: every step sees each user at least once
                self.waiting = np.resize(self.waiting, size)
        drawn, self.waiting = self.waiting[:size], self.waiting[size:]
        return drawn

    def look(self, loss: float, *, over: bool) -> None:
        """Validate the average, keep it if it is the best, and bring the rate down when it stays behind."""
        log = self.log
        with self.average.applied():
            value = self.trainer.peers.first(self.trainer.validate())
            if self.best.offer(value, self.weights.copy):
                log.best_step = self.step
        log.points.append((self.step, loss, value))
        if self.best.stale and not self.schedule.decaying and not over:
            self.schedule.decay(self.step)
            self.weights.restore(self.best.state)
            log.stopped = f"{self.best.why}; then the rate was brought down"

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and plain values."""
        present = {f"present.{name}": value.cpu().numpy() for name, value in self.weights.copy().items()}
        best = {f"best.{name}": value.cpu().numpy() for name, value in self.best.state.items()}
        average = {f"average.{row}": mean.cpu().numpy() for row, mean in enumerate(self.average.mean)}
        values = {
            "step": self.step,
            "looks": self.best.looks,
            "averaged": self.average.steps,
            "log": {
                "points": [[*point[:2], _plain(point[2])] for point in self.log.points],
                "best_step": self.log.best_step,
                "stopped": self.log.stopped,
            },
            "schedule": self.schedule.state(),
            "rng": self.trainer.rng.bit_generator.state,
        }
        arrays = present | best | average | optimiser_arrays(self.optimiser)
        return arrays | {"waiting": self.waiting, "torch rng": torch.get_rng_state().numpy()}, values

    def restore(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
        """The inverse of `state`.

        Raises:
            ValueError: It is no state that a run can be in.
        """
        counts = [values[name] for name in ("step", "looks", "averaged")]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"its counts are {counts}")
        if arrays["waiting"].max(initial=-1) >= len(self.trainer.sampler):
            raise ValueError("users wait who are not there")
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        self.weights.restore(_below("present.", tensors))
        self.best.state = _below("best.", tensors)
        mean = [tensors[f"average.{row}"] for row in range(len(self.average.mean))]
        self.average.mean = [part.to(self.trainer.device) for part in mean]
        self.average.steps = values["averaged"]
        restore_optimiser(self.optimiser, arrays)
        self.step, self.best.looks, self.waiting = values["step"], values["looks"], arrays["waiting"].copy()
        log = values["log"]
        self.log.points = [
            (int(step), None if loss is None else float(loss), float("nan") if value is None else float(value))
            for step, loss, value in log["points"]
        ]
        self.log.best_step, self.log.stopped = int(log["best_step"]), str(log["stopped"])
        self.best.value = self.log.best
        self.schedule.restore(values["schedule"])
        self.trainer.rng.bit_generator.state = values["rng"]
        torch.set_rng_state(tensors["torch rng"])


def _of_first(peers: Peers, clock: Callable[[], float]) -> float:
    return peers.first(clock())


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value
