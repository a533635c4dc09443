"""The ways to learn how users are adapted to: what moves, how, and what is learned across users.

Every method answers the same question, `MetaLearner.adapt`, and is trained by the same outer loop; here is in which of
a few choices they differ.
"""

from dataclasses import dataclass
from typing import Literal, final

from recllm.errors import ConfigError

Place = Literal["head", "history"]


@final
@dataclass(frozen=True)
class Method:
    """One way to learn to adapt.

    Attributes:
        says: In a few words.
        source: Where it comes from.
        learns_start: Whether users start from something learned across users, or from the base as it is.
        step_sizes: `fixed`; or learned, one per `matrix` and step or one per `element` and step.
        second_order: Whether the outer loop differentiates through the inner steps.
        outer: `gradient` of the query's loss, or `average`: the start moves towards where users end.
        generated: Whether a small network over the support makes each user's start.
        solver: Gradient `steps`, or the `newton` step of a closed form.
        joint: Whether the shared head is trained together with the users' adapters.
        head_only: Whether it can only move the ranking head.
    """

    says: str
    source: str
    learns_start: bool = True
    step_sizes: Literal["fixed", "matrix", "element"] = "fixed"
    second_order: bool = False
    outer: Literal["gradient", "average"] = "gradient"
    generated: bool = False
    solver: Literal["steps", "newton"] = "steps"
    joint: bool = False
    head_only: bool = False


METHODS = {
    "step-sizes": Method(
        "from the base, by a learned step size per element",
        "Li et al., arXiv 1707.09835, without the start",
        learns_start=False,
        step_sizes="element",
    ),
    "fomaml": Method("a shared start, first-order", "Finn et al., arXiv 1703.03400"),
    "maml": Method("a shared start, through the steps", "Finn et al., arXiv 1703.03400", second_order=True),
    "reptile": Method("the start moves to where users end", "Nichol et al., arXiv 1803.02999", outer="average"),
    "anil": Method("only the head moves, first-order", "Raghu et al., arXiv 1909.09157", head_only=True),
    "meta-sgd": Method("a start and a step size per element", "Li et al., arXiv 1707.09835", step_sizes="element"),
    "maml++": Method("a start and a step size per matrix", "Antoniou et al., arXiv 1810.09502", step_sizes="matrix"),
    "lora-ml": Method("base and adapters together, not unrolled", "arXiv 2410.22264", joint=True),
    "generated": Method(
        "a network makes the start, then steps", "arXiv 2510.16282, 2601.06471", step_sizes="element", generated=True
    ),
    "closed-form": Method(
        "Laplace's approximation over the head's weights",
        "Bertinetto et al., arXiv 1805.08136",
        solver="newton",
        head_only=True,
    ),
}
"""By name; `AdaptationConfig.method` is one of them."""


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in METHODS:
        raise ConfigError(f"adaptation.method {name!r} is unknown; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
