"""What the ranker weighs as a whole: each channel is silenced in turn, and the lists are made again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
HeadFunction = Callable[[Scores], Scores]
"""From channel scores [users, channels, items] to scores [users, items]."""

LEAST_TOLD = 0.05
"""Channels with a smaller share are summed up."""


@final
@dataclass(frozen=True)
class Influence:
    """How much one channel decides, when so many events of a user are known.

    Attributes:
        known: How many of each user's newest events the ranking was given.
        users: How many users' lists were compared.
        channel: Its name.
        share: Of what the listed items' scores lose when a channel is silent, its part, 0 to 1.
        replaced: Share of the list that is other items when it is silent, 0 to 1.
    """

    known: int
    users: int
    channel: str
    share: float
    replaced: float


def influences(
    head: HeadFunction, channels: Scores, eligible: NDArray[np.bool_], names: Sequence[str], *, n: int, known: int
) -> list[Influence]:
    """Silence every channel (its score becomes that of an average item), the most influential first.

    Args:
        head: The ranker.
        channels: Standardised channel scores [users, channels, items].
        eligible: bool [users, items], what may be listed.
        names: Of the channels.
        n: Length of the lists.
        known: Events known of each user.
    """
    whole = head(channels)
    lists = _lists(whole, eligible, n)
    losses, replaced = [], []
    for channel in range(len(names)):
        silent = channels.copy()
        silent[:, channel] = 0.0
        scores = head(silent)
        falls = np.take_along_axis(whole - scores, lists, axis=1) - (whole - scores).mean(axis=1, keepdims=True)
        losses.append(float(np.maximum(falls, 0).mean()))
        others = _lists(scores, eligible, n)
        same = [len(np.intersect1d(one, other)) for one, other in zip(lists, others, strict=True)]
        replaced.append(1 - float(np.mean(same)) / max(lists.shape[1], 1))
    total = sum(losses) or 1.0
    found = [
        Influence(known, len(channels), name, loss / total, gone)
        for name, loss, gone in zip(names, losses, replaced, strict=True)
    ]
    return sorted(found, key=lambda one: -one.share)


def _lists(scores: Scores, eligible: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    return np.argsort(np.where(eligible, -scores, np.inf), axis=1, kind="stable")[:, :n]


@final
@dataclass(frozen=True)
class Overall:
    """What the ranker weighs, for several numbers of known events.

    Attributes:
        influences: Every channel at every number of known events.
        words: How to say each channel.
        n: Length of the lists.
    """

    influences: tuple[Influence, ...]
    words: dict[str, str]
    n: int

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per channel and number of known events."""
        return [{**asdict(one), "words": self.words[one.channel]} for one in self.influences]

    def __str__(self) -> str:
        return "\n".join(self._sentence(known) for known in dict.fromkeys(one.known for one in self.influences))

    def _sentence(self, known: int) -> str:
        told = [one for one in self.influences if one.known == known]
        large = [one for one in told if one.share >= LEAST_TOLD]
        parts = [f"{self.words[one.channel]} ({one.share:.0%})" for one in large]
        rest = sum(one.share for one in told if one.share < LEAST_TOLD)
        parts += [f"all else ({rest:.0%})"] if round(rest, 2) > 0 else []
        events = {0: "nothing", 1: "one event"}.get(known, f"{known} events")
        first = f"With {events} known of a user, the ranking weighs {', '.join(parts) or 'nothing'}."
        if not large:
            return first
        strongest = self.words[large[0].channel]
        return f"{first} Without {strongest}, {large[0].replaced:.0%} of a list of {self.n} would be others."
