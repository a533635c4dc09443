"""Saved folders: safetensors, JSON and a card, complete or not there at all, checked before they are read.

A folder holds one `<name>.safetensors` for each group of tensors, one `<name>.json` for each document, the card
(`README.md`) and `manifest.json` with the size and SHA-256 of every other file. It is written beside its place and
then renamed, so a crash leaves the former state; nothing in it can run code.
"""

import dataclasses
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from recllm import __version__
from recllm.errors import ArtifactError

__all__ = ["Artifact", "check_target", "fingerprint", "load_artifact", "save_artifact"]

FORMAT = 1
MANIFEST = "manifest.json"
CARD = "README.md"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """What a saved folder holds."""

    kind: str
    tensors: dict[str, dict[str, np.ndarray]]
    documents: dict[str, Any]
    card: str
    version: str
    """The version of recllm that saved it."""


def fingerprint(*parts: bytes | str | np.ndarray) -> str:
    """SHA-256 (hex) of a sequence of values; where one part ends and its type count, too."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            if part.dtype.hasobject:
                raise TypeError("an array of Python objects has no bytes of its own; pass its strings one by one")
            little = part.astype(part.dtype.newbyteorder("<"), copy=False)
            tag, content = f"array {little.dtype.str} {part.shape}", little.tobytes()
        elif isinstance(part, str):
            tag, content = "str", part.encode("utf-8", "surrogatepass")
        else:
            tag, content = "bytes", part
        digest.update(f"{tag} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def check_target(folder: str | Path) -> None:
    """Refuse a folder that `save_artifact` would refuse; worth asking before hours of training.

    Raises:
        ArtifactError: If the place is a file, or a folder that holds anything recllm did not save.
    """
    folder = Path(folder)
    elsewhere = "choose another folder, or move that away"
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ArtifactError(f"cannot save to {folder}: it is not a folder; {elsewhere}")
    names = {path.name for path in folder.iterdir()}
    if not names:
        return
    try:
        ours = {MANIFEST, *_read_manifest(folder)["files"]}
    except ArtifactError:
        raise ArtifactError(f"cannot save to {folder}: it holds files that recllm did not write; {elsewhere}") from None
    if names - ours:
        raise ArtifactError(f"cannot save to {folder}: recllm did not write {min(names - ours)!r} in it; {elsewhere}")


def save_artifact(
    folder: str | Path,
    *,
    tensors: Mapping[str, Mapping[str, np.ndarray]],
    documents: Mapping[str, Any],
    card: str,
    kind: str,
) -> None:
    """Write a folder, whole or not at all; a folder saved earlier is replaced.

    Args:
        folder: Where to; its parents are made.
        tensors: Groups of named arrays; each group becomes a file. Group names are fixed by code, never ids.
        documents: JSON-able values by name; each becomes a file. Keys inside may be anything that JSON can hold.
        card: Text for people: what this is, how it was made, from what, under which licence, how good.
        kind: What it is, such as `"recommender"`; `load_artifact` asks for the same.

    Raises:
        ArtifactError: If the folder holds something else, a value cannot be stored, or the disk refuses.
    """
    files = _serialise(tensors, documents, card)
    check_target(folder)
    target = Path(os.path.realpath(folder))
    tag = secrets.token_hex(4)
    fresh, former = (target.with_name(f".{target.name}.{word}-{tag}") for word in ("saving", "former"))
    try:
        fresh.mkdir(parents=True)
        for name, content in {**files, MANIFEST: _manifest(files, kind)}.items():
            _write_durably(fresh / name, content)
        _sync(fresh)
        _swap(fresh, target, former)
        _sync(target.parent)
    except OSError as error:
        raise ArtifactError(
            f"cannot save to {folder}: {error.strerror or error}; what was there is unchanged"
        ) from error
    finally:  # also after Ctrl-C
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)


def load_artifact(folder: str | Path, kind: str) -> Artifact:
    """Read a folder that `save_artifact` wrote; every size and hash is checked before anything is parsed.

    Raises:
        ArtifactError: If the folder or a file is missing, damaged, unexpected or of another kind or later format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        left = sorted(folder.parent.glob(f".{glob.escape(folder.name)}.former-*")) if folder.name else []
        hint = f" (a save was interrupted; the former state is in {left[-1]})" if left else ""
        raise ArtifactError(f"there is no folder {folder}{hint}; give the folder that was saved to")
    manifest = _read_manifest(folder)
    if manifest["format"] != FORMAT:
        raise ArtifactError(
            f"{folder} is of format {manifest['format']} (recllm {manifest['version']}), this recllm {__version__} "
            f"reads format {FORMAT}; use that version, or make it again"
        )
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder} holds a saved {manifest['kind']}, not {kind}; give another folder")
    contents = _read_checked(folder, manifest["files"])
    try:
        return Artifact(
            kind=kind,
            tensors={
                name.removesuffix(".safetensors"): safetensors.numpy.load(content)
                for name, content in contents.items()
                if name.endswith(".safetensors")
            },
            documents={
                name.removesuffix(".json"): json.loads(content)
                for name, content in contents.items()
                if name.endswith(".json")
            },
            card=contents[CARD].decode("utf-8"),
            version=manifest["version"],
        )
    except (ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{folder} cannot be read although its hashes agree: {error}; make it again") from error


# --- contents ----------------------------------------------------------------------------------------------------


def _serialise(
    tensors: Mapping[str, Mapping[str, np.ndarray]], documents: Mapping[str, Any], card: str
) -> dict[str, bytes]:
    files = {CARD: card.encode("utf-8", "replace")}
    for name in [*tensors, *documents]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == MANIFEST.removesuffix(".json"):
            raise ArtifactError(f"a file of a saved folder cannot be named {name!r}; use a-z, 0-9 and _")
    for name, group in tensors.items():
        try:
            # safetensors writes the memory as it lies: it has to be contiguous.
            files[f"{name}.safetensors"] = safetensors.numpy.save(
                {key: np.asarray(array, order="C") for key, array in group.items()}
            )
        except (TypeError, ValueError, KeyError, safetensors.SafetensorError) as error:
            raise ArtifactError(f"the tensors {name!r} cannot be saved: {error}") from error
    for name, document in documents.items():
        try:
            files[f"{name}.json"] = _json(document)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(f"the document {name!r} cannot be saved as JSON: {error}") from error
    return files


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode("ascii")


def _manifest(files: Mapping[str, bytes], kind: str) -> bytes:
    body = {
        "format": FORMAT,
        "kind": kind,
        "version": __version__,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(files.items())
        },
    }
    return _json(body | {"checksum": hashlib.sha256(_json(body)).hexdigest()})


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        raw = (folder / MANIFEST).read_bytes()
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
        intact = raw == _json(body | {"checksum": hashlib.sha256(_json(body)).hexdigest()})
    except (ValueError, AttributeError, RecursionError):
        intact = False
    if not intact or not {"format", "kind", "version", "files"} <= set(manifest):
        raise ArtifactError(f"{folder / MANIFEST} is damaged or was not written by recllm; copy or make it again")
    return manifest


def _read_checked(folder: Path, expected: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """The bytes of every file, once each, so that what is parsed is what was checked."""
    again = "copy or make it again"
    try:
        there = {path.name for path in folder.iterdir()} - {MANIFEST}
        for name in sorted(expected.keys() - there):
            raise ArtifactError(f"{folder} is incomplete: {name} is missing; {again}")
        for name in sorted(there - expected.keys()):
            raise ArtifactError(f"{folder} holds {name!r}, which recllm did not save there; move it away")
        contents = {}
        for name, facts in expected.items():
            size = (folder / name).stat().st_size
            if size != facts["bytes"]:
                raise ArtifactError(f"{folder / name} is damaged: {size} bytes instead of {facts['bytes']}; {again}")
            contents[name] = (folder / name).read_bytes()
            if hashlib.sha256(contents[name]).hexdigest() != facts["sha256"]:
                raise ArtifactError(f"{folder / name} is damaged: its SHA-256 is not the saved one; {again}")
    except OSError as error:
        raise ArtifactError(f"cannot read {folder}: {error.strerror or error}") from error
    return contents


# --- the disk ----------------------------------------------------------------------------------------------------


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(fresh: Path, target: Path, former: Path) -> None:
    """Put `fresh` where `target` is. A folder cannot be renamed over a full one, so the old one steps aside."""
    try:
        target.rename(former)
    except FileNotFoundError:
        fresh.rename(target)
        return
    try:
        fresh.rename(target)
    except BaseException:
        former.rename(target)
        raise
