"""How each kind of method is fitted on a split and asked its arms: baselines, scorers, recommenders, the square."""

import copy
import inspect
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from recllm.config import to_mapping
from recllm.data.cleaning import fingerprint_frame
from recllm.data.users import Users
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ArtifactError, LeakageError
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.baseline import Baseline
from recllm.evaluation.baselines.rating import RatingBaseline
from recllm.evaluation.cells import Cell, Cells
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.figures import Measured
from recllm.evaluation.metrics import measure
from recllm.evaluation.names import A, D
from recllm.evaluation.rankings import read_rankings
from recllm.evaluation.ratings import Rater, errors_of
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.split import Split
from recllm.evaluation.square import Serving, channel_cells, served, square_cells
from recllm.evaluation.tuning import Tuned, tune
from recllm.evaluation.variety import curve
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.resources import __version__

if TYPE_CHECKING:
    from recllm.scale.executor import Executor

Method = Any
"""A RecommenderConfig, a fitted Recommender, or anything with score(users, item_ids) or recommend(users, n)."""

Notes = dict[str, list[dict[str, Any]]]
"""By the name of a method, what is worth knowing of it on each split."""

Maker = Callable[[], Mapping[str, Cell]]


@final
@dataclass(frozen=True)
class Measurement:
    """Every method of an evaluation, asked everything.

    Attributes:
        dataset: Name of the data.
        methods: What is evaluated, by name.
        baselines: Names.
        square: Whether configs are taken apart into the square.
        rankings: A folder of lists made elsewhere, or None.
        cells: Keeps what is finished.
        options: Run options of fitting.
        diversity: Strengths of diversity at which recommenders are measured, too.
        steps: What came of that; see `variety`.
        people: Profiles of users, for configs; None: nobody has one.
    """

    dataset: str
    methods: dict[str, Method]
    baselines: tuple[str, ...]
    square: bool
    rankings: str | Path | None
    cells: Cells
    options: TrainOptions
    diversity: tuple[float, ...] = ()
    steps: list[dict[str, Any]] = field(default_factory=list)
    people: Users | None = None

    def of(self, split: Split, notes: Notes) -> list[Measured]:
        """Every method on every arm of a split; what is worth knowing of them goes to `notes`."""
        facts = ItemFacts.of(split.catalog, split.train)
        measured = []
        makers = self._makers(split)
        for place, (name, make) in enumerate(makers):
            self._say(f"{split.label}evaluate {name}", place, len(makers))
            for method, cell in make().items():
                if cell.about:
                    notes.setdefault(method, []).append(dict(cell.about))
                measured += [self._measured(split, arm, method, cell, facts) for arm in split.arms]
            self._say(f"{split.label}evaluate {name}", 1, 1)
        return measured

    def over(self, splits: Iterable[Split], executor: "Executor | None") -> Iterator[tuple[list[Measured], Notes]]:
        """Every split as by `of`, in their order: here, one after the other, or by workers, in which nobody watches."""
        if executor is None:
            for split in splits:
                notes: Notes = {}
                yield self.of(split, notes), notes
            return
        alone, shards = replace(self, options=replace(self.options, progress=None)), list(splits)
        for measured, notes, steps in executor.map(alone.in_a_worker, shards, self.options.progress):
            self.steps.extend(steps)
            yield measured, notes

    def in_a_worker(self, split: Split) -> tuple[list[Measured], Notes, list[dict[str, Any]]]:
        """What `of` returns, and what it leaves in `notes` and `steps`."""
        notes: Notes = {}
        alone = replace(self, steps=[])
        return alone.of(split, notes), notes, alone.steps

    def _say(self, stage: str, done: float, total: float) -> None:
        if self.options.progress is not None:
            self.options.progress(stage, done, total)

    def _measured(self, split: Split, arm: Arm, method: str, cell: Cell, facts: ItemFacts) -> Measured:
        per_user, of_lists = measure(cell.ranked[arm.name], arm, facts)
        per_user |= cell.errors.get(arm.name, {})
        of_lists |= cell.extra.get(arm.name, {})
        place = (self.dataset, split.fold, split.seed, method, arm.protocol, arm.shots)
        return Measured(*place, arm.user_ids, per_user, of_lists, arm.activity)

    def _makers(self, split: Split) -> list[tuple[str, Maker]]:
        """(name, how to get its cells), in the order in which they are measured."""
        makers: list[tuple[str, Maker]] = [(name, partial(self._baseline, name, split)) for name in self.baselines]
        for name, method in self.methods.items():
            if isinstance(method, RecommenderConfig):
                makers += self._of_config(name, method, split)
            else:
                makers.append((name, partial(self._given, name, method, split)))
                if isinstance(method, Recommender):
                    makers += self._varied(name, partial(_itself, method), split)
        if self.rankings is not None:
            makers.append(("rankings", partial(read_rankings, self.rankings, split)))
        return makers

    @property
    def rates(self) -> bool:
        """Whether predicted ratings are asked for: baselines are then tuned for them, too."""
        return any(predicts_ratings(method) for method in self.methods.values())

    # -- baselines ----------------------------------------------------------------------------------------------------

    def _baseline(self, name: str, split: Split) -> Mapping[str, Cell]:
        config = next((m for m in self.methods.values() if isinstance(m, RecommenderConfig)), None)
        text = TextEncoderConfig() if config is None else config.text
        key = (__version__, split.contents, "baseline", name, json.dumps(to_mapping(text)), f"ratings {self.rates}")

        def make() -> Cell:
            common = {"seed": split.seed, "text": text}
            tuned = tune(name, split.catalog, split.fitting, split.validation, common=common)
            about = _about(tuned, common)
            baseline = new_items = _fitted_on(split, tuned)
            if split.cold_items is not None and baseline.tells_new_items_apart:
                rehearsed = tune(name, split.catalog, *split.rehearsal(), common=common)
                about["for new items"] = _about(rehearsed, common)
                new_items = _fitted_on(split, rehearsed)
            ranked = {
                arm.name: rank_arm(name, new_items if split.asks_new_items(arm) else baseline, arm, split.catalog)
                for arm in split.arms
            }
            about |= {"note": baseline.note} if baseline.note else {}
            rater: Baseline = baseline
            if self.rates and isinstance(baseline, RatingBaseline) and split.feedback.scale is not None:
                best = tune(name, split.catalog, split.fitting, split.validation, common=common, figure="RMSE")
                about["for ratings"], rater = _about(best, common, "RMSE"), _fitted_on(split, best)
            return Cell(ranked, about, errors=errors_of(rater, split))

        return {name: self.cells.get(key, make)}

    # -- scorers ------------------------------------------------------------------------------------------------------

    def _given(self, name: str, method: Method, split: Split) -> Mapping[str, Cell]:
        if isinstance(method, Recommender):
            check_strangers(method, split)
            return {name: served(name, Serving(method, adapt=True), split)}
        fitted = fit_copy(method, split, replace(self.options, seed=split.seed))
        ranked = {arm.name: rank_arm(name, fitted, arm, split.catalog) for arm in split.arms}
        return {name: Cell(ranked, errors=errors_of(fitted, split))}

    def _varied(self, name: str, fitted: Callable[[], Recommender], split: Split) -> list[tuple[str, Maker]]:
        """What variety costs, where it is asked for and all of the events are known."""
        if not self.diversity or split.share < 1:
            return []

        def make() -> Mapping[str, Cell]:
            self.steps.extend(curve(name, fitted(), split, self.diversity))
            return {}

        return [(f"{name} with diversity", make)]

    # -- recllm -------------------------------------------------------------------------------------------------------

    def _of_config(self, name: str, config: RecommenderConfig, split: Split) -> list[tuple[str, Maker]]:
        options = replace(self.options, seed=split.seed)
        name = D if self.square else name
        whole = base = _Fitted(name, config, split, options, self.cells, self.people)
        makers: Mapping[str, Callable[[], Cell]] = {
            name: lambda: served(name, Serving(whole.recommender, adapt=True), split)
        }
        if self.square and split.share == 1:
            base = _Fitted(A, replace(config, adaptation=None), split, options, self.cells, self.people)
            makers = square_cells(lambda: base.recommender, lambda: whole.recommender, split, options)

        def kept(method: str) -> Mapping[str, Cell]:
            return {method: self.cells.get((*whole.key, method), makers[method])}

        found: list[tuple[str, Maker]] = [(method, partial(kept, method)) for method in makers]
        # Where events are left out or several configs compete, the whole lists are what counts.
        alone = sum(isinstance(method, RecommenderConfig) for method in self.methods.values()) == 1
        found += self._varied(name, lambda: whole.recommender, split)
        if alone and split.share == 1:
            found.append(("channels", lambda: channel_cells(base.recommender, split)))
        return found


def _itself(recommender: Recommender) -> Recommender:
    return recommender


def predicts_ratings(method: Method) -> bool:
    """Whether a method predicts ratings, fitted or not."""
    if isinstance(method, Recommender):
        method = method.config
    return method.objective == "rating" if isinstance(method, RecommenderConfig) else isinstance(method, Rater)


def _about(tuned: Tuned, common: Mapping[str, Any], figure: str = "NDCG@10") -> dict[str, Any]:
    chosen = {key: value for key, value in tuned.settings.items() if key not in common}
    return {"chosen": chosen, "validation": {figure: tuned.value}, "settings tried": len(tuned.tried)}


def _fitted_on(split: Split, tuned: Tuned) -> Baseline:
    return type(tuned.baseline)(**tuned.settings).fit(split.catalog, split.train)


@final
@dataclass(frozen=True)
class _Fitted:
    """A config fitted on a split when it is first asked for, and kept."""

    name: str
    config: RecommenderConfig
    split: Split
    options: TrainOptions
    cells: Cells
    people: Users | None = None

    @property
    def key(self) -> tuple[str, ...]:
        config = json.dumps(to_mapping(self.config))
        people = "" if self.people is None else fingerprint_frame(self.people.frame)
        return (__version__, self.split.contents, config, str(self.options.seed), str(self.options.budget), people)

    @cached_property
    def recommender(self) -> Recommender:
        place = self.cells.place(self.key, "model")
        if place is not None:
            try:
                return Recommender.load(place)
            except ArtifactError:  # not there, or damaged
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(parents=True, exist_ok=True)
        said = self.options.progress

        def progress(stage: str, done: float, total: float, note: str = "") -> None:
            if said is not None:
                said(f"{self.split.label}{self.name}, {stage}", done, total, note)

        recommender = Recommender(self.config)
        watched = replace(self.options, progress=progress)
        recommender.fit(self.split.catalog, self.split.train, options=watched, users=self.people)
        if place is not None:
            recommender.save(place)
        return recommender


def check_strangers(recommender: Recommender, split: Split) -> None:
    """Refuse a recommender that was trained on users it would be asked about, or on later events.

    Raises:
        LeakageError: How many users, and what to do.
    """
    trained = recommender.trained_on
    for arm in split.arms:
        # Where time is cut, users known before the cut may be known to the recommender, too.
        may_be_known = not arm.strangers and split.until is not None
        if not may_be_known and (seen := trained.includes(arm.user_ids)).any():
            example = arm.user_ids[int(np.argmax(seen))]
            raise LeakageError(
                f"{int(seen.sum())} of {len(arm)} users to be asked were in the training of this recommender, for "
                f"example {example!r}; pass its config, so that it is fitted without them, or other test_users."
            )
    if split.cold_items is not None:
        cold = [split.catalog.item_ids[row] for row in np.flatnonzero(split.cold_items)]
        rows = recommender.catalog.rows(cold)
        if recommender.model.items.warm.numpy()[rows[rows >= 0]].any():
            raise LeakageError(
                "this recommender was trained on events of items that are to be new; pass its config, so that it is "
                "fitted without them."
            )
    if split.until is not None and trained.until >= split.until:
        raise LeakageError(
            f"this recommender was trained on events after {split.until:.15g}, where the evaluation cuts time; pass "
            "its config, so that it is fitted on what came before."
        )


def fit_copy(method: Method, split: Split, options: TrainOptions) -> Method:
    """A copy of a scorer, fitted on the split's training events; as it is, if it cannot be fitted."""
    if not hasattr(method, "fit"):
        return method
    fresh = copy.deepcopy(method)
    takes_options = "options" in inspect.signature(fresh.fit).parameters
    fitted = fresh.fit(split.catalog, split.train, **({"options": options} if takes_options else {}))
    return fresh if fitted is None else fitted
