"""Metrics against ir-measures, against cases computed by hand, and what must not change them."""

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, P, R, Success, nDCG
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation.arms import Arm, Ranked
from recllm.evaluation.facts import ItemFacts
from recllm.evaluation.metrics import measure, rating_errors

ACCURACY = ["NDCG@10", "Recall@10", "Recall@20", "Precision@10", "F1@10", "HR@10", "MRR@10", "Recall@200"]

Events = list[list[tuple[int, int]]]


def histories(events: Events) -> Histories:
    """Of each user's (item row, signal)."""
    flat = [event for user in events for event in user]
    count = len(flat)
    return Histories(
        tuple(f"u{row}" for row in range(len(events))),
        np.cumsum([0, *map(len, events)]),
        np.array([item for item, _ in flat], dtype=np.int64),
        np.arange(count, dtype=np.int64),
        np.array([signal for _, signal in flat], dtype=np.int8),
        np.zeros(count, dtype=np.int64),
    )


def an_arm(query: Events, support: Events | None = None, candidates: list[int] | None = None, items: int = 0) -> Arm:
    chosen = None if candidates is None else np.isin(np.arange(items), candidates)
    return Arm("users", 5, histories(support or [[] for _ in query]), histories(query), chosen)


def lists(*rows: list[int]) -> Ranked:
    filled = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int32)
    for user, row in enumerate(rows):
        filled[user, : len(row)] = row
    return Ranked(filled, 0.5)


def facts(items: int, categories: NDArray | None = None, words: NDArray | None = None) -> ItemFacts:
    words = np.eye(items) if words is None else words
    return ItemFacts(
        np.linspace(0.1, 1, items),
        None if categories is None else sparse.csr_array(categories.astype(bool)),
        sparse.csr_array(words.astype(np.float32)),
    )


def random_world(rng: np.random.Generator, users: int, items: int) -> tuple[Ranked, Arm, ItemFacts]:
    """Lists of differing lengths, some empty; queries with liked and disliked items, some without either."""
    rows, query, support = [], [], []
    for _ in range(users):
        order = rng.permutation(items).tolist()
        rows.append(order[: rng.integers(0, items - 4)])
        known, asked = np.split(rng.permutation(items), [rng.integers(0, 5)])
        support.append([(int(item), int(rng.choice([-1, 0, 1]))) for item in known])
        query.append([(int(item), int(rng.choice([-1, 0, 1]))) for item in asked[: rng.integers(0, 25)]])
    words = rng.random((items, 7)) * (rng.random((items, 7)) < 0.5)
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-9)
    return lists(*rows), an_arm(query, support), facts(items, rng.random((items, 4)) < 0.4, words)


@pytest.mark.parametrize("seed", range(3))
def test_against_ir_measures(seed: int) -> None:
    ranked, arm, about = random_world(np.random.default_rng(seed), 40, 60)
    asked = arm.asked(60).toarray()
    wanted = [
        ir_measures.Qrel(str(user), str(item), int(asked[user, item])) for user in range(40) for item in range(60)
    ]
    run = [
        ir_measures.ScoredDoc(str(user), str(item), -float(rank))
        for user, row in enumerate(ranked.rows)
        for rank, item in enumerate(row)
        if item >= 0
    ]
    names = {
        nDCG @ 10: "NDCG@10",
        R @ 10: "Recall@10",
        R @ 20: "Recall@20",
        R @ 200: "Recall@200",
        P @ 10: "Precision@10",
        RR @ 10: "MRR@10",
        Success @ 10: "HR@10",
    }
    ours, _ = measure(ranked, arm, about)
    theirs: dict[tuple[str, int], float] = {
        (names[line.measure], int(line.query_id)): line.value
        for line in ir_measures.iter_calc(list(names), wanted, run)
    }
    answered = 0
    for name in names.values():
        for user in range(40):
            if asked[user].any():
                # ir-measures leaves queries out that the run does not have: empty lists.
                assert ours[name][user] == pytest.approx(theirs.get((name, user), 0.0), abs=1e-9)
                answered += ours[name][user] > 0
            else:
                assert np.isnan(ours[name][user])
    assert answered > 100


def test_accuracy_by_hand() -> None:
    query: Events = [[(2, 1), (3, 1), (9, 1), (4, -1), (5, 0)]]
    figures, _ = measure(lists([0, 2, 4, 5, 3]), an_arm(query), facts(12))
    ideal = 1 + 1 / np.log2(3) + 0.5
    ndcg = (1 / np.log2(3) + 1 / np.log2(6)) / ideal
    expected = {
        "NDCG@10": ndcg,
        "Recall@10": 2 / 3,
        "Recall@20": 2 / 3,
        "Recall@200": 2 / 3,
        "Precision@10": 0.2,
        "F1@10": 2 * (2 / 3) * 0.2 / (2 / 3 + 0.2),
        "HR@10": 1,
        "MRR@10": 0.5,
        "ΔNDCG@10": ndcg - 0.5,
        "Calibration@10": np.nan,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(figures[name], [value], err_msg=name)


def test_recall_is_over_all_relevant_items_also_where_they_are_more_than_fit() -> None:
    everything = [[(item, 1) for item in range(25)]]
    ours, _ = measure(lists([*range(20), 30, 31, 20]), an_arm(everything), facts(40))
    found = {name: float(ours[name][0]) for name in ("Recall@10", "Recall@20", "Recall@200", "NDCG@10", "Precision@10")}
    assert found == pytest.approx(
        {"Recall@10": 0.4, "Recall@20": 0.8, "Recall@200": 21 / 25, "NDCG@10": 1.0, "Precision@10": 1.0}
    )


def test_users_that_say_nothing_are_nan() -> None:
    """No liked event, none among the candidates; without a disliked one there is no ΔNDCG."""
    query: Events = [[(1, -1)], [(5, 1)], [(1, 1)]]
    figures, _ = measure(lists([0, 1], [0, 1], [0, 1]), an_arm(query, candidates=[0, 1, 2], items=6), facts(6))
    for name in ACCURACY:
        assert np.isnan(figures[name]).tolist() == [True, True, False], name
    assert np.isnan(figures["ΔNDCG@10"]).all()
    assert not np.isnan(figures["Novelty@10"]).any()


def test_beyond_accuracy_by_hand() -> None:
    categories = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    words = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1], [0, 0]])
    about = ItemFacts(
        np.array([0.5, 0.25, 1, 0.125, 0.5]), facts(5, categories).categories, facts(5, words=words).words
    )
    support: Events = [[(0, 1), (1, 1), (3, -1)], [(3, -1)], [(1, 1)], [(1, 1)]]
    ranked = lists([0, 1, 3], [2], [4, 3], [1, 4])
    figures, _ = measure(ranked, an_arm([[(0, 1)]] * 4, support), about)
    np.testing.assert_allclose(figures["Novelty@10"], [(1 + 2 + 3) / 3, 0, (1 + 3) / 2, 1.5], rtol=1e-6)
    np.testing.assert_allclose(figures["ILD@10"], [1 - (0.6 + 0 + 0.8) / 3, np.nan, 1, 1], atol=1e-6)
    # p = (3/4, 1/4, 0); q = (1/2, 1/6, 1/3)
    p, q = np.array([0.75, 0.25]), np.array([1 / 2, 1 / 6])
    first = np.sum(p * np.log(p / (0.99 * q + 0.01 * p)))
    third = np.log(1 / 0.01)  # nothing in common
    np.testing.assert_allclose(figures["Calibration@10"], [first, np.nan, third, 0], atol=1e-6)


def test_metrics_of_all_lists_by_hand() -> None:
    arm = an_arm([[(0, 1)], [(0, 1)]], candidates=[0, 1, 2, 3], items=6)
    _, together = measure(lists([0, 1], [0]), arm, facts(6))
    assert together == pytest.approx({"Coverage@10": 0.5, "Gini@10": 7 / 9, "ms per user": 250.0})
    _, together = measure(lists([0, 1], [2, 3]), arm, facts(6))
    assert together == pytest.approx({"Coverage@10": 1, "Gini@10": 0, "ms per user": 250.0})
    _, together = measure(lists([2], [2]), arm, facts(6))
    assert together["Gini@10"] == pytest.approx(1)


def test_empty_lists() -> None:
    arm = an_arm([[(0, 1), (1, -1)], [(2, 1)]], [[(3, 1)], [(3, 1)]])
    for ranked in (lists([], []), lists([-1, -1], [-1, -1])):
        figures, together = measure(ranked, arm, facts(4, np.ones((4, 1))))
        for name in ACCURACY:
            assert figures[name].tolist() == [0, 0], name
        assert figures["ΔNDCG@10"][0] == 0
        for name in ("Novelty@10", "ILD@10", "Calibration@10"):
            assert np.isnan(figures[name]).all(), name
        assert together["Coverage@10"] == 0
        assert np.isnan(together["Gini@10"])


def test_no_users_and_no_items() -> None:
    figures, together = measure(lists(), an_arm([]), facts(4))
    assert {*figures} == {*ACCURACY, "ΔNDCG@10", "Novelty@10", "ILD@10", "Calibration@10"}
    assert {*together} == {"Coverage@10", "Gini@10", "ms per user"}
    assert all(values.shape == (0,) for values in figures.values())
    assert all(np.isnan(value) for value in together.values())
    figures, together = measure(lists([], []), an_arm([[], []]), facts(0, words=np.zeros((0, 1))))
    assert all(np.isnan(values).all() for values in figures.values())
    assert np.isnan(together["Coverage@10"])


def test_lists_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="one row per user"):
        measure(lists([0], [1]), an_arm([[(0, 1)]]), facts(3))
    with pytest.raises(DataError, match="rows 0 to 2"):
        measure(lists([3]), an_arm([[(0, 1)]]), facts(3))


@given(st.integers(0, 10**6))
def test_bounds(seed: int) -> None:
    ranked, arm, about = random_world(np.random.default_rng(seed), 6, 30)
    figures, together = measure(ranked, arm, about)
    for name in [*ACCURACY, "ILD@10"]:
        known = figures[name][~np.isnan(figures[name])]
        assert ((known >= 0) & (known <= 1)).all(), name
    assert not (np.abs(figures["ΔNDCG@10"]) > 1).any()
    assert not (figures["Novelty@10"] < 0).any()
    assert not (figures["Calibration@10"] < 0).any()
    assert not (figures["Calibration@10"] > np.log(100) + 1e-9).any()
    assert not (figures["Recall@10"] > figures["Recall@20"]).any()
    assert 0 <= together["Coverage@10"] <= 1
    assert not together["Gini@10"] < -1e-12
    assert not together["Gini@10"] > 1 + 1e-12


@given(st.integers(0, 10**6))
def test_order_of_users_and_of_item_rows_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranked, arm, about = random_world(rng, 5, 30)
    figures, together = measure(ranked, arm, about)

    users = rng.permutation(5)
    shuffled = Arm("users", 5, arm.support.of(users), arm.query.of(users))
    again, all_again = measure(Ranked(ranked.rows[users], 0.5), shuffled, about)
    for name, values in figures.items():
        np.testing.assert_allclose(again[name], values[users], atol=1e-6, err_msg=name)
    assert all_again == pytest.approx(together, nan_ok=True)

    order = rng.permutation(30)
    place = np.argsort(order)
    assert about.categories is not None
    renamed = ItemFacts(about.popularity[order], about.categories[order], about.words[order])
    moved = Arm("users", 5, _moved(arm.support, place), _moved(arm.query, place))
    rows = np.where(ranked.rows < 0, -1, place[ranked.rows]).astype(np.int32)
    again, all_again = measure(Ranked(rows, 0.5), moved, renamed)
    for name, values in figures.items():
        np.testing.assert_allclose(again[name], values, atol=1e-6, err_msg=name)
    assert all_again == pytest.approx(together, nan_ok=True)


def _moved(past: Histories, place: NDArray) -> Histories:
    return Histories(
        past.user_ids, past.offsets, place[past.item_rows], past.timestamps, past.signals, past.tokens, past.event_rows
    )


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ranked, arm, about = random_world(np.random.default_rng(0), 10, 30)
    figures, _ = measure(ranked, arm, about)
    monkeypatch.setattr("recllm.evaluation.metrics._BLOCK", 3)
    again, _ = measure(ranked, arm, about)
    for name, values in figures.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


@pytest.mark.parametrize(
    "titles",
    [
        ["red shoe", "blue shoe", "", "green lamp"],
        ["我爱北京天安门", "北京大学", "", "上海"],
        ["!!!", "!?", "", "…"],
        ["a", "I", "", "x"],
        ["", "", "", ""],
        ["the", "the of", "", "and"],
    ],
)
def test_facts_of_any_text(titles: list[str]) -> None:
    catalog = Catalog.from_frame(pd.DataFrame({"item_id": ["a", "b", "c", "d"], "title": titles}))
    about = ItemFacts.of(catalog, Interactions.from_mapping({"u": ["a", "a", "b"], "v": ["a"], "w": []}))
    np.testing.assert_allclose(about.popularity, [3 / 4, 2 / 4, 1 / 4, 1 / 4])
    assert about.categories is None
    assert about.words.dtype == np.float32
    lengths = np.linalg.norm(about.words.toarray(), axis=1)
    np.testing.assert_allclose(lengths, [title != "" for title in titles], atol=1e-6)
    figures, _ = measure(lists([0, 1, 2, 3]), an_arm([[(0, 1)]]), about)
    assert 0 < figures["ILD@10"][0] <= 1


def test_facts_see_what_is_alike() -> None:
    titles = ["red shoe", "blue shoe", "lamp", "北京大学", "北京饭店", "上海"]
    frame = pd.DataFrame({"item_id": range(6), "title": titles, "categories": ["x|y", "y", "", "x", "z", ""]})
    about = ItemFacts.of(Catalog.from_frame(frame), Interactions.from_mapping({"u": []}))
    alike = (about.words @ about.words.T).toarray()
    assert alike[0, 1] > 0.2
    assert alike[3, 4] > 0.2
    assert alike[0, 2] == alike[3, 5] == 0
    assert about.categories is not None
    assert about.categories.toarray().sum(axis=1).tolist() == [2, 1, 0, 1, 1, 0]
    assert (about.categories.toarray()[0] & about.categories.toarray()[1]).sum() == 1


def test_facts_of_an_empty_catalog() -> None:
    catalog = Catalog.from_frame(pd.DataFrame({"item_id": ["a"]}))
    nothing = Catalog(catalog.frame.head(0), catalog.report)
    assert len(ItemFacts.of(nothing, Interactions.from_mapping({"u": ["a"]}))) == 0


def test_rating_errors() -> None:
    owners = np.array([0, 0, 2, 2, 3, 3])
    errors = rating_errors([4.4, 3.5, np.nan, 1.0, 2.5, np.nan], [4, 3, 5, 2, np.nan, 1], owners, 4)
    np.testing.assert_allclose(errors["MSE"], [(0.16 + 0.25) / 2, np.nan, 1, np.nan])
    np.testing.assert_allclose(errors["MAE"], [0.45, np.nan, 1, np.nan])
    np.testing.assert_array_equal(errors["Accuracy"], [0.5, np.nan, 0, np.nan])
    assert all(len(values) == 0 for values in rating_errors([], [], np.zeros(0, dtype=np.int64), 0).values())


def test_rating_errors_of_bad_input() -> None:
    with pytest.raises(DataError, match="one for each"):
        rating_errors([1, 2], [1], np.zeros(1, dtype=np.int64), 1)
