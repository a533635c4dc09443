"""A large table of numbers that is rarely read: what of it lies in a saved file is read from there when wanted."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from recllm.errors import ArtifactError

__all__ = ["FilePart", "Rows"]

HELD = 2**26
"""Bytes of an array up to which it is held in memory all the same."""

AT_ONCE = 2**24
"""Bytes read at once."""


@final
class FilePart:
    """float32 rows in a saved file. It stays open, so replacing or deleting the folder does not take them away.

    Args:
        path: Of the file.
        digest: Its SHA-256 (hex); looked at whenever it is read.
        begin: Where the rows begin in it, in bytes.
        shape: Of the rows.
    """

    def __init__(self, path: Path, digest: str, begin: int, shape: tuple[int, ...]) -> None:
        self.path, self.shape, self._digest, self._begin = path, shape, digest, begin
        self._handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The rows, some at a time; only at the end it is known that they are what was loaded.

        Raises:
            ArtifactError: The file has been written over since it was loaded.
        """
        digest, width = hashlib.sha256(self._bytes(0, self._begin)), 4 * self.shape[1]
        end, step = self._begin + width * self.shape[0], max(AT_ONCE // width, 1) * width
        for start in range(self._begin, end, step):
            some = self._bytes(start, min(start + step, end))
            digest.update(some)
            yield np.frombuffer(some, np.float32).reshape(-1, self.shape[1])
        digest.update(self._bytes(end, max(os.fstat(self._handle).st_size, end)))
        if digest.hexdigest() != self._digest:
            raise self._changed()

    def _bytes(self, start: int, stop: int) -> bytes:
        found = os.pread(self._handle, stop - start, start)
        if len(found) != stop - start:
            raise self._changed()
        return found

    def _changed(self) -> ArtifactError:
        return ArtifactError(
            f"{self.path} was written over while the model that was loaded from it is in use; load the model again"
        )


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """float32 [rows, width], in parts one after another.

    Attributes:
        parts: Arrays, and what is read from a file.
    """

    parts: tuple[NDArray[np.float32] | FilePart, ...]

    @classmethod
    def of(cls, array: NDArray[np.float32], path: Path, digest: str, begin: int) -> "Rows":
        """An array that lies in a file, of this SHA-256 and from this byte on, which is left there if it is large.

        It is held in memory where the system or the file does not allow it otherwise.
        """
        if array.nbytes <= HELD or not hasattr(os, "pread"):
            return cls((array,))
        try:
            return cls((FilePart(path, digest, begin, array.shape),))
        except OSError:
            return cls((array,))

    def __len__(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows, and how wide."""
        return len(self), int(self.parts[0].shape[1])

    def read(self) -> NDArray[np.float32]:
        """All rows.

        Raises:
            ArtifactError: A file has been written over since it was loaded.
        """
        if len(self.parts) == 1 and not isinstance(self.parts[0], FilePart):
            return self.parts[0]
        found, done = np.empty(self.shape, dtype=np.float32), 0
        for block in self.blocks():
            found[done : done + len(block)] = block
            done += len(block)
        return found

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The rows, some at a time; raises as `read`, at the end."""
        for part in self.parts:
            yield from part.blocks() if isinstance(part, FilePart) else (part,)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype=dtype, copy=copy)

    def __getitem__(self, rows: Any) -> Any:
        return self.read()[rows]

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere they are in memory: an open file belongs to this process."""
        return Rows, ((self.read(),),)

    def plus(self, rows: NDArray[np.float32]) -> "Rows":
        """With further rows at the end."""
        return Rows((*self.parts, rows))
