"""Events as tables to be saved, users and items as places in lists of ids; what is read back is checked."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from recllm.data.cleaning import CleaningReport
from recllm.data.interactions import Interactions
from recllm.errors import ArtifactError

__all__ = ["COLUMNS", "LATEST", "check_columns", "event_table", "id_table", "saved_events", "saved_ids"]

COLUMNS = {"timestamp": pl.Float64, "rating": pl.Float32, "event": pl.String, "weight": pl.Float32}
"""What models are made of; other columns of a log are not kept."""

LATEST = 1e12
"""No event is later (unix seconds)."""


def id_table(name: str, ids: Iterable[str]) -> pl.DataFrame:
    """One column of ids."""
    return pl.DataFrame({name: pl.Series(list(ids), dtype=pl.String)})


def event_table(events: Interactions, item_ids: Iterable[str]) -> pl.DataFrame:
    """Events by the places of their users in `events.user_ids` and of their items in `item_ids`."""
    items = id_table("item_id", item_ids).with_row_index("item")
    found = events.frame.select("item_id").join(items, on="item_id", how="left", maintain_order="left")["item"]
    kept = {name: events.frame[name].cast(kind) for name, kind in COLUMNS.items() if name in events.frame.columns}
    return pl.DataFrame({"user": pl.Series(events.user_rows, dtype=pl.Int32), "item": found.cast(pl.Int32)} | kept)


def saved_ids(what: str, table: pl.DataFrame, name: str) -> pl.Series:
    """The ids of an `id_table`, or of a column of another one.

    Raises:
        ArtifactError: They are none: missing, empty or twice there.
    """
    check_columns(what, table.select(name) if name in table.columns else table, {name: pl.String})
    ids = table[name]
    if ids.n_unique() != len(ids) or (ids == "").any():
        raise ArtifactError(f"{what} have ids that are empty or the same")
    return ids


def saved_events(table: pl.DataFrame, user_ids: pl.Series, item_ids: pl.Series, timed: Any) -> Interactions:
    """The inverse of `event_table`.

    Raises:
        ArtifactError: A place, a time or a number is out of range, or a column is of another type.
    """
    present = {name: kind for name, kind in COLUMNS.items() if name in table.columns}
    check_columns("the events", table, {"user": pl.Int32, "item": pl.Int32, "timestamp": pl.Float64} | present)
    for name, below in (("user", len(user_ids)), ("item", len(item_ids)), ("timestamp", LATEST)):
        if table[name].null_count() or not table[name].is_between(0, below, closed="left").all():
            raise ArtifactError(f"the events have {name}s that are not from 0 to {below:g}")
    for name in sorted({"rating", "weight"} & set(present)):
        if not table[name].is_finite().fill_null(True).all():
            raise ArtifactError(f"the events have {name}s that are no numbers")
    if not isinstance(timed, bool):
        raise ArtifactError("the events do not say whether they have times")
    ids = [user_ids.gather(table["user"]).alias("user_id"), item_ids.gather(table["item"]).alias("item_id")]
    frame = pl.DataFrame([*ids, *(table[name] for name in present)])
    return Interactions(frame, CleaningReport("saved events", frame.height, frame.height), user_ids.to_list(), timed)


def check_columns(what: str, frame: pl.DataFrame, wanted: Mapping[str, Any]) -> None:
    """Refuse other columns than these, and cells without a value but in what events may lack.

    Raises:
        ArtifactError: That is what it holds.
    """
    if dict(frame.schema) != dict(wanted):
        raise ArtifactError(f"{what} have the columns {dict(frame.schema)} instead of {dict(wanted)}")
    if any(frame[name].null_count() for name in wanted if name not in COLUMNS):
        raise ArtifactError(f"{what} have cells without a value")
