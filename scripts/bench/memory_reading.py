"""From states to scores: channels from sums, the transformer's vector guessed from them, and how states are made."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from memory_states import (
    ALL,
    HEADER,
    LATE,
    LIKED,
    ORDER,
    POPULAR,
    SCORES,
    VECTOR,
    Filter,
    Parts,
    Recipe,
    Shop,
    packed,
    peaks,
)

from recllm.data.histories import Histories
from recllm.retrieval.profiles import standardised

BUDGETS, BUDGET = (64, 128, 256, 512, 1024, 2048), 512
"""Bytes; and those that the bar allows."""

GUESSED = 128
"""Numbers of each sum that are guessed from a user vector."""


def ridge(given: np.ndarray, wanted: np.ndarray, strength: float | None = None) -> np.ndarray:
    """[inputs, outputs]; without a strength that of four which is best for every tenth row, left out."""
    if strength is None:
        held = np.arange(len(given)) % 10 == 0
        tried = {s: ridge(given[~held], wanted[~held], s) for s in (1e-3, 1e-2, 1e-1, 1.0)}
        strength = min(tried, key=lambda s: float(np.square(given[held] @ tried[s] - wanted[held]).mean()))
    gram = given.T.astype(np.float64) @ given
    pull = strength * np.trace(gram) / len(gram)
    found: np.ndarray = np.linalg.solve(gram + pull * np.eye(len(gram)), given.T @ wanted).astype(np.float32)
    return found


def directions_of(parts: Parts, known: np.ndarray) -> np.ndarray:
    """What a ridge reads of sums: where they point, that times how much is known, and 1."""
    units = [part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-6) for part in parts.values()]
    pointing = np.concatenate([*units, np.ones((len(known), 1), np.float32)], axis=1)
    return np.concatenate([pointing, pointing * (np.log1p(known) / 3)[:, None]], axis=1).astype(np.float32)


@dataclass(eq=False)
class Reader:
    """Reads states of a shop.

    Attributes:
        shop: Its tables.
    """

    shop: Shop
    _learned: dict[object, np.ndarray] = field(default_factory=dict)

    def state(self, histories: Histories, recipe: Recipe) -> Parts:
        """What is kept of these users, in one go."""
        return self.packed(self.exact(histories, recipe), recipe)

    def exact(self, histories: Histories, recipe: Recipe) -> Parts:
        """Before it is packed."""
        size = self.shop.model.batch_users
        starts = range(0, len(histories), size)
        found = [self._exact(histories.of(np.arange(s, min(s + size, len(histories)))), recipe) for s in starts]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def _exact(self, histories: Histories, recipe: Recipe) -> Parts:
        shop, sizes = self.shop, dict(recipe.sizes)
        parts = shop.sums(histories, sizes)
        if VECTOR in sizes:
            vectors = shop.model.user_vectors(histories, {}).numpy()
            parts[VECTOR] = shop.vectors.numbers(vectors)[:, : sizes[VECTOR]]
        if SCORES in sizes:
            told = peaks(shop.model.scores(histories, None).numpy(), recipe.share)
            parts[SCORES] = shop.scores[recipe.share].numbers(told)[:, : sizes[SCORES]]
        return parts

    def packed(self, parts: Parts, recipe: Recipe) -> Parts:
        """In as many bits as there are."""
        return {name: packed(part, self.shop.spread(name, recipe.share), recipe.bits) for name, part in parts.items()}

    def scores(self, parts: Parts, histories: Histories, recipe: Recipe) -> np.ndarray:
        """Scores [users, items]; of the histories only length and the time of the newest event are read."""
        shop = self.shop
        if SCORES in parts:
            found = shop.scores[recipe.share].values(parts[SCORES])
        else:
            found = self._ranked(parts, histories, recipe)
        return found.astype(np.float32)

    def _ranked(self, parts: Parts, histories: Histories, recipe: Recipe) -> np.ndarray:
        shop, model = self.shop, self.shop.model
        known = histories.lengths.astype(np.float32)
        vectors = self._vectors(parts, known)
        sums = {name: part for name, part in parts.items() if name != VECTOR}
        if not sums and recipe.guessed:
            sums = self._guessed_sums(vectors, known)
        names = model.channels.names
        channels = np.zeros((len(known), len(names), shop.items), dtype=np.float32)
        empty = torch.zeros(len(known), model.vectors.shape[1])
        for place, profile in enumerate(model.channels.profiles(histories, empty, model.space)):
            if names[place] in POPULAR:
                channels[:, place] = profile.all().numpy()
        channels[:, names.index("history")] = vectors @ model.vectors.numpy().T
        for kind, part in sums.items():
            table = shop.tables[kind]
            read = (part @ table.columns[: part.shape[1]]).reshape(len(known), len(table.channels), shop.items)
            for place, name in enumerate(table.channels):
                if name != "history":
                    channels[:, names.index(name)] = read[:, place]
        scaled = standardised(torch.from_numpy(channels))
        found: np.ndarray = model.rank(histories, scaled).numpy()
        return found

    def _vectors(self, parts: Parts, known: np.ndarray) -> np.ndarray:
        """User vectors: kept, or guessed from sums by a ridge that training users taught."""
        if VECTOR in parts:
            return self.shop.vectors.values(parts[VECTOR])
        key = tuple((name, part.shape[1]) for name, part in parts.items())
        if key not in self._learned:
            taught = self.shop.sums(self.shop.taught, dict(key))
            given = directions_of(taught, self.shop.taught.lengths.astype(np.float32))
            self._learned[key] = ridge(given, self.shop.taught_vectors)
        return directions_of(parts, known) @ self._learned[key]

    def _guessed_sums(self, vectors: np.ndarray, known: np.ndarray) -> Parts:
        sizes = {kind: GUESSED for kind in self.shop.kinds if kind != ORDER}
        if GUESSED not in self._learned:
            taught = self.shop.sums(self.shop.taught, sizes)
            pointing = [part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-6) for part in taught.values()]
            lengths = self.shop.taught.lengths.astype(np.float32)
            given = directions_of({VECTOR: self.shop.taught_vectors - self.shop.vectors.mean}, lengths)
            self._learned[GUESSED] = ridge(given, np.concatenate(pointing, axis=1))
        read = directions_of({VECTOR: vectors - self.shop.vectors.mean}, known) @ self._learned[GUESSED]
        return dict(zip(sizes, np.split(read, len(sizes), axis=1), strict=True))


def hide(scores: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Scores with −inf where an item is held to be seen."""
    return np.where(hidden, -np.inf, scores).astype(np.float32)


# --- what is chosen from ------------------------------------------------------------------------------------------


def filled(budget: int, weights: dict[str, int], bits: int, filter_size: int, most: dict[str, int]) -> Recipe | None:
    """The recipe that fills so many bytes, numbers in this proportion; None where nothing fits."""
    scales = 0 if bits == 16 else 2 * len(weights)
    numbers = (budget - HEADER - filter_size - scales) * 8 // bits
    total = sum(weights.values())
    sizes = {name: min(numbers * weight // total, most[name]) for name, weight in weights.items()}
    if min(sizes.values()) < 1:
        return None
    return Recipe(tuple(sizes.items()), bits, Filter(filter_size))


def recipes(arm: str, budget: int, shop: Shop) -> list[Recipe]:
    """What an arm may be at this many bytes."""
    most = {kind: table.rows.shape[1] for kind, table in shop.tables.items()}
    most |= {VECTOR: len(shop.vectors.rows), SCORES: len(shop.scores[1.0].rows)}
    late = ORDER if arm.startswith("S in order") else LATE
    even, skewed = {ALL: 1, LIKED: 1, late: 1}, {ALL: 1, LIKED: 1, late: 3}
    splits = {
        "S": [even, skewed],
        "S in order": [even, skewed],
        "S in order, fp16": [even, skewed],
        "S+V": [even | {VECTOR: 1}, even | {VECTOR: 3}],
        "V": [{VECTOR: 1}],
        "D": [{SCORES: 1}],
    }[arm]
    thorough, found = budget == BUDGET, []
    for split in splits if thorough else splits[:1]:
        weights = {name: weight for name, weight in split.items() if name in most}
        for bits in (16,) if arm.endswith("fp16") else (16, 8, 4) if thorough else (8, 4):
            for size in (0, min(budget // 4, 160)):
                made = filled(budget, weights, bits, size, most)
                if made is not None:
                    found.append(made)
    if arm == "V":
        return [replace(one, guessed=True) for one in found]
    return found + [replace(one, share=0.05) for one in found] if arm == "D" else found
