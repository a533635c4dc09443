"""States that stand for a history of which nothing else is kept: what is in them, how they are packed and read.

A channel that is linear in a user's items is read from a sum over these items of rows of a table [items, numbers]; such
sums of one kind (all items, liked ones, items that count less the older they are) share a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse

from recllm.counts.matrices import liked_part, weighted_matrix
from recllm.counts.next_liked import DECAY
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.model.model import Model
from recllm.retrieval.profiles import standardised

SHOTS = (5, 20, 100)
HEADER = 6
"""Bytes of what every state holds: how many events are known (2) and when the newest was (4)."""

MOST_NUMBERS, MOST_DIRECTIONS = 384, 768
POPULAR = ("popularity", "trend", "recent")
"""Channels that are read from the header alone."""

ALL, LIKED, LATE, ORDER, VECTOR, SCORES = "all", "liked", "late", "order", "vector", "scores"
Parts = dict[str, np.ndarray]
"""Numbers of users [users, numbers], by what they are of."""


def within(histories: Histories, begin: np.ndarray, length: np.ndarray | int) -> Histories:
    """Of each user the events from place `begin` on, so many."""
    place = histories.positions - begin[histories.user_rows]
    long = np.broadcast_to(np.asarray(length), (len(histories),))[histories.user_rows]
    return histories.drop_events((place >= 0) & (place < long))


def single_events(items: int, token: int) -> Histories:
    """A user for each item who likes it, and of whom nothing else is known."""
    rows = np.arange(items)
    names = tuple(map(str, rows))
    return Histories(names, np.arange(items + 1), rows, np.zeros(items), np.ones(items, np.int8), np.full(items, token))


def in_batches(model: Model, histories: Histories, *, vectors: bool = False) -> np.ndarray:
    """The served scores [users, items], or user vectors [users, width]."""
    found = []
    for start in range(0, len(histories), model.batch_users):
        part = histories.of(np.arange(start, min(start + model.batch_users, len(histories))))
        found.append((model.user_vectors(part, {}) if vectors else model.scores(part, None)).numpy())
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Table:
    """What is added up for each event, and what channels are read from the sum.

    Attributes:
        rows: float32 [items, numbers].
        columns: float32 [numbers, channels × items].
        channels: Names.
        spread: Of each number over training users.
    """

    rows: np.ndarray
    columns: np.ndarray
    channels: tuple[str, ...]
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Directions:
    """Principal directions of something of training users.

    Attributes:
        mean: [width].
        rows: [numbers, width].
        spread: Of each number.
    """

    mean: np.ndarray
    rows: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, most: int) -> "Directions":
        """The strongest ones."""
        mean = values.mean(axis=0)
        rows = strongest_directions(values - mean, most)
        return cls(mean, rows, ((values - mean) @ rows.T).std(axis=0) + 1e-6)

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """[users, numbers]"""
        found: np.ndarray = (values - self.mean) @ self.rows.T
        return found

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """[users, width], from as many numbers as there are."""
        found: np.ndarray = self.mean + numbers @ self.rows[: numbers.shape[1]]
        return found


def strongest_directions(values: np.ndarray, most: int) -> np.ndarray:
    """Right singular vectors [numbers, width], strongest first."""
    most = min(most, *values.shape)
    torch.manual_seed(0)
    found = torch.svd_lowrank(torch.from_numpy(values.astype(np.float32)), q=most, niter=2)[2]
    return found.T.contiguous().numpy()


def peaks(scores: np.ndarray, share: float) -> np.ndarray:
    """Scores on one scale; below the best `share` of them nothing."""
    scaled = standardised(torch.from_numpy(scores)).numpy()
    if share == 1:
        return scaled
    bar = np.partition(scaled, int((1 - share) * scaled.shape[1]), axis=1)[:, int((1 - share) * scaled.shape[1])]
    return np.maximum(scaled - bar[:, None], 0)


@dataclass(frozen=True, eq=False)
class Shop:
    """A model, training users of whom anything may be learned, and what their states are made of.

    Attributes:
        model: As it was fitted.
        taught: Training users' histories of 5, 20 and 100 events.
        longer: Training users' whole supports.
        weighted: Whether tables are those that lose least on training users' sums, not on single items.
    """

    model: Model
    taught: Histories
    longer: Histories
    weighted: bool = True

    @classmethod
    def of(cls, model: Model, tasks: Tasks) -> "Shop":
        """From training users' tasks."""
        support = tasks.support
        parts = [support.of(np.flatnonzero(support.lengths >= k)).last(k) for k in SHOTS]
        return cls(model, Histories.concatenate(parts), support)

    @cached_property
    def items(self) -> int:
        """Size of the catalog."""
        return len(self.model.catalog)

    @cached_property
    def alone(self) -> Histories:
        """Each item as somebody's only event."""
        return single_events(self.items, int(np.bincount(self.longer.tokens[self.longer.signals > 0]).argmax()))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Sums that are kept; where everything is liked, one is enough for both.

        `late` decays with every event at a later moment, as the model does, `order` with every event that came after.
        """
        return (ALL, LIKED, LATE, ORDER) if "liked" in self.model.channels.names else (ALL, LATE, ORDER)

    def events(self, histories: Histories, kind: str) -> Any:
        """Weights of the events in the sum, CSR [users, items]."""
        histories = liked_part(histories) if kind == LIKED else histories
        if kind != ORDER:
            return weighted_matrix(histories, self.items, DECAY if kind == LATE else 1.0)
        after = histories.lengths[histories.user_rows] - 1 - histories.positions
        shape = (len(histories), self.items)
        return sparse.csr_array((np.float32(DECAY) ** after, (histories.user_rows, histories.item_rows)), shape=shape)

    def _blocks(self, kind: str) -> dict[str, np.ndarray]:
        """What one event adds to each channel's scores [items, items]."""
        channels, text = self.model.channels, self.model.channels.text.numpy()
        weights: Any = lambda name: channels[name].model.weights.toarray()  # type: ignore[attr-defined]  # noqa: E731
        if kind in (LATE, ORDER):
            reading = self.one_vector @ self.model.vectors.numpy().T
            return {"next_liked": weights("next_liked"), "history": reading}
        alike = {"text": text @ text.T}
        if kind == LIKED:
            return {"liked": weights("liked")} | alike
        company = channels["text_cooccurrence"].sources @ text.T  # type: ignore[attr-defined]
        found = {"cooccurrence": weights("cooccurrence"), "text_cooccurrence": company}
        return found if LIKED in self.kinds else found | alike

    @cached_property
    def tables(self) -> dict[str, Table]:
        """By kind."""
        return {kind: self._table(kind) for kind in self.kinds}

    def _table(self, kind: str) -> Table:
        blocks, known = self._blocks(kind), self.events(self.taught, kind)
        scaled = []
        for block in blocks.values():
            centred = (block - block.mean(axis=1, keepdims=True)).astype(np.float32)
            scaled.append(centred / np.linalg.norm(known @ centred, axis=1).mean())
        whole = np.concatenate(scaled, axis=1)
        sums = known @ whole if self.weighted else whole
        columns = strongest_directions(sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-6), MOST_NUMBERS)
        rows = whole @ columns.T
        return Table(rows, columns, tuple(blocks), (known @ rows).std(axis=0) + 1e-6)

    @cached_property
    def one_vector(self) -> np.ndarray:
        """User vectors after each item alone."""
        return in_batches(self.model, self.alone, vectors=True)

    @cached_property
    def one_score(self) -> np.ndarray:
        """Served scores after each item alone."""
        return in_batches(self.model, self.alone)

    @cached_property
    def taught_vectors(self) -> np.ndarray:
        """Of the training users."""
        return in_batches(self.model, self.taught, vectors=True)

    @cached_property
    def vectors(self) -> Directions:
        """Of user vectors."""
        return Directions.of(self.taught_vectors, self.taught_vectors.shape[1])

    @cached_property
    def taught_scores(self) -> np.ndarray:
        """Of the training users, as served."""
        return in_batches(self.model, self.taught)

    @cached_property
    def scores(self) -> dict[float, Directions]:
        """Of served scores, by the share of the catalog that is told apart."""
        return {share: Directions.of(peaks(self.taught_scores, share), MOST_DIRECTIONS) for share in (1.0, 0.05)}

    def sums(self, histories: Histories, sizes: Mapping[str, int]) -> Parts:
        """The sums of these kinds."""
        kept = [kind for kind in sizes if kind in self.tables]
        return {kind: self.events(histories, kind) @ self.tables[kind].rows[:, : sizes[kind]] for kind in kept}

    def spread(self, part: str, share: float = 1.0) -> np.ndarray:
        """Of the numbers of a part."""
        if part in self.tables:
            return self.tables[part].spread
        return self.vectors.spread if part == VECTOR else self.scores[share].spread


def packed(numbers: np.ndarray, spread: np.ndarray, bits: int) -> np.ndarray:
    """As they are after they were kept in so many bits; below 16 each user's have a scale of their own (2 bytes)."""
    scaled = numbers / spread[: numbers.shape[1]]
    if bits == 16:
        kept = np.clip(scaled, -6e4, 6e4).astype(np.float16).astype(np.float32)
    else:
        levels = 2 ** (bits - 1) - 1
        most = np.abs(scaled).max(axis=1, keepdims=True, initial=1e-3).astype(np.float16).astype(np.float32)
        kept = np.clip(np.round(scaled / most * levels), -levels, levels) / levels * most
    result: np.ndarray = (kept * spread[: numbers.shape[1]]).astype(np.float32)
    return result


@dataclass(frozen=True)
class Filter:
    """A Bloom filter of what was seen, made for a hundred items.

    Attributes:
        size: Bytes.
    """

    size: int

    def bits(self, items: int) -> np.ndarray:
        """Which bits an item sets, int64 [items, hashes]."""
        hashes = max(1, round(np.log(2) * 8 * self.size / 100))
        return np.random.default_rng(self.size).integers(8 * self.size, size=(items, hashes))

    def hidden(self, histories: Histories, items: int) -> np.ndarray:
        """Items that it holds to be seen, bool [users, items]."""
        if not self.size:
            return np.zeros((len(histories), items), dtype=bool)
        bits = self.bits(items)
        filled = np.zeros((len(histories), 8 * self.size), dtype=bool)
        filled[histories.user_rows[:, None], bits[histories.item_rows]] = True
        return np.stack([row[bits].all(axis=1) for row in filled])


@dataclass(frozen=True)
class Recipe:
    """What is kept of a user.

    Attributes:
        sizes: Numbers by part.
        bits: Of each number.
        filter: Of what was seen.
        share: Of the catalog that `scores` tell apart.
        guessed: Whether sums that are not kept are guessed from the user vector; else these channels say nothing.
    """

    sizes: tuple[tuple[str, int], ...]
    bits: int
    filter: Filter
    share: float = 1.0
    guessed: bool = False

    @property
    def size(self) -> int:
        """Bytes in all."""
        scales = 0 if self.bits == 16 else 2 * len(self.sizes)
        return HEADER + self.filter.size + scales + -(-sum(n for _, n in self.sizes) * self.bits // 8)
