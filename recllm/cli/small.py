"""The demonstration of a small shop: what a ranking that has seen many shops is worth where there are few customers.

The shop is the shipped one, learned from a hundred of its customers; they, and those who are met, are chosen by the
hash of their id. It is learned twice, with the shop prior and without, and whichever finds more is what is told.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import recllm
from recllm.cli.demo import DAY, GIVEN, hold_out, last_day, save_model
from recllm.cli.facts import Compared, Line, SmallResult, Tally
from recllm.cli.scenes import LENGTH, HeldOut, Visitor, hash_of, meet
from recllm.evaluation.statistics import paired_estimates

if TYPE_CHECKING:
    from recllm.options import Progress

__all__ = ["run_small"]

USERS = 100
"""Customers of the small shop."""
ASKED = 300
"""Other customers whose lists are counted."""
NEW_FOR = 60 * DAY
"""How long before the last day they may have come first: four weeks have too few of them."""


@dataclasses.dataclass(frozen=True)
class Popular:
    """What most customers have.

    Attributes:
        owners: How many customers have each item, most first.
    """

    owners: dict[str, int]

    @classmethod
    def of(cls, log: "recllm.Interactions") -> "Popular":
        """In a log; of items that as many have, the one that as text comes first."""
        owners = log.frame.group_by("item_id").agg(pl.col("user_id").n_unique())
        return cls(dict(owners.sort(["user_id", "item_id"], descending=[True, False]).iter_rows()))

    @property
    def visitor(self) -> Visitor:
        """Who would be shown these."""
        return Visitor(tuple(self.owners))

    def lines(self, catalog: "recllm.Catalog", customer: HeldOut) -> tuple[Line, ...]:
        """The first ten that a customer was not told to have."""
        items, places = self.visitor.without(customer.given), {item: n for n, item in enumerate(self.owners, 1)}
        titles = [catalog.titles[row] for row in catalog.rows(items)]
        return tuple(
            Line(rank, item, title, float(self.owners[item]), places[item], bought_too=item in customer.rest)
            for rank, (item, title) in enumerate(zip(items, titles, strict=True), 1)
        )


def run_small(
    *,
    seed: int = 0,
    device: str = "auto",
    budget: str = "3m",
    out: Path | None = None,
    progress: "Progress | None" = None,
) -> SmallResult:
    """Fit on a hundred customers of the shipped shop, with the shop prior and without, and compare the lists.

    Args:
        seed: Same seed, same result.
        device: As in `TrainOptions`.
        budget: Most time for each of the two trainings.
        out: Where to keep the model with the prior; by default it is thrown away.
        progress: Called as stages advance.
    """
    catalog, events = recllm.load_demo()
    met = hold_out(catalog, events)
    others = events.without_users([one.user_id for one in met])
    earlier = others.before(last_day(events))
    shop = earlier.of_users(sorted(earlier.user_ids, key=hash_of)[:USERS])
    config = recllm.RecommenderConfig.demo()
    options = recllm.TrainOptions(seed=seed, device=device, budget=budget, progress=progress)
    started = time.monotonic()
    rec = recllm.Recommender(config).fit(catalog, shop, options=options)
    fitted = time.monotonic()
    options = dataclasses.replace(options, progress=progress and _second(progress))
    alone = recllm.Recommender(dataclasses.replace(config, prior=None)).fit(catalog, shop, options=options)
    both = time.monotonic()

    popular = Popular.of(shop)
    asked = hold_out(catalog, others.without_users(shop.user_ids), ASKED, NEW_FOR)
    return SmallResult(
        n_items=len(catalog),
        n_sold=len(popular.owners),
        n_events=len(shop),
        n_users=len(shop.user_ids),
        until=datetime.fromtimestamp(shop.frame["timestamp"].to_numpy().max(), UTC).date().isoformat(),
        customers=tuple(_compare(rec, alone, popular, one, events) for one in met),
        tally=_count(rec, alone, popular.visitor, asked, others),
        ranking=rec.report.chosen.get("ranking", "the shop prior"),
        fit_seconds=fitted - started,
        shop_only_seconds=both - fitted,
        seconds=time.monotonic() - both,
        model_bytes=save_model(rec, out),
        saved_to=None if out is None else str(out),
    )


def _second(progress: "Progress") -> "Progress":
    def again(stage: str, done: float, total: float, note: str = "") -> None:
        progress(f"{stage}, without the prior", done, total, note)

    return again


def _compare(
    rec: "recllm.Recommender",
    alone: "recllm.Recommender",
    popular: Popular,
    customer: HeldOut,
    events: "recllm.Interactions",
) -> Compared:
    with_prior, shop_only = (meet(one, customer, events, (GIVEN,), popular.visitor) for one in (rec, alone))
    return Compared(with_prior, shop_only.lists[-1].lines, popular.lines(rec.catalog, customer))


def _count(
    rec: "recllm.Recommender",
    alone: "recllm.Recommender",
    popular: Visitor,
    asked: Sequence[HeldOut],
    events: "recllm.Interactions",
) -> Tally:
    """Ask all of them at once, and count what they bought afterwards."""
    log = events.of_users([one.user_id for one in asked])
    told = recllm.Interactions.from_frame(pl.concat([one.told(log, GIVEN).frame for one in asked]))
    with_prior, shop_only = (_hits(one, told, asked) for one in (rec, alone))
    gain, _ = paired_estimates(with_prior, shop_only, range(len(asked)))
    return Tally(
        customers=len(asked),
        days=round(NEW_FOR / DAY),
        known=GIVEN,
        bought=sum(len(one.rest) for one in asked),
        with_prior=sum(with_prior),
        shop_only=sum(shop_only),
        popular=sum(len(one.rest.intersection(popular.without(one.given))) for one in asked),
        gain=sum(with_prior) - sum(shop_only),
        gain_interval=(gain.low * len(asked), gain.high * len(asked)),
    )


def _hits(rec: "recllm.Recommender", told: "recllm.Interactions", asked: Sequence[HeldOut]) -> list[int]:
    """Of each, how many products of their list of ten they bought afterwards."""
    rest = {one.user_id: one.rest for one in asked}
    found = Counter(row.user_id for row in rec.recommend(told, n=LENGTH) if row.item_id in rest[row.user_id])
    return [found[one.user_id] for one in asked]
