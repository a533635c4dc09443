"""Vectors of items beside their texts: what an image or a sound says of them, and what people have written.

Each sense is whitened like the texts are, so that no direction that all items share decides; several stand side by
side. What an item has no vector for says nothing: it lies in the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.data.catalog import Catalog
from recllm.encoders.text import Whitening

MOST_DIRECTIONS = 256
"""Of a sense's vectors, the directions that are kept: those in which items differ most."""

COMMENTS = "what people wrote"
"""The sense that a fit makes of comments. It is no part of item vectors: who is learned from would find their own words
there."""

LARGEST = 1e7
"""Of the numbers of a vector, and of the inverse of the smallest spread."""


@final
@dataclass(frozen=True, eq=False)
class Senses:
    """How vectors of items are whitened, by the name of the sense.

    Attributes:
        whitening: Of each sense; the matrices are [dim, directions]. Empty where items have texts only.
    """

    whitening: Mapping[str, Whitening] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        warm: Bool[np.ndarray, "items"],
        shrinkage: float,
        comments: Float[np.ndarray, "items dim"] | None = None,
    ) -> "Senses":
        """Statistics of items with events, or of all where none of these has a vector.

        Args:
            catalog: The items and their vectors.
            warm: Which items have events.
            shrinkage: See `Whitening.fit`.
            comments: What was written of each item, as vectors; NaN where nothing was.
        """
        found = {}
        for name, vectors in _all(catalog, comments).items():
            there = np.isfinite(vectors).all(axis=1)
            known = vectors[there & warm] if (there & warm).sum() > 1 else vectors[there]
            whole = Whitening.fit(known, shrinkage)
            found[name] = Whitening(whole.mean, _directions(known - whole.mean, whole.matrix))
        return cls(found)

    @property
    def width(self) -> int:
        """Numbers of an item, all senses together."""
        return sum(one.matrix.shape[1] for one in self.whitening.values())

    @property
    def inside(self) -> int:
        """Of these, the numbers that are part of item vectors, which come first."""
        return sum(one.matrix.shape[1] for name, one in self.whitening.items() if name != COMMENTS)

    def beside(
        self, texts: Float[Tensor, "items dim"], others: Float[Tensor, "items width"]
    ) -> Float[Tensor, "items dim_and_inside"]:
        """What item vectors are made of: whitened texts and others beside them; the texts as they lie without any."""
        return torch.cat([texts, others[:, : self.inside]], dim=1) if self.inside else texts

    def white(
        self, catalog: Catalog, comments: Float[np.ndarray, "items dim"] | None = None
    ) -> Float[Tensor, "items width"]:
        """Whitened vectors of all senses side by side, each of length 1, or 0 where an item has none."""
        given = _all(catalog, comments)
        parts = [np.zeros((len(catalog), 0), dtype=np.float32)]
        for name, whitening in self.whitening.items():
            vectors = given.get(name)
            part = np.zeros((len(catalog), whitening.matrix.shape[1]), dtype=np.float32)
            if vectors is not None:
                there = np.isfinite(vectors).all(axis=1)
                part[there] = whitening(vectors[there])
            parts.append(part)
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, the senses by number; their names are kept elsewhere."""
        parts = enumerate(self.whitening.values())
        return {
            f"{n}.{name}": array for n, one in parts for name, array in (("mean", one.mean), ("matrix", one.matrix))
        }

    @classmethod
    def from_tensors(cls, saved: SavedArrays, names: Sequence[str]) -> "Senses":
        """The inverse of `tensors`.

        Raises:
            ArtifactError: Something is missing, or of another shape.
        """
        found = {}
        for number, name in enumerate(names):
            one = saved.under(str(number))
            mean = one.floats("mean", None, least=-LARGEST, most=LARGEST)
            found[name] = Whitening(mean, one.floats("matrix", len(mean), None, least=-LARGEST, most=LARGEST))
        return cls(found)


def _all(
    catalog: Catalog, comments: Float[np.ndarray, "items dim"] | None
) -> dict[str, Float[np.ndarray, "items dim"]]:
    """Vectors by sense; what people wrote comes last."""
    given = {name: vectors for name, vectors in catalog.vectors.items() if name != COMMENTS}
    return given if comments is None else given | {COMMENTS: comments}


def _directions(centred: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The whitening with as many directions as are kept, float32 [dim, directions]."""
    if matrix.shape[1] <= MOST_DIRECTIONS:
        return matrix
    values, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    kept: np.ndarray = (matrix @ axes[:, np.argsort(-values)[:MOST_DIRECTIONS]]).astype(np.float32)
    return kept
