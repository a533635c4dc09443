"""Ways to learn to adapt that were measured and pay nowhere; importing this module adds them to recllm's own.

    import meta_methods  # noqa: F401
    AdaptationConfig(method="maml", inner_learning_rate=0.1)

Figures: NOTES.md, "Methods on `ml-100k`". What users' adapters are worth at all is written there, too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recllm.adaptation.inner_loop import adapt
from recllm.adaptation.lora import for_each_user
from recllm.adaptation.meta import METHODS, AdaptationConfig, MetaLearner, MetaSGD
from recllm.adaptation.support import HEAD, Base, Contrast, Support, logits
from recllm.errors import ConfigError
from recllm.ranking.head import history_features

QueryLoss = Callable[[dict[str, Tensor]], Tensor]


def head_only(config: AdaptationConfig) -> None:
    """Refuse other places than the head."""
    if config.places != ("head",):
        raise ConfigError(f'adaptation.method {config.method!r} moves the head only; set adaptation.places = ["head"].')


class MamlPlusPlus(MetaLearner):
    """A start and a step size per matrix (Antoniou et al., arXiv 1810.09502)."""

    learns_start = True

    def __init__(self, base: Base, config: AdaptationConfig, *args: Any) -> None:
        super().__init__(base, config, *args)
        self.step_sizes = nn.ParameterList(
            torch.full((len(sizes), *(1,) * (sizes.dim() - 1)), config.inner_learning_rate) for sizes in self.step_sizes
        )


class Fomaml(MamlPlusPlus):
    """A shared start and one step size, first-order (Finn et al., arXiv 1703.03400)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.step_sizes.requires_grad_(False)

    @classmethod
    def check(cls, config: AdaptationConfig) -> None:
        """It has no step size but the given one."""
        if config.inner_learning_rate == 0:
            raise ConfigError(f"adaptation.method {config.method!r} needs an adaptation.inner_learning_rate above 0.")


class Maml(Fomaml):
    """A shared start, through the steps (Finn et al., arXiv 1703.03400)."""

    def __init__(self, base: Base, config: AdaptationConfig, *args: Any) -> None:
        if "history" in config.places:  # the fused attention has no second derivative
            base.encoder.blocks.set_attn_implementation("eager")
        super().__init__(base, config, *args)

    def moved(self, base: Base, support: Support, steps: int) -> dict[str, Tensor]:
        """As the base class, with a graph of the steps."""
        starts, unrolled = self.starts(base, support), torch.is_grad_enabled()
        return adapt(base, support, self.contrast, starts, self.sizes(), steps=steps, second_order=unrolled)


class Reptile(Fomaml):
    """The start moves to where users end (Nichol et al., arXiv 1803.02999)."""

    @torch.no_grad()
    def outer_loss(self, base: Base, support: Support, query_loss: QueryLoss) -> None:
        """There is none: the start is moved here."""
        ended = self.adapt_support(base, support)
        for name, start in self.start().items():
            start += self.config.learning_rate * (ended[name].mean(dim=0) - start)


class Anil(Fomaml):
    """Only the head moves, first-order (Raghu et al., arXiv 1909.09157)."""

    @classmethod
    def check(cls, config: AdaptationConfig) -> None:
        """The head only, by the given step size."""
        head_only(config)
        super().check(config)


class LoraMl(Fomaml):
    """Base and adapters together, not unrolled (arXiv 2410.22264)."""

    trains_head = True

    def outer_loss(self, base: Base, support: Support, query_loss: QueryLoss) -> Tensor:
        """What users' steps found is a constant to the shared weights."""
        lora, shared = self.adapt_support(base, support), self.start()
        return query_loss({name: part.detach() + shared[name] - shared[name].detach() for name, part in lora.items()})


class Generated(MetaSGD):
    """A small network over the support makes each user's start, then steps (arXiv 2510.16282, 2601.06471)."""

    def __init__(self, base: Base, *args: Any) -> None:
        super().__init__(base, *args)
        channels = base.head.channels
        self.generator = nn.Linear(2 * channels, channels, bias=False)
        nn.init.zeros_(self.generator.weight)

    def starts(self, base: Base, support: Support) -> dict[str, Tensor]:
        """The shared one, moved by what the channels said of their items and what was expected."""
        lora = for_each_user(self.start(), len(support))
        with torch.no_grad():
            chance = logits(base, support, self.contrast, lora).softmax(dim=1)
            expected = torch.einsum("ei,eci->ec", chance, support.scores)
            own = torch.cat([support.scores[:, :, 0], expected], dim=1) * support.signals.unsqueeze(1)
            features = support.mean(own) * (support.counted / (support.counted + 3)).unsqueeze(1)
        return lora | {f"{HEAD}.B": lora[f"{HEAD}.B"] + self.generator(features).unsqueeze(1)}


class ClosedForm(MetaLearner):
    """Laplace's approximation over the head's weights (Bertinetto et al., arXiv 1805.08136)."""

    learns_start = True

    def __init__(self, base: Base, *args: Any) -> None:
        super().__init__(base, *args)
        self.step_sizes.requires_grad_(False)
        self.precision = nn.Parameter(3.0 * torch.eye(base.head.channels))

    @classmethod
    def check(cls, config: AdaptationConfig) -> None:
        """The head only."""
        head_only(config)

    def moved(self, base: Base, support: Support, steps: int) -> dict[str, Tensor]:
        """One Newton step, however many are asked for."""
        precision = self.precision @ self.precision.T + 0.1 * torch.eye(len(self.precision))
        return closed_form(base, support, self.contrast, self.start(), precision)


def closed_form(
    base: Base,
    support: Support,
    contrast: Contrast,
    start: Mapping[str, Tensor],
    precision: Float[Tensor, "channels channels"],
) -> dict[str, Tensor]:
    """The head's weights at the most probable place, by one Newton step: Laplace's approximation.

    Weights of users are normally distributed around the start with the given precision; the likelihood is that of
    `support_loss`, its curvature the spread of the channels under what is predicted. Little evidence moves little.
    """
    lora = for_each_user(start, len(support))
    scores = logits(base, support, contrast, lora)
    chance = scores.softmax(dim=1)
    features = history_features(support.known) @ start[f"{HEAD}.A"][:, 0]
    mean = torch.einsum("ei,eci->ec", chance, support.scores)
    spread = torch.einsum("ei,eci,edi->ecd", chance, support.scores, support.scores)
    spread = spread - mean.unsqueeze(2) * mean.unsqueeze(1)
    liked = (support.signals > 0).float()
    pull = (support.signals * features).unsqueeze(1) * (support.scores[:, :, 0] - mean)
    channels = mean.shape[1]
    gradient = torch.zeros(len(support), channels).index_add(0, support.users, pull)
    curvature = torch.zeros(len(support), channels, channels).index_add(
        0, support.users, spread * (liked * features.square()).view(-1, 1, 1)
    )
    moved = torch.linalg.solve(precision + curvature, gradient.unsqueeze(2)).squeeze(2)
    lora[f"{HEAD}.B"] = lora[f"{HEAD}.B"] + torch.nn.functional.pad(
        moved.unsqueeze(1), (0, 0, 0, lora[f"{HEAD}.B"].shape[1] - 1)
    )
    return lora


METHODS |= {
    "fomaml": Fomaml,
    "maml": Maml,
    "reptile": Reptile,
    "anil": Anil,
    "maml++": MamlPlusPlus,
    "lora-ml": LoraMl,
    "generated": Generated,
    "closed-form": ClosedForm,
}
