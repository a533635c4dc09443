"""What somebody finds in a state who has it, the model and the catalog: which items are in the history."""

from dataclasses import dataclass

import numpy as np
from memory_reading import Reader, directions_of, ridge
from memory_states import ALL, Parts, Recipe

from recllm.counts.matrices import weighted_matrix
from recllm.data.histories import Histories

NEAR = 10
"""Places of popularity up or down at which an item is as popular as another."""


def pursued(target: np.ndarray, rows: np.ndarray, allowed: np.ndarray, wanted: int) -> np.ndarray:
    """Items whose rows add up to the target, by orthogonal matching pursuit: item rows in the order found."""
    length = np.linalg.norm(rows, axis=1) + 1e-9
    left, found = target.copy(), np.zeros(0, dtype=np.int64)
    open_ = allowed & (length > 1e-6)
    for _ in range(min(wanted, int(open_.sum()))):
        value = np.where(open_, rows @ left / length, -np.inf)
        found = np.append(found, int(value.argmax()))
        open_[found[-1]] = False
        if len(found) < rows.shape[1]:
            weights = np.linalg.lstsq(rows[found].T, target, rcond=None)[0]
            left = target - weights @ rows[found]
        else:
            left = target - rows[found].sum(axis=0)
    return found


def best_of(values: np.ndarray, wanted: int) -> np.ndarray:
    """The best so many."""
    return np.argsort(-values, kind="stable")[:wanted]


@dataclass(eq=False)
class Attack:
    """An attacker who can make states of histories of his own.

    Attributes:
        reader: How states are made and read.
        popular: Users who took each item [items].
    """

    reader: Reader
    popular: np.ndarray

    def decoded(self, parts: Parts, known: np.ndarray, recipe: Recipe) -> np.ndarray:
        """How likely each item is in each history [users, items]: a ridge from states of training users to theirs."""
        taught = self.reader.shop.taught
        states = self.reader.state(taught, recipe)
        lengths = taught.lengths.astype(np.float32)
        spreads = {name: self.reader.shop.spread(name, recipe.share) for name in states}

        def given(some: Parts, lengths: np.ndarray) -> np.ndarray:
            scaled = {name: part / spreads[name][: part.shape[1]] for name, part in some.items()}
            return np.concatenate([directions_of(scaled, lengths), *scaled.values()], axis=1)

        learned = ridge(given(states, lengths), weighted_matrix(taught, self.reader.shop.items).toarray(), 1e-2)
        found: np.ndarray = given(parts, known) @ learned
        return found

    def run(self, histories: Histories, recipe: Recipe) -> list[dict[str, float]]:
        """Share of the hidden items among as many guesses as there are, and AUC, of each user."""
        parts = self.reader.state(histories, recipe)
        known = histories.lengths.astype(np.float32)
        likely = self.decoded(parts, known, recipe)
        seen = recipe.filter.hidden(histories, self.reader.shop.items)
        return [self._one(histories.items_of(user), user, parts, likely[user], seen[user]) for user in range(len(seen))]

    def _one(
        self, items: np.ndarray, user: int, parts: Parts, likely: np.ndarray, seen: np.ndarray
    ) -> dict[str, float]:
        many, everywhere = len(items), np.ones(len(likely), dtype=bool)

        def share(guess: np.ndarray) -> float:
            return float(np.isin(items, guess).mean())

        others = self.as_popular(items, user)
        found = {
            "by popularity": share(best_of(self.popular, many)),
            "decoder": share(best_of(likely, many)),
            "decoder AUC": auc(likely[items], likely[others]),
        }
        if ALL in parts:
            rows = self.reader.shop.tables[ALL].rows[:, : parts[ALL].shape[1]]
            guess = pursued(parts[ALL][user], rows, everywhere, many)
            found["pursuit"] = share(guess)
            ranked = np.full(len(likely), -1.0)
            ranked[guess] = 1 - np.arange(len(guess)) / (many + 1)
            found["pursuit AUC"] = auc(ranked[items], ranked[others])
        if seen.any():
            found["filter alone"] = share(best_of(np.where(seen, self.popular + 1, 0), many))
            found["filter alone AUC"] = auc(seen[items].astype(float), seen[others].astype(float))
            found["filter and decoder"] = share(best_of(np.where(seen, likely + 1e3, likely), many))
            if ALL in parts:
                found["filter and pursuit"] = share(pursued(parts[ALL][user], rows, seen, many))
        return found

    def as_popular(self, items: np.ndarray, user: int) -> np.ndarray:
        """For each item another one that is not in the history and about as popular."""
        rng = np.random.default_rng(user)
        order = np.argsort(-self.popular, kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        free = ~np.isin(order, items)
        near = []
        for item in items:
            reach = NEAR
            while True:
                low = max(place[item] - reach, 0)
                there = np.flatnonzero(free[low : place[item] + reach + 1]) + low
                if len(there):
                    near.append(order[rng.choice(there)])
                    break
                reach *= 2
        return np.array(near, dtype=np.int64)


def auc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Chance that one of the first is above one of the second; ties count half."""
    difference = inside[:, None] - outside[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)
