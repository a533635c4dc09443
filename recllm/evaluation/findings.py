"""What was found: who is compared with whom, and the outcome in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recllm.errors import DataError
from recllm.evaluation.baselines.registry import BASELINES
from recllm.evaluation.figures import Figures, Measured
from recllm.evaluation.names import CONTROL, MAIN_METRIC, RECLLM, SQUARE, A, D, Place, is_listed, name_of, series_of
from recllm.evaluation.statistics import Estimate
from recllm.evaluation.verdicts import Comparison, best_of, in_words, listed, number, with_interval

NOTHING = "Nothing was measured: there was no method, or no user was left to ask."


class Findings:
    """The figures of an evaluation, and what follows from them.

    Args:
        measured: One per dataset, protocol, fold, seed, method and K.
        about: How it was measured, shown at the end of the page: command, seeds, folds, versions, data hash, splits
            (one dictionary each), settings, seconds, …; any names do. `title` heads the page, and `ours` names the
            methods that are compared with all others, the one in question first.

    Attributes:
        figures: All figures, pooled over folds and seeds.
        about: How it was measured.

    Raises:
        DataError: Something was measured twice.
    """

    def __init__(self, measured: Sequence[Measured], about: Mapping[str, Any]) -> None:
        self.figures = Figures(measured)
        self.about = dict(about)

    # --- who is who --------------------------------------------------------------------------------------------

    @property
    def main_places(self) -> tuple[Place, ...]:
        """Places that stand for themselves: no share of the events, no cold cell, no prequential curve; else all."""
        return tuple(p for p in self.figures.places if series_of(p.protocol) is None) or self.figures.places

    def ours(self, place: Place) -> tuple[str, ...]:
        """The methods in question: those `about` names, the square, recllm, or whatever is no known baseline."""
        methods = self.figures.methods(place)
        named = self.about.get("ours") or ()
        named = (named,) if isinstance(named, str) else tuple(named)
        for chosen in (named, SQUARE[::-1], (RECLLM,)):
            if found := tuple(name for name in chosen if name in methods):
                return found
        return tuple(name for name in methods if name not in BASELINES and is_listed(name))

    def rivals(self, place: Place) -> tuple[str, ...]:
        """The methods that ours are measured against."""
        ours = {*self.ours(place), *SQUARE}
        return tuple(name for name in self.figures.methods(place) if name not in ours and is_listed(name))

    @property
    def title(self) -> str:
        """What heads the page."""
        datasets = dict.fromkeys(place.dataset for place in self.figures.places)
        return str(self.about.get("title") or ", ".join(datasets) or "Evaluation")

    @property
    def variety(self) -> list[dict[str, Any]]:
        """What variety costs: one entry per method, protocol, fold, seed, way and strength; see `variety.Step`."""
        return list(self.about.get("variety") or ())

    # --- comparisons -------------------------------------------------------------------------------------------

    def compare(self, ours: str, theirs: str, metric: str = MAIN_METRIC) -> list[Comparison]:
        """Paired comparisons wherever both methods were measured, pooled over folds and seeds, clustered by user.

        Raises:
            DataError: A method is unknown.
        """
        known = tuple(dict.fromkeys(name for place in self.figures.places for name in self.figures.methods(place)))
        for name in (ours, theirs):
            if name not in known:
                raise DataError(f"the report has no method {name!r}; it has {', '.join(known) or 'none'}.")
        return [one for place in self.figures.places for one in self._compare_at(place, ours, theirs, metric)]

    def verdict(self, ours: str, theirs: str, metric: str = MAIN_METRIC) -> str:
        """What `compare` finds, in words; one sentence per dataset and protocol."""
        by_place: dict[Place, list[Comparison]] = {}
        for one in self.compare(ours, theirs, metric):
            by_place.setdefault(Place(one.dataset, one.protocol), []).append(one)
        if not by_place:
            return f"{ours} and {theirs} were not measured on the same users by {metric}."
        return " ".join(
            name_of(place, list(by_place), ": ") + in_words(ours, theirs, found) for place, found in by_place.items()
        )

    def headline(self, place: Place | None = None, metric: str = MAIN_METRIC) -> str:
        """The method in question against the best of all others at each K, in words.

        Without others it is compared with the square's base A; without a method in question, the best one is named.
        """
        place = place or next(iter(self.main_places), None)
        if place is None or not self.figures.users(place):
            return NOTHING
        ours = next((name for name in self.ours(place) if name in self.figures.methods(place, metric)), None)
        if ours is None:
            return self._best(place, metric)
        found = [pair for k in self.figures.shots(place) if (pair := self._against_best(place, ours, k, metric))]
        if not found:
            base = self._compare_at(place, ours, A, metric) if ours != A else []
            return in_words(ours, A, base) or self._best(place, metric)
        names = list(dict.fromkeys(pair.theirs for pair in found))
        if len(names) == 1:
            return in_words(ours, names[0], found)
        return in_words(ours, "the best other method", found, name_rivals=True)

    def behind(self, place: Place | None = None) -> str:
        """By which metrics but the main one the method in question is behind the best of all others, in words.

        At the K of `default_shots`. What is a mean over users counts where the paired 95 % interval excludes 0.
        """
        place = place or next(iter(self.main_places), None)
        ours = next(iter(self.ours(place)), None) if place else None
        if place is None or ours is None or not self.figures.users(place):
            return ""
        shots = self.figures.default_shots(place)
        found, judged = [], False
        for metric in self.figures.metrics(place, shots):
            mine = self.figures.estimate(place, ours, shots, metric).value
            values = {name: self.figures.estimate(place, name, shots, metric).value for name in self.rivals(place)}
            best = best_of(values, metric)
            if metric == MAIN_METRIC or best is None or math.isnan(mine):
                continue
            judged = True
            if self._is_behind(place, ours, best, shots, metric):
                found.append(f"{metric} ({number(mine)}; {best} {number(values[best])})")
        if not judged:
            return ""
        if not found:
            return f"By no other metric is {ours} behind the best of them at K={shots}."
        return f"At K={shots} {ours} is behind in {listed(found)}."

    def _is_behind(self, place: Place, ours: str, theirs: str, shots: int, metric: str) -> bool:
        if shots in self.figures.comparable(place, ours, theirs, metric):
            return self.figures.comparison(place, ours, theirs, shots, metric).outcome == "loses"
        values = {name: self.figures.estimate(place, name, shots, metric).value for name in (ours, theirs)}
        return values[ours] != values[theirs] and best_of(values, metric) == theirs

    def square(self, place: Place, metric: str = MAIN_METRIC) -> list[tuple[str, str, str]]:
        """What meta-training and adapters add: D against A, B and C, and the controls against A.

        Returns:
            The one, the other, and the verdict; nothing where D was not measured.
        """
        methods = self.figures.methods(place, metric)
        pairs = [(D, other) for other in SQUARE[:-1]]
        pairs += [(name, A) for name in methods if name.startswith(CONTROL)]
        pairs = [pair for pair in pairs if {*pair, D} <= set(methods)]
        return [(one, other, in_words(one, other, self._compare_at(place, one, other, metric))) for one, other in pairs]

    def segments(
        self, metric: str = MAIN_METRIC, shots: int | None = None, place: Place | None = None
    ) -> dict[str, dict[str, Estimate]]:
        """Users in thirds by how many events they had: third -> method -> figure.

        Args:
            metric: One that is a mean over users.
            shots: K; None: 10, or else the largest.
            place: Dataset and protocol; None: the first.
        """
        place = place or next(iter(self.main_places), None)
        if place is None:
            return {}
        return self.figures.segments(place, self.figures.default_shots(place) if shots is None else shots, metric)

    def _compare_at(self, place: Place, ours: str, theirs: str, metric: str) -> list[Comparison]:
        shots = self.figures.comparable(place, ours, theirs, metric)
        return [self.figures.comparison(place, ours, theirs, k, metric) for k in shots]

    def _against_best(self, place: Place, ours: str, shots: int, metric: str) -> Comparison | None:
        rivals = [name for name in self.rivals(place) if shots in self.figures.comparable(place, ours, name, metric)]
        best = best_of({name: self.figures.estimate(place, name, shots, metric).value for name in rivals}, metric)
        return self.figures.comparison(place, ours, best, shots, metric) if best else None

    def _best(self, place: Place, metric: str) -> str:
        shots = self.figures.default_shots(place)
        found = {m: self.figures.estimate(place, m, shots, metric) for m in self.figures.methods(place, metric, shots)}
        best = best_of({name: estimate.value for name, estimate in found.items()}, metric)
        if best is None:
            return f"No method was measured by {metric} at K={shots}."
        return f"{best} has the best {metric} at K={shots}: {with_interval(found[best])}."
