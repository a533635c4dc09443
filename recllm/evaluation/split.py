"""A split: what may be learned from and what is asked; checked for leaks, hashed, and saved for other programs."""

import gzip
import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import split_users
from recllm.errors import DataError, LeakageError
from recllm.evaluation.arms import Arm

REHEARSED_SHARE = 0.15
"""Items with events that are treated as new while settings for new items are chosen."""


@final
@dataclass(frozen=True, eq=False)
class Split:
    """One fold: what may be learned from, what choices are made on, and what is asked.

    Attributes:
        protocol: Its name.
        fold: Number of the fold, from 0.
        seed: Of the users' groups and of ties in time.
        catalog: All items; those of no event are known by their text only.
        train: Events to learn from, validation users included; sorted by user and time.
        validation_users: Users of `train` on whom settings are chosen.
        validation: Few-shot arms over them.
        arms: What is asked of every method.
        dropped: Reason -> test users that make no task.
        until: Where time is cut, unix seconds; None: it is not.
        cold_items: Items that training must not see, bool [items]; None: there are none.
        share: Part of the training events that was kept.
    """

    protocol: str
    fold: int
    seed: int
    catalog: Catalog
    feedback: Feedback
    train: Interactions
    validation_users: tuple[str, ...]
    validation: tuple[Arm, ...]
    arms: tuple[Arm, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    until: float | None = None
    cold_items: NDArray[np.bool_] | None = None
    share: float = 1.0

    @property
    def label(self) -> str:
        """Tells people which split of an evaluation this is: `30 % of events, fold 2: `; nothing for the first."""
        parts = [f"{100 * self.share:g} % of events"] if self.share < 1 else []
        parts += [f"fold {self.fold + 1}"] if self.fold else []
        parts += [f"seed {self.seed}"] if self.seed else []
        return ", ".join(parts) + ": " if parts else ""

    @property
    def fitting(self) -> Interactions:
        """The events of training users on whom nothing is chosen."""
        return self.train.without_users(self.validation_users)

    def rehearsal(self) -> tuple[Interactions, tuple[Arm, ...]]:
        """What to choose settings for new items on: other items are held out of `fitting`, and asked.

        Returns:
            The events without them, and the validation arms with these items alone as candidates.
        """
        warm = np.unique(self.fitting.item_rows(self.catalog))
        held = part_of(warm, REHEARSED_SHARE, self.catalog, self.seed + 2)
        fitting = self.fitting.select(~held[self.fitting.item_rows(self.catalog)])
        return fitting, tuple(replace(arm, candidates=held) for arm in self.validation)

    def audit(self) -> None:
        """Check that nothing of what is asked can be known.

        Raises:
            LeakageError: What leaks, and where.
        """
        learned = set(self.train.user_ids)
        if not set(self.validation_users) <= learned:
            raise LeakageError("validation users must be training users; make the split with make_splits.")
        if self.until is not None and (self.train.frame["timestamp"] >= self.until).any():
            raise LeakageError(f"training holds events from {self.until:.15g} on, where its time is cut.")
        if self.cold_items is not None and self.cold_items[self.train.item_rows(self.catalog)].any():
            raise LeakageError("training holds events of items that are held out of it.")
        chosen = set(self.validation_users)
        for arm in self.validation:
            _audit_order(arm)
            if not set(arm.user_ids) <= chosen:
                raise LeakageError(f"validation arm {arm.name} asks users who are not set apart for validation.")
        for arm in self.arms:
            _audit_order(arm)
            if arm.strangers and (both := learned & set(arm.user_ids)):
                raise LeakageError(f"{len(both)} users of arm {arm.name} are in training, for example {min(both)!r}.")
            if not arm.strangers and (known := self._asked_in_training(arm)):
                raise LeakageError(f"{known} events asked in arm {arm.name} are in training.")
            if self.until is not None and arm.query.n_events and arm.query.timestamps.min() < self.until:
                raise LeakageError(f"arm {arm.name} asks for events before {self.until:.15g}, where training ends.")

    def _asked_in_training(self, arm: Arm) -> int:
        """Pairs of user and item that are asked and learned from."""
        learned = self.train.of_users(arm.user_ids)
        width = max(len(self.catalog), 1)
        return len(
            np.intersect1d(
                learned.user_rows * width + learned.item_rows(self.catalog),
                arm.query.user_rows * width + arm.query.item_rows,
            )
        )

    @cached_property
    def tables(self) -> dict[str, str]:
        """The split as csv: `items`, `train`, `support` and `query`; items and users in the order of their ids."""
        repeats = repeats_of(self.protocol)
        train = self._frame(make_histories(self.train, self.catalog, self.feedback, seed=self.seed, repeats=repeats))
        chosen = pl.col("user_id").is_in(list(self.validation_users))
        part = pl.when(chosen).then(pl.lit("validation")).otherwise(pl.lit("train")).alias("part")
        named = [(f"{which}/{arm.name}", arm) for which, arm in self._all_arms()]
        columns = ["arm", "user_id", "item_id", "timestamp", "signal"]
        halves = {
            half: pl.concat([self._frame(getattr(arm, half)).with_columns(arm=pl.lit(name)) for name, arm in named])
            for half in ("support", "query")
        }
        cold = np.zeros(len(self.catalog), dtype=bool) if self.cold_items is None else self.cold_items
        items = pl.DataFrame({"item_id": pl.Series(self.catalog.item_ids, dtype=pl.String), "cold": cold.astype(int)})
        frames = {"items": items.sort("item_id"), "train": train.with_columns(part)}
        frames |= {name: half.select(columns) for name, half in halves.items()}
        return {name: frame.write_csv() for name, frame in frames.items()}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what `save` writes of users and items; the same for any order of items, users or rows."""
        return hashlib.sha256("\x00".join(self.tables.values()).encode()).hexdigest()

    @cached_property
    def contents(self) -> str:
        """SHA-256 of all that a method can see, texts, ratings and the order of items included: what lists rest on."""
        logs = [arm.log.fingerprint for _, arm in self._all_arms() if arm.log is not None]
        parts = [self.fingerprint, self.catalog.fingerprint, self.train.fingerprint, *dict.fromkeys(logs)]
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write the split for other programs: `split.json`, and `items`, `train`, `support`, `query` as gzipped csv.

        Raises:
            DataError: The folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, table in self.tables.items():
                (folder / f"{name}.csv.gz").write_bytes(gzip.compress(table.encode(), mtime=0))
            (folder / "split.json").write_text(json.dumps(self.about(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write the split to {folder}: {error.strerror or error}") from error

    def about(self) -> dict[str, Any]:
        """What the split is, as JSON-able values."""
        return {
            "format": "recllm-split-1",
            "protocol": self.protocol,
            "fold": self.fold,
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "training users": len(self.train.user_ids),
            "validation users": len(self.validation_users),
            "training events": len(self.train),
            "share of training events": self.share,
            "dropped": self.dropped,
            "arms": [
                {
                    "arm": f"{which}/{arm.name}",
                    "part": which,
                    "protocol": arm.protocol,
                    "shots": arm.shots,
                    "users": len(arm),
                    "candidates": self._candidates(arm),
                    "exclude_seen": arm.exclude_seen,
                    "strangers": arm.strangers,
                }
                for which, arm in self._all_arms()
            ],
        }

    def asks_new_items(self, arm: Arm) -> bool:
        """Whether an arm ranks the items that training must not see."""
        if arm.candidates is None or self.cold_items is None:
            return False
        return np.array_equal(arm.candidates, self.cold_items)

    def _candidates(self, arm: Arm) -> str:
        """Which items are ranked, in terms of the table of items."""
        if arm.candidates is None:
            return "all"
        return "cold" if self.asks_new_items(arm) else "not cold"

    def _all_arms(self) -> list[tuple[str, Arm]]:
        return [("validation", arm) for arm in self.validation] + [("test", arm) for arm in self.arms]

    def _frame(self, histories: Histories) -> pl.DataFrame:
        ids, items = histories.user_ids, self.catalog.item_ids
        return pl.DataFrame(
            {
                "user_id": pl.Series([ids[user] for user in histories.user_rows], dtype=pl.String),
                "item_id": pl.Series([items[row] for row in histories.item_rows], dtype=pl.String),
                "timestamp": histories.timestamps,
                "signal": histories.signals,
            }
        )


def part_of(rows: NDArray[np.int64], share: float, catalog: Catalog, seed: int) -> NDArray[np.bool_]:
    """A share of some of the items, chosen by a hash of their ids: bool [items]."""
    part = np.zeros(len(catalog), dtype=bool)
    ids = [catalog.item_ids[row] for row in rows]
    part[rows[split_users(ids, {"part": share}, seed)["part"]]] = True
    return part


def repeats_of(protocol: str) -> Literal["first", "all"]:
    """Whether a user's further events with an item count: only where the next basket may hold known items."""
    return "all" if protocol == "basket" else "first"


def _audit_order(arm: Arm) -> None:
    """The support lies before the query, user by user."""
    if arm.support.user_ids != arm.query.user_ids or len(set(arm.user_ids)) != len(arm):
        raise LeakageError(f"arm {arm.name} mixes users: support and query must be of the same distinct users.")
    newest = np.full(len(arm), -np.inf)
    np.maximum.at(newest, arm.support.user_rows, arm.support.timestamps)
    if (arm.query.timestamps <= newest[arm.query.user_rows]).any():
        raise LeakageError(f"arm {arm.name} asks for events that are not later than what it tells.")
