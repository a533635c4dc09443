"""Comparisons in words: what beats what, by how much, where, and where that cannot be told."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from recllm.evaluation.names import LOWER_IS_BETTER
from recllm.evaluation.statistics import Estimate

_MOST_SIZES = 3
"""A sentence with more figures than these is not read; it tells the range, and one figure with its interval."""

_SHOTS = 10
FEWEST_USERS = 10
"""Below this, an interval from resampled users is too rough to claim anything."""


@final
@dataclass(frozen=True)
class Comparison:
    """One method against another on the same questions.

    Attributes:
        protocol: Of the arm.
        shots: Events known of each user at most.
        difference: mean(ours) − mean(theirs), paired by user.
        ratio: mean(ours) / mean(theirs) − 1, likewise.
        dataset: Of the arm.
        ours: Name of the one method.
        theirs: Name of the other.
        metric: What is compared.
    """

    protocol: str
    shots: int
    difference: Estimate
    ratio: Estimate
    dataset: str
    ours: str
    theirs: str
    metric: str

    @property
    def outcome(self) -> str:
        """`wins`, `loses`, `even` (the interval holds 0), `same` (equal for all users) or `few` users to tell."""
        low, high = self.difference.low, self.difference.high
        if self.difference.n < FEWEST_USERS or math.isnan(low):
            return "few"
        if low == high == 0:
            return "same"
        if low <= 0 <= high:
            return "even"
        return "wins" if (low > 0) != (self.metric in LOWER_IS_BETTER) else "loses"

    @property
    def size(self) -> str:
        """How far apart the two are, without a sign: `2.1 % [0.4, 3.9]`; not in per cent where theirs is 0."""
        relative = not math.isnan(self.ratio.low)
        estimate = self.ratio if relative else self.difference
        if estimate.value < 0:
            estimate = replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low)
        if relative:
            return f"{percent(estimate.value)} % [{percent(estimate.low)}, {percent(estimate.high)}]"
        return with_interval(estimate)


def number(value: float) -> str:
    """A figure for people: `.107`, `2.31`, `45.2`, `1,234`; `–` where there is none."""
    if math.isnan(value):
        return "–"
    size = abs(value)
    if not size:
        return "0"
    digits = 4 if size < 0.01 else 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    text = f"{value:,.{digits}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if text.removeprefix("−").startswith("0.") else text


def percent(share: float) -> str:
    """A share as a percentage without its sign; a second digit where one would read as nothing."""
    value = 100 * share
    return f"{value:.1f}" if abs(value) >= 0.05 or value == 0 else f"{value:.2f}"


def with_interval(estimate: Estimate) -> str:
    """`.107 [.099, .115]`; the figure alone where there is no interval."""
    if math.isnan(estimate.low):
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def best_of(values: Mapping[str, float], metric: str) -> str | None:
    """The name with the best figure; None where there is no figure."""
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    choose = min if metric in LOWER_IS_BETTER else max
    return choose(known, key=known.__getitem__) if known else None


def in_words(ours: str, theirs: str, comparisons: Sequence[Comparison], *, name_rivals: bool = False) -> str:
    """One sentence, such as: D beats A by 2.1 % [0.4, 3.9] at K=10; not at K=1, 3, 5 (differences within ±1.3 %).

    Args:
        ours: How the one is called.
        theirs: How the other is called.
        comparisons: Of the two, one per K.
        name_rivals: Say at each K who the other is, if it is not the same everywhere.
    """
    found = {name: [one for one in comparisons if one.outcome == name] for name in _CLAUSES}
    clauses: list[str] = []
    for name, group in found.items():
        if not group:
            continue
        opening, following = _CLAUSES[name]
        # `not at K=1` can only follow a win; after a loss it would say the opposite.
        if name == "even" and clauses and not found["wins"]:
            following = "the two cannot be told apart at"
        verb = following if clauses else opening.format(ours=ours, theirs=theirs)
        clauses.append(f"{verb} {_where(name, group, name_rivals)}")
    return "; ".join(clauses) + "." if clauses else ""


_CLAUSES = {
    "wins": ("{ours} beats {theirs} by", ""),
    "loses": ("{ours} loses to {theirs} by", "it loses by"),
    "even": ("{ours} and {theirs} cannot be told apart at", "not at"),
    "same": ("{ours} and {theirs} are the same at", "the two are the same at"),
    "few": ("{ours} and {theirs}: too few users to compare at", "too few users to tell at"),
}


def _where(outcome: str, group: Sequence[Comparison], name_rivals: bool) -> str:
    if outcome not in ("wins", "loses"):
        return _places(group, name_rivals) + (f" (differences within ±{_bound(group)})" if outcome == "even" else "")
    if len(group) <= _MOST_SIZES:
        return listed([f"{one.size} at {_places([one], name_rivals)}" for one in group])
    shown = next((one for one in group if one.shots == _SHOTS), group[-1])
    rest = [one for one in group if one is not shown]
    sizes = [one.size.partition(" [")[0] for one in sorted(rest, key=lambda one: abs(one.ratio.value))]
    extent = f"{sizes[0].removesuffix(' %')} to {sizes[-1]} at {_places(rest, name_rivals)}"
    return listed([f"{shown.size} at {_places([shown], name_rivals)}", extent])


def _places(group: Sequence[Comparison], name_rivals: bool) -> str:
    """`K=0 (popularity), 1, 3 (EASE)`: a rival stands behind the last K in a row where it is the one."""
    following = [*(one.theirs for one in group[1:]), None]
    return "K=" + ", ".join(
        f"{one.shots} ({one.theirs})" if name_rivals and one.theirs != later else str(one.shots)
        for one, later in zip(group, following, strict=True)
    )


def _bound(group: Sequence[Comparison]) -> str:
    """What no interval of the group goes beyond."""
    if any(math.isnan(one.ratio.low) for one in group):
        return number(max(max(-one.difference.low, one.difference.high) for one in group))
    return percent(max(max(-one.ratio.low, one.ratio.high) for one in group)) + " %"


def listed(parts: Sequence[str]) -> str:
    """`one, two and three`; of at least one."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
