"""How candidates are found; what of it can be chosen, is chosen on validation users."""

from dataclasses import dataclass
from typing import Annotated, final

from recllm.config import Count, Filled, Positive, checked


@final
@dataclass(frozen=True)
@checked
class RetrievalConfig:
    """How candidates are found.

    Attributes:
        per_channel: Candidates taken from each channel, beside as many as the list is long. Fifty bring all of the ten
            that are best of everything, twenty 99.6 % of them (scripts/bench/NOTES.md).
        neighbours: Co-occurring items remembered per item.
        regularisation: λ of EASE, one to choose from by validation or a fixed one.
        shrinkage: Of what is liked next. Little: popular items have channels of their own.
        half_lives: Shares of the log after which an event counts half in what is popular at a moment; to choose from.
    """

    per_channel: Count = 100
    neighbours: Count = 256
    regularisation: Annotated[tuple[Positive, ...], Filled()] = (50.0, 200.0, 800.0)
    shrinkage: Positive = 10.0
    half_lives: Annotated[tuple[Positive, ...], Filled()] = (0.05, 0.1)
