"""Counts that say little of any one person: what each may add is bounded, and noise lies over every sum."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, final

import numpy as np
from scipy import optimize, sparse
from scipy.stats import norm

from recllm.config import Count, Positive, Within, checked
from recllm.counts.counts import Counts
from recllm.counts.items import Clock, ItemCounts, canonical
from recllm.counts.pairs import PairCounts
from recllm.data.histories import Histories

SHARES: Final[Mapping[str, float]] = {
    "taken": 0.1,
    "liked": 0.1,
    "clock": 0.2,
    "pairs.taken": 0.2,
    "pairs.liked": 0.2,
    "pairs.next_liked": 0.2,
}
"""How the budget is shared out among what is counted; together 1."""

COARSER: Final = 64.0
"""A moment lasts so many times as long where there is noise: what few people do in a moment drowns in it."""

LEFT_OUT: Final = 0.5
"""Part of δ for what may be counted at all: an entry that one person alone has made shows with this chance at most."""


@final
@dataclass(frozen=True)
@checked
class PrivacyConfig:
    """(ε, δ)-differential privacy of people for what is counted of them; the unit is a person with all their events.

    Whoever sees the counts, and everything that is made of them, cannot tell for sure whether somebody was in the log:
    any conclusion is at most e^ε times as likely with that person as without, but for a chance of δ.

    Attributes:
        epsilon: ε; 1 is strict, 8 is lenient. Each fit spends it anew: two fits of one log spend it twice.
        delta: δ, which should lie below one over the number of users.
        events: Of each person's events the newest so many are counted: more of them tell more, and need more noise.
    """

    epsilon: Positive = 3.0
    delta: Annotated[float, Within("(0, 1)")] = 1e-6
    events: Count = 20

    @cached_property
    def noise(self) -> dict[str, float]:
        """Standard deviation of the noise over each part of the counts; all parts together cost (ε, δ)."""
        unit = gaussian_noise(self.epsilon, self.delta * (1 - LEFT_OUT))
        return {name: unit * float(np.sqrt(self.entries[name] / share)) for name, share in SHARES.items()}

    @property
    def entries(self) -> dict[str, int]:
        """How many entries of each part one person changes at most, each by 1."""
        pairs = max(self.events * (self.events - 1) // 2, 1)
        return {name: pairs if name.startswith("pairs.") else self.events for name in SHARES}

    @cached_property
    def bars(self) -> dict[str, float]:
        """What an entry of a sparse part has to reach with its noise to be kept.

        Which entries there are tells of people, too. One that a single person has made stays below its bar but for a
        chance of δ · `LEFT_OUT`, over all entries that this person alone may have made (a union bound over a person's
        entries; Korolova et al. 2009, Wilkins et al., arXiv 2202.01100).
        """
        noise, entries = self.noise, self.entries
        sparse_parts = [name for name in SHARES if name not in ("taken", "liked")]
        each = self.delta * LEFT_OUT / len(sparse_parts)
        return {name: 1 + noise[name] * float(norm.isf(each / entries[name])) for name in sparse_parts}

    def of(
        self, histories: Histories, items: int, resolution: float, chance: np.random.Generator | None = None
    ) -> Counts:
        """What `Counts.of` counts, with noise.

        How many users and events there are is not hidden.

        Args:
            histories: Each user's first event with every item.
            items: Size of the catalog.
            resolution: Seconds that a moment lasts; see `COARSER`.
            chance: What the noise is drawn from; None: from the system's own source, and never from a seed that
                somebody knows: whoever can draw the noise again can take it away.
        """
        chance = np.random.default_rng() if chance is None else chance
        exact = Counts.of(histories.last(self.events), items, resolution)
        liked = self._dense(exact.items.liked, "liked", chance)
        taken = np.maximum(self._dense(exact.items.taken, "taken", chance), liked)
        clock = exact.items.clock
        clock = Clock(clock.resolution, clock.moments, self._sparse(clock.liked, "clock", chance))
        pairs = PairCounts(
            self._sparse(exact.pairs.taken, "pairs.taken", chance),
            self._sparse(exact.pairs.liked, "pairs.liked", chance),
            self._sparse(exact.pairs.next_liked, "pairs.next_liked", chance),
        )
        return Counts(exact.users, histories.n_events, ItemCounts(taken, liked, clock.without_empty()), pairs)

    def _dense(self, counts: np.ndarray, name: str, chance: np.random.Generator) -> np.ndarray:
        """int64, for each entry, also those that are 0."""
        noisy = counts + chance.normal(0.0, self.noise[name], len(counts))
        return np.maximum(np.rint(noisy), 0).astype(np.int64)

    def _sparse(self, counts: sparse.csr_array, name: str, chance: np.random.Generator) -> sparse.csr_array:
        """Of the same shape; entries below the bar are gone."""
        noisy = counts.data + chance.normal(0.0, self.noise[name], counts.nnz)
        kept = np.where(noisy > self.bars[name], np.rint(noisy), 0).astype(np.int32)
        return canonical(sparse.csr_array((kept, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape))


def gaussian_noise(epsilon: float, delta: float) -> float:
    """The least standard deviation of Gaussian noise that makes sums (ε, δ)-private which one person moves by 1.

    Exact, for every ε: Balle & Wang, Improving the Gaussian mechanism (arXiv 1805.06530), theorem 8.
    """

    def excess(log_noise: float) -> float:
        noise = np.exp(log_noise)
        near, far = 0.5 / noise - epsilon * noise, -0.5 / noise - epsilon * noise
        # The second product in logarithms: e^ε overflows where ε is large.
        return float(norm.cdf(near) - np.exp(epsilon + norm.logcdf(far)) - delta)

    return float(np.exp(optimize.brentq(excess, -20.0, 20.0, xtol=1e-12)))
