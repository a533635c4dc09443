"""What was asked for, in values that JSON has: the part of a proof that says which list it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError
from recllm.lists.orders import By
from recllm.lists.request import ListRequest
from recllm.ranking.asked import Rules
from recllm.ranking.filters import Accepted, plain_filters

MOST_STEPS = 1000


@final
@dataclass(frozen=True)
class Request:
    """`ListRequest` in plain values, for one user."""

    n: int
    adapt: bool
    exclude_seen: bool
    candidates: tuple[str, ...] | None
    filters: Mapping[str, tuple[Accepted, ...]] | None
    without: tuple[str, ...]
    wishes: tuple[str, ...]
    diversity: float
    steps: int | None
    exclude: tuple[str, ...] = ()
    by: By = "history"
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if self.steps is not None and not 0 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"a proof asks for {self.steps} steps of adapting; 0 to {MOST_STEPS} can be checked.")

    @classmethod
    def of(cls, request: ListRequest, user: str, catalog: Catalog, steps: int | None) -> Self:
        """Of one user's request, adapted with so many steps (None: as the model is configured)."""
        return cls(
            n=request.n,
            adapt=request.adapt,
            exclude_seen=request.exclude_seen,
            candidates=_own(request.candidates, user),
            filters=plain_filters(catalog, request.filters) if request.filters else None,
            without=tuple(str(one) for one in request.without or ()),
            wishes=tuple(str(wish) for wish in request.wishes or ()),
            diversity=float(request.diversity),
            steps=steps,
            exclude=_own(request.exclude, user) or (),
            by=request.by,
            rules=request.rules.of_user(user),
        )

    def to_list_request(self) -> ListRequest:
        """The request again."""
        return ListRequest(
            n=self.n,
            adapt=self.adapt,
            exclude_seen=self.exclude_seen,
            candidates=self.candidates,
            filters=None if self.filters is None else {name: list(any_of) for name, any_of in self.filters.items()},
            without=self.without,
            wishes=self.wishes,
            diversity=self.diversity,
            exclude=self.exclude,
            by=self.by,
            rules=self.rules,
        )


def _own(items: Any, user: str) -> tuple[str, ...] | None:
    """One user's part of items that are the same for all, or each user's own."""
    items = {str(key): ids for key, ids in items.items()}.get(user, []) if isinstance(items, Mapping) else items
    return None if items is None else tuple(str(one) for one in items)
