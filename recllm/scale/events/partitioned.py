"""A clean log as parquet, divided by a hash of the user, with a manifest that says what each part has to be."""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import polars as pl

from recllm.artifact.manifest import sealed
from recllm.data.cleaning import CleaningReport
from recllm.data.interactions import Interactions
from recllm.errors import ArtifactError
from recllm.resources import __version__

FORMAT = 1
KIND = "events"
MANIFEST = "manifest.json"

AGAIN = "write the events again, or copy that file from where it is whole"


@dataclass(frozen=True)
class Part:
    """One file of a divided log.

    Attributes:
        name: Of the file.
        events: How many it holds.
        users: Of how many users.
        bytes: Its size.
        sha256: Of its bytes.
        first: The oldest event, unix seconds; None without events.
        last: The newest.
    """

    name: str
    events: int
    users: int
    bytes: int
    sha256: str
    first: float | None
    last: float | None


@final
class PartitionedEvents:
    """A clean log that lies on disk; all events of a user are in one part, in the order of the log.

    Attributes:
        folder: Where.
        parts: Its files.
        report: What was read, dropped and why, as `Interactions.report`.
        timed: Whether timestamps are times.
        row_column: The column that says which event of the clean log each was, before it was divided.
    """

    def __init__(
        self, folder: Path, parts: tuple[Part, ...], report: CleaningReport, timed: bool, row_column: str
    ) -> None:
        """Of a folder that is whole; use `open`."""
        self.folder, self.parts, self.report = folder, parts, report
        self.timed, self.row_column = timed, row_column

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "PartitionedEvents":
        """What `write_partitioned` wrote. Parts are checked when they are read.

        Raises:
            ArtifactError: There is no such folder, or its manifest is damaged.
        """
        folder = Path(folder)
        try:
            raw = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"{folder} holds no events that were divided: {MANIFEST} cannot be read "
                f"({error.strerror or error}); give the folder that write_partitioned wrote"
            ) from error
        try:
            found: dict[str, Any] = json.loads(raw)
            body = {key: value for key, value in found.items() if key != "checksum"}
            intact = raw == sealed(body) and body["kind"] == KIND and body["format"] == FORMAT
            if not intact:
                raise ValueError("another checksum, kind or format")
            parts = tuple(Part(**part) for part in body["parts"])
            if not all(re.fullmatch(r"part-\d{6}-of-\d{6}\.parquet", part.name) for part in parts):
                raise ValueError("the name of a part")
            report = CleaningReport(**(body["report"] | {"notes": tuple(body["report"]["notes"])}))
            return cls(folder, parts, report, bool(body["timed"]), str(body["row_column"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"{folder / MANIFEST} is damaged or was not written by this recllm ({error}); write the events again"
            ) from error

    def __len__(self) -> int:
        """Events in all."""
        return sum(part.events for part in self.parts)

    def __repr__(self) -> str:
        return f"PartitionedEvents({len(self):,} events of {self.users:,} users in {len(self.parts)} parts)"

    @property
    def users(self) -> int:
        """How many have events."""
        return sum(part.users for part in self.parts)

    def part(self, number: int) -> Interactions:
        """The events of one part's users.

        Raises:
            ArtifactError: Its file is missing or damaged.
        """
        frame = self.frame(number).drop(self.row_column)
        report = CleaningReport(f"{self.report.source}, {self.parts[number].name}", frame.height, frame.height)
        return Interactions(frame, report, None, self.timed)

    def __iter__(self) -> Iterator[Interactions]:
        return (self.part(number) for number in range(len(self.parts)))

    def frame(self, number: int) -> pl.DataFrame:
        """One part as it is on disk, with `row_column`.

        Raises:
            ArtifactError: Its file is missing or damaged.
        """
        part = self.parts[number]
        path = self.folder / part.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read ({error.strerror or error}); {AGAIN}") from error
        if len(content) != part.bytes or hashlib.sha256(content).hexdigest() != part.sha256:
            raise ArtifactError(f"{path} is damaged: its SHA-256 is not that of the manifest; {AGAIN}")
        return pl.read_parquet(io.BytesIO(content))

    def whole(self) -> Interactions:
        """All events in memory, in the order of the log: what `Interactions.read` gives of the same source.

        Raises:
            ArtifactError: A file is missing or damaged.
        """
        frame = pl.concat([self.frame(number) for number in range(len(self.parts))])
        frame = frame.sort(self.row_column).drop(self.row_column)
        return Interactions(frame, self.report, None, self.timed)

    def damaged(self) -> dict[str, str]:
        """The parts that cannot be used, and why."""
        found = {}
        for number, part in enumerate(self.parts):
            try:
                self.frame(number)
            except ArtifactError as error:
                found[part.name] = str(error)
        return found


def manifest_of(parts: tuple[Part, ...], report: CleaningReport, timed: bool, row_column: str) -> bytes:
    """The manifest of a divided log."""
    facts: Mapping[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "version": __version__,
        "timed": timed,
        "row_column": row_column,
        "events": sum(part.events for part in parts),
        "report": report.to_dict(),
        "parts": [asdict(part) for part in parts],
    }
    return sealed(facts)
