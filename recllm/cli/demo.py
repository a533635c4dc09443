"""The demonstration: learn the shipped shop, then meet customers it has never seen.

Customers are held out by a hash of their id, so nobody chose the pretty ones. Each is known by the first few products
only; what they bought afterwards is kept back and serves as the check.
"""

import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import recllm
from recllm.cli.app import size_of
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories

if TYPE_CHECKING:
    from recllm.options import Progress

__all__ = ["Customer", "DemoResult", "Suggestion", "hold_out", "run_demo"]

GIVEN = 6
"""How many products the recommender is told of each customer."""
BEFORE_LENGTH = 200
"""How far down the list before adaptation is searched for where an item came from."""


@dataclass(frozen=True)
class Suggestion:
    """One line of a list."""

    rank: int
    item_id: str
    title: str
    score: float
    bought_later: bool
    rank_before: int | None = None
    """Where the item stood before adaptation; None if it was not among the first 200."""
    explanation: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True)
class Customer:
    """A customer the model has never seen: what it was told, and what it then recommended."""

    user_id: str
    n_events: int
    n_items: int
    given: tuple[str, ...]
    """Titles of the first products, oldest first: all that the recommender knows."""
    before: tuple[Suggestion, ...]
    after: tuple[Suggestion, ...]


@dataclass(frozen=True)
class DemoResult:
    """Everything the demonstration shows."""

    n_items: int
    n_events: int
    n_users: int
    customers: tuple[Customer, ...]
    fit_seconds: float
    adapt_milliseconds: float
    """Per customer: adapting, retrieving and ranking, without the reasons."""
    model_bytes: int
    saved_to: str | None
    adapters: str
    """Whether adapters are used, or not used because they did not help users held out of training."""


@dataclass(frozen=True)
class _HeldOut:
    user_id: str
    n_events: int
    given: tuple[str, ...]
    later: frozenset[str]
    until: float


def hold_out(catalog: "recllm.Catalog", events: "recllm.Interactions", n: int = 3) -> list[_HeldOut]:
    """Choose `n` customers with 8 to 40 events and products left to check against, by the hash of their id."""
    counts = dict(events.frame.group_by("user_id").len().iter_rows())
    histories = make_histories(events, catalog, Feedback.infer(events.frame))
    fitting = [
        user
        for user in range(len(histories))
        if 8 <= counts.get(histories.user_ids[user], 0) <= 40 and histories.lengths[user] >= GIVEN + 3
    ]
    fitting.sort(key=lambda user: hashlib.sha256(histories.user_ids[user].encode()).digest())
    return [_held_out(catalog, histories, user, counts) for user in fitting[:n]]


def _held_out(catalog: "recllm.Catalog", histories: Histories, user: int, counts: dict[str, int]) -> _HeldOut:
    start, end = int(histories.offsets[user]), int(histories.offsets[user + 1])
    items = [catalog.item_ids[row] for row in histories.item_rows[start:end]]
    user_id = histories.user_ids[user]
    return _HeldOut(
        user_id=user_id,
        n_events=counts[user_id],
        given=tuple(items[:GIVEN]),
        later=frozenset(items[GIVEN:]),
        until=float(histories.timestamps[start + GIVEN - 1]),
    )


def _support(events: "recllm.Interactions", held_out: list[_HeldOut]) -> "recllm.Interactions":
    """The events that the recommender may see, all customers together."""
    user, item, when = map(pl.col, ("user_id", "item_id", "timestamp"))
    parts = [
        events.frame.filter(user == one.user_id, item.is_in(list(one.given)), when <= one.until) for one in held_out
    ]
    return recllm.Interactions.from_frame(pl.concat(parts))


def run_demo(
    *,
    seed: int = 0,
    device: str = "auto",
    budget: str = "3m",
    out: Path | None = None,
    progress: "Progress | None" = None,
) -> DemoResult:
    """Fit on the shipped shop without three customers, then recommend to these three.

    Args:
        seed: Same seed, same result.
        device: As in `TrainOptions`.
        budget: Most time for training.
        out: Where to keep the model; by default it is thrown away.
        progress: Called as stages advance.
    """
    catalog, events = recllm.load_demo()
    held_out = hold_out(catalog, events)
    training = events.without_users([one.user_id for one in held_out])
    started = time.monotonic()
    rec = recllm.Recommender(recllm.RecommenderConfig.demo())
    options = recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=progress)
    rec.fit(catalog, training, options=options)
    fit_seconds = time.monotonic() - started

    support = _support(events, held_out)
    before = rec.recommend(support, n=BEFORE_LENGTH, adapt=False)
    rec.recommend(support, n=10)  # once without the clock: the first call sets things up
    started = time.monotonic()
    rec.recommend(support, n=10)
    milliseconds = (time.monotonic() - started) * 1000 / len(held_out)
    after = rec.recommend(support, n=10, explain=True)
    titles = dict(zip(catalog.item_ids, catalog.titles, strict=True))
    return DemoResult(
        n_items=len(catalog),
        n_events=len(training),
        n_users=len(training.user_ids),
        customers=tuple(_customer(one, before, after, titles) for one in held_out),
        fit_seconds=fit_seconds,
        adapt_milliseconds=milliseconds,
        model_bytes=_save(rec, out),
        saved_to=None if out is None else str(out),
        adapters=str(rec.report.chosen.get("adapters", "used")),
    )


def _customer(one: _HeldOut, before: Any, after: Any, titles: dict[str, str]) -> Customer:
    first = list(before.for_user(one.user_id))
    ranks = {row.item_id: row.rank for row in first}

    def suggestion(row: Any) -> Suggestion:
        return Suggestion(
            rank=row.rank,
            item_id=row.item_id,
            title=titles[row.item_id],
            score=row.score,
            bought_later=row.item_id in one.later,
            rank_before=ranks.get(row.item_id),
            explanation=row.explanation,
            reason_code=row.reason_code,
        )

    return Customer(
        user_id=one.user_id,
        n_events=one.n_events,
        n_items=len(one.given) + len(one.later),
        given=tuple(titles[item] for item in one.given),
        before=tuple(suggestion(row) for row in first[:10]),
        after=tuple(suggestion(row) for row in after.for_user(one.user_id)),
    )


def _save(rec: "recllm.Recommender", out: Path | None) -> int:
    """Save the model for good or only to weigh it; its size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        place = out or Path(folder) / "model"
        rec.save(place)
        return size_of(place)
