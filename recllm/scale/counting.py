"""Counts of a divided log: each part counted where there is a worker, the parts' counts added up."""

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recllm.counts.apart import keep, sum_of, tree_sum
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.feedback import Feedback, Tallies
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.options import Progress
from recllm.scale.events import PartitionedEvents
from recllm.scale.executor import Executor


@dataclass(frozen=True)
class Counted:
    """What was counted, and how ratings and events were understood.

    Attributes:
        counts: Of all users.
        feedback: The meaning of ratings and events, as a fit infers it.
    """

    counts: Counts
    feedback: Feedback


def count_events(
    events: PartitionedEvents,
    catalog: Catalog,
    executor: Executor,
    *,
    liked_from: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Counted:
    """Count a divided log: to the last bit what `Counts.of` gives of the whole log in memory.

    Two passes: what ratings mean and how long a moment lasts depends on all events; then each part is counted by
    itself. A worker has one part in memory, and the caller the sum.

    Args:
        events: The log.
        catalog: Items; events with others are passed over.
        executor: The workers; on other machines they read the log at the same path.
        liked_from: See `RecommenderConfig`.
        seed: Of ties, as in `TrainOptions`.
        progress: Told of the shards that are finished.

    Raises:
        ArtifactError: A part is damaged.
        DataError: No event is about an item of the catalog.
    """
    with tempfile.TemporaryDirectory(prefix=f".{events.folder.name}-counts-", dir=events.folder.parent) as work:
        items = Path(work) / "items.arrow"
        catalog.frame.select("item_id").write_ipc(items)
        parts = range(len(events.parts))
        look = functools.partial(_seen, str(events.folder), str(items))
        seen = tree_sum(list(executor.map(look, parts, progress)))
        if seen.first is None or seen.last is None:
            raise DataError(
                f"none of the {len(events):,} events is about one of the {len(catalog):,} items of the catalog; check "
                "that both use the same item ids."
            )
        feedback = Feedback.of_tallies(seen.tallies, liked_from)
        resolution = resolution_of(np.array([seen.first, seen.last]))
        count = functools.partial(_counted, str(events.folder), str(items), work, feedback, resolution, seed)
        made = [Path(path) for path in executor.map(count, parts, progress)]
        return Counted(sum_of(made, len(catalog)), feedback)


@dataclass(frozen=True)
class _Seen:
    """What the events of a part tell about all."""

    tallies: Tallies
    first: float | None
    last: float | None

    def __add__(self, other: "_Seen") -> "_Seen":
        times = [time for one in (self, other) for time in (one.first, one.last) if time is not None]
        return _Seen(self.tallies + other.tallies, min(times, default=None), max(times, default=None))


def _seen(folder: str, items: str, part: int) -> _Seen:
    """Of the events with known items; times are those of a user's first event with an item, as in histories."""
    events = _part(folder, items, part)
    first = events.frame.group_by("user_id", "item_id").agg(pl.col("timestamp").min())["timestamp"].to_numpy()
    times = (float(first.min()), float(first.max())) if len(first) else (None, None)
    return _Seen(Tallies.of(events.frame), *times)


def _counted(folder: str, items: str, work: str, feedback: Feedback, resolution: float, seed: int, part: int) -> str:
    """Count one part, and say where the counts are."""
    catalog = _catalog(items)
    histories = make_histories(_part(folder, items, part), catalog, feedback, seed=seed)
    path = Path(work) / f"counts-{part:06d}.safetensors"
    keep(Counts.of(histories, len(catalog), resolution), path)
    return str(path)


def _part(folder: str, items: str, part: int) -> Interactions:
    return PartitionedEvents.open(folder).part(part).known_items(_catalog(items))


@functools.lru_cache(maxsize=1)
def _catalog(items: str) -> Catalog:
    """Items of which only the ids are known; a worker reads them once."""
    frame = pl.read_ipc(items)
    return Catalog(frame, CleaningReport("items", frame.height, frame.height))
