"""Learning paths: never a course before what it needs."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recllm.counts.counts import Counts
from recllm.counts.order import BEFORE, HAVE_IT, _without_circles, lower_end, usual_needs
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.lists.paths import paths
from recllm.lists.prerequisites import Prerequisites
from recllm.lists.results import Recommendations
from recllm.recommender import Recommender
from tests.small import config_for

CHAINS, LENGTH = 5, 5
COURSES = [f"c{chain}{step}" for chain in range(CHAINS) for step in range(LENGTH)]
NEEDS = {f"c{chain}{step}": [f"c{chain}{step - 1}"] for chain in range(CHAINS) for step in range(1, LENGTH)}


def catalog_of(needs: dict[str, list[str]] | None = None) -> Catalog:
    titles = [f"course {name}" for name in COURSES]
    frame = pl.DataFrame({"item_id": COURSES, "title": titles})
    if needs is not None:
        frame = frame.with_columns(prerequisites=pl.Series(["|".join(needs.get(name, [])) for name in COURSES]))
    return Catalog.from_frame(frame)


@pytest.fixture(scope="module")
def school(tiny: Path) -> Recommender:
    """Five subjects of five courses, each of which needs the one before."""
    return Recommender.from_catalog(catalog_of(NEEDS), config=config_for(tiny))


@pytest.fixture(scope="module")
def records(tiny: Path) -> Recommender:
    """Where nobody said what needs what: what 600 students took, in an order that one of twenty got wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for student in range(600):
        taken: list[str] = []
        for _ in range(int(rng.integers(4, 13))):
            ready = [name for name in COURSES if name not in taken and all(one in taken for one in NEEDS.get(name, []))]
            taken.append(str(rng.choice(ready)))
        if rng.random() < 0.05:
            taken = [str(one) for one in rng.permutation(taken)]
        rows += [(f"s{student}", name, 1_600_000_000 + 86_400 * at) for at, name in enumerate(taken)]
    log = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))
    return Recommender.from_catalog(catalog_of(), config=config_for(tiny)).update(log)


def ids(recs: Recommendations, user: str = "x") -> list[str]:
    return [row.item_id for row in recs[user]]


def test_a_path_to_a_goal_has_all_that_it_needs(school: Recommender) -> None:
    path = school.path({"x": []}, "c13")
    assert ids(path) == ["c10", "c11", "c12", "c13"]
    assert [row.rank for row in path] == [1, 2, 3, 4]
    assert [row.reason_code for row in path] == ["needed"] * 3 + ["goal"]
    assert [row.explanation for row in path][2:] == ["This is needed for course c13.", "This is the goal."]
    assert ids(school.path({"x": ["c11"]}, "c13")) == ["c12", "c13"], "who has taken c11 was ready for it"
    both = ids(school.path({"x": ["c00"]}, ["c02", "c11"], n=9))
    assert sorted(both) == ["c01", "c02", "c10", "c11"]
    assert both.index("c01") < both.index("c02")
    assert both.index("c10") < both.index("c11")


def test_scores_are_those_of_score(school: Recommender) -> None:
    path = school.path({"x": ["c20"]}, n=4)
    assert [row.score for row in path] == pytest.approx(school.score({"x": ["c20"]}, ids(path))[0].tolist(), abs=1e-5)


def test_without_a_goal_the_best_that_can_be_reached(school: Recommender) -> None:
    user = {"x": ["c20", "c21"]}
    usual = ids(school.recommend(user, n=len(COURSES)))
    path = ids(school.path(user, n=4))
    assert len(path) == 4
    first = next(item for item in usual if int(item[2]) < 4 or item.startswith("c2"))
    assert first in path, "the best of what takes no more than four steps"
    for place, item in enumerate(path):
        assert all(one in [*path[:place], "c20", "c21"] for one in NEEDS.get(item, []))


def test_a_long_way_shows_its_first_steps_and_says_so(school: Recommender) -> None:
    with pytest.warns(
        UserWarning, match="the way to the goal has 5 steps for 'x'; these are the first 2, n=5 shows all"
    ):
        cut = school.path({"x": []}, "c04", n=2)
    assert ids(cut) == ["c00", "c01"]
    assert [row.explanation for row in cut] == ["This is needed for course c01.", "This is needed for course c02."]
    with pytest.warns(UserWarning, match="'x' has all of the goal already"):
        assert not len(school.path({"x": ["c04"]}, "c04"))


GRAPHS = st.dictionaries(st.integers(1, 24), st.lists(st.integers(0, 24), max_size=4), max_size=25).map(
    lambda graph: {COURSES[item]: [COURSES[one] for one in some if one < item] for item, some in graph.items()}
)


@given(GRAPHS, st.lists(st.sampled_from(COURSES), max_size=8), st.none() | st.sampled_from(COURSES), st.integers(1, 26))
def test_nothing_ever_comes_before_what_it_needs(
    school: Recommender, needs: dict[str, list[str]], taken: list[str], goal: str | None, n: int
) -> None:
    # Quietly: that a path is cut, or that nothing needs anything, is said elsewhere.
    found = paths(school.fitted, {"x": taken}, goal, n, needs, True)
    path = ids(found)
    assert len(path) == len(set(path)) <= n
    assert not set(path) & set(taken)
    for place, item in enumerate(path):
        assert all(one in path[:place] or one in taken for one in needs.get(item, [])), item
    if goal is None:
        assert len(path) == min(n, len(COURSES) - len(set(taken))), "there is always one that can be next"
    elif goal not in taken:
        assert path[-1:] == [goal] or len(path) == n


def test_what_is_needed_is_learned_from_the_order_of_events(records: Recommender) -> None:
    """At least nine of ten of what is learned is true, directly or not, and nine of ten of what is true is learned."""
    learned = Prerequisites.of_order(usual_needs(records.fitted.counted.counts))
    pairs = {(COURSES[item], COURSES[one]) for item, some in learned.needs.items() for one in some}
    true = {(item, one) for item in COURSES for one in COURSES if item[1] == one[1] and one[2] < item[2]}
    direct = {(item, some[0]) for item, some in NEEDS.items()}
    assert len(pairs & true) >= 0.9 * len(pairs)
    assert len(pairs & direct) >= 0.9 * len(direct)


@pytest.mark.parametrize(("first", "learned"), [(0.6, set()), (0.95, {("c10", "c00")})])
def test_what_is_taken_together_in_any_order_needs_nothing(first: float, learned: set[tuple[str, str]]) -> None:
    catalog = catalog_of()
    pairs = [("c00", "c10") if number < 60 * first else ("c10", "c00") for number in range(60)]
    log = Interactions.from_mapping(
        {
            f"s{number}": [{"item_id": item, "timestamp": 1_600_000_000 + at} for at, item in enumerate(pair)]
            for number, pair in enumerate(pairs)
        }
    )
    histories = make_histories(log, catalog, Feedback.infer(log.frame))
    needs = sparse.coo_array(usual_needs(Counts.of(histories, len(catalog), 1.0)))
    found = {(COURSES[item], COURSES[one]) for item, one in zip(needs.row.tolist(), needs.col.tolist(), strict=True)}
    assert found == learned


def test_learned_paths_are_right_for_nine_of_ten_goals(records: Recommender) -> None:
    right = 0
    for goal in COURSES:
        path = records.path({"x": []}, goal, n=9)
        right += ids(path) == [f"{goal[:2]}{step}" for step in range(int(goal[2]) + 1)]
    assert right >= 0.9 * len(COURSES)
    assert {row.reason_code for row in records.path({"x": []}, "c02")} == {"usually before", "goal"}
    assert next(iter(records.path({"x": []}, "c02"))).explanation == "Most people take this before course c01."


def test_where_no_order_is_known_it_is_said(tiny: Path) -> None:
    unordered = Recommender.from_catalog(catalog_of(), config=config_for(tiny))
    with pytest.warns(UserWarning, match="nothing is known of what is taken before what"):
        assert len(unordered.path({"x": []}, n=3)) == 3
    with pytest.warns(UserWarning, match="what is taken before what, so the path is the goal alone"):
        assert ids(unordered.path({"x": []}, "c04", n=3)) == ["c04"]


def test_a_circle_is_named(school: Recommender) -> None:
    circle = {"c00": ["c11"], "c11": ["c20", "c22"], "c22": ["c00"], "c30": ["c00"]}
    with pytest.raises(
        DataError, match=r"in a circle: 'c00' needs 'c11' needs 'c22' needs 'c00'; take one of these out"
    ):
        school.path({"x": []}, prerequisites=circle)
    with pytest.raises(DataError, match="'c00' needs 'c00'"):
        school.path({"x": []}, prerequisites={"c00": ["c00"]})


def test_what_is_no_prerequisite_is_refused_or_said(school: Recommender) -> None:
    with pytest.warns(UserWarning, match="prerequisites name 'maths', which the catalog does not have"):
        assert ids(school.path({"x": []}, "c01", prerequisites={"c01": ["maths", "c30"]})) == ["c30", "c01"]
    with pytest.raises(DataError, match="the column 'needs', which the catalog does not have; write a mapping"):
        school.path({"x": []}, prerequisites="needs")
    with pytest.raises(ConfigError, match="the name of a column, or 'learned'; got 3"):
        school.path({"x": []}, prerequisites=3)
    with pytest.raises(DataError, match="goal: item 'c99' is not in the catalog"):
        school.path({"x": []}, "c99")
    with pytest.raises(DataError, match="goal: no item is named"):
        school.path({"x": []}, [])


@pytest.mark.parametrize("given", [["c00", "c10"], "c00|c10", "c00; c10", "c00,c10"])
def test_columns_of_ids_in_any_form(given: Any) -> None:
    frame = pl.DataFrame({"item_id": COURSES}).with_columns(
        needs=pl.Series([given if name == "c20" else None for name in COURSES])
    )
    found = Prerequisites.of_column("needs", Catalog.from_frame(frame))
    assert found.needs == {COURSES.index("c20"): (COURSES.index("c00"), COURSES.index("c10"))}


def test_the_weakest_of_a_circle_is_not_learned() -> None:
    circle = sparse.csr_array(([0.9, 0.8, 0.85, 0.7], ([0, 1, 2, 3], [1, 2, 0, 0])), shape=(4, 4))
    left = sparse.coo_array(_without_circles(circle))
    assert set(zip(left.row.tolist(), left.col.tolist(), strict=True)) == {(0, 1), (2, 0), (3, 0)}


def test_of_few_people_nothing_is_concluded() -> None:
    hits, of = np.array([2.0, 20.0, 200.0, 0.0]), np.array([2.0, 20.0, 200.0, 0.0])
    ends = lower_end(hits, of)
    assert ends[0] < BEFORE < HAVE_IT < ends[1] < ends[2] < 1
    assert ends[3] == 0
