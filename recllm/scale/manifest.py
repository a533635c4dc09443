"""What a job has finished: a manifest beside its files, by which it goes on after it was stopped, or refuses to.

`manifest.json` says what was asked of which model and, for each finished shard, its file, rows, users and SHA-256. A
file is written under another name, made durable and renamed, and only then stands in the manifest; so what stands there
is whole, or was damaged later, which its SHA-256 tells.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from recllm.artifact.folders import read_regular, replace_file
from recllm.artifact.manifest import MANIFEST, sealed
from recllm.errors import ArtifactError

__all__ = ["Manifest", "Part"]

FORMAT = 1
MOST_BYTES = 1 << 32
SHARE = 0.05
"""Share of the time that may be spent on writing the manifest: that of a million shards is long."""


@final
@dataclass(frozen=True)
class Part:
    """A finished shard.

    Attributes:
        rows: Of its table; of adapters, users who have one.
        users: Of whom it is, also those without a row.
        bytes: Size of its file.
        sha256: Of its file.
        notes: What it leaves out, in sentences.
    """

    rows: int
    users: int
    bytes: int
    sha256: str
    notes: tuple[str, ...] = ()


@final
class Manifest:
    """The manifest of a folder, kept up to date on the disk.

    Args:
        folder: Where the shards are.
        job: What is asked, and of what: JSON-able, and the same means the same files.
        parts: Finished shards by the names of their files.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
        self.folder, self.job, self.parts = folder, dict(job), dict(parts)
        self._next, self._written = 0.0, True

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """
        path = folder / MANIFEST
        try:
            raw = read_regular(path, MOST_BYTES)
            said = json.loads(raw)
            body = {name: value for name, value in said.items() if name != "checksum"}
            if raw != sealed(body) or body["format"] != FORMAT:
                raise ValueError("its checksum is another")
            if not all(re.fullmatch(r"part-[\w.-]+", name) for name in body["parts"]):
                raise ValueError("the name of a file")
            parts = {name: Part(**{**part, "notes": tuple(part["notes"])}) for name, part in body["parts"].items()}
            return cls(folder, body["job"], parts)
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder} holds no shards: there is no {MANIFEST} in it; give another folder."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"{path} is damaged or not of a job over shards ({error}); give another folder, or delete this one to "
                "begin again."
            ) from error

    @classmethod
    def to_go_on(cls, folder: Path, job: Mapping[str, Any]) -> "Manifest":
        """The manifest of a folder that this job may write to: its own so far, or an empty one.

        Raises:
            ArtifactError: The folder holds the shards of another job, or something else.
        """
        job = dict(json.loads(json.dumps(job)))  # as it would be read
        if not folder.exists() or (folder.is_dir() and not any(_visible(folder))):
            return cls(folder, job, {})
        if not (folder / MANIFEST).exists():
            raise ArtifactError(f"{folder} holds files of something else; give another folder for the shards.")
        found = cls.read(folder)
        if found.job != job:
            differ = ", ".join(sorted(name for name in {**job, **found.job} if job.get(name) != found.job.get(name)))
            raise ArtifactError(
                f"{folder} holds shards of another job (another {differ}); give another folder, or delete this one to "
                "begin again."
            )
        return found

    def is_whole(self, name: str) -> bool:
        """Whether a finished shard's file is as it was written; False, too, if it is not finished."""
        part = self.parts.get(name)
        try:
            return part is not None and _digest(read_regular(self.folder / name, part.bytes)) == part.sha256
        except (OSError, ArtifactError):
            return False

    def content(self, name: str) -> bytes:
        """The bytes of a finished shard.

        Raises:
            ArtifactError: It is not there, or damaged.
        """
        part, path = self.parts.get(name), self.folder / name
        if part is None:
            raise ArtifactError(f"{path} is not finished; run its job again to the end.")
        try:
            content = read_regular(path, part.bytes)
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror}; run its job again.") from error
        if _digest(content) != part.sha256:
            raise ArtifactError(f"{path} is damaged: its SHA-256 is not the saved one; run its job again.")
        return content

    def add(self, name: str, part: Part) -> None:
        """Note a finished shard; on the disk soon, and at the latest with `write`."""
        self.parts[name], self._written = part, False
        if time.monotonic() >= self._next:
            self.write()

    def drop(self, name: str) -> None:
        """Note that a shard is finished no more."""
        del self.parts[name]
        self._written = False

    def write(self) -> None:
        """Bring the disk up to date.

        Raises:
            ArtifactError: The disk refuses.
        """
        if self._written and (self.folder / MANIFEST).exists():
            return
        started = time.monotonic()
        parts = {name: asdict(part) for name, part in sorted(self.parts.items())}
        try:
            replace_file(self.folder / MANIFEST, sealed({"format": FORMAT, "job": self.job, "parts": parts}))
        except OSError as error:
            raise ArtifactError(f"cannot write {self.folder / MANIFEST}: {error.strerror or error}.") from error
        ended, self._written = time.monotonic(), True
        self._next = ended + (ended - started) / SHARE


def write_part(folder: Path, name: str, content: bytes, rows: int, users: int, notes: tuple[str, ...]) -> Part:
    """Write a shard's file, whole or not at all, and say what belongs into the manifest.

    Raises:
        ArtifactError: The disk refuses.
    """
    try:
        replace_file(folder / name, content)
    except OSError as error:
        raise ArtifactError(f"cannot write {folder / name}: {error.strerror or error}.") from error
    return Part(rows, users, len(content), _digest(content), notes)


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
