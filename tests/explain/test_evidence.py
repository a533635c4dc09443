"""Contributions equal the planted weights, and citations follow from them and from nothing else."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recllm.data.feedback import Feedback
from recllm.data.histories import Histories
from recllm.errors import DataError
from recllm.explain import Evidence, contributions, gather_evidence

N_ITEMS = 20
IDS = [f"i{row}" for row in range(N_ITEMS)]
TITLES = [f"Title {row}" for row in range(N_ITEMS)]
# Items 18 and 19 are the popular tenth.
POPULARITY = np.arange(N_ITEMS, dtype=np.float64)


class Additive:
    """Score of item i = prior[i] + sum of weights[j, i] over the distinct history items j."""

    def __init__(self, weights: dict[tuple[int, int], float], prior: dict[int, float] | None = None) -> None:
        self.weights = np.zeros((N_ITEMS, N_ITEMS), dtype=np.float32)
        for pair, weight in weights.items():
            self.weights[pair] = weight
        self.prior = np.zeros(N_ITEMS, dtype=np.float32)
        for item, value in (prior or {}).items():
            self.prior[item] = value
        self.calls: list[Histories] = []

    def __call__(self, histories: Histories) -> NDArray[np.float32]:
        self.calls.append(histories)
        scores = [self.weights[np.unique(histories.items_of(u))].sum(axis=0) for u in range(len(histories))]
        return np.stack(scores) + self.prior


def users(
    *item_rows: Sequence[int], signals: Sequence[int] | None = None, tokens: Sequence[int] | None = None
) -> Histories:
    lengths = [len(rows) for rows in item_rows]
    n_events = sum(lengths)
    return Histories(
        tuple(f"u{number}" for number in range(len(item_rows))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([row for rows in item_rows for row in rows], dtype=np.int64),
        np.arange(n_events),
        np.array(signals if signals is not None else [1] * n_events, dtype=np.int8),
        np.array(tokens if tokens is not None else [0] * n_events, dtype=np.int64),
    )


def gather(
    score: Additive, histories: Histories, items: Sequence[int], user: int = 0, **more: object
) -> list[Evidence]:
    return gather_evidence(
        score,
        histories,
        user,
        items,
        item_ids=IDS,
        titles=TITLES,
        popularity=POPULARITY,
        **more,  # type: ignore[arg-type]
    )


def cited(evidence: Evidence) -> list[str]:
    return [cause.item_id for cause in evidence.causes]


@given(st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6), st.permutations([0, 1, 2]))
def test_contributions_are_the_planted_weights(weights: list[float], history: list[int]) -> None:
    planted = {(j, 10 + i): weights[3 * i + j] for i in range(2) for j in range(3)}
    score = Additive(planted, prior={10: 3.0, 4: 1.0})
    found = contributions(score, users([7], history), 1, [10, 11])
    assert found.cause_rows.tolist() == history
    expected = [[planted[j, item] for j in history] for item in (10, 11)]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    np.testing.assert_allclose(found.average, score.weights[history].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.empty_scores, score.prior)
    np.testing.assert_allclose(found.scores, score.prior + score.weights[[0, 1, 2]].sum(axis=0), atol=1e-5)


def test_one_call_with_each_item_left_out_once() -> None:
    score = Additive({})
    found = contributions(score, users([3, 5, 3, 8]), 0, [10])
    assert found.cause_rows.tolist() == [5, 3, 8]
    (asked,) = score.calls
    assert [asked.items_of(u).tolist() for u in range(len(asked))] == [[3, 5, 3, 8], [], [3, 3, 8], [5, 8], [3, 5, 3]]


def test_only_the_newest_items_are_left_out_and_older_ones_stay() -> None:
    score = Additive({(0, 10): 5.0, (1, 10): 1.0, (2, 10): 2.0})
    found = contributions(score, users([0, 1, 2]), 0, [10], newest=2)
    assert found.cause_rows.tolist() == [1, 2]
    np.testing.assert_allclose(found.values, [[1.0, 2.0]])
    assert all(0 in score.calls[0].items_of(u) for u in (0, 2, 3))


def test_cites_what_caused_it_strongest_first() -> None:
    score = Additive({(0, 10): 1.0, (1, 10): 3.0, (2, 10): -2.0, (3, 10): 0.1, (2, 11): 1.0})
    first, second = gather(score, users([0, 1, 2, 3]), [10, 11], channels=["text", None])
    assert (first.user_id, first.item_id, first.reason_code, first.channel) == ("u0", "i10", "history", "text")
    assert cited(first) == ["i1", "i0"]
    assert [cause.title for cause in first.causes] == ["Title 1", "Title 0"]
    assert [cause.contribution for cause in first.causes] == pytest.approx([3.0, 1.0], abs=1e-6)
    assert [cause.share for cause in first.causes] == pytest.approx([3 / 4.1, 1 / 4.1], abs=1e-6)
    assert (first.place, first.n_events) == (1, 4)
    assert first.confidence > 0.5
    assert cited(second) == ["i2"]
    assert second.channel is None


def test_at_most_three_and_none_below_the_least_share() -> None:
    four = Additive({(j, 10): 1.0 + j / 10 for j in range(4)})
    assert cited(gather(four, users([0, 1, 2, 3]), [10])[0]) == ["i3", "i2", "i1"]
    # Nine even causes have a share of 1/9 each and none stands out; twice that does.
    even = Additive({(j, 10): 1.0 for j in range(9)})
    (evidence,) = gather(even, users(list(range(9))), [10])
    assert (evidence.reason_code, evidence.causes) == ("weak", ())
    # With many causes, less than a fifth is enough, if it is more than twice an even share.
    many = Additive({**{(j, 19): 1.0 for j in range(18)}, (4, 19): 2.5})
    (evidence,) = gather(many, users(list(range(18))), [19])
    assert cited(evidence) == ["i4"]
    assert evidence.causes[0].share == pytest.approx(2.5 / 19.5)


@pytest.mark.parametrize("signal", [0, -1])
def test_what_was_not_liked_is_not_cited(signal: int) -> None:
    score = Additive({(0, 10): 3.0, (1, 10): 1.0})
    (evidence,) = gather(score, users([0, 1], signals=[signal, 1]), [10])
    assert cited(evidence) == ["i1"]
    assert evidence.causes[0].share == pytest.approx(0.25)
    (evidence,) = gather(score, users([0, 1], signals=[signal, signal]), [10])
    assert (evidence.reason_code, evidence.causes) == ("weak", ())


def test_the_latest_opinion_of_an_item_counts() -> None:
    score = Additive({(0, 10): 3.0})
    assert cited(gather(score, users([0, 1, 0], signals=[-1, 1, 1]), [10])[0]) == ["i0"]
    assert cited(gather(score, users([0, 1, 0], signals=[1, 1, -1]), [10])[0]) == []


def test_an_item_is_not_its_own_cause() -> None:
    score = Additive({(10, 10): 9.0, (1, 10): 1.0})
    (evidence,) = gather(score, users([10, 1]), [10])
    assert cited(evidence) == ["i1"]
    assert evidence.causes[0].share == 1.0


def test_what_lifts_everything_explains_nothing() -> None:
    lifts_all = {(0, item): 2.0 for item in range(N_ITEMS)}
    (evidence,) = gather(Additive({**lifts_all, (1, 10): 1.0}), users([0, 1]), [10])
    assert cited(evidence) == ["i1"]
    (evidence,) = gather(Additive(lifts_all, prior={10: 1.0}), users([0, 1]), [10])
    assert evidence.causes == ()


@pytest.mark.parametrize(("item", "reason"), [(19, "popular"), (10, "weak")])
def test_a_place_that_needs_no_history_is_not_explained_by_it(item: int, reason: str) -> None:
    score = Additive({(0, item): 1.0}, prior={item: 5.0, 3: 9.0})
    (evidence,) = gather(score, users([0, 1]), [item])
    assert (evidence.place, evidence.place_without_history) == (2, 2)
    assert (evidence.reason_code, evidence.causes) == (reason, ())


@pytest.mark.parametrize(("item", "reason"), [(19, "popular"), (10, "weak")])
def test_small_contributions_are_weak(item: int, reason: str) -> None:
    score = Additive({(0, item): 0.01}, prior={3: 1.0, 4: 2.0})
    (evidence,) = gather(score, users([0, 1]), [item])
    assert (evidence.reason_code, evidence.causes) == (reason, ())
    assert 0 < evidence.confidence < 0.1


def test_the_first_place_is_explained_by_its_contributions() -> None:
    (evidence,) = gather(Additive({(0, 10): 3.0}, prior={10: 1.0}), users([0]), [10])
    assert (evidence.place, evidence.place_without_history, evidence.reason_code) == (1, 1, "history")


def test_a_lifted_item_is_not_called_popular() -> None:
    """A disliked item lifts a popular one: "not based on your history" would be a lie."""
    (evidence,) = gather(Additive({(0, 19): 3.0}, prior={3: 1.0}), users([0], signals=[-1]), [19])
    assert (evidence.reason_code, evidence.popular) == ("weak", True)


@pytest.mark.parametrize(("item", "popular"), [(19, True), (18, True), (17, False), (0, False)])
def test_without_events_it_is_a_cold_start_and_nothing_is_scored(item: int, popular: bool) -> None:
    score = Additive({})
    (evidence,) = gather(score, users([1], []), [item], user=1)
    assert (evidence.user_id, evidence.reason_code, evidence.popular) == ("u1", "cold_start", popular)
    assert (evidence.n_events, evidence.confidence, evidence.place) == (0, 0.0, None)
    assert evidence.popularity_rank == item / N_ITEMS
    assert score.calls == []


def test_popular_in_a_small_catalog_and_among_equals() -> None:
    def popular(counts: list[float], item: int) -> bool:
        n = len(counts)
        names = [str(row) for row in range(n)]
        (evidence,) = gather_evidence(
            Additive({}), users([]), 0, [item], item_ids=names, titles=names, popularity=np.array(counts)
        )
        return evidence.popular

    assert [popular([1, 2, 3], item) for item in range(3)] == [False, False, True]
    assert not popular([4, 4, 4, 4], 0)
    assert not popular([0], 0)
    assert popular([2], 0)


def test_events_name_the_causes() -> None:
    feedback = Feedback(event_names=("purchase", "view"))
    score = Additive({(j, 10): 1.0 for j in range(4)})
    (evidence,) = gather(score, users([0, 1, 2], tokens=[6, 7, 8]), [10], feedback=feedback)
    assert [cause.event for cause in evidence.causes] == [None, "view", "purchase"]
    (evidence,) = gather(score, users([0, 1], tokens=[5, 0]), [10], feedback=feedback)
    assert [cause.event for cause in evidence.causes] == [None, "rating"]


def test_a_constant_score_has_no_reason() -> None:
    (evidence,) = gather(Additive({}), users([0, 1]), [10])
    assert (evidence.reason_code, evidence.confidence) == ("weak", 0.0)


def test_a_user_who_has_everything() -> None:
    (evidence,) = gather(Additive({(0, 10): 1.0}), users(list(range(N_ITEMS))), [10])
    assert evidence.reason_code == "weak"


@pytest.mark.parametrize("row", [-1, N_ITEMS])
def test_unknown_items_are_refused(row: int) -> None:
    with pytest.raises(DataError, match="outside of the catalog's 20 rows"):
        gather(Additive({}), users([0]), [row])
    with pytest.raises(DataError, match="outside"):
        contributions(Additive({}), users([0]), 0, [row])


def test_nothing_asked_nothing_said() -> None:
    assert gather(Additive({}), users([0]), []) == []


def test_evidence_is_json() -> None:
    (evidence,) = gather(Additive({(0, 10): 1.0}), users([0]), np.array([10]))
    data = evidence.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["causes"] == [{"item_id": "i0", "title": "Title 0", "contribution": 1.0, "share": 1.0, "event": None}]
    assert set(data) == set(replace(evidence).__dataclass_fields__)


def test_equal_scores_share_the_middle_place() -> None:
    (evidence,) = gather(Additive({(0, 10): 1.0}), users([0]), [10])
    assert (evidence.place, evidence.place_without_history) == (1, 10)
