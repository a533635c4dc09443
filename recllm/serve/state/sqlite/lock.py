"""One server for a folder."""

import os
import sys
from pathlib import Path
from typing import final

from recllm.errors import ServeError, StorageError

NAME = "lock"


@final
class FolderLock:
    """Held as long as the process lives, whatever ends it; the file that is left behind locks nobody out.

    Args:
        folder: Of a server.

    Raises:
        ServeError: Another server has it.
        StorageError: The file cannot be made, or the file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be opened ({error.strerror}); give a folder that may be written to."
            ) from error
        try:
            _lock(self._handle)
        except (BlockingIOError, PermissionError) as error:
            holder = _read(self._handle)
            os.close(self._handle)
            raise ServeError(
                f"{folder} is served already, by process {holder or 'unknown'}; stop it, or give another folder."
            ) from error
        except OSError as error:
            os.close(self._handle)
            raise StorageError(
                f"{folder} is on a file system without locks ({error.strerror}); give a folder on a local disk."
            ) from error
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"\n{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it; released already, nothing happens."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(handle: int) -> str:
    """The process that holds it, as far as can be told."""
    try:
        os.lseek(handle, 1, os.SEEK_SET)  # Windows locks the first byte
        return os.read(handle, 20).decode("ascii", "replace").strip()
    except OSError:
        return ""


def made(folder: Path) -> Path:
    """A server's folder, for its owner's eyes only.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be a server's folder ({error.strerror}); give one that can be made, or is there."
        ) from error
    return folder
