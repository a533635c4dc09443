"""Training examples: windows of histories that end where a timestamp ends, and the liked items that come next."""

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.data.histories import Histories
from recllm.encoders.history import EventBatch


@final
@dataclass(frozen=True)
class Predictions:
    """What a batch of windows is asked to predict.

    Attributes:
        user: Row of the window in the batch [predictions].
        time: Number of events seen, an index into the encoder's states [predictions].
        target_of: The prediction a target belongs to [targets].
        target_item: Item row [targets].
        target_weight: 1 / (number of targets of that prediction) [targets].
        asked_at: Time of the first event after each window, unix seconds, float64 [windows].
    """

    user: Int[Tensor, "predictions"]
    time: Int[Tensor, "predictions"]
    target_of: Int[Tensor, "targets"]
    target_item: Int[Tensor, "targets"]
    target_weight: Float[Tensor, "targets"]
    asked_at: Float[np.ndarray, "windows"]

    def to(self, device: torch.device) -> "Predictions":
        """The same there."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


@final
class WindowSampler:
    """Draws windows of users' events with the next liked items as a soft target.

    A window ends where a block of equal timestamps ends, as at serving time, and starts anywhere, since a support of
    K events may start inside a basket. Half of the draws are as long as the context, half log-uniform in length, so
    that short histories are as well trained as long ones. A draw shares one length, which wastes no time on padding,
    unless lengths are `mixed`.

    Args:
        histories: Training users.
        max_events: Longest window.
        horizon: Targets are the liked events among this many next ones, rounded up to a whole block.
        positions: Predictions per window.
        mixed: Whether every window of a draw has a length of its own.
    """

    def __init__(
        self, histories: Histories, *, max_events: int, horizon: int, positions: int, mixed: bool = False
    ) -> None:
        self.histories = histories
        self.max_events = max_events
        self.positions = positions
        self.mixed = mixed
        lengths = histories.lengths
        events = len(histories.item_rows)
        self.first = np.repeat(histories.offsets[:-1], lengths)
        last = np.repeat(histories.offsets[1:], lengths)
        blocks = histories.blocks
        index = np.arange(events)
        starts_block = index == self.first
        starts_block[1:] |= blocks[1:] != blocks[:-1]
        block_starts = np.append(np.flatnonzero(starts_block), events)
        reach = np.minimum(index + horizon, last) - 1
        self.target_end = block_starts[np.searchsorted(block_starts, reach, side="right")]
        liked_before = np.concatenate([[0], np.cumsum(histories.signals > 0)])
        self.has_target = liked_before[self.target_end] > liked_before[index]
        self.edge = starts_block & self.has_target
        # A window ends where something is known: where users have few baskets, most edges would be their first event.
        edges = np.flatnonzero(self.edge & (index > self.first))
        owner = histories.user_rows[edges]
        self.edges, self.edge_offsets = edges, np.searchsorted(owner, np.arange(len(histories) + 1))
        self.users = np.flatnonzero(np.diff(self.edge_offsets) > 0)

    def __len__(self) -> int:
        """Users that can be trained on."""
        return len(self.users)

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> tuple[EventBatch, Predictions]:
        """One window for each of `users`, indices into `self.users`."""
        windows, predictions = self.draw_supports(users, rng)
        return EventBatch.collate(windows, self.max_events), predictions

    def draw_supports(self, users: np.ndarray, rng: np.random.Generator) -> tuple[Histories, Predictions]:
        """As `draw`, with the windows as histories."""
        begin, end = self._spans(self.users[users], rng)
        user: list[int] = []
        time: list[int] = []
        target_of: list[int] = []
        target_item: list[np.ndarray] = []
        target_weight: list[float] = []
        for row, (start, stop) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
            for point in self._points(start, stop, rng):
                events = np.arange(point, self.target_end[point])
                liked = events[self.histories.signals[events] > 0]
                target_of += [len(user)] * len(liked)
                target_item.append(self.histories.item_rows[liked])
                target_weight += [1.0 / len(liked)] * len(liked)
                user.append(row)
                time.append(point - start)
        predictions = Predictions(
            torch.tensor(user),
            torch.tensor(time),
            torch.tensor(target_of),
            torch.from_numpy(np.concatenate(target_item)),
            torch.tensor(target_weight, dtype=torch.float32),
            self.histories.timestamps[end],
        )
        return self._slice(self.users[users], begin, end), predictions

    def _spans(self, users: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.edge_offsets[users], self.edge_offsets[users + 1]
        end = self.edges[low + (rng.random(len(users)) * (high - low)).astype(np.int64)]
        draws = len(users) if self.mixed else 1
        short = np.exp(rng.random(draws) * np.log(self.max_events)).round().astype(np.int64)
        length = np.where(rng.random(draws) < 0.5, self.max_events, short)
        return np.maximum(end - length, self.first[end]), end

    def _points(self, start: int, stop: int, rng: np.random.Generator) -> np.ndarray:
        """Where to predict: the end of the window, and some of the block edges inside it."""
        inner = start + np.flatnonzero(self.edge[start + 1 : stop]) + 1
        if start < stop and self.has_target[start]:
            inner = np.append(inner, start)
        if len(inner) >= self.positions:
            inner = rng.choice(inner, self.positions - 1, replace=False)
        return np.append(inner, stop)

    def _slice(self, users: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Histories:
        lengths = end - begin
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        events = np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1])
        whole = self.histories
        return Histories(
            user_ids=tuple(whole.user_ids[user] for user in users),
            offsets=offsets,
            item_rows=whole.item_rows[events],
            timestamps=whole.timestamps[events],
            signals=whole.signals[events],
            tokens=whole.tokens[events],
        )
