"""Finds the items whose vectors a user's vector scores best, without scoring all of them exactly.

Up to `SCANNED_ITEMS` all are looked at, as whole numbers of eight bits, whose products are exact whatever the order or
the number of users; above, a graph is walked (HNSW, Malkov & Yashunin, arXiv 1603.09320). Either only finds: what is
found is scored again with the vectors as they are.
"""

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recllm.artifact import fingerprint
from recllm.artifact.folders import fresh_file, read_into_memory, replace_file
from recllm.errors import ArtifactError
from recllm.resources import cache_folder

if TYPE_CHECKING:
    from usearch.index import Index as UsearchIndex

NOBODY = -1
"""In place of an item's row, where fewer are found than were asked for."""

EXACT_ITEMS = 20_000
"""Up to this many items no index is needed."""

SCANNED_ITEMS = 200_000
"""Up to this many all are looked at: 4 ms for one user at 100,000 items of 384 numbers."""

CLIPPED = 6.0
"""Numbers further from 0 than this many times their root mean square are cut off: one in 10⁸ of a normal variable."""

Progress = Callable[[float, float], Any]
"""Called with (done, total)."""

USERS = 64
"""Users whose scores of all items are held at once: the next step finds them in the cache."""

SAMPLED = 4096
"""Scores of which a sample consists, at least."""

_BLOCK = 65_536
"""Items whose exact scores are held at once."""


class Index(ABC):
    """Finds the best items of a catalog."""

    @abstractmethod
    def best(
        self, queries: Float[Tensor, "users width"], eligible: Bool[Tensor, "users items"], size: int
    ) -> Int[Tensor, "users size"]:
        """Rows of about the best `size` eligible items of each user, in any order.

        As many as there are: `NOBODY` stands only where fewer than `size` are eligible.
        """


@final
class Scan(Index):
    """Looks at all items, in eight bits a number: a hundred of the best hundred at 100,000 items of either kind.

    Args:
        vectors: Of the items, float32 [items, width].
    """

    def __init__(self, vectors: Float[Tensor, "items width"]) -> None:
        self._codes = codes_of(vectors, _scale(vectors))

    def best(
        self, queries: Float[Tensor, "users width"], eligible: Bool[Tensor, "users items"], size: int
    ) -> Int[Tensor, "users size"]:
        """As `Index.best`."""
        found, allowed = np.full((len(queries), size), NOBODY), eligible.numpy()
        for start in range(0, len(queries), USERS):
            # Public since torch 2.1 by this name only: products of int8 in int32.
            scores = torch._int_mm(query_codes(queries[start : start + USERS]), self._codes.T).numpy()
            for user, line in enumerate(scores, start):
                rows = best_whole(line, allowed[user], size)
                found[user, : len(rows)] = rows
        return torch.from_numpy(found)


@final
class Graph(Index):
    """Walks from item to item towards what a vector scores best; where filters leave too little, all are looked at.

    Args:
        vectors: Of the items, float32 [items, width].
        index: Over their codes.
    """

    CONNECTIONS, WIDTH_ADD, WIDTH_SEARCH = 16, 64, 1024
    """Of an item; candidates that are kept while an item is put in, and while some are looked for."""

    def __init__(self, vectors: Float[Tensor, "items width"], index: "UsearchIndex") -> None:
        self._vectors, self._index = vectors, index
        self._content: bytearray | None = None

    @classmethod
    def of(
        cls, vectors: Float[Tensor, "items width"], folder: Path | None, progress: Progress | None = None
    ) -> "Graph":
        """From the folder where graphs are kept, if it is there whole, else made anew and kept there.

        Args:
            vectors: Of the items.
            folder: None: nothing is kept.
            progress: Called with (done, total) while a graph is made; None: a warning says so.
        """
        settings = f"{cls.CONNECTIONS} {cls.WIDTH_ADD} {CLIPPED}"
        file = None if folder is None else folder / f"{fingerprint(settings, vectors.numpy())}.usearch"
        index = cls._empty(vectors.shape[1])
        content = None if file is None else _kept(file)
        if content is not None:
            index.view(content)  # where it lies, which `cls` holds on to
        if len(index) != len(vectors):
            index = cls._empty(vectors.shape[1])
            if progress is None:
                warnings.warn(f"an index over {len(vectors):,} items is made, once; this takes minutes.", stacklevel=2)
            codes = codes_of(vectors, _scale(vectors)).numpy()
            # By one thread: the same graph each time.
            index.add(np.arange(len(vectors)), codes, threads=1, progress=_going_on(progress))
            if file is not None:
                _keep(file, index)
        graph = cls(vectors, index)
        graph._content = content
        return graph

    @classmethod
    def _empty(cls, width: int) -> "UsearchIndex":
        from usearch.index import Index as UsearchIndex

        return UsearchIndex(
            ndim=width,
            metric="ip",
            dtype="i8",
            connectivity=cls.CONNECTIONS,
            expansion_add=cls.WIDTH_ADD,
            expansion_search=cls.WIDTH_SEARCH,
        )

    def best(
        self, queries: Float[Tensor, "users width"], eligible: Bool[Tensor, "users items"], size: int
    ) -> Int[Tensor, "users size"]:
        """As `Index.best`."""
        found = torch.full((len(queries), size), NOBODY)
        if not len(queries):
            return found
        possible = torch.tensor([np.count_nonzero(line) for line in eligible.numpy()])  # torch takes long to add up
        # Of what a walk brings, about as large a share may be listed as of all; twice as many are asked for.
        reach = int((2 * size * len(self._vectors) / possible.clamp(min=1)).max())
        if reach <= self.WIDTH_SEARCH:
            codes = query_codes(queries).numpy()
            near = torch.from_numpy(
                np.asarray(self._index.search(codes, max(reach, 2 * size)).keys, dtype=np.int64).reshape(len(codes), -1)
            )
            allowed = eligible.gather(1, near)
            near = torch.where(allowed & (allowed.cumsum(dim=1) <= size), near, NOBODY)
            near = near.sort(dim=1, descending=True).values[:, :size]
            found[:, : near.shape[1]] = near
        for user in torch.nonzero((found != NOBODY).sum(dim=1) < possible.clamp(max=size)).flatten().tolist():
            found[user] = exact_best(self._vectors, queries[user], eligible[user], size)
        return found


def open_index(vectors: Float[Tensor, "items width"], progress: Progress | None = None) -> Index:
    """What finds the best of these items: a scan, or above `SCANNED_ITEMS` a graph, which is kept in the cache.

    Args:
        vectors: Of the items.
        progress: As in `Graph.of`.
    """
    if len(vectors) <= SCANNED_ITEMS:
        return Scan(vectors)
    try:
        import usearch.index  # noqa: F401
    except ImportError:
        warnings.warn(
            f"{len(vectors):,} items are all looked at for each list; `pip install 'recllm[scale]'` brings usearch, "
            "which finds the best of them faster.",
            stacklevel=2,
        )
        return Scan(vectors)
    return Graph.of(vectors, cache_folder("index"), progress)


def best_of(
    scores: Float[Tensor, "users items"], eligible: Bool[Tensor, "users items"], size: int
) -> Int[Tensor, "users size"]:
    """Rows of the best `size` eligible items of each user, in any order; `NOBODY` where there are fewer."""
    wanted = min(size, scores.shape[1])
    rows = scores.masked_fill(~eligible, -torch.inf).topk(wanted, dim=1, sorted=False).indices
    found = torch.where(eligible.gather(1, rows), rows, NOBODY)
    return nn.functional.pad(found, (0, size - wanted), value=NOBODY)


def best_whole(scores: Int[np.ndarray, "items"], allowed: Bool[np.ndarray, "items"], size: int) -> np.ndarray:
    """Rows of the best `size` allowed items, in any order; as many as there are, if there are fewer.

    A sample tells above which score there are about enough, which is a tenth of the work of putting all in order.
    """
    step = max(len(scores) // SAMPLED, 1)
    sample, place = scores[::step], int(1.5 * size / step) + 8
    if place < len(sample):
        rows = np.flatnonzero(scores >= np.partition(sample, len(sample) - place)[len(sample) - place])
        rows = rows[allowed[rows]]
    if place >= len(sample) or len(rows) < size:
        rows = np.flatnonzero(allowed)
    if len(rows) > size:
        rows = rows[np.argpartition(scores[rows], len(rows) - size)[len(rows) - size :]]
    return rows


def exact_best(
    vectors: Float[Tensor, "items width"], query: Float[Tensor, "width"], eligible: Bool[Tensor, "items"], size: int
) -> Int[Tensor, "size"]:
    """Rows of the best `size` eligible items, every one of which is scored; `NOBODY` where there are fewer."""
    rows, scores = torch.zeros(0, dtype=torch.long), torch.zeros(0)
    for block in torch.nonzero(eligible).flatten().split(_BLOCK):
        rows, scores = torch.cat([rows, block]), torch.cat([scores, vectors[block] @ query])
        if len(rows) > size:
            scores, best = scores.topk(size, sorted=False)
            rows = rows[best]
    return nn.functional.pad(rows, (0, size - len(rows)), value=NOBODY)


def codes_of(vectors: Float[Tensor, "rows width"], scale: float) -> Tensor:
    """int8 [rows, width]: numbers times `scale`, rounded."""
    codes = torch.empty(vectors.shape, dtype=torch.int8)
    for start in range(0, len(vectors), _BLOCK):  # in parts: rounded numbers take four times as much as codes
        some = slice(start, start + _BLOCK)
        codes[some] = (vectors[some] * scale).round().clamp(-127, 127)
    return codes


def query_codes(queries: Float[Tensor, "users width"]) -> Tensor:
    """int8 [users, width], each user on a scale of their own: it changes no order."""
    largest = queries.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
    return (queries * (127 / largest)).round().to(torch.int8)


def _scale(vectors: Float[Tensor, "items width"]) -> float:
    """One for all items, whose lengths matter."""
    some = vectors[:: max(len(vectors) // _BLOCK, 1)]
    spread = float(some.square().mean().sqrt()) if len(some) else 0.0
    return 127 / (CLIPPED * max(spread, 1e-12))


def _going_on(progress: Progress | None) -> Callable[[int, int], bool]:
    def told(done: int, total: int) -> bool:  # usearch looks at these types
        if progress is not None:
            progress(done, total)
        return True

    return told


def _kept(file: Path) -> bytearray | None:
    """A kept graph, or None; one that is not what was written is not opened: the library believes every byte of it."""
    try:
        facts: Any = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        content = read_into_memory(file, int(facts["bytes"]))
    except (OSError, ValueError, KeyError, TypeError, ArtifactError):
        return None
    return content if hashlib.sha256(content).hexdigest() == facts.get("sha256") else None


def _keep(file: Path, index: "UsearchIndex") -> None:
    """Best effort: a read-only home must not stop anyone from serving."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with fresh_file(file) as fresh:
            index.save(str(fresh))
            with fresh.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            facts = {"sha256": digest, "bytes": fresh.stat().st_size}
        replace_file(file.with_suffix(".json"), json.dumps(facts).encode())
    except OSError:
        return
