"""What is counted of single items: by how many users each was taken and liked, and when."""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts.matrices import binary_matrix
from recllm.data.histories import Histories
from recllm.data.saved import LATEST
from recllm.errors import ArtifactError

MOMENTS = 2048
"""Moments that the log of a fit is told apart into, at most; a moment is as long in later logs."""

USUAL = 2.0**13
"""Seconds of a moment where there is no log to tell."""

MOST_USERS = 2**31
"""No count is as high."""


def resolution_of(timestamps: np.ndarray) -> float:
    """How many seconds a moment lasts: the power of two that divides these events into at most `MOMENTS`.

    Moments are what is kept of time, so that no single event can be told from the counts of a busy shop.
    """
    span = float(np.ptp(timestamps)) if len(timestamps) else 0.0
    return 2.0 ** np.ceil(np.log2(span / (MOMENTS - 1))) if span > 0 else USUAL


@final
@dataclass(frozen=True, eq=False)
class Clock:
    """How often each item was liked at each moment.

    Attributes:
        resolution: Seconds that a moment lasts.
        moments: int64 [moments], ascending; moment m lasts from `m · resolution` up to the next one.
        liked: CSR int32 [moments, items].
    """

    resolution: float
    moments: np.ndarray
    liked: sparse.csr_array

    @classmethod
    def of(cls, histories: Histories, items: int, resolution: float) -> "Clock":
        """Of users' liked events."""
        liked = histories.signals > 0
        moments, rows = np.unique(
            np.floor(histories.timestamps[liked] / resolution).astype(np.int64), return_inverse=True
        )
        return cls(resolution, moments, tallied(rows, histories.item_rows[liked], (len(moments), items)))

    def __add__(self, other: "Clock") -> "Clock":
        return self._with(other, 1)

    def __sub__(self, other: "Clock") -> "Clock":
        return self._with(other, -1)

    def _with(self, other: "Clock", sign: int) -> "Clock":
        assert self.resolution == other.resolution, "moments of different length cannot be put together"
        moments = np.union1d(self.moments, other.moments)
        liked = canonical(self._at(moments) + sign * other._at(moments))
        return Clock(self.resolution, moments, liked).without_empty()

    def without_empty(self) -> "Clock":
        """Without moments at which nothing was liked."""
        left = np.diff(self.liked.indptr) > 0
        return self if left.all() else Clock(self.resolution, self.moments[left], sparse.csr_array(self.liked[left]))

    def _at(self, moments: np.ndarray) -> sparse.csr_array:
        """The rows of these moments; none of its own may be missing."""
        lengths = np.zeros(len(moments) + 1, dtype=self.liked.indptr.dtype)
        lengths[np.searchsorted(moments, self.moments) + 1] = np.diff(self.liked.indptr)
        shape = (len(moments), self.liked.shape[1])
        return sparse.csr_array((self.liked.data, self.liked.indices, np.cumsum(lengths)), shape=shape)

    def extended(self, items: int) -> "Clock":
        """Over a catalog that has grown to `items`."""
        return Clock(self.resolution, self.moments, widened(self.liked, len(self.moments), items))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        return {"resolution": np.array(self.resolution), "moments": self.moments, **csr_arrays(self.liked, "at.")}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "Clock":
        """The inverse of `tensors`."""
        resolution = saved.number("resolution", 1e-300, LATEST)
        moments = saved.integers("moments", None, least=0, below=2**62)
        if (np.diff(moments) <= 0).any():
            raise ArtifactError("the moments of the counts are not in order")
        return cls(resolution, moments, saved_csr(saved.under("at"), len(moments), items))


@final
@dataclass(frozen=True, eq=False)
class ItemCounts:
    """By how many users items were taken and liked, and when.

    Attributes:
        taken: int64 [items], users who have an event with it.
        liked: int64 [items], users who like it.
        clock: Likes by moments.
    """

    taken: np.ndarray
    liked: np.ndarray
    clock: Clock

    @classmethod
    def of(cls, histories: Histories, items: int, resolution: float) -> "ItemCounts":
        """Of users' events; see `resolution_of`."""
        taken, liked = (
            np.asarray(binary_matrix(histories, items, liked_only=only).sum(axis=0, dtype=np.int64)).ravel()
            for only in (False, True)
        )
        return cls(taken, liked, Clock.of(histories, items, resolution))

    def __add__(self, other: "ItemCounts") -> "ItemCounts":
        return ItemCounts(self.taken + other.taken, self.liked + other.liked, self.clock + other.clock)

    def __sub__(self, other: "ItemCounts") -> "ItemCounts":
        return ItemCounts(self.taken - other.taken, self.liked - other.liked, self.clock - other.clock)

    def extended(self, items: int) -> "ItemCounts":
        """Over a catalog that has grown to `items`; nobody took the new ones yet."""
        fresh = (0, items - len(self.taken))
        return ItemCounts(np.pad(self.taken, fresh), np.pad(self.liked, fresh), self.clock.extended(items))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        clock = {f"clock.{name}": part for name, part in self.clock.tensors().items()}
        return {"taken": self.taken, "liked": self.liked, **clock}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int) -> "ItemCounts":
        """The inverse of `tensors`."""
        taken, liked = (saved.integers(name, items, least=0, below=MOST_USERS) for name in ("taken", "liked"))
        return cls(taken, liked, Clock.from_tensors(saved.under("clock"), items))


# --- sparse whole numbers ----------------------------------------------------------------------------------------


def tallied(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """CSR int32: how often each pair of row and column occurs."""
    return canonical(sparse.csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape))


def canonical(matrix: sparse.csr_array) -> sparse.csr_array:
    """The one way to write these numbers down: columns in order, each once, no zeros; for equal sums equal arrays."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return sparse.csr_array(
        (matrix.data.astype(np.int32, copy=False), matrix.indices.astype(np.int32, copy=False), narrow(matrix.indptr)),
        shape=matrix.shape,
    )


def narrow(indptr: np.ndarray) -> np.ndarray:
    """Where rows begin, int32 if that is enough: with anything wider scipy makes the columns wider, too."""
    return indptr.astype(np.int32, copy=False) if not len(indptr) or indptr[-1] < 2**31 else indptr


def widened(matrix: sparse.csr_array, rows: int, columns: int) -> sparse.csr_array:
    """With more rows and columns, in which nothing is."""
    indptr = np.pad(matrix.indptr, (0, rows - matrix.shape[0]), mode="edge")
    return sparse.csr_array((matrix.data, matrix.indices, indptr), shape=(rows, columns))


def csr_arrays(matrix: sparse.csr_array, name: str = "") -> dict[str, np.ndarray]:
    """Its arrays, to be saved, under a name that ends with a dot or under none."""
    places = {"indices": matrix.indices.astype(np.int32), "indptr": matrix.indptr.astype(np.int64)}
    return {f"{name}{part}": array for part, array in ({"data": matrix.data} | places).items()}


def saved_places(saved: SavedArrays, entries: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the entries of a saved matrix stand: rows that begin where the last one ends, and columns inside it.

    Raises:
        ArtifactError: They are not: compiled code reads there unchecked.
    """
    indices = saved.integers("indices", entries, least=0, below=columns, dtype=np.int32)
    indptr = saved.integers("indptr", rows + 1, least=0, below=entries + 1)
    if indptr[0] != 0 or indptr[-1] != entries or (np.diff(indptr) < 0).any():
        raise ArtifactError(f"{saved.group}: the rows of a matrix do not follow each other")
    return indices, indptr


def saved_csr(saved: SavedArrays, rows: int, columns: int) -> sparse.csr_array:
    """The inverse of `csr_arrays`, for counts."""
    data = saved.integers("data", None, least=1, below=MOST_USERS, dtype=np.int32)
    places = saved_places(saved, len(data), rows, columns)
    return canonical(sparse.csr_array((data, *places), shape=(rows, columns)))
