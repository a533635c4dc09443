"""Contributions equal the planted weights, and see what leaving out one alone does not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.histories import Histories
from recllm.explain.contributions import contributions, without
from recllm.explain.ranker import Columns, Ranking
from tests.explain.world import N_ITEMS, Additive, Saturating, users

ALONE = np.arange(N_ITEMS)


@given(st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6), st.permutations([0, 1, 2]))
def test_contributions_are_the_planted_weights(weights: list[float], history: list[int]) -> None:
    planted = {(j, 10 + i): weights[3 * i + j] for i in range(2) for j in range(3)}
    score = Additive(planted, prior={10: 3.0, 4: 1.0})
    found = contributions(score, users([7], history), 1, [10, 11], ALONE)
    assert [rows.tolist() for rows in found.causes] == [[row] for row in history]
    expected = [[planted[j, item] for j in history] for item in (10, 11)]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    np.testing.assert_allclose(found.average, score.weights[history].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.ranking.scores[1], score.prior)
    np.testing.assert_allclose(found.ranking.scores[0], score.prior + score.weights[[0, 1, 2]].sum(axis=0), atol=1e-5)


def test_lists_without_each_item_once_and_scores_with_each_alone() -> None:
    score = Additive({})
    found = contributions(score, users([3, 5, 3, 8]), 0, [10], ALONE)
    assert [rows.tolist() for rows in found.causes] == [[5], [3], [8]]
    left_out = [[3, 5, 3, 8], [], [3, 3, 8], [5, 8], [3, 5, 3]]
    alone = [[], [5], [3, 3], [8]]
    assert [[asked.items_of(u).tolist() for u in range(len(asked))] for asked in score.calls] == [left_out, alone]


class Quick(Additive):
    """Knows scores without lists."""

    def __init__(self) -> None:
        super().__init__({(3, 10): 1.0})
        self.only_scored: list[int] = []

    def scored(self, histories: Histories) -> Ranking:
        self.only_scored.append(len(histories))
        return Ranking.of_scores(self.scores(histories))


def test_a_ranker_that_knows_scores_without_lists_is_asked_for_them() -> None:
    score = Quick()
    found = contributions(score, users([3, 5]), 0, [10], ALONE)
    assert ([len(call) for call in score.calls], score.only_scored) == ([4], [3])
    np.testing.assert_allclose(found.values, [[1.0, 0.0]])


def test_causes_that_stand_in_for_each_other_contribute_and_so_do_those_that_need_each_other() -> None:
    either = Saturating({(0, 10): 1.0, (1, 10): 1.0})
    found = contributions(either, users([0, 1, 2]), 0, [10], ALONE)
    np.testing.assert_allclose(found.last, [[0.0, 0.0, 0.0]])
    np.testing.assert_allclose(found.values, [[0.5, 0.5, 0.0]])
    both = Saturating({(0, 10): 1.0, (1, 10): 1.0}, least=2)
    found = contributions(both, users([0, 1, 2]), 0, [10], ALONE)
    np.testing.assert_allclose(found.first, [[0.0, 0.0, 0.0]])
    np.testing.assert_allclose(found.values, [[0.5, 0.5, 0.0]])


def test_editions_go_together() -> None:
    groups = ALONE.copy()
    groups[5] = 3
    found = contributions(Additive({(3, 10): 1.0, (5, 10): 2.0}), users([3, 8, 5]), 0, [10], groups)
    assert [rows.tolist() for rows in found.causes] == [[8], [5, 3]]
    np.testing.assert_allclose(found.values, [[0.0, 3.0]])


def test_only_the_newest_are_left_out_and_older_ones_stay() -> None:
    score = Additive({(0, 10): 5.0, (1, 10): 1.0, (2, 10): 2.0})
    found = contributions(score, users([0, 1, 2]), 0, [10], ALONE, newest=2)
    assert [rows.tolist() for rows in found.causes] == [[1], [2]]
    np.testing.assert_allclose(found.values, [[1.0, 2.0]])
    asked = [call.items_of(u).tolist() for call in score.calls for u in range(len(call))]
    assert asked == [[0, 1, 2], [], [0, 2], [0, 1], [], [1], [2]]


def test_without_leaves_all_events_with_an_item_out() -> None:
    copies = without(users([1], [3, 5, 3]), 1, [(), [3], [5, 9]])
    assert [copies.items_of(u).tolist() for u in range(3)] == [[3, 5, 3], [5], [3, 3]]


@given(st.integers(0, 10_000))
def test_candidates_and_a_sample_stand_for_the_catalog(seed: int) -> None:
    """Lists are exact, and means and places about what they are among all items."""
    rng, items = np.random.default_rng(seed), 20_000
    scores = rng.normal(size=(2, items))
    scores[1] += 0.3
    best = np.sort(np.argsort(-scores[0])[:300])
    columns = Columns.of(best, rng.permutation(items)[:2000], items)
    assert abs(columns.stand_for.sum() - items) < 1e-6
    some = Ranking(scores[:, columns.rows], np.ones((2, len(columns.rows)), bool), columns.rows, columns)
    whole = Ranking.of_scores(scores)
    assert some.top(0, 10).tolist() == whole.top(0, 10).tolist()
    np.testing.assert_array_equal(some.of(best[:5]), scores[:, best[:5]])
    np.testing.assert_allclose(some.means, whole.means, atol=0.1)
    assert abs(some.spread(1) - whole.spread(1)) < 0.1
    for item in best[:5]:
        assert some.place(0, item) == whole.place(0, item), "of what the best are, nothing is estimated"
        there = whole.middle(1, item)
        assert abs(some.middle(1, item) - there) < 5 * np.sqrt(10 * there) + 10
    ahead = int(whole.top(0, 1)[0])
    assert abs(some.lead(0, ahead) - whole.lead(0, ahead)) < 1e-9
