"""Which baselines there are, by name."""

from recllm.errors import ConfigError
from recllm.evaluation.baselines.baseline import Baseline
from recllm.evaluation.baselines.ease import EASE
from recllm.evaluation.baselines.factorisation import Factorisation
from recllm.evaluation.baselines.ials import IALS
from recllm.evaluation.baselines.item_knn import ItemKNN
from recllm.evaluation.baselines.light_gcn import LightGCN
from recllm.evaluation.baselines.popularity import Popularity, RecentPopularity
from recllm.evaluation.baselines.rating import RatingBaseline, RatingKNN, UserItemBias
from recllm.evaluation.baselines.text import TextMean, TextRidge, WhitenedTextKNN

BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind
    for kind in (
        Popularity,
        RecentPopularity,
        ItemKNN,
        EASE,
        IALS,
        LightGCN,
        TextMean,
        WhitenedTextKNN,
        TextRidge,
        Factorisation,
        UserItemBias,
        RatingKNN,
    )
}
"""In the order in which they are measured."""


def all_baselines(*, ratings: bool) -> tuple[str, ...]:
    """All names but of the costly ones; those that only predict ratings where ratings are predicted."""
    return tuple(
        name
        for name, kind in BASELINES.items()
        if not kind.costly and (ratings or not (issubclass(kind, RatingBaseline) and kind.only_ratings))
    )


def register(kind: type[Baseline]) -> type[Baseline]:
    """Make a baseline known under its name, so that `recllm.evaluate(…, baselines=[…, name])` tunes and measures it.

    Also a decorator. `"all"` includes those that were registered, unless they say that they are costly.

    Raises:
        ConfigError: Another one has that name.
    """
    if _found(kind.name) not in (None, kind):
        raise ConfigError(f"there is a baseline {kind.name!r} already; give {kind.__name__} another name.")
    BASELINES[kind.name] = kind
    return kind


def baseline_named(name: str) -> type[Baseline]:
    """The baseline of that name; case, spaces and punctuation do not matter.

    Raises:
        ConfigError: There is none.
    """
    found = _found(name)
    if found is None:
        raise ConfigError(f"there is no baseline {name!r}; choose from {', '.join(BASELINES)}.")
    return found


def _found(name: str) -> type[Baseline] | None:
    return {_letters(known): kind for known, kind in BASELINES.items()}.get(_letters(name))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
