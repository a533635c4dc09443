"""What a list shall be, as people ask for it and in plain types."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from recllm.data.doors import of_kind, read_items, truth
from recllm.data.ids import read_ids
from recllm.errors import ConfigError
from recllm.lists.orders import By, checked_order
from recllm.ranking.asked import Rules
from recllm.ranking.rules import check_list_options
from recllm.ranking.wishes import Wish


@final
@dataclass(frozen=True)
class ListRequest:
    """How a list is to be made, for whichever user; see `Recommender.recommend`, whose arguments these are.

    Raises:
        ConfigError: `n`, `diversity`, `filters`, `wishes`, `by` or a switch is of the wrong kind or out of range.
        DataError: `candidates`, `exclude` or `without` are no ids.
    """

    n: int = 10
    adapt: bool = True
    candidates: Any = None
    exclude_seen: bool = True
    filters: Mapping[str, Any] | None = None
    diversity: float = 0.0
    without: Any = None
    wishes: Any = None
    exclude: Any = None
    by: By = "history"
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        n, diversity = check_list_options(self.n, self.diversity)
        if self.filters is not None and not isinstance(self.filters, Mapping):
            raise ConfigError(f"filters are {{column: wanted value}}; got {self.filters!r}.")
        plain = {
            "n": n,
            "diversity": diversity,
            "adapt": truth(self.adapt, "adapt"),
            "exclude_seen": truth(self.exclude_seen, "exclude_seen"),
            "candidates": None if self.candidates is None else read_items(self.candidates, "candidates"),
            "exclude": None if self.exclude is None else read_items(self.exclude, "exclude"),
            "without": None if self.without is None else tuple(read_ids(self.without, "without")),
            "wishes": _wishes(self.wishes),
            "by": checked_order(self.by),
            "rules": of_kind(self.rules, Rules, "rules"),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)


def _wishes(given: Any) -> tuple[Wish | str, ...] | None:
    wishes = (given,) if isinstance(given, str | Wish) else given
    if wishes is not None and (isinstance(wishes, Mapping) or not isinstance(wishes, Iterable)):
        raise ConfigError(f"wishes are texts, such as ['more of Garden']; got {given!r}.")
    return None if wishes is None else tuple(wishes)
