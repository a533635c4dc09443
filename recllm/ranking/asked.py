"""The rules that a list has to keep, as people write them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, TypedDict, final, get_args

from recllm.data.cleaning import as_id
from recllm.data.doors import Items, one_of, read_items, real_number
from recllm.data.ids import read_ids
from recllm.errors import ConfigError
from recllm.ranking.filters import Scalar, plain_value

__all__ = ["DiversityBy", "RuleOptions", "Rules"]

STRONGEST = 3.0
"""The most that a boost moves a score: from the user's average item to their best one, see `wishes.STEP`."""

DiversityBy = Literal["mmr", "dpp"]


class RuleOptions(TypedDict, total=False):
    """The rules as arguments of `Recommender.recommend` and `Recommender.explain`; what each means, `Rules` says."""

    caps: Mapping[str, float] | None
    pinned: Any
    boosted: Mapping[str, float] | None
    groups: Any
    ceilings: Mapping[str, Any] | None
    diversity_by: DiversityBy
    calibrated: float


@final
@dataclass(frozen=True)
class Rules:
    """What holds for a list beside what is asked for; all of it holds together, and is never violated.

    Attributes:
        caps: Column -> how many items of a list may have the same value there: `{"categories": 2}`. A number below 1 is
            a share of the list, `{"author": 0.3}`; one item is always allowed. What has no value is not counted.
        pinned: Item ids that lead the list, in this order; the same for all users, or each user's own. They keep the
            other rules: what may not be listed is passed over. The reason of such an item is that it is promoted, as it
            is of what only a boost brings into the list.
        boosted: Item id, or value of a column, or words of titles -> what is added to the score, −3 to 3: 3 is the way
            from the user's average item to their best, as in "more of … (3)". Several boosts of an item add up to this
            at most.
        groups: A column, or several: of the items with one value there (a series, the editions of a book) a list has
            one.
        ceilings: Column of numbers or dates -> the most that an item may have there: one for everybody, or each user's
            own, `{"risk": {"u1": 2, "u2": 4}}`. What has no value does not pass. Where ceilings are given by user,
            nothing passes for one who has none; None says that there is no ceiling.
        diversity_by: How `diversity` is reached: "mmr" (maximal marginal relevance: unlike the most similar item
            before) or "dpp" (a determinantal point process: unlike all items before together).
        calibrated: 0 to 1: how much the categories of the list shall be those of what the user liked.

    Raises:
        ConfigError: One of them is of the wrong kind or out of range.
        DataError: `pinned` are no ids.
    """

    caps: Mapping[str, int | float] | None = None
    pinned: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = None
    boosted: Mapping[str, float] | None = None
    groups: tuple[str, ...] | None = None
    ceilings: Mapping[str, Scalar | Mapping[str, Scalar]] | None = None
    diversity_by: DiversityBy = "mmr"
    calibrated: float = 0.0

    def __post_init__(self) -> None:
        one_of(self.diversity_by, get_args(DiversityBy), "diversity_by")
        plain = {
            "caps": _table(self.caps, "caps", "{'categories': 2}", _cap),
            "pinned": None if self.pinned is None else _tuples(read_items(self.pinned, "pinned", ordered=True)),
            "boosted": _table(self.boosted, "boosted", "{'Garden': 1}", _boost),
            "groups": None if self.groups is None else tuple(read_ids(self.groups, "groups", ordered=True)),
            "ceilings": _table(self.ceilings, "ceilings", "{'risk': 2}", _ceiling),
            "calibrated": real_number(self.calibrated, "calibrated", 0, 1),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value or None if name != "calibrated" else value)

    @classmethod
    def of(cls, options: RuleOptions) -> "Rules":
        """From arguments, as `Recommender.recommend` takes them.

        Raises:
            TypeError: There is no such rule.
            ConfigError: One of them is of the wrong kind or out of range.
            DataError: `pinned` are no ids.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise TypeError(f"unexpected keyword argument {name!r}; the rules of a list are {', '.join(known)}.")
        return cls(**options)

    def of_user(self, user: str) -> Self:
        """The same for one user, whose own pins and ceilings are everybody's then."""
        pinned, ceilings = self.pinned, self.ceilings
        if isinstance(pinned, Mapping):
            pinned = pinned.get(user)
        if ceilings:
            ceilings = {column: _of_one(bound, user) for column, bound in ceilings.items()}
        return replace(self, pinned=pinned, ceilings=ceilings)


def _of_one(bound: Scalar | Mapping[str, Scalar], user: str) -> Scalar | Mapping[str, Scalar]:
    """One user's bound; who has none keeps a table without them, which lets nothing pass."""
    if not isinstance(bound, Mapping):
        return bound
    return {user: bound[user]} if user in bound else {}


def _table(given: Any, name: str, example: str, read: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} are a mapping, such as {name}={example}; got {given!r:.60}.")
    return {as_id(key): read(value, f"{name}[{key!r}]") for key, value in given.items()}


def _cap(given: Any, where: str) -> int | float:
    number = real_number(given, where, 0, float("inf"))
    if number <= 0 or (number >= 1 and not number.is_integer()):
        raise ConfigError(f"{where} is a whole number of items, or a share of the list below 1; got {given!r}.")
    return int(number) if number >= 1 else number


def _boost(given: Any, where: str) -> float:
    return real_number(given, where, -STRONGEST, STRONGEST)


def _ceiling(given: Any, where: str) -> Any:
    if isinstance(given, Mapping):
        return {as_id(user): _ceiling_of_one(bound, f"{where} of user {user!r}") for user, bound in given.items()}
    return _ceiling_of_one(given, where)


def _ceiling_of_one(given: Any, where: str) -> Scalar:
    bound = plain_value(given)
    if not isinstance(bound, str | int | float | None) or isinstance(bound, bool) or (bound is None) != (given is None):
        raise ConfigError(
            f"{where} is a finite number or a date, None where there is none, or a mapping from users to them; "
            f"got {given!r:.60}."
        )
    return bound


def _tuples(items: Items) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    if isinstance(items, dict):
        return {user: tuple(dict.fromkeys(ids)) for user, ids in items.items()}
    return tuple(dict.fromkeys(items))
