"""Saved folders: safetensors, Arrow tables, JSON and a card, complete or not there at all, checked before being read.

A folder holds one `<name>.safetensors` for each group of tensors, one `<name>.arrow` for each table, one `<name>.json`
for each document, the card (`README.md`) and `manifest.json` with the size and SHA-256 of every other file. Whatever
else lies in it is passed over. Nothing in it can run code, nothing is read that is no regular file, and no file claims
more than its own bytes hold.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import safetensors
import safetensors.numpy

from recllm.artifact.folders import check_writable, former_of, is_of_the_system, replace_folder, undisturbed
from recllm.artifact.manifest import FORMAT, MANIFEST, as_json, manifest_of, read_files, read_manifest
from recllm.artifact.rows import Rows
from recllm.artifact.tables import pack_table, unpack_table
from recllm.artifact.tensors import Offsets, unpack_tensors
from recllm.errors import ArtifactError
from recllm.resources import __version__

__all__ = ["Artifact", "check_table", "check_target", "fingerprint", "load_artifact", "save_artifact"]

CARD = "README.md"
NAME = r"[a-z][a-z0-9_]*"

BLOCK = 2**24
"""Bytes of an array that are copied at once."""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """What a saved folder holds."""

    kind: str
    tensors: dict[str, dict[str, np.ndarray]]
    documents: dict[str, Any]
    card: str
    version: str
    """The version of recllm that saved it."""
    tables: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    places: dict[str, tuple[Path, str, Offsets]] = dataclasses.field(default_factory=dict)
    """Of each group of tensors the file, its SHA-256, and where each array begins in it."""

    def rows(self, group: str, name: str) -> Rows:
        """A table of numbers that is rarely read, left in its file if it is large."""
        path, digest, offsets = self.places[group]
        return Rows.of(self.tensors[group][name], path, digest, offsets[name])


def fingerprint(*parts: bytes | str | np.ndarray | Rows) -> str:
    """SHA-256 (hex) of a sequence of values; where one part ends and its type count, too."""
    digest = hashlib.sha256()
    for part in parts:
        tag, size, blocks = _content(part)
        digest.update(f"{tag} {size}\n".encode())
        for block in blocks:
            digest.update(block)
    return digest.hexdigest()


def _content(part: bytes | str | np.ndarray | Rows) -> tuple[str, int, Iterable[Any]]:
    """What a value is, how many bytes it has, and these, some at a time."""
    if isinstance(part, Rows):
        return f"array <f4 {part.shape}", 4 * math.prod(part.shape), part.blocks()
    if isinstance(part, np.ndarray):
        if part.dtype.hasobject:
            raise TypeError("an array of Python objects has no bytes of its own; pass its strings one by one")
        little = part.astype(part.dtype.newbyteorder("<"), copy=False)
        return f"array {little.dtype.str} {part.shape}", part.nbytes, _blocks(little)
    content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
    return "str" if isinstance(part, str) else "bytes", len(content), [content]


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """As its bytes follow each other; of what does not lie so, some rows at a time are copied."""
    if array.flags.c_contiguous or array.ndim < 2:
        yield np.ascontiguousarray(array)
        return
    step = max(BLOCK // max(array.nbytes // max(len(array), 1), 1), 1)
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step])


def check_target(folder: str | Path) -> None:
    """Refuse a folder that `save_artifact` would refuse; worth asking before hours of training.

    Raises:
        ArtifactError: If the place is a file, a folder that holds anything recllm did not save, or cannot be written.
    """
    with undisturbed(Path(os.path.realpath(folder))):
        _refuse_strangers(Path(folder))
    try:
        check_writable(Path(os.path.realpath(folder)))
    except OSError as error:
        raise ArtifactError(
            f"cannot save to {folder}: {error.strerror or error}; choose another folder, or make room or give the right"
        ) from error


def check_table(what: str, table: pl.DataFrame) -> None:
    """Refuse a table that `save_artifact` would refuse.

    Raises:
        ArtifactError: If a column's type cannot be kept.
    """
    try:
        pack_table(table)
    except ValueError as error:
        raise ArtifactError(f"{what} could not be saved: {error}") from error


def _refuse_strangers(folder: Path) -> None:
    """What people or other programs have put into a folder is never replaced."""
    elsewhere = "choose another folder, or move that away"
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ArtifactError(f"cannot save to {folder}: it is not a folder; {elsewhere}")
    try:
        names = {path.name for path in folder.iterdir() if not is_of_the_system(path.name)}
    except OSError as error:
        raise ArtifactError(f"cannot save to {folder}: {error.strerror or error}; {elsewhere}") from error
    if not names:
        return
    try:
        ours = {MANIFEST, *read_manifest(folder)["files"]}
    except ArtifactError:
        raise ArtifactError(f"cannot save to {folder}: it holds files that recllm did not write; {elsewhere}") from None
    if names - ours:
        raise ArtifactError(f"cannot save to {folder}: recllm did not write {min(names - ours)!r} in it; {elsewhere}")


def save_artifact(
    folder: str | Path,
    *,
    tensors: Mapping[str, Mapping[str, np.ndarray | Rows]],
    documents: Mapping[str, Any],
    card: str,
    kind: str,
    tables: Mapping[str, pl.DataFrame] = MappingProxyType({}),
) -> None:
    """Write a folder, whole or not at all; a folder saved earlier is replaced.

    What systems and version control have put into it (`.git`, `.DS_Store`) stays; other files in it are refused.

    Args:
        folder: Where to; its parents are made.
        tensors: Groups of named arrays; each group becomes a file. Group names are fixed by code, never ids.
        documents: JSON-able values by name; each becomes a file. Keys inside may be anything that JSON can hold.
        card: Text for people: what this is, how it was made, from what, under which licence, how good.
        kind: What it is, such as `"recommender"`; `load_artifact` asks for the same.
        tables: Frames by name; each becomes a file.

    Raises:
        ArtifactError: If the folder holds something else, a value cannot be stored, or the disk refuses.
    """
    files = _serialise(tensors, tables, documents, card)
    with undisturbed(Path(os.path.realpath(folder))):
        _refuse_strangers(Path(folder))
    try:
        replace_folder(Path(os.path.realpath(folder)), {**files, MANIFEST: manifest_of(files, kind)})
    except OSError as error:
        raise ArtifactError(
            f"cannot save to {folder}: {error.strerror or error}; what was there is unchanged"
        ) from error


def load_artifact(folder: str | Path, kind: str) -> Artifact:
    """Read a folder that `save_artifact` wrote; every size and hash is checked before anything is parsed.

    Raises:
        ArtifactError: If the folder or a file is missing, damaged, unexpected or of another kind or format.
    """
    folder = Path(folder)
    for _ in range(10):
        place = _place(folder)
        seen = _identity(place)
        try:
            return _load(place, kind)
        except ArtifactError:
            if _identity(place) == seen:
                raise
        # Somebody has saved in between: this was half of the old folder and half of nothing.
    return _load(folder, kind)


def _place(folder: Path) -> Path:
    """Where to read: the folder, or its former state if a save was killed between two renames."""
    if folder.is_dir():
        return folder
    target = Path(os.path.realpath(folder))
    with undisturbed(target):  # a save that lives is between its two renames
        former = former_of(target)
        if former is None and not folder.is_dir():
            raise ArtifactError(f"there is no folder {folder}; give the folder that was saved to")
    if former is None:
        return folder
    warnings.warn(
        f"{folder} is not there since a save was interrupted; its former state is read, from {former.name} beside it. "
        "The next save to this folder brings it in order.",
        UserWarning,
        stacklevel=4,
    )
    return former


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _load(folder: Path, kind: str) -> Artifact:
    manifest = read_manifest(folder)
    if manifest["format"] != FORMAT:
        raise ArtifactError(
            f"{folder} is of format {manifest['format']} (recllm {manifest['version']}), this recllm {__version__} "
            f"reads format {FORMAT}; make it again with this version (fit and save), or read it with that one"
        )
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder} holds a saved {manifest['kind']}, not {kind}; give another folder")
    contents = read_files(folder, manifest["files"])
    try:
        tensors = _each(contents, ".safetensors", unpack_tensors)
        files = {group: f"{group}.safetensors" for group in tensors}
        return Artifact(
            kind=kind,
            tensors={group: arrays for group, (arrays, _) in tensors.items()},
            places={
                group: (folder / files[group], manifest["files"][files[group]]["sha256"], offsets)
                for group, (_, offsets) in tensors.items()
            },
            documents=_each(contents, ".json", _parsed),
            card=contents[CARD].decode("utf-8"),
            version=manifest["version"],
            tables=_each(contents, ".arrow", unpack_table),
        )
    except Exception as error:  # whatever a parser raises, the bytes are to blame
        raise ArtifactError(f"{folder} cannot be read although its hashes agree: {error}; make it again") from error


# --- contents ----------------------------------------------------------------------------------------------------


def _serialise(
    tensors: Mapping[str, Mapping[str, np.ndarray | Rows]],
    tables: Mapping[str, pl.DataFrame],
    documents: Mapping[str, Any],
    card: str,
) -> dict[str, bytes]:
    files = {CARD: card.encode("utf-8", "replace")}
    for name in [*tensors, *tables, *documents]:
        if not re.fullmatch(NAME, name) or name == MANIFEST.removesuffix(".json"):
            raise ArtifactError(f"a file of a saved folder cannot be named {name!r}; use a-z, 0-9 and _")
    kinds: list[tuple[str, str, Mapping[str, Any], Callable[[Any], bytes]]] = [
        ("the tensors {!r} cannot be saved", "safetensors", tensors, _pack_tensors),
        ("the table {!r} cannot be saved", "arrow", tables, pack_table),
        ("the document {!r} cannot be saved as JSON", "json", documents, as_json),
    ]
    for trouble, ending, values, pack in kinds:
        for name, value in values.items():
            try:
                files[f"{name}.{ending}"] = pack(value)
            except (TypeError, ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
                raise ArtifactError(f"{trouble.format(name)}: {error}") from error
    return files


def _pack_tensors(group: Mapping[str, np.ndarray | Rows]) -> bytes:
    # safetensors writes the memory as it lies: it has to be contiguous.
    return safetensors.numpy.save({key: np.asarray(array, order="C") for key, array in group.items()})


def _each(contents: Mapping[str, bytearray], ending: str, read: Any) -> dict[str, Any]:
    return {name.removesuffix(ending): read(content) for name, content in contents.items() if name.endswith(ending)}


def _parsed(content: bytearray) -> Any:
    """JSON without what only Python's reader takes for JSON: NaN, Infinity, and numbers that overflow to it."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is no number")
        return value

    return json.loads(content, parse_float=number, parse_constant=number)
