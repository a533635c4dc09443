"""The manifest of a saved folder: what it is, and the size and SHA-256 of every file, which are checked at load."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifact.folders import read_into_memory, read_regular
from recllm.errors import ArtifactError
from recllm.resources import __version__

FORMAT = 2
MANIFEST = "manifest.json"

MANIFEST_BYTES = 1_000_000
"""A manifest lists a dozen files; a longer one is no manifest."""


def as_json(value: Any) -> bytes:
    """JSON as saved folders hold it: ASCII, indented, no number that is not finite.

    Raises:
        ValueError: A number is not finite, or the value holds itself.
        TypeError: JSON knows no such value.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode("ascii")


def sealed(body: Mapping[str, Any]) -> bytes:
    """The manifest that says what `body` says, with a checksum over itself."""
    return as_json({**body, "checksum": hashlib.sha256(as_json(dict(body))).hexdigest()})


def manifest_of(files: Mapping[str, bytes], kind: str) -> bytes:
    """The manifest of a folder with these files."""
    facts = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    return sealed({"format": FORMAT, "kind": kind, "version": __version__, "files": facts})


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a saved folder says of itself: `format`, `kind`, `version` and `files`, of the types that they have to be.

    Raises:
        ArtifactError: It is missing, damaged, or was not written by recllm.
    """
    try:
        raw = read_regular(folder / MANIFEST, MANIFEST_BYTES)
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} is not a folder saved by recllm, or not a complete one: {MANIFEST} is missing; "
            "give another folder, or copy or make it again"
        ) from None
    except OSError as error:
        raise ArtifactError(f"cannot read {folder / MANIFEST}: {error.strerror}") from error
    try:
        manifest: dict[str, Any] = json.loads(raw)
        body = {key: value for key, value in manifest.items() if key != "checksum"}
        # The bytes, not only the values: the manifest vouches for the rest, so nothing in it may differ.
        intact = raw == sealed(body)
    except (ValueError, AttributeError, RecursionError):
        intact = False
    if not intact or not _says_what_it_should(manifest):
        raise ArtifactError(f"{folder / MANIFEST} is damaged or was not written by recllm; copy or make it again")
    return manifest


def _says_what_it_should(manifest: Mapping[str, Any]) -> bool:
    def whole(value: Any) -> bool:
        return type(value) is int and value >= 0

    files = manifest.get("files")
    return (
        whole(manifest.get("format"))
        and all(isinstance(manifest.get(key), str) for key in ("kind", "version"))
        and isinstance(files, dict)
        and all(
            re.fullmatch(r"\w[\w.]*", name)
            and isinstance(facts, dict)
            and whole(facts.get("bytes"))
            and "sha256" in facts
            for name, facts in files.items()
        )
    )


def read_files(folder: Path, expected: Mapping[str, Mapping[str, Any]]) -> dict[str, bytearray]:
    """The bytes of every file of a manifest, read once, so that what is parsed is what was checked.

    Raises:
        ArtifactError: A file is missing or is not the saved one, or all of them need more memory than there is.
    """
    again = "copy or make it again"
    total, memory = sum(facts["bytes"] for facts in expected.values()), _memory()
    if total > memory:
        raise ArtifactError(f"{folder} claims {total:,} bytes, more than the {memory:,} of this machine's memory")
    try:
        there = {path.name for path in folder.iterdir()}
        for name in sorted(expected.keys() - there):
            raise ArtifactError(f"{folder} is incomplete: {name} is missing; {again}")
        contents = {}
        for name, facts in expected.items():
            contents[name] = read_into_memory(folder / name, facts["bytes"])
            size = len(contents[name])
            if size != facts["bytes"]:
                raise ArtifactError(f"{folder / name} is damaged: {size} bytes instead of {facts['bytes']}; {again}")
            if hashlib.sha256(contents[name]).hexdigest() != facts.get("sha256"):
                raise ArtifactError(f"{folder / name} is damaged: its SHA-256 is not the saved one; {again}")
    except OSError as error:
        raise ArtifactError(f"cannot read {folder}: {error.strerror or error}") from error
    return contents


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return 1 << 62
