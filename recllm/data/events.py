"""Cleaning of event logs: raw tables and mappings -> clean frames."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.cleaning import CleaningReport, Sieve, as_id, as_ids, as_numbers, decode_damage
from recllm.data.columns import INTERACTION_COLUMNS, ColumnMapping, match_columns, role_of
from recllm.data.frames import frame_of_records, table_of_frame
from recllm.data.ids import elements, holds_several, is_frame, read_ids
from recllm.data.kinds import column_of, texts_of
from recllm.data.process import stay_in_process
from recllm.data.raw import RawTable
from recllm.data.timestamps import ANY, DAY, Notation, parse_timestamps
from recllm.data.which_time import with_time
from recllm.errors import DataError

_A_YEAR = 365 * DAY
_FLAG = "\x00bad "  # prefix of working columns; dropped before the frame is given out


@dataclass(frozen=True)
class CleanEvents:
    """A clean frame, its report, and whether its timestamps are times (else only positions in a list)."""

    frame: pl.DataFrame
    report: CleaningReport
    timed: bool


def clean_events(raw: RawTable, columns: Mapping[str, str] | None, notation: Notation = ANY) -> CleanEvents:
    """The clean frame of `Interactions` and its report.

    Args:
        raw: The table.
        columns: The caller's names for recllm's, where the aliases do not find them.
        notation: How its times are written, where they do not tell.

    Raises:
        DataError: There is no user or item column, a column's type is none for its part, or there are rows but none
            can be used.
    """
    mapping, guesses = match_events(raw.frame.columns, raw.frame.get_column, columns, raw.source)
    report, notes = CleaningReport.of(raw, mapping, guesses), list[str]()
    frame = pl.DataFrame(list(canonical_columns(raw.frame.get_column, mapping, notation, notes)))
    sieve = Sieve(frame, report)
    sieve.note(*notes)
    timed = sift(sieve, raw.undecodable or pl.Binary in raw.frame.dtypes)
    times = sieve.frame["timestamp"].to_numpy()
    if timed and (early := events_of_1970(times)):
        notice_early(sieve, early, len(times), float(times.min()), float(times.max()))
    return CleanEvents(*sieve.result(), timed)


def match_events(
    names: Sequence[str], column: Callable[[str], pl.Series], columns: Mapping[str, str] | None, source: str
) -> tuple[ColumnMapping, list[str]]:
    """Which column of a log is which, and sentences about what was guessed.

    Args:
        names: Of the log's columns.
        column: Gives one of them.
        columns: The caller's names for recllm's.
        source: What is being read, for the error sentence.

    Raises:
        DataError: There is no user or item column.
    """
    mapping = match_columns(names, INTERACTION_COLUMNS, ["user_id", "item_id"], columns, source)
    return with_time(column, mapping)


def sift(sieve: Sieve, undecodable: bool) -> bool:
    """Drop what cannot be used and count it, each row by what it says itself or what its user's other rows say.

    Args:
        sieve: Of `canonical_columns`; gets the clean frame. All rows of a user are in it, in the order of the log.
        undecodable: Whether bytes of the log were no valid text.

    Returns:
        Whether timestamps are times.
    """
    decode_damage(sieve, undecodable, ["user_id", "item_id"])
    sieve.drop("missing_user_id", sieve.frame["user_id"].is_null())
    sieve.drop("missing_item_id", sieve.frame["item_id"].is_null())
    timed = _check_times(sieve)
    for name in ("rating", "weight"):
        if name in sieve.frame.columns:
            sieve.drop(f"bad_{name}", sieve.frame[_FLAG + name])
    sieve.frame = sieve.frame.select(c for c in sieve.frame.columns if not c.startswith(_FLAG))
    sieve.drop("duplicate_event", are_copies(sieve.frame))
    for name in ("rating", "weight", "event"):
        if name in sieve.frame.columns:
            sieve.notice(f"missing_{name}", sieve.frame[name].null_count())
    return timed


def are_copies(frame: pl.DataFrame) -> pl.Series:
    """bool [events]: events that equal an earlier one; the same pair at another time is no copy."""
    identity = [c for c in ("user_id", "item_id", "timestamp", "event", "rating", "weight") if c in frame.columns]
    return ~frame.select(pl.struct(identity).is_first_distinct()).to_series()


def _check_times(sieve: Sieve) -> bool:
    if "timestamp" not in sieve.frame.columns:
        order = pl.int_range(pl.len()).over("user_id").cast(pl.Float64).alias("timestamp")
        frame = sieve.frame.with_columns(order)
        sieve.frame = frame.select("user_id", "item_id", "timestamp", pl.exclude("user_id", "item_id", "timestamp"))
        sieve.note("there are no timestamps: the order of a user's rows is taken as the order of time")
        return False
    sieve.drop("missing_timestamp", sieve.frame[_FLAG + "missing timestamp"])
    sieve.drop("bad_timestamp", sieve.frame["timestamp"].is_null())
    sieve.drop("negative_timestamp", sieve.frame["timestamp"] < 0)
    sieve.drop("future_timestamp", sieve.frame["timestamp"] > time.time() + DAY)
    return True


def events_of_1970(times: NDArray[np.float64]) -> int:
    """How many moments, unix seconds, lie in 1970: zeros for unknown times and strange units end up there."""
    return int((times < _A_YEAR).sum())


def notice_early(sieve: Sieve, early: int, kept: int, low: float, high: float) -> None:
    """Say how many of the events that are kept lie in 1970, and if all do, from when to when."""
    if early < kept:
        sieve.notice("early_timestamp", early)
    elif low != high:
        sieve.note(
            f"all timestamps lie in 1970 ({low:.15g} to {high:.15g} seconds): they count as an order; "
            f"times are seconds or milliseconds since 1970, dates, or what dates= says"
        )


def canonical_columns(
    column: Callable[[str], pl.Series], mapping: ColumnMapping, notation: Notation, notes: list[str]
) -> Iterator[pl.Series]:
    """A log's columns under recllm's names and types, one by one, with flags that say which cells could not be read.

    Args:
        column: Gives a column of the log.
        mapping: Which is which.
        notation: How times are written.
        notes: Gets sentences for the report.
    """
    found = mapping.found
    for name in ("user_id", "item_id"):
        yield as_ids(column(found[name])).alias(name)
    if "timestamp" in found:
        yield from timestamp_columns(column(found["timestamp"]), notation, notes)
    for name in ("rating", "event", "weight", "review_text"):
        if name in found:
            yield from named_columns(name, column(found[name]))
    for name, theirs in mapping.extras.items():
        extra = column_of(column(theirs).alias(name))
        notes += extra.notes
        yield extra.values
    if unused := [*mapping.extras]:
        notes.append(f"kept, but not read by the model: {', '.join(map(repr, unused))}")


def timestamp_columns(series: pl.Series, notation: Notation, notes: list[str]) -> list[pl.Series]:
    """Unix seconds and a flag for those that are missing; nothing where all of many are."""
    seconds, missing, sentences = parse_timestamps(series, notation)
    notes += sentences
    if missing.all() and len(series):
        return []
    return [seconds.alias("timestamp"), missing.alias(_FLAG + "missing timestamp")]


def named_columns(name: str, series: pl.Series) -> list[pl.Series]:
    """Ratings and weights as numbers, with a flag for what is none; events and reviews as texts."""
    if name in ("event", "review_text"):
        return [texts_of(series).alias(name)]
    number, bad = as_numbers(series)
    return [number.alias(name), bad.alias(_FLAG + name)]


def clean_mapping(events: Mapping[Any, Any]) -> tuple[CleanEvents, tuple[str, ...]]:
    """`{user: [item ids or event mappings] | Interactions}` -> clean events and all user ids.

    Raises:
        DataError: A value is no such list, or none of the events can be used.
    """
    stay_in_process()
    if not isinstance(events, Mapping):
        raise DataError(f"a mapping user id -> list of item ids was expected, got {type(events).__name__}")
    if {"user_id", "item_id"} <= set(events):
        raise DataError("a mapping from users to items was expected, got columns; write pandas.DataFrame(…) around it")
    users: dict[str, Any] = {}
    shared: dict[int, list[dict[str, Any]]] = {}  # one iterator for several users is read once
    records: list[dict[str, Any]] = []
    for user, value in events.items():
        key = as_id(user)
        if key in users:
            raise DataError(f"users {users[key]!r} and {user!r} are one id, {key!r}; write each user once")
        users[key] = user
        if id(value) not in shared:
            shared[id(value)] = _events_of_one(user, value)
        records += [{"user_id": key, **event} for event in shared[id(value)]]
    if not records:
        schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Float64}
        return CleanEvents(pl.DataFrame(schema=schema), CleaningReport("mapping", 0, 0), False), tuple(users)
    if all(record.keys() == _ID_ALONE for record in records) and (clean := _ids_alone(records)) is not None:
        return clean, tuple(users)
    repaired: list[str] = []
    frame = frame_of_records(records, repaired)
    raw = RawTable(frame, "mapping", frame.height)
    raw.note_repaired(repaired)
    if "timestamp" not in frame.columns:
        raw.frame = frame.rename({_POSITION: "timestamp"})
        clean = clean_events(raw, None)
        report = replace(clean.report, notes=tuple(note for note in clean.report.notes if "1970" not in note))
        return CleanEvents(clean.frame, report, False), tuple(users)
    if _POSITION in frame.columns:
        # Positions must not take part in telling the unit of the real timestamps.
        seconds = parse_timestamps(frame["timestamp"])[0]
        raw.frame = frame.with_columns(timestamp=pl.coalesce(_POSITION, seconds)).drop(_POSITION)
    return clean_events(raw, None), tuple(users)


_POSITION = "\x00position"
_ID_ALONE = {"user_id", "item_id", _POSITION}


def _ids_alone(records: list[dict[str, Any]]) -> CleanEvents | None:
    """What `clean_events` makes of ids without anything else, for a hundredth of its time: this is asked at each visit.

    None for ids that only it can mend.
    """
    distinct = list(dict.fromkeys((event["user_id"], event["item_id"], event[_POSITION]) for event in records))
    users, items, positions = zip(*distinct, strict=True)
    try:
        columns = [pl.Series("user_id", users, pl.String), pl.Series("item_id", items, pl.String)]
    except UnicodeEncodeError:
        return None
    frame = pl.DataFrame([*columns, pl.Series("timestamp", list(map(float, positions)), pl.Float64)])
    report = CleaningReport("mapping", len(records), len(records), columns={name: name for name in frame.columns})
    return CleanEvents(frame, report.drop("duplicate_event", len(records) - len(distinct)), False)


def _events_of_one(user: Any, value: Any) -> list[dict[str, Any]]:
    frame = getattr(value, "frame", None)
    if is_frame(value):
        frame = table_of_frame(value).frame
    if isinstance(frame, pl.DataFrame):
        items: list[Any] = list(frame.iter_rows(named=True))
    elif isinstance(value, Mapping) or not holds_several(value):
        raise DataError(
            f"user {user!r}: a list of item ids or events was expected, got {type(value).__name__}; write [{value!r}]"
        )
    else:
        items = read_ids(value, "") if isinstance(value, set | frozenset) else elements(value, f"user {user!r}")
    kinds = {isinstance(item, Mapping) for item in items}
    if len(kinds) > 1:
        raise DataError(f"user {user!r}: a list holds either item ids or events (mappings), not both")
    if True in kinds:
        events = [_event(item) for item in items]
    else:
        events = [{"item_id": item} for item in read_ids(items, f"user {user!r}")]
    timed = {event.get("timestamp") is not None for event in events}
    if len(timed) > 1:
        raise DataError(f"user {user!r}: either all events of a user have a timestamp or none has")
    if True in timed:
        return events
    # A set has no order: its events count as simultaneous.
    step = 0 if isinstance(value, set | frozenset) else 1
    return [{**event, _POSITION: position * step} for position, event in enumerate(events)]


def _event(given: Mapping[Any, Any]) -> dict[str, Any]:
    """One event under recllm's names; a user id inside it does not count, the mapping's key does."""
    event: dict[str, Any] = {}
    for name, value in given.items():
        role = role_of(str(name), INTERACTION_COLUMNS)
        if role != "user_id":
            is_id = role == "item_id" and value is not None and value == value
            event.setdefault(role or str(name), as_id(value) if is_id else value)
    return event
