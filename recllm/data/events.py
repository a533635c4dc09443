"""Cleaning of event logs: raw tables and mappings -> clean frames."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from recllm.data.cleaning import CleaningReport, Sieve, as_id, as_ids, as_numbers, decode_damage
from recllm.data.columns import INTERACTION_COLUMNS, ColumnMapping, match_columns, role_of
from recllm.data.frames import frame_of_records, table_of_frame
from recllm.data.ids import elements, holds_several, is_frame, read_ids
from recllm.data.kinds import column_of, notes_of, texts_of
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
    mapping = match_columns(raw.frame.columns, INTERACTION_COLUMNS, ["user_id", "item_id"], columns, raw.source)
    mapping, guesses = with_time(raw.frame, mapping)
    frame, sentences = _canonical(raw.frame, mapping, notation)
    sieve = Sieve(frame, CleaningReport.of(raw, mapping, guesses))
    sieve.note(*sentences)
    decode_damage(sieve, raw.undecodable or pl.Binary in raw.frame.dtypes, ["user_id", "item_id"])
    sieve.drop("missing_user_id", sieve.frame["user_id"].is_null())
    sieve.drop("missing_item_id", sieve.frame["item_id"].is_null())
    timed = _check_times(sieve)
    for name in ("rating", "weight"):
        if name in mapping.found:
            sieve.drop(f"bad_{name}", sieve.frame[_FLAG + name])
    sieve.frame = sieve.frame.select(c for c in sieve.frame.columns if not c.startswith(_FLAG))
    sieve.drop("duplicate_event", are_copies(sieve.frame))
    for name in ("rating", "weight", "event"):
        if name in sieve.frame.columns:
            sieve.notice(f"missing_{name}", sieve.frame[name].null_count())
    if timed:
        _notice_1970(sieve)
    return CleanEvents(*sieve.result(), timed)


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


def _notice_1970(sieve: Sieve) -> None:
    """Zeros for unknown times and units that nobody uses end up in 1970, which is worth a word."""
    times = sieve.frame["timestamp"]
    early = int((times < _A_YEAR).sum())
    if not early:
        return
    low, high = float(times.to_numpy().min()), float(times.to_numpy().max())
    if early < len(times):
        sieve.notice("early_timestamp", early)
    elif low != high:
        sieve.note(
            f"all timestamps lie in 1970 ({low:.15g} to {high:.15g} seconds): they count as an order; "
            f"times are seconds or milliseconds since 1970, dates, or what dates= says"
        )


def _canonical(frame: pl.DataFrame, mapping: ColumnMapping, notation: Notation) -> tuple[pl.DataFrame, list[str]]:
    """The raw frame under recllm's names and types; flags beside it say which cells could not be read."""
    found = mapping.found
    columns = [as_ids(frame[found[name]]).alias(name) for name in ("user_id", "item_id")]
    flags = []
    notes: list[str] = []
    if "timestamp" in found:
        seconds, missing, notes = parse_timestamps(frame[found["timestamp"]], notation)
        if not missing.all() or frame.is_empty():
            columns.append(seconds.alias("timestamp"))
            flags.append(missing.alias(_FLAG + "missing timestamp"))
    for name in ("rating", "event", "weight", "review_text"):
        if name not in found:
            continue
        if name in ("event", "review_text"):
            columns.append(texts_of(frame[found[name]]).alias(name))
        else:
            number, bad = as_numbers(frame[found[name]])
            columns.append(number.alias(name))
            flags.append(bad.alias(_FLAG + name))
    extras = [column_of(frame[theirs].alias(name)) for name, theirs in mapping.extras.items()]
    notes += notes_of(extras)
    if unused := [*mapping.extras]:
        notes.append(f"kept, but not read by the model: {', '.join(map(repr, unused))}")
    return pl.DataFrame(columns + [column.values for column in extras] + flags), notes


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
