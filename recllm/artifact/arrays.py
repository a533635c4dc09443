"""Arrays as they were saved, each taken with what is expected of it: name, type, shape, finite, in range.

Hashes say that a file is as it was written, not who wrote it. What is out of range would be read past the end of an
array by compiled code, and a single NaN would be in every score, so that nothing is used that was not taken here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np

from recllm.errors import ArtifactError

__all__ = ["SavedArrays"]

LARGEST = 1e4
"""Magnitude that no weight of a network has; with larger ones, products overflow and scores are NaN."""

Shape = tuple[int | None, ...]


@final
class SavedArrays:
    """A group of saved arrays, to be taken one by one.

    Args:
        group: What they are, for errors.
        arrays: By name.
    """

    def __init__(self, group: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.group, self._arrays, self._taken, self._prefix = group, arrays, set[str](), ""

    def under(self, prefix: str) -> "SavedArrays":
        """Those whose names begin with `prefix` and a dot, by the rest of their names; what is taken is taken here."""
        part = SavedArrays(self.group, self._arrays)
        part._taken, part._prefix = self._taken, f"{self._prefix}{prefix}."
        return part

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, which memory stands behind: what a setting says can be held against it."""
        return self._get(name).shape

    def floats(
        self, name: str, *shape: int | None, least: float = -LARGEST, most: float = LARGEST, dtype: Any = np.float32
    ) -> np.ndarray:
        """Finite numbers from `least` to `most`; None in the shape stands for any length."""
        return self._take(name, shape, np.dtype(dtype), least, most)

    def integers(self, name: str, *shape: int | None, least: int, below: int, dtype: Any = np.int64) -> np.ndarray:
        """Whole numbers from `least` up to, and without, `below`."""
        return self._take(name, shape, np.dtype(dtype), least, below - 1)

    def booleans(self, name: str, *shape: int | None) -> np.ndarray:
        """True or false."""
        return self._take(name, shape, np.dtype(bool), False, True)

    def number(self, name: str, least: float, most: float) -> float:
        """A single float64."""
        return float(self.floats(name, least=least, most=most, dtype=np.float64))

    def like(self, name: str, example: np.ndarray, largest: float = LARGEST) -> np.ndarray:
        """An array of the type and shape of another one."""
        bounds = (-largest, largest) if example.dtype.kind == "f" else (-np.inf, np.inf)
        return self._take(name, example.shape, example.dtype, *bounds)

    def all_taken(self) -> None:
        """Refuse what nobody asked for."""
        more = sorted(set(self._arrays) - self._taken)
        if more:
            raise ArtifactError(f"{self.group} holds {more[0]!r}, which does not belong there")

    def _get(self, name: str) -> np.ndarray:
        name = self._prefix + name
        if name not in self._arrays:
            raise ArtifactError(f"{self.group} lacks {name!r}")
        return self._arrays[name]

    def _take(self, name: str, shape: Shape, dtype: np.dtype[Any], least: float, most: float) -> np.ndarray:
        array, name = self._get(name), self._prefix + name
        self._taken.add(name)
        wanted = all(have == want for have, want in zip(array.shape, shape, strict=False) if want is not None)
        if array.dtype != dtype or array.ndim != len(shape) or not wanted:
            expected = ", ".join("…" if length is None else str(length) for length in shape)
            raise ArtifactError(
                f"{self.group}: {name!r} is {array.dtype} {list(array.shape)} instead of {dtype} [{expected}]"
            )
        # NaN is neither: it fails the comparison, too.
        if array.size and not (array.min() >= least and array.max() <= most):
            raise ArtifactError(f"{self.group}: {name!r} holds values that are not from {least:g} to {most:g}")
        return array
