"""Whoever is evaluated: what a scorer is, and how its lists are made and checked."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id, as_id_list
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation.arms import LENGTH, Arm, Ranked
from recllm.ranking.rules import best_lists, tie_order
from recllm.recommender import Recommender

CELLS = 20_000_000
"""Scores (users × items) held at once."""


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores items for users; `fit(catalog, events)` is called first where there is one."""

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        """float32 [users, items]: higher is better, -inf is never listed, NaN is for items outside the catalog.

        Args:
            users: What is known of each user; those of whom nothing is known are in `users.user_ids` only.
            item_ids: What to score.
        """
        ...


@runtime_checkable
class Lister(Protocol):
    """Anything that serves lists, as a `Recommender` does: what it lists is what is measured."""

    def recommend(self, users: Interactions, n: int, *, candidates: Sequence[str] | None, exclude_seen: bool) -> Any:
        """Lists of at most `n` items: a mapping user id -> item ids, or an object with `to_polars()`."""
        ...


def rank_arm(name: str, method: Any, arm: Arm, catalog: Catalog) -> Ranked:
    """The lists of one method for one arm, checked.

    Args:
        name: What to call the method in errors.
        method: A scorer, or something that serves lists.
        arm: The question.
        catalog: The items; rows of the lists are rows of it.

    Raises:
        DataError: It gives scores of the wrong shape or kind, NaN, or lists with unknown, repeated or seen items.
    """
    if isinstance(method, Scorer) and not isinstance(method, Recommender):
        scorer = method
        ties = tie_order(catalog.item_ids)
        return rank_scores(arm, ties, lambda tasks: _checked(name, scorer, arm.known_events(tasks), catalog))
    if isinstance(method, Lister):
        begin = time.perf_counter()
        rows = _served(name, method, arm, catalog)
        return Ranked(rows, time.perf_counter() - begin)
    raise DataError(
        f"{name!r} is a {type(method).__name__} with neither score(users, item_ids) nor recommend(users, n); "
        "give it one of them."
    )


def rank_scores(
    arm: Arm, ties: NDArray[np.int64], scores: Callable[[slice], np.ndarray], *, length: int = LENGTH
) -> Ranked:
    """The lists that follow from scores over the whole catalog, float32 [tasks, items] for some of the tasks."""
    begin, items = time.perf_counter(), len(ties)
    size = max(CELLS // max(items, 1), 1)
    parts = [np.zeros((0, length), dtype=np.int32)]
    for start in range(0, len(arm), size):
        tasks = slice(start, min(start + size, len(arm)))
        parts.append(best_lists(scores(tasks), arm.allowed(tasks, items), ties, length))
    return Ranked(np.concatenate(parts), time.perf_counter() - begin)


def _checked(name: str, scorer: Scorer, users: Interactions, catalog: Catalog) -> NDArray[np.float32]:
    given = scorer.score(users, list(catalog.item_ids))
    wanted = (len(users.user_ids), len(catalog))
    try:
        scores = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, a tensor with a gradient
        raise DataError(
            f"scorer {name!r} returned a {type(given).__name__} that is no array: {error}; wanted numbers of shape "
            f"{list(wanted)}."
        ) from error
    if scores.shape != wanted or scores.dtype.kind not in "fiu":
        raise DataError(
            f"scorer {name!r} returned {scores.dtype} {list(scores.shape)} for {wanted[0]} users and {wanted[1]} "
            f"items; wanted numbers of shape {list(wanted)}."
        )
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32)
    bad = np.isnan(scores) | (scores == np.inf)
    if bad.any():
        user, item = np.argwhere(bad)[0]
        raise DataError(
            f"scorer {name!r} returned {scores[user, item]} for {int(bad.sum())} of {scores.size} pairs, for example "
            f"user {users.user_ids[user]!r} and item {catalog.item_ids[item]!r}; give every item of the catalog a "
            "finite score, or -inf to leave it out."
        )
    return scores


def _served(name: str, method: Lister, arm: Arm, catalog: Catalog) -> NDArray[np.int32]:
    candidates = None
    if arm.candidates is not None:
        candidates = [catalog.item_ids[row] for row in np.flatnonzero(arm.candidates)]
    served = method.recommend(arm.known_events(), LENGTH, candidates=candidates, exclude_seen=arm.exclude_seen)
    return listed_rows(name, _as_lists(name, served), arm, catalog)


def _as_lists(name: str, served: Any) -> dict[str, list[str]]:
    if isinstance(served, Mapping):
        try:
            return {as_id(user): as_id_list(items) for user, items in served.items()}
        except DataError as error:
            raise DataError(f"{name!r} recommended no lists of item ids: {error}") from error
    frame = served.to_polars() if hasattr(served, "to_polars") else pl.DataFrame()
    if not {"user_id", "item_id", "rank"} <= set(frame.columns):
        raise DataError(
            f"{name!r} recommended a {type(served).__name__}; wanted a mapping from user id to item ids, or an object "
            "whose to_polars() has user_id, item_id and rank."
        )
    return lists_by_rank(frame)


def lists_by_rank(frame: pl.DataFrame) -> dict[str, list[str]]:
    """User -> items, of a table with user_id, item_id and rank."""
    users = frame.sort("rank", maintain_order=True).group_by("user_id", maintain_order=True)
    return dict(users.agg("item_id").iter_rows())


def listed_rows(name: str, lists: Mapping[str, Iterable[str]], arm: Arm, catalog: Catalog) -> NDArray[np.int32]:
    """int32 [tasks, LENGTH]: lists of ids as catalog rows, −1 after the end.

    Raises:
        DataError: An item is unknown, is listed twice, may not be listed, or was seen.
    """
    result = np.full((len(arm), LENGTH), -1, dtype=np.int32)
    for task, user in enumerate(arm.user_ids):
        ids = list(lists.get(user, ()))[:LENGTH]
        rows = catalog.rows(ids) if ids else np.zeros(0, dtype=np.int64)
        if (rows < 0).any():
            unknown = ids[int(np.argmin(rows))]
            raise DataError(f"{name!r} lists item {unknown!r} for user {user!r}, which the catalog does not have.")
        if len(set(rows.tolist())) < len(rows):
            raise DataError(f"{name!r} lists an item twice for user {user!r}; list distinct items.")
        result[task, : len(rows)] = rows
    for start in range(0, len(arm), 1000):
        tasks = slice(start, min(start + 1000, len(arm)))
        part = result[tasks]
        allowed = np.take_along_axis(arm.allowed(tasks, len(catalog)), np.maximum(part, 0), axis=1) | (part < 0)
        if not allowed.all():
            task, place = np.argwhere(~allowed)[0]
            raise DataError(
                f"{name!r} lists item {catalog.item_ids[part[task, place]]!r} for user {arm.user_ids[start + task]!r}, "
                "who has it already, or for whom it is no candidate; leave such items out."
            )
    return result
