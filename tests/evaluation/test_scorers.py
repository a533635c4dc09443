"""Scorers: whoever misbehaves is named, and the lists that follow from good scores."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation import scorers
from recllm.evaluation.arms import LENGTH, Arm
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import Lister, Scorer, rank_arm, rank_scores
from recllm.ranking.rules import tie_order
from recllm.testing import ToyShop

Score = Callable[[Interactions, Sequence[str]], Any]


class Scoring:
    """A scorer out of a function."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.asked: list[tuple[str, ...]] = []

    def score(self, users: Interactions, item_ids: Sequence[str]) -> Any:
        self.asked.append(users.user_ids)
        return self._score(users, item_ids)


class Listing:
    """A lister out of what it answers, or of a function of the users."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def recommend(self, users: Interactions, n: int, *, candidates: Any, exclude_seen: bool) -> Any:
        self.asked.append({"n": n, "candidates": candidates, "exclude_seen": exclude_seen, "users": users.user_ids})
        return self.answer(users) if callable(self.answer) else self.answer


def by_number(users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
    """Items in the order of their number; users do not matter."""
    row = -np.array([int(item[1:]) for item in item_ids], dtype=np.float32)
    return np.tile(row, (len(users.user_ids), 1))


def of_user(users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
    """Another order for every user, by its id alone."""
    seeds = [int(user[1:]) for user in users.user_ids]
    return np.stack([np.random.default_rng(seed).random(len(item_ids)) for seed in seeds]).astype(np.float32)


@pytest.fixture(scope="module")
def arm(toy: ToyShop) -> Arm:
    return make_splits(toy.catalog, toy.events, shots=(3,))[0].arms[0]


def ids(toy: ToyShop, rows: np.ndarray) -> list[str]:
    return [toy.catalog.item_ids[row] for row in rows if row >= 0]


# --- lists from scores -----------------------------------------------------------------------------------------------


def test_lists_are_the_best_scores_without_seen_items(toy: ToyShop, arm: Arm) -> None:
    ranked = rank_arm("mine", Scoring(by_number), arm, toy.catalog)
    assert ranked.rows.shape == (len(arm), LENGTH)
    assert ranked.rows.dtype == np.int32
    assert ranked.seconds > 0
    for user in range(len(arm)):
        seen = set(arm.support.items_of(user).tolist())
        assert len(seen) == 3
        found = ranked.rows[user]
        assert found[: len(toy.catalog) - 3].tolist() == [row for row in range(len(toy.catalog)) if row not in seen]
        assert (found[len(toy.catalog) - 3 :] == -1).all()


def test_seen_items_stay_where_they_may(toy: ToyShop, arm: Arm) -> None:
    ranked = rank_arm("mine", Scoring(by_number), replace(arm, exclude_seen=False), toy.catalog)
    assert ranked.rows[:, :48].tolist() == [list(range(48))] * len(arm)


@pytest.mark.parametrize("method", [Scoring(by_number), Scoring(of_user)])
def test_only_candidates_are_listed(toy: ToyShop, arm: Arm, method: Scoring) -> None:
    some = np.arange(48) % 3 == 0
    narrow = rank_arm("mine", method, replace(arm, candidates=some), toy.catalog)
    whole = rank_arm("mine", method, arm, toy.catalog)
    for user in range(len(arm)):
        wanted = [row for row in whole.rows[user] if row >= 0 and some[row]]
        assert narrow.rows[user, : len(wanted)].tolist() == wanted
        assert (narrow.rows[user, len(wanted) :] == -1).all()


def test_minus_infinity_leaves_an_item_out(toy: ToyShop, arm: Arm) -> None:
    def score(users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        scores = of_user(users, item_ids)
        scores[:, ::2] = -np.inf
        scores[0] = -np.inf
        return scores

    rows = rank_arm("mine", Scoring(score), arm, toy.catalog).rows
    assert (rows[0] == -1).all()
    for user in range(1, len(arm)):
        odd = set(range(1, 48, 2)) - set(arm.support.items_of(user).tolist())
        assert set(rows[user].tolist()) == odd | {-1}


def test_batches_give_the_same_as_the_whole(toy: ToyShop, arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = Scoring(of_user), Scoring(of_user)
    expected = rank_arm("mine", whole, arm, toy.catalog)
    monkeypatch.setattr(scorers, "CELLS", 5 * 48 + 7)
    found = rank_arm("mine", parts, arm, toy.catalog)
    assert whole.asked == [arm.user_ids]
    assert [len(users) for users in parts.asked] == [5, 5, 5, 1]
    assert sum(parts.asked, ()) == arm.user_ids
    np.testing.assert_array_equal(found.rows, expected.rows)
    monkeypatch.setattr(scorers, "CELLS", 1)
    np.testing.assert_array_equal(rank_arm("mine", Scoring(of_user), arm, toy.catalog).rows, expected.rows)


def test_equal_scores_are_ordered_by_a_hash_of_the_item(toy: ToyShop, arm: Arm) -> None:
    def nothing(users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        return np.zeros((len(users.user_ids), len(item_ids)), dtype=np.float32)

    rows = rank_arm("mine", Scoring(nothing), arm, toy.catalog).rows
    place = tie_order(toy.catalog.item_ids)
    assert (np.diff(place[rows[:, :45]], axis=1) > 0).all()
    # The same lists, whatever the order of the catalog.
    backwards = Catalog.from_frame(toy.catalog.frame[::-1])
    (split,) = make_splits(backwards, toy.events, shots=(3,))
    again = rank_arm("mine", Scoring(nothing), split.arms[0], backwards).rows
    assert [ids(toy, row) for row in rows] == [[backwards.item_ids[r] for r in row if r >= 0] for row in again]


def test_whole_numbers_and_doubles_are_scores_too(toy: ToyShop, arm: Arm) -> None:
    expected = rank_arm("mine", Scoring(by_number), arm, toy.catalog).rows
    for kind in (np.int64, np.float64, np.float16):
        found = rank_arm("mine", Scoring(lambda u, i, kind=kind: by_number(u, i).astype(kind)), arm, toy.catalog)
        np.testing.assert_array_equal(found.rows, expected)
    as_lists = rank_arm("mine", Scoring(lambda u, i: by_number(u, i).tolist()), arm, toy.catalog)
    np.testing.assert_array_equal(as_lists.rows, expected)


def test_nobody_asked_gives_no_lists(toy: ToyShop, arm: Arm) -> None:
    empty = replace(arm, support=arm.support.of([]), query=arm.query.of([]), history_lengths=None)
    assert rank_arm("mine", Scoring(by_number), empty, toy.catalog).rows.shape == (0, LENGTH)
    assert rank_arm("mine", Listing({}), empty, toy.catalog).rows.shape == (0, LENGTH)


def test_scores_are_asked_for_slices_of_tasks(toy: ToyShop, arm: Arm) -> None:
    asked = []

    def scores(tasks: slice) -> np.ndarray:
        asked.append((tasks.start, tasks.stop))
        return np.zeros((tasks.stop - tasks.start, 48), dtype=np.float32)

    rank_scores(arm, tie_order(toy.catalog.item_ids), scores)
    assert asked == [(0, len(arm))]


# --- scorers that misbehave ------------------------------------------------------------------------------------------


def spoiled(value: float) -> Score:
    def score(users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        scores = of_user(users, item_ids).astype(np.float64)
        scores[1, 2] = scores[4, 5] = value
        return scores

    return score


class NoArray:
    """What numpy cannot read, like a tensor that wants its gradient."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise RuntimeError("can't call numpy() on a tensor that requires grad")


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda u, i: of_user(u, i)[:, :-1], r"returned float32 \[16, 47\] for 16 users and 48 items; .* \[16, 48\]"),
        (lambda u, i: of_user(u, i)[1:], r"returned float32 \[15, 48\]"),
        (lambda u, i: of_user(u, i).T, r"returned float32 \[48, 16\]"),
        (lambda u, i: of_user(u, i)[0], r"returned float32 \[48\]"),
        (lambda u, i: of_user(u, i).astype(str), r"returned <U\d+ \[16, 48\]"),
        (lambda u, i: of_user(u, i) > 0.5, r"returned bool \[16, 48\]"),
        (lambda u, i: of_user(u, i).astype(complex), r"returned complex128 \[16, 48\]"),
        (lambda u, i: of_user(u, i).astype(object), r"returned object \[16, 48\]"),
        (lambda u, i: None, r"returned object \[\] for 16 users"),
        (lambda u, i: [[0.0] * 48] * 15 + [[0.0] * 47], r"returned a list that is no array: .*shape \[16, 48\]"),
        (lambda u, i: NoArray(), r"returned a NoArray that is no array: can't call numpy"),
        (spoiled(np.nan), r"returned nan for 2 of 768 pairs, for example user 'u\d+' and item 'i2'"),
        (spoiled(np.inf), r"returned inf for 2 of 768 pairs, .*-inf to leave it out"),
        (spoiled(1e300), r"returned inf for 2 of 768 pairs"),  # too large for float32
    ],
)
def test_a_scorer_that_misbehaves_is_named(toy: ToyShop, arm: Arm, score: Score, said: str) -> None:
    with pytest.raises(DataError, match=rf"^scorer 'my model' {said}"):
        rank_arm("my model", Scoring(score), arm, toy.catalog)


def test_the_example_is_the_user_and_item_with_the_bad_score(toy: ToyShop, arm: Arm) -> None:
    with pytest.raises(DataError, match=f"user {arm.user_ids[1]!r} and item 'i2'"):
        rank_arm("mine", Scoring(spoiled(np.nan)), arm, toy.catalog)


@pytest.mark.parametrize("method", [object(), 3, "scorer", None, len])
def test_what_is_no_scorer_is_named(toy: ToyShop, arm: Arm, method: Any) -> None:
    with pytest.raises(DataError, match=f"^'my model' is a {type(method).__name__} with neither score.* nor recommend"):
        rank_arm("my model", method, arm, toy.catalog)


def test_evaluate_names_it_as_it_was_named(toy: ToyShop) -> None:
    methods = {"first": Scoring(of_user), "second": Scoring(spoiled(np.nan))}
    with pytest.raises(DataError, match=r"^scorer 'second' returned nan"):
        evaluate(methods, toy.catalog, toy.events, shots=(1,), baselines=None)
    with pytest.raises(DataError, match=r"^'Scores' is a Scores with neither"):
        evaluate(type("Scores", (), {})(), toy.catalog, toy.events, shots=(1,), baselines=None)


# --- listers ---------------------------------------------------------------------------------------------------------


def best(toy: ToyShop, arm: Arm) -> dict[str, list[str]]:
    rows = rank_arm("mine", Scoring(of_user), arm, toy.catalog).rows
    return {user: ids(toy, row) for user, row in zip(arm.user_ids, rows, strict=True)}


def test_a_mapping_of_lists_is_what_is_measured(toy: ToyShop, arm: Arm) -> None:
    lists = best(toy, arm)
    method = Listing(lists)
    assert isinstance(method, Lister)
    assert not isinstance(method, Scorer)
    expected = rank_arm("mine", Scoring(of_user), arm, toy.catalog).rows
    np.testing.assert_array_equal(rank_arm("mine", method, arm, toy.catalog).rows, expected)
    assert method.asked == [{"n": LENGTH, "candidates": None, "exclude_seen": True, "users": arm.user_ids}]


def test_a_table_of_lists_is_read_by_rank(toy: ToyShop, arm: Arm) -> None:
    class Table:
        def to_polars(self) -> pl.DataFrame:
            rows = [(u, item, rank) for u, items in best(toy, arm).items() for rank, item in enumerate(items, 1)]
            frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row")
            return frame[np.random.default_rng(0).permutation(frame.height)]

    expected = rank_arm("mine", Scoring(of_user), arm, toy.catalog).rows
    np.testing.assert_array_equal(rank_arm("mine", Listing(Table()), arm, toy.catalog).rows, expected)


def test_a_user_without_a_list_has_an_empty_one(toy: ToyShop, arm: Arm) -> None:
    lists = best(toy, arm)
    del lists[arm.user_ids[2]]
    lists[arm.user_ids[3]] = lists[arm.user_ids[3]][:4]
    rows = rank_arm("mine", Listing(lists), arm, toy.catalog).rows
    assert (rows >= 0).sum(axis=1).tolist() == [45, 45, 0, 4] + [45] * (len(arm) - 4)


def test_a_lister_is_told_candidates_and_whether_to_repeat(toy: ToyShop, arm: Arm) -> None:
    some = np.arange(48) < 5
    method = Listing({})
    rank_arm("mine", method, replace(arm, candidates=some, exclude_seen=False), toy.catalog)
    assert method.asked[0]["candidates"] == ["i0", "i1", "i2", "i3", "i4"]
    assert method.asked[0]["exclude_seen"] is False


def test_listed_numbers_are_ids(arm: Arm, toy: ToyShop) -> None:
    frame = toy.events.frame.with_columns(pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64))
    catalog = Catalog.from_frame(toy.catalog.frame.with_columns(pl.col("item_id").str.slice(1).cast(pl.Int64)))
    (split,) = make_splits(catalog, Interactions.from_frame(frame), shots=(0,))
    first = split.arms[0].user_ids[0]
    rows = rank_arm("mine", Listing({int(first): [7, 3]}), split.arms[0], catalog).rows
    assert rows[0, :3].tolist() == [7, 3, -1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda seen, some: ["i9", *seen[:1]], "lists item {seen!r} for user {user!r}, who has it already"),
        (lambda seen, some: [some[0], some[1], some[0]], "lists an item twice for user {user!r}; list distinct items"),
        (lambda seen, some: [some[0], "gone"], "lists item 'gone' for user {user!r}, which the catalog does not have"),
        (lambda seen, some: "i1", "recommended no lists of item ids: a list of ids was expected, got 'i1'"),
        (lambda seen, some: 5, "recommended no lists of item ids: a list of ids was expected, got 5"),
        (lambda seen, some: [None], "recommended no lists of item ids: an id was expected, got None"),
    ],
)
def test_a_lister_that_misbehaves_is_named(toy: ToyShop, arm: Arm, spoil: Any, said: str) -> None:
    lists = best(toy, arm)
    user = arm.user_ids[5]
    seen = [toy.catalog.item_ids[row] for row in arm.support.items_of(5)]
    lists[user] = spoil(seen, lists[user])
    with pytest.raises(DataError) as caught:
        rank_arm("my model", Listing(lists), arm, toy.catalog)
    assert str(caught.value).startswith("'my model' " + said.format(seen=seen[0], user=user))


def test_an_item_that_is_no_candidate_is_refused(toy: ToyShop, arm: Arm) -> None:
    free = next(item for item in best(toy, arm)[arm.user_ids[0]] if int(item[1:]) >= 5)
    with pytest.raises(DataError, match=f"lists item {free!r} for user {arm.user_ids[0]!r}, .* no candidate"):
        rank_arm("mine", Listing({arm.user_ids[0]: [free]}), replace(arm, candidates=np.arange(48) < 5), toy.catalog)


@pytest.mark.parametrize("answer", [None, ["i1"], 7, pl.DataFrame({"user_id": ["u1"]})])
def test_an_answer_that_is_no_mapping_is_refused(toy: ToyShop, arm: Arm, answer: Any) -> None:
    with pytest.raises(DataError, match=f"^'mine' recommended a {type(answer).__name__}; wanted a mapping"):
        rank_arm("mine", Listing(answer), arm, toy.catalog)


def test_a_table_without_ranks_is_refused(toy: ToyShop, arm: Arm) -> None:
    class Table:
        def to_polars(self) -> pl.DataFrame:
            return pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"]})

    with pytest.raises(DataError, match=r"recommended a Table; .* user_id, item_id and rank"):
        rank_arm("mine", Listing(Table()), arm, toy.catalog)
