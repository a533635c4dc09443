"""Counts that were made apart, in files, and their sum, which is made for a range of items at a time."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from recllm.artifact.arrays import SavedArrays
from recllm.counts.counts import Counts
from recllm.counts.items import ItemCounts, canonical, narrow
from recllm.counts.pairs import PairCounts
from recllm.data.histories import Histories
from recllm.errors import ArtifactError
from recllm.options import Workers

AT_ONCE = 2**24
"""Entries of all files that are added up together."""

WORTH_SHARING = 2_000_000
"""Events that a single process counts before others have started."""

AT_A_TIME = 500_000
"""Events that a worker counts together."""

COUNTED = ("offsets", "item_rows", "timestamps", "signals")
"""What counts are made of."""

T = TypeVar("T")


def keep(counts: Counts, path: Path) -> None:
    """Write counts to a file, which is there when all of it is."""
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: np.asarray(array, order="C") for name, array in counts.tensors().items()}, temporary)
    os.replace(temporary, path)


def count_apart(histories: Histories, items: int, resolution: float, workers: Workers | None) -> Counts:
    """`Counts.of`, counted by the workers where there are some and that is worth their starting.

    Args:
        histories: Of users.
        items: Size of the catalog.
        resolution: See `Counts.of`.
        workers: On other machines, they have the folder for temporary files in common.
    """
    if workers is None or histories.n_events < WORTH_SHARING:
        return Counts.of(histories, items, resolution)
    with tempfile.TemporaryDirectory(prefix="recllm-counts-") as folder:
        shards = list(_written(histories, Path(folder), max(2 * workers.workers, histories.n_events // AT_A_TIME)))
        made = workers.map(partial(_count, items, resolution), shards)
        return sum_of([Path(path) for path in made], items)


def _written(histories: Histories, folder: Path, shards: int) -> Iterator[str]:
    """Files with users' events, each with about as many."""
    from safetensors.numpy import save_file

    cuts = np.searchsorted(histories.offsets, np.linspace(0, histories.n_events, shards + 1)[1:-1])
    for number, users in enumerate(np.split(np.arange(len(histories)), cuts)):
        part = histories.of(users)
        path = folder / f"events-{number:06d}.safetensors"
        save_file({name: getattr(part, name) for name in COUNTED}, path)
        yield str(path)


def _count(items: int, resolution: float, path: str) -> str:
    from safetensors.numpy import load_file

    found = load_file(path)
    users, events = len(found["offsets"]) - 1, len(found["item_rows"])
    ids, tokens = tuple(map(str, range(users))), np.zeros(events, dtype=np.int64)
    part = Histories(ids, tokens=tokens, **{name: found[name] for name in COUNTED})
    made = Path(path).with_name(f"counts-of-{Path(path).name}")
    keep(Counts.of(part, items, resolution), made)
    return str(made)


def sum_of(paths: Sequence[Path], items: int) -> Counts:
    """The sum of counts in files, of which nobody is in two: to the last bit what counting all of them gives.

    What is counted of pairs is read and added up for a range of items at a time: memory holds the sum and little else.

    Args:
        paths: What `keep` wrote.
        items: Size of the catalog.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    files = [_File(path) for path in paths]
    users, events = (sum(int(file.array(name)) for file in files) for name in ("users", "events"))
    single = tree_sum([_items_of(file, items) for file in files])
    taken, next_liked = (
        _summed([file.matrix(f"pairs.{name}.") for file in files], items) for name in ("taken", "next_liked")
    )
    liked = taken
    if any(file.has("pairs.liked.data") for file in files):
        names = ["liked" if file.has("pairs.liked.data") else "taken" for file in files]
        liked = _summed([file.matrix(f"pairs.{name}.") for file, name in zip(files, names, strict=True)], items)
    return Counts(users, events, single, PairCounts(taken, liked, next_liked))


def tree_sum(parts: Sequence[T]) -> T:
    """The sum of pairs of neighbours, and of these, until there is one."""
    rest: list[Any] = list(parts)
    while len(rest) > 1:
        rest = [sum(rest[place + 1 : place + 2], rest[place]) for place in range(0, len(rest), 2)]
    first: T = rest[0]
    return first


def _items_of(file: "_File", items: int) -> ItemCounts:
    names = [name.removeprefix("items.") for name in file.names if name.startswith("items.")]
    arrays = {name: file.array(f"items.{name}") for name in names}
    return ItemCounts.from_tensors(SavedArrays(str(file.path), arrays), items)


class _File:
    """Arrays in a file, read as they are asked for, whole or in slices.

    It is opened for each: what was read of a file that stays open counts as memory of the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as file:
            self.names: list[str] = list(file.keys())

    def _opened(self) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self.path, "numpy")
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"the counts in {self.path} cannot be read ({error}); count that part again") from error

    def has(self, name: str) -> bool:
        return name in self.names

    def array(self, name: str) -> np.ndarray:
        with self._opened() as file:
            found: np.ndarray = file.get_tensor(name)
        return found

    def slices(self, names: Sequence[str], begin: int, end: int) -> list[np.ndarray]:
        with self._opened() as file:
            return [file.get_slice(name)[begin:end] for name in names]

    def matrix(self, name: str) -> "_Rows":
        return _Rows(self, name)


class _Rows:
    """The rows of a matrix in a file; of its arrays only where rows begin is in memory."""

    def __init__(self, file: _File, name: str) -> None:
        self._file, self._names = file, (f"{name}data", f"{name}indices")
        self.indptr = narrow(file.array(f"{name}indptr"))

    def rows(self, start: int, stop: int, columns: int) -> sparse.csr_array:
        begin, end = int(self.indptr[start]), int(self.indptr[stop])
        if begin == end:  # of an array without entries safetensors takes no slice
            return sparse.csr_array((stop - start, columns), dtype=np.int32)
        indptr = self.indptr[start : stop + 1] - self.indptr[start]
        data, indices = self._file.slices(self._names, begin, end)
        return sparse.csr_array((data, indices, indptr), shape=(stop - start, columns))


def _summed(matrices: Sequence[_Rows], items: int) -> sparse.csr_array:
    """CSR int32 [items, items]."""
    entries = sum((np.diff(matrix.indptr).astype(np.int64) for matrix in matrices), np.zeros(items, dtype=np.int64))
    lengths = np.zeros(items, dtype=np.int64)
    data, indices = _Growing(int(entries.sum())), _Growing(int(entries.sum()))
    for start, stop in _ranges(entries):
        block = canonical(tree_sum([matrix.rows(start, stop, items) for matrix in matrices]))
        lengths[start:stop] = np.diff(block.indptr)
        data.add(block.data)
        indices.add(block.indices)
    indptr = narrow(np.concatenate([[0], np.cumsum(lengths)]))
    return sparse.csr_array((data.done(), indices.done(), indptr), shape=(items, items))


def _ranges(entries: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of rows with at most `AT_ONCE` entries, and always one row."""
    before = np.concatenate([[0], np.cumsum(entries)])
    start = 0
    while start < len(entries):
        fits = int(np.searchsorted(before, before[start] + AT_ONCE, side="right")) - 1
        stop = max(fits, start + 1)
        yield start, stop
        start = stop


class _Growing:
    """An int32 array that is as long as it has to be in the end; memory that was never written is never taken."""

    def __init__(self, most: int) -> None:
        self._array, self._length = np.empty(most, dtype=np.int32), 0

    def add(self, values: np.ndarray) -> None:
        self._array[self._length : self._length + len(values)] = values
        self._length += len(values)

    def done(self) -> np.ndarray:
        self._array.resize(self._length, refcheck=False)
        return self._array
