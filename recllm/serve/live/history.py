"""Events of the store as the recommender reads them."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from recllm.data.cleaning import CleaningReport
from recllm.data.interactions import Interactions
from recllm.data.saved import COLUMNS
from recllm.serve.state.records import Event, Stored

_OPTIONAL = ("event", "rating", "weight")
_NAMES = ("user_id", "item_id", "timestamp", *_OPTIONAL)
# Of the types that a log has them in: events are put behind it.
_COLUMNS: dict[str, Any] = {name: COLUMNS.get(name, pl.String) for name in _NAMES}
_SOURCE = "the server's events"


def interactions(events: Sequence[Event], user_ids: Iterable[str] | None = None) -> Interactions:
    """Events that were checked when they came, as a log; columns in which none of them says anything are left out.

    Args:
        events: In any order.
        user_ids: All users of the log; those of the events if not given.
    """
    rows = [(one.user_id, one.item_id, one.timestamp, one.kind or None, one.rating, one.weight) for one in events]
    frame = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
    silent = [name for name in _OPTIONAL if frame[name].null_count() == frame.height]
    report = CleaningReport(_SOURCE, len(events), len(events))
    return Interactions(frame.drop(silent), report, user_ids, timed=True)


def as_of(theirs: Interactions, later: Sequence[Stored]) -> Interactions:
    """A user's events without those that came after a list.

    Args:
        theirs: All that is remembered of one user.
        later: What the server took in after the list.
    """
    if not later:
        return theirs
    gone = interactions([one.event for one in later]).frame.select("item_id", "timestamp").unique()
    frame = theirs.frame.join(gone, on=["item_id", "timestamp"], how="anti", maintain_order="left")
    report = CleaningReport(_SOURCE, frame.height, frame.height)
    return Interactions(frame, report, theirs.user_ids, theirs.timed)
