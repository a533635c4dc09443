"""The outer loop: learn where every user's adapter starts and how far its steps go, across users' tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recllm.adaptation.inner_loop import Support, adapt
from recllm.adaptation.lora import applied, starting_lora
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.history import HistoryEncoder
from recllm.encoders.schedule import Schedule
from recllm.encoders.train import (
    TrainingLog,
    draw_candidates,
    encode_users,
    evaluating,
    softmax_loss,
)
from recllm.encoders.validation import mean_ndcg
from recllm.encoders.windows import WindowSampler
from recllm.errors import ConfigError
from recllm.options import TrainOptions


@final
@dataclass(frozen=True)
class AdaptationConfig:
    """How a user's own adapter is learned.

    Attributes:
        lora_rank: Rank of a user's LoRA on the last block's query and value projections.
        inner_steps: Gradient steps on a user's events.
        inner_learning_rate: Where the learned step sizes start.
        contrast_items: Items, drawn once, that a liked item must win against in the inner loop.
        outer_steps: Meta-training steps at most; 0 leaves the start and the step sizes as they are.
        batch_users: Tasks per outer step.
        learning_rate: Of the outer loop, for the start.
        step_size_learning_rate: Of the outer loop, for the logarithms of the step sizes.
        second_order: Differentiate through the inner steps (MAML) instead of the first-order approximation.
        horizon: Query events of a training task are this many next ones.
        validate_every: Outer steps between looks at the validation users.
        patience: Looks without improvement before stopping.
    """

    lora_rank: int = 4
    inner_steps: int = 3
    inner_learning_rate: float = 0.3
    contrast_items: int = 256
    outer_steps: int = 120
    batch_users: int = 64
    learning_rate: float = 1e-3
    step_size_learning_rate: float = 0.03
    second_order: bool = False
    horizon: int = 10
    validate_every: int = 20
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("lora_rank", "inner_steps", "contrast_items", "batch_users", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"adaptation.{name} must be at least 1; got {getattr(self, name)}.")
        if self.inner_learning_rate <= 0 or self.outer_steps < 0:
            raise ConfigError("adaptation.inner_learning_rate must be above 0 and outer_steps at least 0.")


@final
class MetaLearner(nn.Module):
    """The start every user's adapter is moved from, and the size of each step.

    Args:
        encoder: The base; frozen here.
        config: Hyper-parameters.
        contrast: Item rows for the inner loss [contrast].
        seed: Of the random half of the start.
    """

    contrast: Tensor

    def __init__(self, encoder: HistoryEncoder, config: AdaptationConfig, contrast: Int[Tensor, "items"], seed: int):
        super().__init__()
        self.config = config
        if config.second_order:  # the fused attention has no second derivative
            encoder.blocks.set_attn_implementation("eager")
        linears = encoder.last_block_inputs()
        generator = torch.Generator().manual_seed(seed)
        start = starting_lora(linears, config.lora_rank, generator)
        # Parameter names may not hold dots, module paths do.
        self.names = list(start)
        self.start_matrices = nn.ParameterList(start[name] for name in self.names)
        log_size = float(np.log(config.inner_learning_rate))
        self.log_step_sizes = nn.Parameter(torch.full((len(self.names), config.inner_steps), log_size))
        self.register_buffer("contrast", contrast)

    def start(self) -> dict[str, Tensor]:
        """The adapter of a user without events, without a user axis."""
        return dict(zip(self.names, self.start_matrices, strict=True))

    def step_sizes(self) -> dict[str, Tensor]:
        """Positive step size of each matrix at each step."""
        return dict(zip(self.names, self.log_step_sizes.exp(), strict=True))

    def adapt(
        self,
        encoder: HistoryEncoder,
        histories: Histories,
        vectors: Float[Tensor, "items width"],
        steps: int | None = None,
    ) -> dict[str, Tensor]:
        """Adapters of a batch of users; a user without events keeps the start."""
        support = Support.collate(histories, encoder.config.max_events)
        return adapt(
            encoder,
            self.start(),
            self.step_sizes(),
            support,
            vectors,
            self.contrast,
            steps=self.config.inner_steps if steps is None else steps,
            second_order=self.config.second_order and torch.is_grad_enabled(),
        )


def encode_adapted(
    encoder: HistoryEncoder, lora: Mapping[str, Tensor], histories: Histories, vectors: Float[Tensor, "items width"]
) -> Float[Tensor, "users width"]:
    """User vectors read through each user's own adapter; the item vectors are the same for all of them."""
    with applied(encoder.last_block_inputs(), lora):
        return encode_users(encoder, histories, vectors)


@final
class MetaTrainer:
    """Meta-trains a `MetaLearner` on windows of training users: support = the window, query = what comes next."""

    def __init__(
        self,
        learner: MetaLearner,
        encoder: HistoryEncoder,
        vectors: Float[Tensor, "items width"],
        warm: np.ndarray,
        histories: Histories,
        validation: Tasks,
        options: TrainOptions,
    ) -> None:
        self.learner, self.encoder, self.vectors, self.warm = learner, encoder, vectors, warm
        self.validation, self.options = validation, options
        config = learner.config
        # One prediction per window, at its end: everything before it is the support.
        self.sampler = WindowSampler(
            histories, max_events=encoder.config.max_events, horizon=config.horizon, positions=1
        )
        self.rng = np.random.default_rng(options.seed + 1)

    def run(self, seconds: float | None = None, softmax_items: int = 6000) -> TrainingLog:
        """Train until the steps, the seconds or the patience are used up, and keep the best start.

        The state before the first step is one of the candidates, so meta-training never makes validation worse.
        """
        config, log = self.learner.config, TrainingLog()
        schedule = Schedule(max(config.outer_steps, 1), seconds, warmup=10)
        log.points.append((0, None, self.validate()))
        best = {name: p.detach().clone() for name, p in self.learner.named_parameters()}
        if config.outer_steps and len(self.sampler):
            try:
                best = self._loop(log, schedule, best, softmax_items)
            except KeyboardInterrupt:
                log.stopped = "interrupted; the best state so far is kept"
        with torch.no_grad():
            for name, parameter in self.learner.named_parameters():
                parameter.copy_(best[name])
        log.seconds = schedule.elapsed()
        return log

    def _loop(
        self, log: TrainingLog, schedule: Schedule, best: dict[str, Tensor], softmax_items: int
    ) -> dict[str, Tensor]:
        config = self.learner.config
        optimiser = torch.optim.Adam(
            [
                {"params": list(self.learner.start_matrices), "peak": config.learning_rate},
                {"params": [self.learner.log_step_sizes], "peak": config.step_size_learning_rate},
            ]
        )
        losses: list[float] = []
        for step in range(config.outer_steps):
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * schedule.factor(step)
            losses.append(self._step(optimiser, softmax_items))
            over = schedule.progress(step + 1) >= 1
            if (step + 1) % config.validate_every == 0 or over:
                value = self.validate()
                log.points.append((step + 1, float(np.mean(losses)), value))
                losses.clear()
                if value >= log.best:
                    log.best_step = step + 1
                    best = {name: p.detach().clone() for name, p in self.learner.named_parameters()}
                looks = len(log.points) - 1 - max(i for i, p in enumerate(log.points) if p[0] == log.best_step)
                if looks >= config.patience:
                    log.stopped = f"validation did not improve for {looks} looks"
                    return best
            if self.options.progress is not None:
                self.options.progress("learn to adapt", schedule.progress(step + 1), 1.0, f"NDCG@10 {log.best:.3f}")
            if over:
                break
        log.stopped = "all steps done" if step + 1 == config.outer_steps else "the time budget"
        return best

    def _step(self, optimiser: torch.optim.Optimizer, softmax_items: int) -> float:
        users = self.rng.choice(len(self.sampler), self.learner.config.batch_users)
        support, predictions = self.sampler.draw_supports(users, self.rng)
        self.encoder.eval()
        lora = self.learner.adapt(self.encoder, support, self.vectors)
        states = encode_adapted(self.encoder, lora, support, self.vectors)
        candidates = draw_candidates(self.warm, predictions.target_item.numpy(), softmax_items, self.rng)
        loss = softmax_loss(states, self.vectors, predictions, candidates, len(self.warm))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        optimiser.step()
        return float(loss.detach())

    def validate(self) -> float:
        """Mean NDCG@10 of the adapted history vector alone on the validation users."""
        with evaluating(self.encoder):
            return mean_ndcg(self._scores, self.validation)

    def _scores(self, histories: Histories) -> Tensor:
        lora = self.learner.adapt(self.encoder, histories, self.vectors)
        return encode_adapted(self.encoder, lora, histories, self.vectors) @ self.vectors.T
