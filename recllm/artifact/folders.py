"""Folders and files that are whole or not there, and files that are read without waiting for what is no file.

A folder is written beside its place as `.<name>.saving-<tag>` and then renamed. It is locked as long as its process
lives, so whoever saves next can tell what a killed one has left, and clears it. A full folder cannot be renamed over,
so for a moment the old one is called `.<name>.former-<tag>`: killed between the two renames, that is the state to go
on from, for readers (`former_of`) and for the next save.
"""

import contextlib
import glob
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from recllm.errors import ArtifactError

__all__ = [
    "check_writable",
    "former_of",
    "fresh_file",
    "is_of_the_system",
    "read_into_memory",
    "read_regular",
    "replace_file",
    "replace_folder",
    "undisturbed",
]

NOT_OURS = frozenset({"Thumbs.db", "desktop.ini", "__pycache__"})
"""What file managers and Python put into any folder; names that begin with a dot are such, too."""

PATIENCE = 60.0
"""Seconds that a save waits for others in the same parent: each holds the lock for a few renames, which are slow where
the disk is busy. Whoever goes on without it may meet the others halfway."""


def is_of_the_system(name: str) -> bool:
    """Whether a file or folder of this name is put anywhere by systems, editors and version control."""
    return name.startswith(".") or name in NOT_OURS


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most so many; a pipe or a device, which may never end, is not opened.

    Raises:
        ArtifactError: It is something else, or longer.
        OSError: It cannot be read.
    """
    return bytes(read_into_memory(path, most))


def read_into_memory(path: Path, most: int) -> bytearray:
    """As `read_regular`, in memory that arrays can be views of; at no time are the bytes there twice."""
    _refuse_special(path, os.stat(path))
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        facts = os.fstat(handle)
        _refuse_special(path, facts)  # it may have been exchanged in between
        if facts.st_size > most:
            raise ArtifactError(f"{path} is damaged: {facts.st_size} bytes instead of {most}; copy or make it again")
        start = file.read(min(8, most))
        if len(start) == 8 and not any(start):  # a hole, which may be as long as it likes
            raise ArtifactError(f"{path} is damaged: it begins with zeros; copy or make it again")
        file.seek(0)
        content = bytearray(facts.st_size)
        del content[file.readinto(content) :]  # what was cut off meanwhile
        return content


def _refuse_special(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ArtifactError(f"{path} is no regular file; copy or make the folder again")


def check_writable(target: Path) -> None:
    """Find out whether a folder could be written here, by writing a little and taking it away again.

    Raises:
        OSError: It could not.
    """
    with (
        undisturbed(target) as place,
        tempfile.TemporaryDirectory(dir=place, prefix=f".{target.name}.saving-") as probe,
    ):
        _write_durably(Path(probe) / "probe", b"recllm")


@contextlib.contextmanager
def undisturbed(target: Path) -> Iterator[Path]:
    """While no other save puts a folder in the place of `target`; gives the nearest parent that is there."""
    place = target.parent
    while not os.path.lexists(place):
        place = place.parent
    with _locked(place, PATIENCE):
        yield place


def former_of(target: Path) -> Path | None:
    """The former state of a folder that is missing because a save was killed between two renames."""
    return None if os.path.lexists(target) else next(iter(_beside(target, "former")), None)


def replace_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all, in the place of an older one; what killed saves have left is cleared.

    Files that `is_of_the_system` go on to the new folder.

    Raises:
        OSError: The disk refuses; what was there is unchanged.
    """
    parent = target.parent
    with _fresh_beside(target, Path.mkdir) as fresh:
        former = target.with_name(f".{target.name}.former-{fresh.name.rpartition('-')[2]}")
        for name, content in files.items():
            _write_durably(fresh / name, content)
        with _locked(parent, PATIENCE):
            _carry_over(target, fresh)
            _sync(fresh)
            _swap(fresh, target, former)
            _sync(parent)


def replace_file(target: Path, content: bytes) -> None:
    """As `replace_folder`, of a single file.

    Raises:
        OSError: The disk refuses; what was there is unchanged.
    """
    with fresh_file(target) as fresh:
        fresh.write_bytes(content)


@contextlib.contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """A new file beside `target`, for one who writes it by its name; at the end it is durable and in its place.

    Raises:
        OSError: The disk refuses; what was there is unchanged.
    """
    with _fresh_beside(target, partial(Path.touch, exist_ok=False)) as fresh:
        yield fresh
        with fresh.open("r+b") as file:
            os.fsync(file.fileno())
        fresh.replace(target)
        _sync(target.parent)


@contextlib.contextmanager
def _fresh_beside(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder or file beside `target`, locked so that nobody takes it for dead; gone again at the end."""
    fresh = target.with_name(f".{target.name}.saving-{secrets.token_hex(4)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, fresh)
        with _locked(target.parent, PATIENCE) as alone:
            if alone:
                _clear_leftovers(target)
            make(fresh)
            stack.enter_context(_locked(fresh))
        yield fresh


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --- leftovers ---------------------------------------------------------------------------------------------------


def _beside(target: Path, word: str) -> list[Path]:
    """What saves have left beside their place, the newest first."""
    found = target.parent.glob(f".{glob.escape(target.name)}.{word}-*") if target.name else iter(())
    times = []
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # a save that lives takes its own away
            times.append((path.lstat().st_mtime, path))
    return [path for _, path in sorted(times, reverse=True)]


def _clear_leftovers(target: Path) -> None:
    """Put back the former state where a swap was killed halfway, and delete what belongs to no living process."""
    former = former_of(target)
    if former is not None:
        former.rename(target)
    for path in (*_beside(target, "former"), *_beside(target, "saving")):
        with _locked(path) as dead:
            if dead:
                _remove(path)


@contextlib.contextmanager
def _locked(folder: Path, patience: float = 0.0) -> Iterator[bool]:
    """Lock a folder against other processes, which ends with this one at the latest; whether that was possible.

    Where the system or the file system has no such locks, nothing is ever taken for dead.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.005)
                    continue
                yield False
            except OSError:
                yield False
            else:
                yield True
            return
    finally:
        os.close(handle)


# --- the disk ----------------------------------------------------------------------------------------------------


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        _flush(file, content)


def _flush(file: BinaryIO, content: bytes) -> None:
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


def _carry_over(source: Path, destination: Path) -> None:
    """What is the system's goes along as links: at no moment is it in one place only that may be cleared."""
    if not source.is_dir():
        return
    for path in source.iterdir():
        if not is_of_the_system(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, destination / path.name, symlinks=True, copy_function=_link)
        else:
            _link(path, destination / path.name)


def _link(source: str | Path, destination: str | Path) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, destination, follow_symlinks=False)


def _swap(fresh: Path, target: Path, former: Path) -> None:
    """Put `fresh` where `target` is; afterwards the old folder has the name `fresh`."""
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
    former.rename(fresh)
