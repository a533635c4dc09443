"""What is learned across users: where every adapter starts, how far its steps go, and when none is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.adaptation.inner_loop import adapt, support_loss
from recllm.adaptation.lora import for_each_user, starting_lora
from recllm.adaptation.support import HEAD, Base, Contrast, Support
from recllm.config import Count, Filled, NotNegative, Positive, Within, checked
from recllm.data.histories import Histories
from recllm.errors import ConfigError


@final
@dataclass(frozen=True)
@checked
class AdaptationConfig:
    """How a user's own adapter is learned.

    Attributes:
        method: One of `METHODS`.
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
        if self.method not in METHODS:
            raise ConfigError(f"adaptation.method {self.method!r} is unknown; choose one of {', '.join(METHODS)}.")
        if len(set(self.places)) < len(self.places):
            raise ConfigError('adaptation.places names "head", "history" or both, each once.')
        METHODS[self.method].check(self)


GATE_FEATURES = 3


class MetaLearner(nn.Module):
    """The method `step-sizes`: from the base, by a learned step size per element (arXiv 1707.09835, without the start).

    The shared start, the step sizes and the gate are what `adapt` needs besides the base. Another method is a subclass
    that does one of these things in its own way, and a line in `METHODS`.

    Args:
        base: Whose layers are adapted; only their shapes are looked at.
        config: Hyper-parameters.
        contrast: Items for the inner loss.
        seed: Of the random half of the start.
    """

    learns_start: ClassVar[bool] = False
    """Whether users start from something learned across users, or from the base as it is."""
    trains_head: ClassVar[bool] = False
    """Whether the shared head is trained together with the users' adapters."""

    contrast_rows: Tensor
    contrast_raised: Tensor
    open: Tensor

    def __init__(self, base: Base, config: AdaptationConfig, contrast: Contrast, seed: int) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        start: dict[str, Tensor] = {}
        if "history" in config.places:
            start |= starting_lora(base.encoder.last_block_inputs(), config.lora_rank, generator)
        if "head" in config.places:
            start |= _head_start(base.head.channels)
        # Parameter names may not hold dots, module paths do.
        self.names = list(start)
        self.start_matrices = nn.ParameterList(start[name] for name in self.names)
        for name, matrix in self.start().items():
            matrix.requires_grad_(self.learns_start or name == f"{HEAD}.A")
        # The head's A only says how an adapter grows with what is known; it is shared.
        self.moving = [name for name in self.names if name != f"{HEAD}.A"]
        self.step_sizes = nn.ParameterList(
            torch.full((config.inner_steps, *start[name].shape), config.inner_learning_rate) for name in self.moving
        )
        self.gate = nn.Parameter(torch.tensor([2.0] + [0.0] * (GATE_FEATURES - 1)))
        self.register_buffer("open", torch.tensor(True))
        self.register_buffer("contrast_rows", contrast.rows)
        self.register_buffer("contrast_raised", contrast.log_counts)  # as saved models call it

    @classmethod
    def check(cls, config: AdaptationConfig) -> None:
        """Refuse settings that the method can do nothing with.

        Raises:
            ConfigError: There is one.
        """

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
        """As `adapt`, from questions that were put to the base before."""
        steps = self.config.inner_steps if steps is None else steps
        start, moved = self.start(), self.moved(base, support, steps)
        share = self.openness(base, support)
        return {
            name: start[name] + share.view(-1, *(1,) * start[name].dim()) * (part - start[name])
            for name, part in moved.items()
        }

    def moved(self, base: Base, support: Support, steps: int) -> dict[str, Tensor]:
        """Each user's adapter as their own events make it, before the gate."""
        return adapt(base, support, self.contrast, self.starts(base, support), self.sizes(), steps=steps)

    def starts(self, base: Base, support: Support) -> dict[str, Tensor]:
        """Where each user starts."""
        return for_each_user(self.start(), len(support))

    def sizes(self) -> dict[str, Tensor]:
        """Step sizes of each matrix that moves."""
        return dict(zip(self.moving, self.step_sizes, strict=True))

    def outer_loss(
        self, base: Base, support: Support, query_loss: Callable[[dict[str, Tensor]], Tensor]
    ) -> Tensor | None:
        """What an outer step brings down: the loss of the query through users' adapters; None if it is done already."""
        return query_loss(self.adapt_support(base, support))

    def openness(self, base: Base, support: Support) -> Float[Tensor, "users"]:
        """How much of a user's own update is taken, in [0, 1]: by how much is known, and how sure the base is of it."""
        with torch.no_grad():
            unsure = support_loss(base, support, self.contrast, for_each_user(self.start(), len(support)))
        known = support.counted
        features = torch.stack([torch.ones_like(known), torch.log1p(known) / 3, unsure / 10], dim=1)
        return torch.sigmoid(features @ self.gate) * (known > 0)


class MetaSGD(MetaLearner):
    """The method `meta-sgd`: a start and a step size per element (Li et al., arXiv 1707.09835)."""

    learns_start = True


METHODS: dict[str, type[MetaLearner]] = {"step-sizes": MetaLearner, "meta-sgd": MetaSGD}
"""By name; `AdaptationConfig.method` is one of them. From outside the package, `METHODS["mine"] = Mine` adds one."""


def learner_for(base: Base, config: AdaptationConfig, seed: int, contrast: Contrast | None = None) -> MetaLearner:
    """A learner of the configured method, before training.

    Args:
        base: Whose layers are adapted.
        config: Hyper-parameters.
        seed: Of what is drawn.
        contrast: Items for the inner loss; None: they are drawn.
    """
    if contrast is None:
        popularity = base.channels.popularity.liked
        warm = np.flatnonzero(popularity > 0)
        warm = warm if len(warm) else np.arange(len(base.space.vectors))
        contrast = Contrast.draw(popularity, warm, config.contrast_items, np.random.default_rng(seed))
    return METHODS[config.method](base, config, contrast, seed)


def _head_start(channels: int) -> dict[str, Tensor]:
    """LoRA on the head's weights: A reads how much is known (`history_features`), B [1, channels] is the change."""
    return {f"{HEAD}.A": torch.tensor([[1.0], [0.25]]), f"{HEAD}.B": torch.zeros(1, channels)}
