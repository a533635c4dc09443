"""States that are carried on without the history: an event added, an event taken out."""

from dataclasses import dataclass, field

import numpy as np
from memory_reading import Reader, ridge
from memory_states import ALL, LATE, LIKED, ORDER, SCORES, VECTOR, Parts, Recipe, peaks, within

from recllm.counts.next_liked import DECAY
from recllm.data.histories import Histories

MOVES = 4000
"""Steps of training users that an update is learned from."""


@dataclass(frozen=True, eq=False)
class Event:
    """One event of each user.

    Attributes:
        items: [users]
        liked: bool [users]
        later: Whether it is later than the one before, bool [users].
        known: How many were known before it [users].
    """

    items: np.ndarray
    liked: np.ndarray
    later: np.ndarray
    known: np.ndarray

    @classmethod
    def at(cls, histories: Histories, place: np.ndarray) -> "Event":
        """The events at these places."""
        rows = histories.offsets[:-1] + place
        before = np.where(place > 0, histories.timestamps[rows - 1], -np.inf)
        later = histories.timestamps[rows] > before
        return cls(histories.item_rows[rows], histories.signals[rows] > 0, later, place)


@dataclass(eq=False)
class Updates:
    """Carries states on.

    Attributes:
        reader: How they are made.
    """

    reader: Reader
    _learned: dict[object, np.ndarray] = field(default_factory=dict)

    def added(self, parts: Parts, event: Event, recipe: Recipe) -> Parts:
        """States after one more event, from nothing but the states and the event."""
        found = {}
        for name, part in parts.items():
            if name in (VECTOR, SCORES):
                key = (name, part.shape[1], recipe.share)
                if key not in self._learned:
                    self._learned[key] = self._learn(name, part.shape[1], recipe)
                found[name] = part + self._given(name, part, event, recipe) @ self._learned[key]
                continue
            row = self.reader.shop.tables[name].rows[event.items, : part.shape[1]]
            if name in (LATE, ORDER):
                part = part * np.where(event.later | (name == ORDER), DECAY, 1.0)[:, None]
            found[name] = part + (row * event.liked[:, None] if name == LIKED else row)
        return self.reader.packed(found, recipe)

    def _given(self, name: str, part: np.ndarray, event: Event, recipe: Recipe) -> np.ndarray:
        shop = self.reader.shop
        if name == VECTOR:
            alone = shop.vectors.numbers(shop.one_vector[event.items])
        else:
            alone = shop.scores[recipe.share].numbers(peaks(shop.one_score[event.items], recipe.share))
        alone, gate = alone[:, : part.shape[1]], 1 / (1 + event.known)[:, None]
        liked = event.liked[:, None]
        fresh = [alone * liked, alone * liked * gate, alone * ~liked * gate]
        ones = np.concatenate([np.ones_like(gate), gate], axis=1)
        return np.concatenate([part, part * gate, *fresh, ones], axis=1).astype(np.float32)

    def _learn(self, name: str, numbers: int, recipe: Recipe) -> np.ndarray:
        """A ridge from states and events of training users to how far the state moved."""
        rng, longer = np.random.default_rng(0), self.reader.shop.longer
        users = rng.choice(np.flatnonzero(longer.lengths > 1), MOVES)
        length = np.minimum(np.floor(np.exp(rng.uniform(0, np.log(101), MOVES)) - 1), longer.lengths[users] - 1)
        length = length.astype(np.int64)
        begin = rng.integers(0, longer.lengths[users] - length)
        after = within(longer.of(users), begin, length + 1)
        before = within(after, np.zeros(MOVES, np.int64), length)
        plain = Recipe(((name, numbers),), 16, recipe.filter, recipe.share)
        states = [self.reader.exact(one, plain)[name] for one in (before, after)]
        given = self._given(name, states[0], Event.at(after, length), recipe)
        return ridge(given, states[1] - states[0])

    def folded(self, histories: Histories, events: int, recipe: Recipe) -> Parts:
        """States of all but the newest events in one go, then these one by one."""
        many = histories.lengths - events
        none = np.zeros(len(histories), np.int64)
        parts = self.reader.state(within(histories, none, many), recipe)
        for step in range(events):
            parts = self.added(parts, Event.at(histories, many + step), recipe)
        return parts

    def taken_out(self, histories: Histories, place: np.ndarray, recipe: Recipe) -> tuple[Parts, Parts]:
        """States of sums less one event, and states of users who never had it."""
        rows = histories.offsets[:-1] + place
        parts = self.reader.state(histories, recipe)
        less = {}
        for name, part in parts.items():
            row = self.reader.shop.tables[name].rows[histories.item_rows[rows], : part.shape[1]]
            weight = {ALL: np.ones(len(rows)), LIKED: histories.signals[rows] > 0, LATE: DECAY ** histories.newer[rows]}
            weight[ORDER] = DECAY ** (histories.lengths - 1 - place)
            less[name] = part - row * weight[name][:, None]
        keep = np.ones(histories.n_events, dtype=bool)
        keep[rows] = False
        return self.reader.packed(less, recipe), self.reader.state(histories.drop_events(keep), recipe)
