"""Base training: the shared LoRA, the text projection and the id-deltas learn to predict what users like next."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recllm.artifact import fingerprint
from recllm.config import Count, NotNegative, Positive, checked
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.checkpoint import Checkpoint, optimiser_arrays, restore_optimiser
from recllm.encoders.history import EventBatch, HistoryEncoder, ItemEncoder
from recllm.encoders.lora import UserLora
from recllm.encoders.schedule import Average, Schedule
from recllm.encoders.validation import mean_ndcg
from recllm.encoders.windows import Predictions, WindowSampler
from recllm.options import TrainOptions


@final
@dataclass(frozen=True)
@checked
class BaseTrainingConfig:
    """Base training.

    Attributes:
        steps: Gradient steps at most; fewer when validation stops improving.
        epochs: Times at most that a small log is gone through; bounds the steps where there is nobody to validate on.
        batch_users: Windows per step.
        positions: Predictions per window.
        horizon: Targets are the liked events among this many next ones.
        softmax_items: Up to this many items the softmax is exact; above, this many are sampled per step.
        learning_rate: For the LoRA, embeddings and projections.
        delta_learning_rate: For the id-deltas.
        weight_decay: On everything but the deltas, which are bounded.
        validate_every: Steps between looks at the validation users.
        patience: Looks without improvement before the rate is brought down from the best state, and training ends.
    """

    steps: Count = 2000
    epochs: Count = 40
    batch_users: Count = 64
    positions: Count = 12
    horizon: Count = 10
    softmax_items: Count = 6000
    learning_rate: Positive = 1e-3
    delta_learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.01
    validate_every: Count = 50
    patience: Count = 4


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


def add_shared_lora(encoder: HistoryEncoder) -> None:
    """Freeze the pretrained blocks and put PEFT's LoRA on all their linear layers; norms stay trainable."""
    import peft

    config = encoder.config
    lora = peft.LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=0.0, target_modules="all-linear"
    )
    with warnings.catch_warnings():
        # peft asks transformers for a property under its former name.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        wrapped: Any = peft.get_peft_model(encoder.blocks, lora)
    encoder.blocks = wrapped
    for module in wrapped.modules():
        if "Norm" in type(module).__name__:
            module.requires_grad_(True)


def merge_shared_lora(encoder: HistoryEncoder) -> None:
    """Fold the LoRA into the blocks, so that what is served and saved is a plain transformer."""
    blocks: Any = encoder.blocks
    encoder.blocks = blocks.merge_and_unload()
    encoder.blocks.requires_grad_(False)


def softmax_loss(
    states: Float[Tensor, "predictions width"],
    items: Float[Tensor, "items width"],
    predictions: Predictions,
    candidates: Int[Tensor, "candidates"],
    sampled_from: int,
) -> Tensor:
    """Cross-entropy of soft targets over `candidates`, the targets among them.

    Where candidates are a sample of `sampled_from` items, the logits of those that are no target are raised by the
    log of the sampling ratio, which makes the normaliser an unbiased estimate of the full one.
    """
    logits = states @ items[candidates].T
    place = torch.full((len(items),), -1)
    place[candidates] = torch.arange(len(candidates))
    columns = place[predictions.target_item]
    if len(candidates) < sampled_from:
        is_target = torch.zeros(len(candidates), dtype=torch.bool)
        is_target[columns] = True
        positives = int(is_target.sum())
        ratio = (sampled_from - positives) / max(len(candidates) - positives, 1)
        logits = logits + torch.where(is_target, 0.0, float(np.log(ratio)))
    log_probability = logits - logits.logsumexp(dim=1, keepdim=True)
    chosen = log_probability[predictions.target_of, columns]
    return -(chosen * predictions.target_weight).sum() / len(states)


def draw_candidates(warm: np.ndarray, targets: np.ndarray, size: int, rng: np.random.Generator) -> Int[Tensor, "items"]:
    """All warm items when they are few, else the targets and a uniform sample of the others."""
    if len(warm) <= size:
        return torch.from_numpy(warm)
    sample = warm[rng.integers(0, len(warm), size)]
    return torch.from_numpy(np.union1d(sample, targets))


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
    """

    def __init__(
        self,
        encoder: HistoryEncoder,
        items: ItemEncoder,
        histories: Histories,
        validation: Tasks,
        config: BaseTrainingConfig,
        options: TrainOptions,
    ) -> None:
        self.encoder, self.items, self.config, self.options = encoder, items, config, options
        self.validation = validation
        self.sampler = WindowSampler(
            histories, max_events=encoder.config.max_events, horizon=config.horizon, positions=config.positions
        )
        self.warm = np.flatnonzero(items.warm.numpy())
        self.rng = np.random.default_rng(options.seed)

    def run(self, seconds: float | None = None) -> TrainingLog:
        """Train until the steps, the seconds or the patience are used up, and keep the best state."""
        torch.manual_seed(self.options.seed)
        if self.encoder.config.blocks == "pretrained":
            add_shared_lora(self.encoder)
        log = TrainingLog()
        if len(self.sampler):
            try:
                self._loop(log, Schedule(self._steps(), seconds, clock=self.options.clock))
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
                    if checkpoint is not None:
                        checkpoint.save(*run.state())
                self._say(schedule.progress(run.step), log.best)
            out_of_time = schedule.seconds is not None and schedule.elapsed() >= schedule.seconds
            log.stopped = log.stopped or ("the time budget" if out_of_time else "all steps done")
        finally:
            log.seconds = schedule.elapsed()
            if run.best:
                self._restore(run.best)

    def _checkpoint(self) -> Checkpoint | None:
        if self.options.checkpoint is None:
            return None
        histories, query = self.sampler.histories, self.validation.query
        settings = repr((self.config, self.encoder.config, self.options.seed))
        data = (histories.offsets, histories.item_rows, histories.timestamps, histories.signals, histories.tokens)
        words = self.items.text.numpy(), self.items.warm.numpy()
        return Checkpoint(
            Path(self.options.checkpoint), fingerprint(settings, *data, query.offsets, query.item_rows, *words)
        )

    def _say(self, progress: float, best: float) -> None:
        if self.options.progress is not None:
            note = f"NDCG@10 {best:.3f}" if np.isfinite(best) else ""
            self.options.progress("learn the shop", progress, 1.0, note)

    def _optimiser(self) -> torch.optim.Optimizer:
        config = self.config
        shared = [p for p in self.encoder.parameters() if p.requires_grad] + list(self.items.project.parameters())
        groups: list[dict[str, Any]] = [
            {"params": shared, "peak": config.learning_rate, "weight_decay": config.weight_decay}
        ]
        if self.items.bound > 0:
            groups.append({"params": [self.items.delta], "peak": config.delta_learning_rate, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=config.learning_rate)

    def _step(self, users: np.ndarray, optimiser: torch.optim.Optimizer) -> float:
        self.encoder.train()
        batch, predictions = self.sampler.draw(users, self.rng)
        hidden = torch.from_numpy(self.rng.random(len(self.items.text)) < self.encoder.config.delta_dropout)
        candidates = draw_candidates(self.warm, predictions.target_item.numpy(), self.config.softmax_items, self.rng)
        # Only the items of this step are projected, whatever the size of the catalog.
        rows = torch.unique(torch.cat([candidates, batch.item_rows.ravel()]))
        place = torch.zeros(len(self.items.text), dtype=torch.long)
        place[rows] = torch.arange(len(rows))
        vectors = self.items(rows, hidden)
        states = self.encoder(replace(batch, item_rows=place[batch.item_rows]), vectors)
        states = states[predictions.user, predictions.time]
        here = replace(predictions, target_item=place[predictions.target_item])
        loss = softmax_loss(states, vectors, here, place[candidates], len(self.warm))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
        optimiser.step()
        return float(loss.detach())

    def validate(self) -> float:
        """Mean NDCG@10 of the history vector alone on the validation users."""
        with evaluating(self.encoder):
            vectors = self.items()
            return mean_ndcg(
                lambda histories: encode_users(self.encoder, histories, vectors) @ vectors.T, self.validation
            )

    def _state(self) -> dict[str, Tensor]:
        learned = {name: p for name, p in self.encoder.named_parameters() if p.requires_grad}
        learned |= {f"items.{name}": p for name, p in self.items.named_parameters()}
        return {name: p.detach().clone() for name, p in learned.items()}

    @torch.no_grad()
    def _restore(self, state: dict[str, Tensor]) -> None:
        encoder, items = dict(self.encoder.named_parameters()), dict(self.items.named_parameters())
        for name, value in state.items():
            (items[name.removeprefix("items.")] if name.startswith("items.") else encoder[name]).copy_(value)


class _Run:
    """What changes while base training runs; all of it is in `state`, so that a run can go on."""

    def __init__(self, trainer: BaseTrainer, log: TrainingLog, schedule: Schedule) -> None:
        self.trainer, self.log, self.schedule = trainer, log, schedule
        self.optimiser = trainer._optimiser()
        self.average = Average(p for group in self.optimiser.param_groups for p in group["params"])
        self.best: dict[str, Tensor] = {}
        self.step = self.looks = 0
        self.waiting = np.zeros(0, dtype=np.int64)  # users of this pass who have not been drawn yet

    def advance(self) -> float:
        """One gradient step; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self.schedule.factor(self.step)
        loss = self.trainer._step(self._users(), self.optimiser)
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
        log, config = self.log, self.trainer.config
        self.looks += 1
        with self.average.applied():
            value = self.trainer.validate()
            # Without anybody to validate on, the last state is the best guess.
            if not self.best or np.isnan(value) or value > log.best:
                log.best_step, self.best, self.looks = self.step, self.trainer._state(), 0
        log.points.append((self.step, loss, value))
        if self.looks >= config.patience and not self.schedule.decaying and not over:
            self.schedule.decay(self.step)
            self.trainer._restore(self.best)
            log.stopped = f"validation did not improve for {self.looks} looks; then the rate was brought down"

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and plain values."""
        present = {f"present.{name}": value.numpy() for name, value in self.trainer._state().items()}
        best = {f"best.{name}": value.numpy() for name, value in self.best.items()}
        average = {f"average.{row}": mean.numpy() for row, mean in enumerate(self.average.mean)}
        values = {
            "step": self.step,
            "looks": self.looks,
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
        self.trainer._restore({n.removeprefix("present."): t for n, t in tensors.items() if n.startswith("present.")})
        self.best = {n.removeprefix("best."): t for n, t in tensors.items() if n.startswith("best.")}
        self.average.mean = [tensors[f"average.{row}"] for row in range(len(self.average.mean))]
        self.average.steps = values["averaged"]
        restore_optimiser(self.optimiser, arrays)
        self.step, self.looks, self.waiting = values["step"], values["looks"], arrays["waiting"].copy()
        log = values["log"]
        self.log.points = [
            (int(step), None if loss is None else float(loss), float("nan") if value is None else float(value))
            for step, loss, value in log["points"]
        ]
        self.log.best_step, self.log.stopped = int(log["best_step"]), str(log["stopped"])
        self.schedule.restore(values["schedule"])
        self.trainer.rng.bit_generator.state = values["rng"]
        torch.set_rng_state(tensors["torch rng"])


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside; for training only: the mode of a module is every thread's."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def encode_users(
    encoder: HistoryEncoder,
    histories: Histories,
    vectors: Float[Tensor, "items width"],
    lora: UserLora | None = None,
) -> Float[Tensor, "users width"]:
    """Each user's vector after the newest events, through their own adapter where there is one."""
    batch = EventBatch.collate(histories, encoder.config.max_events)
    states: Tensor = encoder(batch, vectors, lora)
    return states[torch.arange(len(histories)), batch.real.sum(dim=1)]
