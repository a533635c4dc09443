"""What is learned across users: where every adapter starts, how far its steps go, and when it is better left alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.adaptation.inner_loop import adapt, closed_form, support_loss
from recllm.adaptation.lora import for_each_user, starting_lora
from recllm.adaptation.methods import METHODS, method_of
from recllm.adaptation.support import HEAD, Base, Contrast, Support, logits
from recllm.config import Count, Filled, NotNegative, Positive, Within, checked
from recllm.data.histories import Histories
from recllm.errors import ConfigError


@final
@dataclass(frozen=True)
@checked
class AdaptationConfig:
    """How a user's own adapter is learned.

    Attributes:
        method: One of `recllm.adaptation.methods.METHODS`.
        places: What a user may move: the ranking `head`'s weights of the channels, and query and value of the last
            block of the `history` encoder.
        lora_rank: Rank of a user's LoRA in the history encoder; the head has as many as its weights can use, 1.
        inner_steps: Steps on a user's events.
        inner_learning_rate: Size of the inner steps, where learned ones start.
        contrast_items: Items, half of them the most popular, that a liked item must win against in the inner loop.
        epochs: Times at most that the outer loop goes through its tasks; 0 leaves everything as it starts.
        tasks: Windows of users at most that the outer loop learns from.
        folds: Outer loops that are averaged, each trained without one part of the users, who say when it is good.
        batch_users: Tasks per outer step.
        learning_rate: Of the outer loop.
        patience: Epochs without improvement before stopping.
    """

    method: str = "step-sizes"
    places: Annotated[tuple[Literal["head", "history"], ...], Filled()] = ("head",)
    lora_rank: Count = 4
    inner_steps: Count = 1
    inner_learning_rate: NotNegative = 0.0
    contrast_items: Count = 256
    epochs: Annotated[int, Within("[0, ∞)")] = 30
    tasks: Count = 2000
    folds: Count = 5
    batch_users: Count = 64
    learning_rate: Positive = 0.01
    patience: Count = 6

    def __post_init__(self) -> None:
        method = method_of(self.method)
        if len(set(self.places)) < len(self.places):
            raise ConfigError('adaptation.places names "head", "history" or both, each once.')
        if method.head_only and self.places != ("head",):
            raise ConfigError(
                f'adaptation.method {self.method!r} moves the head only; set adaptation.places = ["head"].'
            )
        if self.inner_learning_rate == 0 and method.step_sizes == "fixed" and method.solver == "steps":
            raise ConfigError(f"adaptation.method {self.method!r} needs an adaptation.inner_learning_rate above 0.")


GATE_FEATURES = 3


@final
class MetaLearner(nn.Module):
    """The shared start, the step sizes, and the gate; what `adapt` needs besides the base.

    Args:
        base: Whose layers are adapted; only their shapes are looked at.
        config: Hyper-parameters.
        contrast: Items for the inner loss.
        seed: Of the random half of the start.
    """

    contrast_rows: Tensor
    contrast_raised: Tensor
    open: Tensor

    def __init__(self, base: Base, config: AdaptationConfig, contrast: Contrast, seed: int) -> None:
        super().__init__()
        self.config, self.method = config, METHODS[config.method]
        generator = torch.Generator().manual_seed(seed)
        start: dict[str, Tensor] = {}
        if "history" in config.places:
            if self.method.second_order:  # the fused attention has no second derivative
                base.encoder.blocks.set_attn_implementation("eager")
            start |= starting_lora(base.encoder.last_block_inputs(), config.lora_rank, generator)
        if "head" in config.places:
            start |= _head_start(base.head.channels)
        # Parameter names may not hold dots, module paths do.
        self.names = list(start)
        self.start_matrices = nn.ParameterList(start[name] for name in self.names)
        for name, matrix in self.start().items():
            matrix.requires_grad_(self.method.learns_start or name == f"{HEAD}.A")
        # The head's A only says how an adapter grows with what is known; it is shared.
        self.moving = [name for name in self.names if name != f"{HEAD}.A"]
        self.step_sizes = nn.ParameterList(
            torch.full(self._step_shape(start[name]), config.inner_learning_rate) for name in self.moving
        )
        self.step_sizes.requires_grad_(self.method.step_sizes != "fixed")
        channels = base.head.channels
        self.generator = nn.Linear(2 * channels, channels, bias=False) if self.method.generated else None
        if self.generator is not None:
            nn.init.zeros_(self.generator.weight)
        self.precision = nn.Parameter(3.0 * torch.eye(channels)) if self.method.solver == "newton" else None
        self.gate = nn.Parameter(torch.tensor([2.0] + [0.0] * (GATE_FEATURES - 1)))
        self.register_buffer("open", torch.tensor(True))
        self.register_buffer("contrast_rows", contrast.rows)
        self.register_buffer("contrast_raised", contrast.raised)

    def _step_shape(self, matrix: Tensor) -> tuple[int, ...]:
        one = (1,) * matrix.dim() if self.method.step_sizes != "element" else matrix.shape
        return (self.config.inner_steps, *one)

    @property
    def contrast(self) -> Contrast:
        """Items for the inner loss."""
        return Contrast(self.contrast_rows, self.contrast_raised)

    def start(self) -> dict[str, Tensor]:
        """The adapter of a user without events, without a user axis."""
        return dict(zip(self.names, self.start_matrices, strict=True))

    def adapt(self, base: Base, histories: Histories, steps: int | None = None) -> dict[str, Tensor]:
        """Adapters of a batch of users; a user without liked or disliked events keeps the start."""
        steps = self.config.inner_steps if steps is None else steps
        if steps == 0 or not self.open:
            return {name: part.clone() for name, part in for_each_user(self.start(), len(histories)).items()}
        return self.adapt_support(base, Support.collate(base, histories, self.contrast), steps)

    def adapt_support(self, base: Base, support: Support, steps: int | None = None) -> dict[str, Tensor]:
        """As `adapt`, from questions that were asked before."""
        steps = self.config.inner_steps if steps is None else steps
        start, contrast = self.start(), self.contrast
        if self.precision is not None:
            precision = self.precision @ self.precision.T + 0.1 * torch.eye(len(self.precision))
            moved = closed_form(base, support, contrast, start, precision)
        else:
            moved = adapt(
                base,
                support,
                contrast,
                self._generated(base, support, start)
                if self.generator is not None
                else for_each_user(start, len(support)),
                dict(zip(self.moving, self.step_sizes, strict=True)),
                steps=steps,
                second_order=self.method.second_order and torch.is_grad_enabled(),
            )
        share = self.openness(base, support)
        return {
            name: start[name] + share.view(-1, *(1,) * start[name].dim()) * (part - start[name])
            for name, part in moved.items()
        }

    def openness(self, base: Base, support: Support) -> Float[Tensor, "users"]:
        """How much of a user's own update is taken, in [0, 1]: by how much is known, and how sure the base is of it."""
        with torch.no_grad():
            unsure = support_loss(base, support, self.contrast, for_each_user(self.start(), len(support)))
        known = support.counted
        features = torch.stack([torch.ones_like(known), torch.log1p(known) / 3, unsure / 10], dim=1)
        return torch.sigmoid(features @ self.gate) * (known > 0)

    def _generated(self, base: Base, support: Support, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each user's start: the shared one, moved by what the channels said of their items and what was expected."""
        assert self.generator is not None
        with torch.no_grad():
            lora = for_each_user(start, len(support))
            chance = logits(base, support, self.contrast, lora).softmax(dim=1)
            expected = torch.einsum("ei,eci->ec", chance, support.scores)
            signs = support.signals.unsqueeze(1)
            said = torch.cat([support.scores[:, :, 0], expected], dim=1) * signs
            features = support.mean(said) * (support.counted / (support.counted + 3)).unsqueeze(1)
        lora = for_each_user(start, len(support))
        return lora | {f"{HEAD}.B": lora[f"{HEAD}.B"] + self.generator(features).unsqueeze(1)}


def _head_start(channels: int) -> dict[str, Tensor]:
    """LoRA on the head's weights: A reads how much is known (`history_features`), B [1, channels] is the change."""
    return {f"{HEAD}.A": torch.tensor([[1.0], [0.25]]), f"{HEAD}.B": torch.zeros(1, channels)}


def contrast_of(base: Base, config: AdaptationConfig, seed: int) -> Contrast:
    """The contrast items of a learner."""
    warm = np.flatnonzero(base.channels.popularity.liked > 0)
    if not len(warm):
        warm = np.arange(len(base.space.vectors))
    return Contrast.draw(base.channels.popularity.liked, warm, config.contrast_items, np.random.default_rng(seed))
