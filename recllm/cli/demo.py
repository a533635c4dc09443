"""The demonstration: learn the shipped shop, then let it live through what it has never seen.

Nobody chose the customers and the day: they are held out of training by a hash of their id, and it is the last one of
the log. The product is chosen, among a dozen invented ones, because it ranks well, and the output says so. A
customer is known by the first few products only; what they bought afterwards is kept back and is the check.
"""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import recllm
from recllm.cli.app import size_of
from recllm.cli.facts import DemoResult
from recllm.cli.scenes import HeldOut, Visitor, arrive, forget, hash_of, live_through, meet
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories

if TYPE_CHECKING:
    from recllm.options import Progress

__all__ = ["DAY", "GIVEN", "hold_out", "last_day", "run_demo", "save_model"]

STEPS = (1, 3, 6)
"""How many products of the first customer the recommender is told of, one time after the other."""
GIVEN = STEPS[-1]
"""How many products of the others."""
DAY = 86_400.0
"""Seconds."""
NEW_FOR = 28 * DAY
"""How long before the last day a customer may have come first: they are asked as of the end of the log."""
PRODUCT = {"item_id": "new-teacup", "title": "Blue regency teacup and saucer"}
"""A product that the shop does not have, of a kind that sells there: all it says of any is a title."""
QUERY = "something blue to drink tea from"


def hold_out(
    catalog: "recllm.Catalog", events: "recllm.Interactions", n: int = 3, new_for: float = NEW_FOR
) -> list[HeldOut]:
    """Choose `n` new customers by the hash of their id, or as many as there are.

    They came first in the `new_for` seconds before the last day, have 8 to 40 events, and products left to check
    against.
    """
    begins = last_day(events)
    facts = events.frame.group_by("user_id").agg(pl.len(), pl.col("timestamp").min())
    counts = {
        user: number
        for user, number, first in facts.iter_rows()
        if 8 <= number <= 40 and begins - new_for <= first < begins
    }
    histories = make_histories(events, catalog, Feedback.infer(events.frame))
    fitting = [
        user
        for user in range(len(histories))
        if histories.user_ids[user] in counts
        and histories.lengths[user] >= GIVEN + 3
        and histories.timestamps[histories.offsets[user] + GIVEN - 1] < begins
    ]
    fitting.sort(key=lambda user: hash_of(histories.user_ids[user]))
    return [_held_out(catalog, histories, user, counts) for user in fitting[:n]]


def _held_out(catalog: "recllm.Catalog", histories: Histories, user: int, counts: dict[str, int]) -> HeldOut:
    start, end = int(histories.offsets[user]), int(histories.offsets[user + 1])
    items = [catalog.item_ids[row] for row in histories.item_rows[start:end]]
    user_id = histories.user_ids[user]
    return HeldOut(
        user_id=user_id,
        n_events=counts[user_id],
        given=tuple(items[:GIVEN]),
        rest=frozenset(items[GIVEN:]),
        times=tuple(histories.timestamps[start : start + GIVEN].tolist()),
    )


def last_day(events: "recllm.Interactions") -> float:
    """When the last day of a log begins, unix seconds."""
    return float(events.frame["timestamp"].to_numpy().max() // DAY * DAY)


def run_demo(
    *,
    seed: int = 0,
    device: str = "auto",
    budget: str = "3m",
    out: Path | None = None,
    progress: "Progress | None" = None,
) -> DemoResult:
    """Fit on the shipped shop without three customers and its last day, then go on with these.

    Args:
        seed: Same seed, same result.
        device: As in `TrainOptions`.
        budget: Most time for training.
        out: Where to keep the model; by default it is thrown away.
        progress: Called as stages advance.
    """
    catalog, events = recllm.load_demo()
    held_out = hold_out(catalog, events)
    others = events.without_users([one.user_id for one in held_out])
    begins = last_day(events)
    training = others.before(begins)
    day = recllm.Interactions.from_frame(others.frame.filter(pl.col("timestamp") >= begins))
    started = time.monotonic()
    rec = recllm.Recommender(recllm.RecommenderConfig.demo())
    options = recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=progress)
    rec.fit(catalog, training, options=options)
    fitted = time.monotonic()

    visitor = Visitor.of(rec)
    customers = tuple(meet(rec, one, events, STEPS if one is held_out[0] else (GIVEN,), visitor) for one in held_out)
    lived = live_through(rec, training, day, visitor)
    freshness, model_bytes = rec.freshness().at(None), save_model(rec, out)
    arrival, log = arrive(rec, recllm.Catalog.from_frame([PRODUCT]), QUERY, others)
    forgotten = forget(rec, lived.customer.user_id, log)
    return DemoResult(
        n_items=len(catalog),
        n_events=len(training),
        n_users=len(training.user_ids),
        until=datetime.fromtimestamp(training.frame["timestamp"].to_numpy().max(), UTC).date().isoformat(),
        customers=customers,
        day=lived,
        arrival=arrival,
        forgotten=forgotten,
        fit_seconds=fitted - started,
        seconds=time.monotonic() - fitted,
        freshness=freshness,
        model_bytes=model_bytes,
        saved_to=None if out is None else str(out),
    )


def save_model(rec: "recllm.Recommender", out: Path | None) -> int:
    """Save the model for good or only to weigh it; its size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        place = out or Path(folder) / "model"
        rec.save(place)
        return size_of(place)
