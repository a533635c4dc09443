"""A log of any size -> clean events on disk, divided by a hash of the user, without ever holding the log in memory.

Column by column, then piece by piece, then part by part: what the cleaning of a column looks at all values for (the
notation of its times, the type of a further column) is done with that one column in memory; what it does to a row is
done where the row is; and what it does to a user's rows is done where all rows of the user have come together.
"""

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recllm.data.cleaning import REASONS, CleaningReport, Sieve
from recllm.data.events import events_of_1970, notice_early, sift
from recllm.data.reading import Columns, named_columns
from recllm.data.timestamps import Notation
from recllm.errors import ArtifactError
from recllm.options import Progress
from recllm.scale.events.partitioned import MANIFEST, Part, PartitionedEvents, manifest_of
from recllm.scale.events.raw_log import ROW, RawLog
from recllm.scale.events.staged import stage
from recllm.scale.shards import number_of_shards, part_name, shards_of

ROW_COLUMN = "log_row"
"""The column of parts that says which row of the log an event was; with `_` behind it where the log has such a one."""

Divided = tuple[tuple[Part, ...], CleaningReport, bool, str]
"""The parts, the report of the whole, whether timestamps are times, and the column that says which event was which."""


def write_partitioned(
    source: Any,
    folder: str | os.PathLike[str],
    partitions: int = 64,
    *,
    columns: Columns | None = None,
    encoding: str | None = None,
    dates: str | Sequence[str] | None = None,
    dayfirst: bool | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> PartitionedEvents:
    """Clean a log exactly as `Interactions.read` does, and keep it in parts that each fit into memory.

    csv (also packed), JSON Lines and parquet are read in pieces. In memory at a time: one column, or one part. Files
    that only make sense as a whole (archives, JSON arrays, Arrow files, JSON columns of several types) are read whole.

    Args:
        source: As for `Interactions.read`.
        folder: Where to; it must not exist, or be empty. It is there when all of it is.
        partitions: Number of parts; a user's is `shard_of(user_id, partitions)`. Some 500,000 events each are handy.
        columns: As for `Interactions.read`, like all further arguments.
        encoding: Of text files.
        dates: Format of the times.
        dayfirst: Whether days come before months.
        max_bytes: What a packed file may unpack to.
        progress: Told of the pieces that were read, and the parts that were written.

    Raises:
        DataError: As `Interactions.read`.
        ConfigError: `partitions` is no number of parts.
        ArtifactError: The folder holds something, or cannot be written.
    """
    parts = number_of_shards(partitions)
    target = Path(folder)
    mapping, names = named_columns(columns)
    notation = Notation.of(dates, dayfirst)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ArtifactError(f"cannot write events to {target}: something is there already; give another folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ArtifactError(f"cannot write events to {target}: {error.strerror or error}") from error
    try:
        log = RawLog(stage(source, _made(work / "found"), encoding, names, max_bytes), work, mapping, notation)
        ready = _made(work / "ready")
        made = _divided(log, ready, parts, progress or _silent)
        (ready / MANIFEST).write_bytes(manifest_of(*made))
        if target.exists():
            target.rmdir()
        os.rename(ready, target)
    except OSError as error:
        raise ArtifactError(f"cannot write events to {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return PartitionedEvents(target, *made)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _silent(stage: str, done: float, total: float, note: str = "") -> None:
    """Tell nobody."""


# --- rows to their users' parts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sifted:
    """What has become of one part."""

    part: Part
    report: CleaningReport
    timed: bool
    early: int


def _divided(log: RawLog, ready: Path, parts: int, progress: Progress) -> Divided:
    heaps, empty = _heaps(log, parts, progress)
    row_column = ROW_COLUMN
    while row_column in empty.columns:
        row_column += "_"
    sifted = []
    for number in range(parts):
        frame = heaps.take(number, empty)
        sifted.append(_sifted(frame, log.undecodable, ready / part_name(number, parts, "parquet"), row_column))
        progress("parts written", number + 1, parts)
    return tuple(one.part for one in sifted), _joined_report(log, sifted), sifted[0].timed, row_column


def _heaps(log: RawLog, parts: int, progress: Progress) -> tuple["_Heaps", pl.DataFrame]:
    """The rows of each part as they come, and a frame with their columns."""
    heaps, empty = _Heaps(log.work, parts), pl.DataFrame()
    for number, piece in enumerate(log.pieces()):
        users = piece["user_id"].unique().drop_nulls()
        shard = piece["user_id"].replace_strict(
            users, pl.Series(shards_of(users.to_list(), parts)), default=0, return_dtype=pl.Int64
        )
        heaps.add(piece, shard.to_numpy())
        empty = piece.clear()
        progress("pieces read", number + 1, len(log.staged.pieces))
    return heaps, empty


class _Heaps:
    """Rows on disk, a file for each part, to which more can be added."""

    def __init__(self, work: Path, parts: int) -> None:
        self._folder, self._parts, self._pieces = work / "heaps", parts, 0
        self._folder.mkdir()

    def add(self, frame: pl.DataFrame, part_of: np.ndarray) -> None:
        """Rows, and whose each is."""
        order = np.argsort(part_of, kind="stable")
        bounds = np.searchsorted(part_of[order], np.arange(self._parts + 1))
        rows = frame[order]
        for part in np.flatnonzero(np.diff(bounds)).tolist():
            self._of(part).mkdir(exist_ok=True)
            rows[bounds[part] : bounds[part + 1]].write_ipc(
                self._of(part) / f"{self._pieces:06d}.arrow", compression="lz4"
            )
        self._pieces += 1

    def take(self, part: int, empty: pl.DataFrame) -> pl.DataFrame:
        """All rows of a part, in their order; they are gone from the disk then."""
        folder = self._of(part)
        if not folder.is_dir():
            return empty
        frame = pl.concat([pl.read_ipc(path) for path in sorted(folder.iterdir())])
        shutil.rmtree(folder)
        return frame

    def _of(self, part: int) -> Path:
        return self._folder / f"{part:06d}"


def _sifted(frame: pl.DataFrame, undecodable: bool, path: Path, row_column: str) -> _Sifted:
    """Clean one part's rows and write them down."""
    sieve = Sieve(frame, CleaningReport(path.name, frame.height, frame.height))
    timed = sift(sieve, undecodable)
    clean = sieve.frame.rename({ROW: row_column})
    clean.write_parquet(path, compression="zstd", statistics=True)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    times = clean["timestamp"].to_numpy()
    first, last = (float(times.min()), float(times.max())) if len(times) else (None, None)
    part = Part(path.name, len(times), clean["user_id"].n_unique(), path.stat().st_size, digest, first, last)
    return _Sifted(part, sieve.report, timed, events_of_1970(times) if timed else 0)


def _joined_report(log: RawLog, sifted: Sequence[_Sifted]) -> CleaningReport:
    """What the whole log's report says.

    Raises:
        DataError: Rows were read and none was left.
    """
    sieve = Sieve(pl.DataFrame(), log.report)
    sieve.note(*log.notes, *dict.fromkeys(note for one in sifted for note in one.report.notes))
    dropped, noticed = Counter[str](), Counter[str]()
    for one in sifted:
        dropped.update(one.report.dropped)
        noticed.update(one.report.noticed)
    for reason in REASONS:
        sieve.report = sieve.report.drop(reason, dropped[reason])
        sieve.notice(reason, noticed[reason])
    if early := sum(one.early for one in sifted):
        first = min(one.part.first for one in sifted if one.part.first is not None)
        last = max(one.part.last for one in sifted if one.part.last is not None)
        notice_early(sieve, early, sieve.report.kept, first, last)
    return sieve.result()[1]
