"""Evaluation, put together: splits, methods, lists, metrics, report."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recllm.data.doors import (
    read_catalog,
    read_events,
    read_profiles,
    read_user_ids,
    real_number,
    whole_number,
)
from recllm.errors import ConfigError
from recllm.evaluation.baselines.registry import all_baselines, baseline_named
from recllm.evaluation.cells import Cells
from recllm.evaluation.methods import Measurement, Method, predicts_ratings
from recllm.evaluation.names import RECLLM, SQUARE
from recllm.evaluation.protocol import SHOTS, make_splits
from recllm.evaluation.report import Report
from recllm.evaluation.split import Split
from recllm.model.config import RecommenderConfig
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.resources import __version__

if TYPE_CHECKING:
    from recllm.scale.executor import Executor


# Long by its options, each of which is written and explained once.
def evaluate(
    config_or_scorer: Method | Mapping[str, Method] | None,
    catalog: Any,
    events: Any,
    *,
    protocol: str = "users",
    shots: Sequence[int] = SHOTS,
    folds: int = 1,
    seeds: Sequence[int] = (0,),
    baselines: Sequence[str] | Literal["all"] | None = "all",
    square: bool = False,
    test_users: Any = None,
    cut: float = 0.8,
    sparsity: Sequence[float] = (1.0,),
    diversity: Sequence[float] | None = None,
    rankings: str | Path | None = None,
    save_splits: str | Path | None = None,
    cache: str | Path | None = None,
    dataset: str | None = None,
    command: str | None = None,
    options: TrainOptions | None = None,
    users: Any = None,
    executor: "Executor | None" = None,
) -> Report:
    """Measure methods on users that no part of their training has seen, ranking the whole catalog.

    Args:
        config_or_scorer: A `RecommenderConfig`, which is fitted on every split; a fitted `Recommender`; anything with
            `score(users, item_ids)`, which is fitted if it has `fit(catalog, events)`; or several by name. None: only
            baselines and rankings.
        catalog: All items: a `Catalog`, a data frame, or a file.
        events: The whole log: `Interactions`, a data frame, a mapping, or a file.
        protocol: `users`, `time`, `early`, `prequential`, `basket` or `cold`; see `recllm.evaluation.protocol`.
        shots: How many events are known of a user; the query is the same for all.
        folds: Disjoint groups of test users.
        seeds: One evaluation each; users' groups, ties and training depend on it.
        baselines: Names, `"all"`, or None; each is tuned on validation users, by NDCG@10, and by RMSE where ratings are
            predicted (`objective="rating"`), which brings further ones. `"all"` leaves out what takes minutes to tune:
            write `["all", "LightGCN"]`. One of your own is a subclass of
            `recllm.evaluation.baselines.baseline.Baseline`, made known by `register` of the `registry` beside it.
        square: Also measure what meta-training and the inner loop add (needs a config with adaptation); where training
            events are left out (`sparsity`), only the whole, D.
        test_users: Exactly these are asked, instead of a group; ids in any form.
        cut: Protocol `time`: the share of events before the cut.
        sparsity: Shares of the training events to learn from, such as `(0.1, 0.3, 1.0)`; one measurement each.
        diversity: Strengths of diversity, such as `(0, 0.1, 0.3, 0.5)`, at which recllm's lists are measured, too:
            what variety costs, by both ways to it, at the largest K; see `Report.variety`.
        rankings: A folder of lists that other programs made for the saved split.
        save_splits: Where to write the splits for other programs.
        cache: A folder in which finished parts are kept, so that a stopped evaluation can go on.
        dataset: Name of the data in the report; by default the name of the events' file.
        command: How the evaluation was called, for the report.
        options: Run options of fitting; `seed` is replaced by `seeds`.
        users: Profiles, also of those who are asked: a data frame or a file. A config is fitted with them; nobody who
            is asked is counted.
        executor: Workers, from `recllm.scale.open_executor`, that measure folds, seeds and shares side by side, each
            with one thread; methods and data are sent to them. None: one after the other, here.

    Returns:
        The report: `to_pandas()`, `to_json()`, `to_html()`, `verdict()`; prints as a table.

    Raises:
        ConfigError: An option is unknown or does not fit.
        DataError: Too few users or events, or a scorer misbehaves; the scorer is named.
        LeakageError: A fitted recommender was trained on users that would be asked.
    """
    catalog, events = read_catalog(catalog), read_events(events)
    test_users = None if test_users is None else read_user_ids(test_users)
    methods = _named(config_or_scorer)
    shots = [whole_number(one, "shots", 0) for one in _several(shots, "shots")]
    seeds = [whole_number(one, "seeds", 0) for one in _several(seeds, "seeds")]
    sparsity, folds = _several(sparsity, "sparsity"), whole_number(folds, "folds", 1)
    rates = any(predicts_ratings(method) for method in methods.values())
    names = _baseline_names(baselines, rates)
    if square:
        _check_square(methods)
    if executor is not None and not callable(getattr(executor, "map", None)):
        raise ConfigError(f"executor are workers, from recllm.scale.open_executor('local:2'); got {executor!r}.")
    if not methods and not names and rankings is None:
        raise ConfigError("there is nothing to evaluate; give a config, a scorer, baselines or rankings.")
    people = None if users is None else read_profiles(users)
    title = dataset or events.report.source.partition(".")[0]
    asked = [] if diversity is None else _several(diversity, "diversity")
    strengths = tuple(real_number(one, "diversity", 0, 1) for one in asked)
    cells = Cells(cache)
    measurement = Measurement(
        title, methods, names, square, rankings, cells, options or TrainOptions(), strengths, people=people
    )
    about: dict[str, Any] = {"title": title, "dataset": title, "seeds": list(seeds), "folds": folds}
    about |= {"ours": [*(SQUARE[::-1] if square else []), *methods], "command": command, "versions": _versions()}
    data = f"catalog {catalog.fingerprint[:16]}, events {events.fingerprint[:16]}"
    about |= {"splits": [], "methods": {}, "data hash": data}
    measured = []
    cutting: dict[str, Any] = {"protocol": protocol, "shots": shots, "folds": folds, "test_users": test_users}
    cutting |= {"cut": cut, "ratings": rates}

    def splits() -> Iterator[Split]:
        for seed, share in product(seeds, sorted(set(sparsity))):
            for split in make_splits(catalog, events, seed=seed, share=share, **cutting):
                split.audit()
                if save_splits is not None:
                    split.save(Path(save_splits) / _place(split, len(seeds), folds, sparsity))
                about["splits"].append(split.about())
                yield split

    for found, notes in measurement.over(splits(), executor):
        measured += found
        for method, of_split in notes.items():
            about["methods"].setdefault(method, []).extend(of_split)
    about |= {"variety": measurement.steps} if measurement.steps else {}
    return Report(measured, about)


def _several(given: Any, name: str) -> list[Any]:
    """Numbers; one alone will do."""
    numbers = [given] if isinstance(given, int | float) else given
    if isinstance(numbers, str | bytes | Mapping) or not isinstance(numbers, Iterable):
        raise ConfigError(f"{name} are numbers, such as (1, 3); got {given!r}.")
    several = list(numbers)
    if not several or not all(isinstance(one, int | float | np.number) for one in several):
        raise ConfigError(f"{name} are numbers, at least one, such as (1, 3); got {given!r}.")
    return several


def _named(given: Method | Mapping[str, Method] | None) -> dict[str, Method]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): method for name, method in given.items()}
    ours = isinstance(given, RecommenderConfig | Recommender)
    return {RECLLM if ours else getattr(given, "name", type(given).__name__): given}


def _check_square(methods: Mapping[str, Method]) -> None:
    configs = [method for method in methods.values() if isinstance(method, RecommenderConfig)]
    if len(configs) != 1:
        raise ConfigError(f"the square takes one RecommenderConfig apart; {len(configs)} were given.")
    if configs[0].adaptation is None:
        raise ConfigError("the square compares a base with its adapters; give a config whose adaptation is not None.")


def _baseline_names(baselines: Sequence[str] | Literal["all"] | None, ratings: bool) -> tuple[str, ...]:
    names = (baselines,) if isinstance(baselines, str) else tuple(baselines or ())
    found = [all_baselines(ratings=ratings) if name == "all" else (baseline_named(name).name,) for name in names]
    return tuple(dict.fromkeys(name for some in found for name in some))


def _place(split: Split, seeds: int, folds: int, sparsity: Sequence[float]) -> str:
    parts = [f"seed-{split.seed}"] if seeds > 1 else []
    parts += [f"fold-{split.fold}"] if folds > 1 else []
    parts += [f"share-{split.share:g}"] if len(set(sparsity)) > 1 else []
    return "-".join(parts) or "."


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "peft", "sentence-transformers", "numpy", "scipy", "polars")
    return {"recllm": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}
