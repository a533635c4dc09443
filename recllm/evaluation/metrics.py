"""How good lists are: for each user, and of all lists together. And how far off predicted ratings are.

Gains are binary: a liked item of the query is relevant, all others are not.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from recllm.errors import DataError
from recllm.evaluation.arms import LENGTH, Arm, Ranked
from recllm.evaluation.facts import ItemFacts

_TOP = 10
_DISCOUNT = 1.0 / np.log2(np.arange(2, _TOP + 2))
_IDEAL = np.concatenate([[np.nan], np.cumsum(_DISCOUNT)])
"""The best DCG@10 with 0, 1, … 10 relevant items; with none there is nothing to measure."""
_SMOOTHING = 0.01
"""Steck's α: as much of the user's own distribution is mixed into the list's, so that the divergence is finite."""
_BLOCK = 1024
"""Users at a time."""


def measure(ranked: Ranked, arm: Arm, facts: ItemFacts) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """All metrics of one method's lists for one arm.

    Args:
        ranked: The lists.
        arm: What was asked.
        facts: Of the catalog.

    Returns:
        What is known of each user, float64 [tasks]. NaN is "says nothing of this user" and never counts as 0:

        - NDCG@10: over the best that min(10, relevant) items allow. Recall@k: hits over all relevant items, also where
          they are more than k. Precision@10: hits over 10, also in a shorter list. F1@10 of these two. HR@10: any hit.
          MRR@10: 1 over the rank of the first hit. All are 0 for an empty list, NaN without a relevant candidate.
        - ΔNDCG@10: NDCG@10 minus that of the disliked items of the query; NaN without one of each.
        - Novelty@10: mean −log2 of the popularity. ILD@10: mean of 1 − cosine over pairs of listed items. NaN for an
          empty list, ILD also for a single item.
        - Calibration@10: Kullback-Leibler divergence in nats from the categories of the support's liked items to those
          of the list (Steck, Calibrated Recommendations, 2018; α = 0.01); NaN where either has none.

        And of all lists together, NaN without users: Coverage@10, the share of the candidates in at least
        one top 10; Gini@10 of how often each candidate is there (0 all as often, 1 only one of them; NaN if no list
        has any); "ms per user".

    Raises:
        DataError: The lists do not fit the arm or the catalog.
    """
    rows = _checked_rows(ranked.rows, arm, len(facts))
    categories = sparse.csr_array((len(facts), 0)) if facts.categories is None else facts.categories
    categories = _shares(categories.astype(np.float64))  # an item's share 1
    tastes = _tastes(arm, categories)
    asked, disliked = arm.asked(len(facts)), arm.asked(len(facts), disliked=True)
    squares = np.asarray(facts.words.multiply(facts.words).sum(axis=1), dtype=np.float64)
    blocks = []
    for start in range(0, max(len(arm), 1), _BLOCK):
        some = slice(start, start + _BLOCK)
        listed = _listed(rows[some, :_TOP], len(facts))
        figures = _accuracy(rows[some], asked[some], disliked[some])
        figures["Novelty@10"] = _novelty(listed, facts.popularity)
        figures["ILD@10"] = _distance(listed, facts.words, squares)
        figures["Calibration@10"] = _divergence(tastes[some], _shares(listed @ categories))
        blocks.append(figures)
    per_user = {name: np.concatenate([figures[name] for figures in blocks]) for name in blocks[0]}
    return per_user, _together(rows[:, :_TOP], ranked.seconds, arm, len(facts))


def _checked_rows(rows: NDArray[np.int32], arm: Arm, items: int) -> NDArray[np.int32]:
    """int32 [tasks, LENGTH]: shorter lists are filled with −1."""
    if rows.ndim != 2 or len(rows) != len(arm):
        raise DataError(f"lists of shape {rows.shape} came for {len(arm)} users; one row per user is needed")
    if rows.size and (rows.max() >= items or rows.min() < -1):
        raise DataError(f"lists hold item rows {rows.min()} to {rows.max()}; the catalog has rows 0 to {items - 1}")
    rows = rows[:, :LENGTH]
    return np.pad(rows, ((0, 0), (0, LENGTH - rows.shape[1])), constant_values=-1)


def _accuracy(
    rows: NDArray[np.int32], asked: sparse.csr_array, disliked: sparse.csr_array
) -> dict[str, NDArray[np.float64]]:
    hits, ndcg = _hits(rows, asked), ndcg_at_10(rows, asked)
    relevant = np.diff(asked.indptr).astype(np.float64)
    relevant[relevant == 0] = np.nan
    measurable = relevant / relevant  # 1 or NaN
    in_ten = hits[:, :_TOP].sum(axis=1)
    hit = in_ten > 0
    return {
        "NDCG@10": ndcg,
        "Recall@10": in_ten / relevant,
        "Recall@20": hits[:, :20].sum(axis=1) / relevant,
        "Recall@200": hits.sum(axis=1) / relevant,
        "Precision@10": in_ten / _TOP * measurable,
        "F1@10": 2 * in_ten / (_TOP + relevant),  # 2PR / (P + R) with P and R written out
        "HR@10": hit * measurable,
        "MRR@10": hit / (hits[:, :_TOP].argmax(axis=1) + 1.0) * measurable,
        "ΔNDCG@10": ndcg - ndcg_at_10(rows, disliked),
    }


def _hits(rows: NDArray[np.int32], wanted: sparse.csr_array) -> NDArray[np.bool_]:
    """bool [tasks, length]: whether each listed item is wanted by its user."""
    users, items = wanted.shape
    owner = np.arange(users, dtype=np.int64)
    keys = np.repeat(owner, np.diff(wanted.indptr)) * items + wanted.indices
    hits: NDArray[np.bool_] = np.isin(owner[:, None] * items + rows, keys) & (rows >= 0)
    return hits


def ndcg_at_10(rows: NDArray[np.int32], wanted: sparse.csr_array) -> NDArray[np.float64]:
    """float64 [tasks], of lists of item rows (−1: none) and bool CSR [tasks, items]; NaN where nothing is wanted."""
    hits = _hits(rows[:, :_TOP], wanted)
    ndcg: NDArray[np.float64] = hits @ _DISCOUNT[: hits.shape[1]] / _IDEAL[np.minimum(np.diff(wanted.indptr), _TOP)]
    return ndcg


def _listed(top: NDArray[np.int32], items: int) -> sparse.csr_array:
    """float32 CSR [tasks, items]: 1 where an item is in a list."""
    there = top >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return sparse.csr_array((np.ones(ends[-1], dtype=np.float32), top[there], ends), shape=(len(top), items))


def _novelty(listed: sparse.csr_array, popularity: NDArray[np.float64]) -> NDArray[np.float64]:
    return _divide(listed @ -np.log2(popularity), np.diff(listed.indptr))


def _distance(listed: sparse.csr_array, words: sparse.csr_array, squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 1 − cosine of pairs: the squared length of the sum holds every pair twice, and every item with itself."""
    together = listed @ words
    twice = np.asarray(together.multiply(together).sum(axis=1), dtype=np.float64) - listed @ squares
    count = np.diff(listed.indptr).astype(np.float64)
    return 1 - np.clip(_divide(twice, count * (count - 1)), 0, 1)


def distance(rows: NDArray[np.int32], space: sparse.csr_array) -> NDArray[np.float64]:
    """Mean 1 − cosine of pairs of listed items in a space, float64 [tasks]; NaN for fewer than two.

    Args:
        rows: int32 [tasks, length], −1 after the end of a list.
        space: CSR [items, dim]; what has nothing there is unlike everything.
    """
    vectors = sparse.csr_array(space, dtype=np.float32)
    squares = np.asarray(vectors.multiply(vectors).sum(axis=1), dtype=np.float64).ravel()
    vectors = sparse.csr_array(vectors.multiply(1 / np.sqrt(np.maximum(squares, 1e-12))[:, None].astype(np.float32)))
    return _distance(_listed(rows, space.shape[0]), vectors, (squares > 0).astype(np.float64))


def _tastes(arm: Arm, items: sparse.csr_array) -> sparse.csr_array:
    """Of each user, what the liked items of the support have: rows [categories] that sum to 1 or are empty."""
    liked = arm.support.signals > 0
    entries = (np.ones(liked.sum()), (arm.support.user_rows[liked], arm.support.item_rows[liked]))
    return _shares(sparse.csr_array(entries, shape=(len(arm), items.shape[0])) @ items)


def _divergence(wanted: sparse.csr_array, found: sparse.csr_array) -> NDArray[np.float64]:
    """[tasks]: −Σ p log(α + (1 − α) q / p), where all but −log α lives on the categories that both have."""
    inverse = wanted.copy()
    inverse.data = 1 / inverse.data
    both = sparse.csr_array(found.multiply(inverse))
    both.data = np.log1p((1 - _SMOOTHING) / _SMOOTHING * both.data)
    divergence = -np.log(_SMOOTHING) - np.asarray(wanted.multiply(both).sum(axis=1))
    known = (np.diff(wanted.indptr) > 0) & (np.diff(found.indptr) > 0)
    return np.where(known, np.maximum(divergence, 0), np.nan)


def _shares(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows divided by their sums."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float64)
    shares = sparse.csr_array(matrix.copy())
    shares.data = shares.data / np.repeat(sums, np.diff(shares.indptr))
    return shares


def _divide(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """The quotient; NaN where it is divided by 0."""
    below = np.asarray(below, dtype=np.float64)
    return np.asarray(above, dtype=np.float64) / np.where(below == 0, np.nan, below)


def _together(top: NDArray[np.int32], seconds: float, arm: Arm, items: int) -> dict[str, float]:
    candidates = np.ones(items, dtype=bool) if arm.candidates is None else arm.candidates
    counts = np.bincount(top[top >= 0], minlength=items)[candidates]
    if not len(arm) or not len(counts):
        return dict.fromkeys(("Coverage@10", "Gini@10", "ms per user"), np.nan)
    return {
        "Coverage@10": float((counts > 0).mean()),
        "Gini@10": _gini(counts),
        "ms per user": 1000 * seconds / len(arm),
    }


def _gini(counts: NDArray[np.int64]) -> float:
    """Half the mean difference of all pairs over the mean."""
    n, total = len(counts), int(counts.sum())
    if not total:
        return float("nan")
    if n == 1:
        return 0.0
    weights = 2 * np.arange(1, n + 1) - n - 1.0
    return float(weights @ np.sort(counts) / ((n - 1) * total))


def rating_errors(
    predicted: ArrayLike, actual: ArrayLike, owners: NDArray[np.int64], users: int, liked_from: float | None = None
) -> dict[str, NDArray[np.float64]]:
    """How far off predicted ratings are, user by user; the root of the mean of "MSE" is the RMSE.

    Args:
        predicted: [events]; NaN: no prediction.
        actual: [events]; NaN: no rating.
        owners: int64 [events], rows of users.
        users: How many there are.
        liked_from: Lowest rating that is a like; None: nothing is said of likes.

    Returns:
        float64 [users] each, means over the events with both, NaN without any. "MSE" squared, "MAE" absolute,
        "Accuracy" the share of predictions that, rounded (halves up), are the rating. Of what is predicted to be liked,
        "Liked precision" the share that is; of what is liked, "Liked recall" the share that was predicted to be;
        "Liked F1" of these two, 0 without a hit, NaN where nothing is liked and nothing predicted to be.
    """
    predicted, actual = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if predicted.shape != actual.shape:
        raise DataError(f"{predicted.shape} predictions came for {actual.shape} ratings; one for each is needed")
    off = predicted - actual
    errors = {"MSE": off**2, "MAE": np.abs(off), "Accuracy": np.floor(predicted + 0.5) == np.floor(actual + 0.5)}
    known = ~np.isnan(off)

    def summed(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(owners[known], values[known], minlength=users).astype(np.float64)

    means = {name: _divide(summed(one), summed(known)) for name, one in errors.items()}
    if liked_from is None:
        return means
    said, liked = predicted >= liked_from, actual >= liked_from
    hits, all_said, all_liked = summed(said & liked), summed(said), summed(liked)
    found = {"Liked precision": _divide(hits, all_said), "Liked recall": _divide(hits, all_liked)}
    return means | found | {"Liked F1": _divide(2 * hits, all_said + all_liked)}
