"""Everything that the demonstration tells, as values: `recllm demo --json` writes exactly these."""

from dataclasses import dataclass

from recllm.model.freshness import Freshness

FAR = 200
"""How far down a list a place is looked for."""


@dataclass(frozen=True)
class Line:
    """One line of a list."""

    rank: int
    item_id: str
    title: str
    score: float
    rank_before: int | None
    """Its place before whatever happened; None if it was not among the first 200."""
    bought_too: bool | None = None
    """Whether the customer in fact bought it, too, of which nothing was told; None where there is no such check."""
    explanation: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True)
class Meeting:
    """A customer's list when so much is known of them."""

    known: int
    """How many products the recommender was told of."""
    fresh: tuple[str, ...]
    """Titles of those that it had not been told of before."""
    milliseconds: float
    """For the list, without the reasons."""
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Customer:
    """A customer whom the model has never seen. In the first list, `rank_before` is the place for somebody unknown."""

    user_id: str
    n_events: int
    n_items: int
    lists: tuple[Meeting, ...]
    popular_bought_too: int
    """How many of the ten most popular products, those told left out, they bought, too."""


@dataclass(frozen=True)
class Shopper:
    """Somebody who came that day, or nobody in particular, and their list after it."""

    user_id: str
    bought: tuple[str, ...]
    """Titles of what they bought that day and had not before."""
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Day:
    """A day that the model had not seen, and what it changed.

    Attributes:
        asked: Customers of that day who were known and bought something they had not.
        fresh: How many such products they bought.
        foreseen: How many of these stood in their lists of ten the evening before.
        foreseen_popular: How many stood in lists of the ten most popular products that they did not have.
        bystanders: Customers asked who bought nothing that day.
        moved: How many of their lists of ten became other ones.
    """

    date: str
    n_events: int
    n_users: int
    n_new_users: int
    milliseconds: float
    asked: int
    fresh: int
    foreseen: int
    foreseen_popular: int
    bystanders: int
    moved: int
    visitor: Shopper
    customer: Shopper


@dataclass(frozen=True)
class Reach:
    """In how many lists a new product stands.

    Attributes:
        sold: How often it was sold until then.
        milliseconds: For taking in the product, or its sales.
        listed: How many customers have it in their lists of ten.
        best_user: Who has it highest; None if nobody has it among the first 200.
        best: That line of their list.
    """

    sold: int
    milliseconds: float
    listed: int
    best_user: str | None
    best: Line | None


@dataclass(frozen=True)
class Arrival:
    """A product that nobody has bought yet, and its first sales.

    Attributes:
        near: Titles of the products whose texts are nearest.
        search_rank: Its place for a search for `query`; None beyond the first 200.
        similar_rank: Its place among the products similar to the nearest one; None beyond the first 200.
        asked: Customers who have one of the near products, and did not buy the new one.
        reach: Before the first sale, and after some.
    """

    item_id: str
    title: str
    near: tuple[str, ...]
    query: str
    search_rank: int | None
    similar_rank: int | None
    asked: int
    reach: tuple[Reach, ...]


@dataclass(frozen=True)
class Forgotten:
    """A customer who was learned from and wants to be gone.

    Attributes:
        next_milliseconds: For the next list, before which weights between items are computed anew.
        digest_before: SHA-256 over everything counted, with them.
        digest_after: The same without them.
        digest_recounted: The same, counted anew from the log of everybody else.
        is_remembered: Whether the recommender still has events of theirs.
        is_stranger: Whether their list is that of somebody of whom nothing is known.
        in_weights: Whether the weights were learned from them, too.
    """

    user_id: str
    n_events: int
    milliseconds: float
    next_milliseconds: float
    digest_before: str
    digest_after: str
    digest_recounted: str
    is_remembered: bool
    is_stranger: bool
    in_weights: bool


@dataclass(frozen=True)
class DemoResult:
    """Everything the demonstration shows."""

    n_items: int
    n_events: int
    n_users: int
    until: str
    """The last day of what was learned from."""
    customers: tuple[Customer, ...]
    """The first one is followed from purchase to purchase."""
    day: Day
    arrival: Arrival
    forgotten: Forgotten
    fit_seconds: float
    seconds: float
    """Of all that came after the fit."""
    freshness: Freshness
    """After that day, as of its newest event."""
    model_bytes: int
    saved_to: str | None
    """The model with the day, but without the new product, and with the customer who is forgotten."""


@dataclass(frozen=True)
class Compared:
    """What a new customer is shown in a small shop, and what they would be shown otherwise."""

    customer: Customer
    """With the shop prior; `rank_before` is the place among the most popular products, as in the other lists."""
    shop_only: tuple[Line, ...]
    """By the ranking that knows this shop only."""
    popular: tuple[Line, ...]
    """What most customers of the shop have; `score` is how many."""


@dataclass(frozen=True)
class Tally:
    """What many new customers bought later, in the ten products that each is shown.

    Attributes:
        customers: Who were asked; neither fit has learned from them.
        days: They came first so many days before the last one, or later.
        known: How many of their products the recommender was told of.
        bought: How many they bought afterwards, all together.
        with_prior: How many of these stand in their lists of ten.
        shop_only: The same by the ranking that knows this shop only.
        popular: The same of the ten most popular products that they were not told to have.
        gain: `with_prior` less `shop_only`.
        gain_interval: Where that would lie for other customers, 95 %, by drawing customers anew.
    """

    customers: int
    days: int
    known: int
    bought: int
    with_prior: int
    shop_only: int
    popular: int
    gain: int
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class SmallResult:
    """Everything the demonstration of a small shop shows."""

    n_items: int
    n_sold: int
    """Of these products, how many the customers have bought."""
    n_events: int
    n_users: int
    until: str
    """The last day of what was learned from."""
    customers: tuple[Compared, ...]
    tally: Tally
    ranking: str
    """Where the ranking comes from, as the fit reports it."""
    fit_seconds: float
    shop_only_seconds: float
    """Of the fit without the prior."""
    seconds: float
    """Of all that came after the fits."""
    model_bytes: int
    saved_to: str | None
    """The model with the prior."""
