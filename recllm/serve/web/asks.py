"""What is asked for, as it comes in addresses and bodies."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from recllm.serve.answers import Ask
from recllm.serve.web.events import Time, seconds
from recllm.serve.web.fields import COUNTED, NAMES, Asked, Body, Few, Id, Kind, Number, Scalar, Text, Wish, check_names

Length = Annotated[int, Field(ge=1, description="Length of the list.", json_schema_extra={"x-limit": "max_n"}), COUNTED]
Offset = Annotated[int, Field(ge=0, le=10_000, description="How many of the best are passed over."), COUNTED]
Diversity = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False, description="0 for the best scores, up to 1 for the greatest variety."),
]
By = Annotated[
    Literal["history", "similarity", "rating"],
    Field(description="What orders the list: all that is known of a user, texts like those they liked, or ratings."),
]
DiversityBy = Annotated[Literal["mmr", "dpp"], Field(description="How `diversity` is reached.")]
Ids = Annotated[list[Id], Field(**Few)]
Texts = Annotated[list[Text], Field(**Few)]
Wishes = Annotated[list[Wish], Field(**Few)]

CATEGORY = "Only items with one of these values in the catalog's column `categories`."
EXCLUDE = "Items to leave out."
EXPLAIN = "Give a reason with every line."
WISHES = "“more of Garden”, “less of Toys”, “never of Candles”."
WITHOUT = "Items, and values of columns, that are left out of the history as if they had not happened."
SEEN = "Also list what the user already has."


class RecommendQuery(Asked):
    """What a list for a user may be asked with; names that may come several times are lists."""

    n: Length = 10
    offset: Offset = 0
    category: Texts = Field([], description=CATEGORY)
    exclude: Ids = Field([], description=EXCLUDE)
    explain: bool = Field(False, description=EXPLAIN)
    diversity: Diversity = 0.0
    by: By = "history"
    wish: Wishes = Field([], description=WISHES, examples=[["more of Garden"]])
    without: Texts = Field([], description=WITHOUT)
    include_seen: bool = Field(False, description=SEEN)

    def ask(self) -> Ask:
        """In the engine's words."""
        return Ask(
            n=self.n,
            offset=self.offset,
            category=tuple(self.category),
            exclude=tuple(self.exclude),
            exclude_seen=not self.include_seen,
            explain=self.explain,
            diversity=self.diversity,
            without=tuple(self.without),
            wishes=tuple(self.wish),
            by=self.by,
        )


class NeighborsQuery(Asked):
    """How many neighbours."""

    n: Length = 10


class SearchQuery(Asked):
    """Words to search for."""

    q: Text = Field(description="A few words.", examples=["cosy winter lights"])
    n: Length = 10


class ItemsQuery(Asked):
    """Where a page of the catalog begins."""

    after: Id | None = Field(None, description="The last id of the page before; `next` of its answer.")
    n: Length = 10


class Range(Body):
    """Numbers from `min` to `max`; either end may be open."""

    min: Number | None = None
    max: Number | None = None


Wanted = Scalar | Annotated[list[Scalar], Field(max_length=200)] | Range


Cap = Annotated[Number, Field(gt=0)]
Boost = Annotated[float, Field(ge=-3, le=3, allow_inf_nan=False)]
RULES = ("caps", "ceilings", "groups", "pinned", "boosted", "calibrated", "diversity_by")


class ListBody(Body):
    """How a list shall be."""

    n: Length = 10
    offset: Offset = 0
    category: Texts = Field([], description=CATEGORY)
    filters: Annotated[dict[str, Wanted], AfterValidator(check_names)] = Field(
        {},
        max_length=20,
        json_schema_extra=NAMES,
        description="Columns and what is wanted of them: a value, several accepted ones, or {min, max}.",
        examples=[{"price": {"max": 20}}],
    )
    exclude: Ids = Field([], description=EXCLUDE)
    candidates: Ids | None = Field(
        None, description="Only these items; null: all.", json_schema_extra={"x-limit": "max_array"}
    )
    explain: bool = Field(False, description=EXPLAIN)
    diversity: Diversity = 0.0
    diversity_by: DiversityBy = "mmr"
    by: By = "history"
    wishes: Wishes = Field([], description=WISHES, examples=[["more of Garden"]])
    without: Texts = Field([], description=WITHOUT)
    include_seen: bool = Field(False, description=SEEN)
    caps: Annotated[dict[str, Cap], AfterValidator(check_names)] = Field(
        {},
        max_length=20,
        json_schema_extra=NAMES,
        description="Columns and how many items of the list may have the same value there; below 1: a share of it.",
        examples=[{"categories": 2}],
    )
    ceilings: Annotated[dict[str, Number | Text], AfterValidator(check_names)] = Field(
        {},
        max_length=20,
        json_schema_extra=NAMES,
        description="Columns of numbers or dates and the most that an item may have there; one without a value fails.",
        examples=[{"price": 20}],
    )
    groups: Annotated[list[Text], Field(max_length=20)] = Field([], description="Columns: one item of each value.")
    pinned: Ids = Field([], description="Items that lead the list, where the other rules let them.")
    boosted: Annotated[dict[str, Boost], AfterValidator(check_names)] = Field(
        {},
        max_length=20,
        json_schema_extra=NAMES,
        description="Items, values or words, and what is added: 3 is the way from the average item to the best one.",
        examples=[{"Garden": 0.5}],
    )
    calibrated: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        0.0, description="How much the categories of the list shall be those of what the user liked."
    )

    @property
    def rules(self) -> dict[str, Any]:
        """Those that are asked for, as `recllm.ranking.asked.Rules` takes them."""
        given = {name: getattr(self, name) for name in RULES}
        return {name: value for name, value in given.items() if value != type(self).model_fields[name].default}

    def ask(self) -> Ask:
        """In the engine's words."""
        return Ask(
            n=self.n,
            offset=self.offset,
            category=tuple(self.category),
            filters={name: _wanted(value) for name, value in self.filters.items()} or None,
            exclude=tuple(self.exclude),
            exclude_seen=not self.include_seen,
            candidates=None if self.candidates is None else tuple(self.candidates),
            explain=self.explain,
            diversity=self.diversity,
            without=tuple(self.without),
            wishes=tuple(self.wishes),
            by=self.by,
            rules=self.rules or None,
        )


class RecommendBody(ListBody):
    """A list for a user, with all that may be asked of it."""

    user_id: Id = Field(description="The user.", examples=["mia"])


def _wanted(value: Any) -> Any:
    return (value.min, value.max) if isinstance(value, Range) else value


class SessionEvent(Body):
    """Something that just happened, of somebody without a name."""

    item_id: Id
    timestamp: Time | None = Field(None, description="Unix seconds, milliseconds, or ISO 8601; missing: now.")
    kind: Kind = Field("", description="What happened.", examples=["view"])
    rating: Number | None = Field(None, description="Stars.")

    def to_dict(self) -> dict[str, Any]:
        """What was said, without what was not."""
        when = None if self.timestamp is None else seconds(self.timestamp)
        said = {"item_id": self.item_id, "timestamp": when, "kind": self.kind or None, "rating": self.rating}
        return {name: value for name, value in said.items() if value is not None}


class SessionBody(ListBody):
    """A list for somebody without a name, from what just happened."""

    events: Annotated[list[SessionEvent], Field(**Few, description="An empty list gets what is popular.")]


class RankBody(Body):
    """Items to be put in order."""

    user_id: Id | None = Field(None, description="For whom; null: for somebody of whom nothing is known.")
    items: Annotated[list[Id], Field(min_length=1, **Few)] = Field(description="What is to be put in order.")
    explain: bool = Field(False, description=EXPLAIN)
    wishes: Wishes = Field([], description=WISHES)
    without: Texts = Field([], description=WITHOUT)

    def ask(self) -> Ask:
        """In the engine's words."""
        return Ask(
            n=len(self.items),
            exclude_seen=False,
            explain=self.explain,
            without=tuple(self.without),
            wishes=tuple(self.wishes),
        )


class PageBody(Body):
    """A page of titled rows."""

    user_id: Id | None = Field(None, description="For whom; null: only `have` is known.")
    have: Ids = Field([], description="What the visitor has or likes, beside what is known.")
    rows: Annotated[int, Field(ge=1, le=20, description="How many rows at most."), COUNTED] = 5
    n: Length = 10


class WhatifBody(Body):
    """What a list would be if the history were another."""

    user_id: Id
    add: Ids = Field([], description="Items, as if the user had just taken them.")
    drop: Ids = Field([], description="Items, as if the user had never had them.")
    wishes: Wishes = Field([], description=WISHES)
    n: Length = 10
