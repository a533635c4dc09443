"""Arms: what is told, what may be listed, and what counts as found."""

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation.arms import Arm

CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": list("abcdef")}))


def log_of(rows: list[tuple[str, str, int, float]]) -> Interactions:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "rating": pl.Float64}
    return Interactions.from_frame(pl.DataFrame(rows, schema=schema, orient="row"))


def an_arm(**changes: object) -> Arm:
    """u was told a and b and is asked c (liked), d (disliked), e (neutral); v was told c and is asked a, twice."""
    told = log_of([("v", "c", 5, 5.0), ("u", "a", 1, 5.0), ("u", "b", 2, 3.0)]).of_users(["u", "v"])
    asked = log_of(
        [("u", "c", 7, 5.0), ("u", "d", 7, 1.0), ("u", "e", 8, 3.0), ("v", "a", 9, 4.0), ("v", "a", 10, 5.0)]
    )
    feedback = Feedback(scale=(1, 5), liked_from=4, disliked_to=2)
    support = make_histories(told, CATALOG, feedback)
    query = make_histories(asked, CATALOG, feedback, repeats="all")
    return Arm("users", 2, support, query, **({"log": told} | changes))  # type: ignore[arg-type]


def cells(matrix: np.ndarray) -> list[str]:
    return ["".join(item for item, there in zip("abcdef", row, strict=True) if there) for row in matrix]


def test_an_arm_says_who_is_asked() -> None:
    arm = an_arm()
    assert len(arm) == 2
    assert arm.name == "users/2"
    assert arm.user_ids == ("u", "v")
    assert arm.activity.tolist() == [2, 1]
    assert an_arm(history_lengths=np.array([30, 40])).activity.tolist() == [30, 40]


def test_seen_items_and_strange_candidates_may_not_be_listed() -> None:
    assert cells(an_arm().allowed(slice(None), 6)) == ["cdef", "abdef"]
    assert cells(an_arm(exclude_seen=False).allowed(slice(None), 6)) == ["abcdef", "abcdef"]
    some = np.isin(list("abcdef"), list("acd"))
    assert cells(an_arm(candidates=some).allowed(slice(None), 6)) == ["cd", "ad"]
    assert cells(an_arm(candidates=some).allowed(slice(1, 2), 6)) == ["ad"]
    assert some.tolist() == [True, False, True, True, False, False]  # the arm's own candidates are as before


def test_liked_items_are_found_and_disliked_ones_count_apart() -> None:
    liked = an_arm().asked(6)
    assert cells(liked.toarray()) == ["c", "a"]
    assert liked.nnz == 2  # a is asked twice and found once
    assert cells(an_arm().asked(6, disliked=True).toarray()) == ["d", ""]
    some = np.isin(list("abcdef"), list("ad"))
    assert cells(an_arm(candidates=some).asked(6).toarray()) == ["", "a"]
    assert cells(an_arm(candidates=~some).asked(6, disliked=True).toarray()) == ["", ""]


def test_known_events_are_those_of_the_log() -> None:
    assert an_arm().known_events().frame.rows() == [("u", "a", 1, 5.0), ("u", "b", 2, 3.0), ("v", "c", 5, 5.0)]
    part = an_arm().known_events(slice(1, 2))
    assert part.user_ids == ("v",)
    assert part.frame.rows() == [("v", "c", 5, 5.0)]
    with pytest.raises(DataError, match="users/2 was made without a log"):
        an_arm(log=None).known_events()
