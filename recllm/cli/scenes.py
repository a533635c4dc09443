"""What the demonstration lets a fitted recommender live through: a customer, a day, a new product, a farewell.

Everything that is told is computed here from what the recommender answers; where nothing moves, that is what is told.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import polars as pl

import recllm
from recllm.cli.facts import FAR, Arrival, Customer, Day, Forgotten, Line, Meeting, Reach, Shopper
from recllm.counts.counts import Counts
from recllm.data.histories import make_histories

T = TypeVar("T")

LENGTH = 10
"""Of the lists that are counted."""
BYSTANDERS = 200
"""Customers without a purchase that day whose lists are compared."""
NEAR = 3
"""Products nearest to the new one by their texts; who has one of them might like it."""
SALES = 5
"""Customers who buy it first."""
ASKED = 200
"""Customers whose lists are searched for it."""


@dataclass(frozen=True)
class HeldOut:
    """A customer held out of training.

    Attributes:
        given: Items that the recommender may be told, oldest first.
        rest: Items that they bought as well, kept back.
        times: When the given ones were bought, unix seconds.
    """

    user_id: str
    n_events: int
    given: tuple[str, ...]
    rest: frozenset[str]
    times: tuple[float, ...]

    def told(self, events: "recllm.Interactions", n: int) -> "recllm.Interactions":
        """Their events with the first `n` items, until the last of these was bought."""
        user, item, when = map(pl.col, ("user_id", "item_id", "timestamp"))
        known = item.is_in(list(self.given[:n])) & (when <= self.times[n - 1])
        return recllm.Interactions.from_frame(events.frame.filter((user == self.user_id) & known))


@dataclass(frozen=True)
class Visitor:
    """Somebody of whom nothing is known: sees what is popular.

    Attributes:
        item_ids: Their list, the first 200.
    """

    item_ids: tuple[str, ...]

    @classmethod
    def of(cls, rec: "recllm.Recommender") -> "Visitor":
        """As the recommender sees them now."""
        return cls(tuple(_items(rec.recommend({"visitor": []}, n=FAR))))

    def without(self, item_ids: Sequence[str] | frozenset[str]) -> list[str]:
        """The first ten items, those that somebody has passed over."""
        return [item for item in self.item_ids if item not in item_ids][:LENGTH]


# --- a customer --------------------------------------------------------------------------------------------------


def meet(
    rec: "recllm.Recommender",
    customer: HeldOut,
    events: "recllm.Interactions",
    steps: Sequence[int],
    visitor: Visitor,
) -> Customer:
    """Recommend to a customer each time that so many of their products are known."""
    rec.recommend(customer.told(events, 1), n=LENGTH)  # once without the clock: the first call sets things up
    before: Sequence[str] = visitor.item_ids
    lists = []
    for known, had in zip(steps, (0, *steps), strict=False):
        told = customer.told(events, known)
        milliseconds, _ = _timed(partial(rec.recommend, told, n=LENGTH))
        lines = _lines(rec, told, before, customer.rest)
        lists.append(Meeting(known, _titles(rec, customer.given[had:known]), milliseconds, lines))
        before = _items(rec.recommend(told, n=FAR))
    return Customer(
        user_id=customer.user_id,
        n_events=customer.n_events,
        n_items=len(customer.given) + len(customer.rest),
        lists=tuple(lists),
        popular_bought_too=len(customer.rest.intersection(visitor.without(customer.given))),
    )


# --- a day -------------------------------------------------------------------------------------------------------


def live_through(
    rec: "recllm.Recommender", log: "recllm.Interactions", day: "recllm.Interactions", visitor: Visitor
) -> Day:
    """Let the recommender take in a day, and look at lists before and after.

    Args:
        rec: Knows everything before that day.
        log: What it knows.
        day: The events of the day.
        visitor: What somebody unknown saw before.
    """
    fresh = _fresh(log, day)
    quiet = _by_hash(user for user in log.user_ids if user not in day.row_of)[:BYSTANDERS]
    before, quiet_before = _orders(rec, list(fresh), FAR), _orders(rec, quiet, LENGTH)
    milliseconds, _ = _timed(lambda: rec.update(day))
    quiet_after = _orders(rec, quiet, LENGTH)
    shown = _by_hash(user for user, items in fresh.items() if 3 <= len(items) <= 8)[0]
    return Day(
        date=datetime.fromtimestamp(day.frame["timestamp"].to_numpy().min(), UTC).date().isoformat(),
        n_events=len(day),
        n_users=len(day.user_ids),
        n_new_users=sum(user not in log.row_of for user in day.user_ids),
        milliseconds=milliseconds,
        asked=len(fresh),
        fresh=sum(map(len, fresh.values())),
        foreseen=sum(len(items.intersection(before[user][:LENGTH])) for user, items in fresh.items()),
        foreseen_popular=sum(
            len(items.intersection(visitor.without(frozenset(log.of_users([user]).frame["item_id"]))))
            for user, items in fresh.items()
        ),
        bystanders=len(quiet),
        moved=sum(quiet_before[user] != quiet_after[user] for user in quiet),
        visitor=Shopper("visitor", (), _lines(rec, {"visitor": []}, visitor.item_ids)),
        customer=Shopper(shown, _titles(rec, sorted(fresh[shown])), _lines(rec, [shown], before[shown])),
    )


def _fresh(log: "recllm.Interactions", day: "recllm.Interactions") -> dict[str, frozenset[str]]:
    """What known customers bought that day and had not bought before; who bought nothing of that kind is left out."""
    known = [user for user in day.user_ids if user in log.row_of]
    had, bought = (
        dict(events.of_users(known).frame.group_by("user_id").agg("item_id").iter_rows()) for events in (log, day)
    )
    fresh = {user: frozenset(bought[user]) - frozenset(had[user]) for user in known}
    return {user: items for user, items in fresh.items() if items}


# --- a product ---------------------------------------------------------------------------------------------------


def arrive(
    rec: "recllm.Recommender", product: "recllm.Catalog", query: str, log: "recllm.Interactions"
) -> tuple[Arrival, "recllm.Interactions"]:
    """Take in a product by its text and then its first sales, and ask each time who is shown it.

    Args:
        rec: Does not know it yet.
        product: One item.
        query: Words that somebody might look for it with.
        log: Says who has the products nearest to it.

    Returns:
        What came of it, and the log with the sales.
    """
    rec.search(query, n=1)  # once without the clock: the first call loads the text encoder
    milliseconds, _ = _timed(lambda: rec.add_items(product))
    (item_id,) = product.item_ids
    near = _items(rec.similar_items(item_id, n=NEAR))
    buyers = _by_hash(set(log.frame.filter(pl.col("item_id").is_in(near))["user_id"]))
    first, asked = buyers[:SALES], buyers[SALES : SALES + ASKED]
    unsold = _reach(rec, item_id, asked, 0, milliseconds)
    now = log.frame["timestamp"].to_numpy().max() + 60.0
    sales = recllm.Interactions.from_frame(
        [{"user_id": user, "item_id": item_id, "timestamp": now + place} for place, user in enumerate(first)]
    )
    milliseconds, _ = _timed(lambda: rec.update(sales))
    arrival = Arrival(
        item_id=item_id,
        title=product.titles[0],
        near=_titles(rec, near),
        query=query,
        search_rank=_rank(item_id, _items(rec.search(query, n=FAR))),
        similar_rank=_rank(item_id, _items(rec.similar_items(near[0], n=FAR))),
        asked=len(asked),
        reach=(unsold, _reach(rec, item_id, asked, len(first), milliseconds)),
    )
    return arrival, log.extend(sales)


def _reach(rec: "recllm.Recommender", item_id: str, users: list[str], sold: int, milliseconds: float) -> Reach:
    ranks = {user: _rank(item_id, items) for user, items in _orders(rec, users, FAR).items()}
    found = {user: rank for user, rank in ranks.items() if rank is not None}
    best = min(found, key=lambda user: (found[user], hash_of(user)), default=None)
    line = None if best is None else _lines(rec, [best], (), n=found[best])[-1]
    return Reach(sold, milliseconds, sum(rank <= LENGTH for rank in found.values()), best, line)


# --- a farewell --------------------------------------------------------------------------------------------------


def forget(rec: "recllm.Recommender", user_id: str, log: "recllm.Interactions") -> Forgotten:
    """Forget a customer, and count anew from the log of everybody else.

    Args:
        rec: Remembers all of them.
        user_id: Who asks to be forgotten.
        log: All that it was ever told of customers.
    """
    before = rec.counts.digest()
    in_weights = bool(rec.trained_on.includes([user_id])[0])
    milliseconds, _ = _timed(lambda: rec.forget([user_id]))
    afterwards, orders = _timed(lambda: _orders(rec, [user_id], FAR))
    others = make_histories(log.without_users([user_id]), rec.catalog, rec.model.feedback)
    recounted = Counts.of(others, len(rec.catalog), rec.counts.resolution)
    return Forgotten(
        user_id=user_id,
        n_events=len(log.of_users([user_id])),
        milliseconds=milliseconds,
        next_milliseconds=afterwards,
        digest_before=before,
        digest_after=rec.counts.digest(),
        digest_recounted=recounted.digest(),
        is_remembered=user_id in rec.user_ids,
        is_stranger=orders[user_id] == list(Visitor.of(rec).item_ids),
        in_weights=in_weights,
    )


# --- asking ------------------------------------------------------------------------------------------------------


def _lines(
    rec: "recllm.Recommender",
    users: object,
    before: Sequence[str],
    rest: frozenset[str] | None = None,
    n: int = LENGTH,
) -> tuple[Line, ...]:
    """One user's list with reasons, beside the places in the list `before`."""
    ranks = {item: rank for rank, item in enumerate(before, 1)}
    return tuple(
        Line(
            rank=row.rank,
            item_id=row.item_id,
            title=str(row.title),
            score=row.score,
            rank_before=ranks.get(row.item_id),
            bought_too=None if rest is None else row.item_id in rest,
            explanation=row.explanation,
            reason_code=row.reason_code,
        )
        for row in rec.recommend(users, n=n, explain=True)
    )


def _items(recs: "recllm.Recommendations") -> list[str]:
    return [row.item_id for row in recs]


def _rank(item_id: str, item_ids: Sequence[str]) -> int | None:
    return item_ids.index(item_id) + 1 if item_id in item_ids else None


def _orders(rec: "recllm.Recommender", users: list[str], n: int) -> dict[str, list[str]]:
    """The items of users' lists."""
    recs = rec.recommend(users, n=n)
    orders: dict[str, list[str]] = {user: [] for user in users}
    for row in recs:
        orders[row.user_id].append(row.item_id)
    return orders


def _titles(rec: "recllm.Recommender", item_ids: Sequence[str]) -> tuple[str, ...]:
    titles = rec.catalog.titles
    return tuple(titles[row] for row in rec.catalog.rows(list(item_ids)))


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds, and what came of it."""
    started = time.monotonic()
    result = call()
    return (time.monotonic() - started) * 1000, result


def _by_hash(user_ids: Iterable[str]) -> list[str]:
    """In an order that nobody chose."""
    return sorted(user_ids, key=hash_of)


def hash_of(user_id: str) -> bytes:
    """What orders customers so that nobody has chosen."""
    return hashlib.sha256(user_id.encode()).digest()
