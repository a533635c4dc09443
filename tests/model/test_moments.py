"""New events become what the model had to predict of them: moments, what was known before, what was liked."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recllm.adaptation.drift import Drift
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.model.moments import LISTED, Moments, tasks_of
from recllm.ranking.objective import RankingTasks
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for


def histories(**users: list[tuple[int, float, int]]) -> Histories:
    """(item row, time, signal) of each user, oldest first."""
    events = [event for own in users.values() for event in own]
    item, time, signal = np.array(events, dtype=np.float64).reshape(-1, 3).T
    offsets = np.cumsum([0, *map(len, users.values())])
    rows = item.astype(np.int64)
    return Histories(tuple(users), offsets, rows, time, signal.astype(np.int8), np.zeros_like(rows))


def told(moments: Moments) -> list[tuple[str, list[int], list[int], float]]:
    return [
        (user, moments.before.items_of(row).tolist(), moments.liked.items_of(row).tolist(), moments.asked_at[row])
        for row, user in enumerate(moments.liked.user_ids)
    ]


def test_each_moment_is_asked_from_what_came_before_it() -> None:
    before = histories(a=[(0, 1, 1), (1, 2, 1)], b=[], c=[(5, 1, 1)])
    after = histories(
        a=[(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 3, 0), (4, 3, 1), (6, 4, -1), (7, 5, 1)],
        b=[(0, 9, 1), (1, 10, 1)],
        c=[(5, 1, 1)],
    )
    found = Moments.of(before, after)
    assert told(found) == [
        ("a", [0, 1], [2, 4], 3.0),
        ("a", [0, 1, 2, 3, 4, 6], [7], 5.0),
        ("b", [], [0], 9.0),
        ("b", [0], [1], 10.0),
    ]
    assert found.before.user_ids == found.liked.user_ids


def test_a_late_event_is_asked_from_before_its_time() -> None:
    before, after = histories(a=[(0, 1, 1), (1, 5, 1)]), histories(a=[(0, 1, 1), (2, 3, 1), (1, 5, 1), (3, 5, 1)])
    assert told(Moments.of(before, after)) == [("a", [0], [2], 3.0), ("a", [0, 2], [3], 5.0)]


def test_nothing_new_is_no_moment() -> None:
    same = histories(a=[(0, 1, 1)], b=[])
    assert len(Moments.of(same, same)) == 0
    assert len(Moments.of(Histories.empty(0), Histories.empty(0))) == 0
    assert len(Moments.of(histories(a=[(0, 1, 1)]), histories(a=[]))) == 0


def test_of_too_many_moments_some_are_drawn_always_the_same() -> None:
    after = histories(**{f"u{user}": [(item, item, 1) for item in range(6)] for user in range(20)})
    whole, some, again = (Moments.of(Histories.empty(20), after, most) for most in (10**9, 30, 30))
    assert (len(whole), len(some)) == (120, 30)
    assert told(some) == told(again)
    assert all(one in told(whole) for one in told(some))
    assert len({user for user, *_ in told(some)}) > 10


@pytest.fixture(scope="module")
def fitted(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, toy.events)


def log(*rows: tuple[str, str, float]) -> Interactions:
    return Interactions.from_frame(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))


def moments_of(toy: ToyShop, fresh: Interactions, before: Interactions) -> Moments:
    feedback = Feedback.infer(toy.events.frame)
    users = fresh.user_ids
    return Moments.of(
        make_histories(before.of_users(users), toy.catalog, feedback),
        make_histories(before.of_users(users).join(fresh).of_users(users), toy.catalog, feedback),
    )


def test_tasks_hold_what_was_served_and_nothing_that_was_known(fitted: Recommender, toy: ToyShop) -> None:
    fresh = log(("u0", "i40", 1.65e9), ("u0", "i41", 1.65e9), ("new", "i3", 1.65e9), ("new", "i4", 1.65e9 + 1))
    moments = moments_of(toy, fresh, toy.events)
    assert [(len(b), sorted(liked)) for _, b, liked, _ in told(moments)] == [(10, [40, 41]), (0, [3]), (1, [4])]
    tasks = tasks_of(fitted.model, moments)
    assert len(tasks) == 6
    assert tasks.known.tolist()[:3] == [10, 0, 1], "all that was known"
    assert (tasks.known[3:] <= tasks.known[:3]).all(), "the newest few"
    torch.testing.assert_close(tasks.target.sum(dim=1), torch.ones(6))
    assert tasks.users.tolist() == [1, 0, 0, 1, 0, 0]
    scores = fitted.model.channel_scores(moments.before, None)
    for row in range(3):
        listed = ~tasks.scores[row, 0].isnan()
        items = tasks.rows[row][listed]
        assert not set(items.tolist()) & set(moments.before.items_of(row).tolist())
        torch.testing.assert_close(tasks.scores[row][:, listed], scores[row][:, items])
        assert set(items[tasks.target[row][listed] > 0].tolist()) == set(moments.liked.items_of(row).tolist())
    assert tasks.scores.shape[2] == min(LISTED, len(toy.catalog))


def test_no_moments_are_no_tasks_and_teach_nothing(fitted: Recommender) -> None:
    tasks = tasks_of(fitted.model, Moments.of(Histories.empty(2), Histories.empty(2)))
    none = Drift.none(fitted.model.head.channels)
    assert len(tasks) == 0
    assert none.step(fitted.model.head, tasks) is none


def test_a_shop_that_turns_to_what_is_popular_is_followed(fitted: Recommender, toy: ToyShop) -> None:
    """From now on everybody takes what is popular, whatever their department: a channel says so, the weights do not."""
    model, rng, users = fitted.model, np.random.default_rng(0), toy.events.user_ids
    drift, popular = Drift.none(model.head.channels), model.channels.names.index("popularity")
    histories = make_histories(toy.events, toy.catalog, model.feedback)
    wanted = (3 * model.channel_scores(histories, None)[:, popular]).exp().numpy()
    wanted[histories.user_rows, histories.item_rows] = 0

    def week(number: int) -> RankingTasks:
        taken = [rng.choice(len(line), p=line / line.sum()) for line in wanted.astype(np.float64)]
        rows = [(user, f"i{item}", 1.65e9 + number) for user, item in zip(users, taken, strict=True)]
        return tasks_of(model, moments_of(toy, log(*rows), toy.events))

    for number in range(3):
        drift = drift.step(model.head, week(number))
    asked = week(9)
    heads = model.head, drift.applied(model.head)
    before, after = (asked.losses(head(asked.scores.nan_to_num(0.0), asked.known)).mean() for head in heads)
    assert drift.in_use
    assert drift.bias.argmax() == popular
    assert float(after) < float(before) - 0.1
