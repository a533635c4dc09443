"""Lists of many users together are the recommender's own, whoever asks beside them."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recllm.errors import DataError
from recllm.lists.serve import Lists
from recllm.recommender import Recommender
from recllm.serve.answers import Answer, Ask, Line
from recllm.serve.live.lists import FALLBACK, POPULAR, Question, asked_of, explored, impression_of
from recllm.serve.live.live import Live
from recllm.serve.state.records import Event, ItemRecord, UserRecord

ASKS = {
    "plain": ({}, {}),
    "short": ({"n": 3}, {"n": 3}),
    "seen too": ({"exclude_seen": False}, {"exclude_seen": False}),
    "excluded": ({"exclude": ("i3", "i7")}, {"exclude": ["i3", "i7"]}),
    "candidates": ({"candidates": ("i1", "i2", "i30")}, {"candidates": ["i1", "i2", "i30"]}),
    "varied": ({"diversity": 0.7}, {"diversity": 0.7}),
    "without": ({"without": ("i5",)}, {"without": ["i5"]}),
    "by similarity": ({"by": "similarity"}, {"by": "similarity"}),
    "pinned": ({"n": 4, "rules": {"pinned": ["i30", "i9"]}}, {"n": 4, "pinned": ["i30", "i9"]}),
    "capped and boosted": (
        {"n": 6, "rules": {"caps": {"title": 1}, "boosted": {"books": 1.0}, "diversity_by": "dpp"}, "diversity": 0.3},
        {"n": 6, "caps": {"title": 1}, "boosted": {"books": 1.0}, "diversity_by": "dpp", "diversity": 0.3},
    ),
    "wished": ({"wishes": ("more of books",)}, {"wishes": ["more of books"]}),
}


def told(answer: Answer) -> list[tuple[str, int, float]]:
    return [(line.item_id, line.rank, line.score) for line in answer.items]


def together(live: Live, asked: list[tuple[str, Ask]]) -> list[Any]:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(live.recommend(user, ask) for user, ask in asked), return_exceptions=True)

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("name", ASKS)
def test_a_list_is_the_recommenders_own(live: Live, learned: Recommender, name: str) -> None:
    ask, asked = ASKS[name]
    users = ["u0", "u1", "u2", "u3", "stranger"]
    answers = together(live, [(user, Ask(**ask)) for user in users])
    expected = learned.recommend(users, **asked)
    for user, answer in zip(users, answers, strict=True):
        rows = list(expected[user])
        assert [line.item_id for line in answer.items] == [row.item_id for row in rows]
        np.testing.assert_allclose([line.score for line in answer.items], [row.score for row in rows], atol=1e-5)
        assert (answer.user_id, answer.policy, answer.as_of_event) == (user, "ranking", 0)


def test_what_nobody_knows_is_passed_over_without_a_word(live: Live) -> None:
    plain, odd = together(live, [("u0", Ask()), ("u0", Ask(without=("something that I wrote",)))])
    assert told(odd) == told(plain)
    assert odd.policy == "ranking"


def test_together_is_as_alone(live: Live) -> None:
    asked = [(f"u{user}", Ask(n=5 + user % 3, offset=user % 2)) for user in range(40)]
    asked += [(f"u{user}", Ask(exclude=(f"i{user}",))) for user in range(8)]
    alone = [together(live, [one])[0] for one in asked]
    for one, other in zip(alone, together(live, asked), strict=True):
        assert [line.item_id for line in one.items] == [line.item_id for line in other.items]
        np.testing.assert_allclose(
            [line.score for line in one.items], [line.score for line in other.items], rtol=0, atol=1e-5
        )


def test_what_is_pinned_leads_whatever_is_explored(opened: Callable[..., Live]) -> None:
    live = opened(explore=1.0)
    last = [line.item_id for line in asyncio.run(live.recommend("u0", Ask(n=48))).items[-2:]]
    for _ in range(8):
        answer = asyncio.run(live.recommend("u0", Ask(n=4, rules={"pinned": last})))
        assert [line.item_id for line in answer.items[:2]] == last
        assert {line.propensity for line in answer.items} == {1.0}


def test_how_a_list_was_to_be_is_the_same_from_the_disk(live: Live) -> None:
    """A range is no list of two values, and a rule no text."""
    ask = Ask(n=3, filters={"title": ["a", "b"], "price": (None, 20.0)}, by="similarity", rules={"caps": {"title": 1}})
    kept = impression_of(Question("recommend", "u0", ask), Answer("x", "u0", "v", 0, "ranking", 1.0, ()))
    assert asked_of(kept) == ask
    assert asked_of(replace(kept, request=json.loads(json.dumps(kept.request)))) == ask


def test_what_one_asks_wrong_is_only_their_error(live: Live) -> None:
    asked = [("u0", Ask()), ("u1", Ask(filters={"colour": "red"})), ("u2", Ask())]
    unruly = [("u1", Ask(rules={"caps": {"colour": 1}})), ("u2", Ask(rules={"boosted": {"i1": 9}}))]
    assert {type(one).__name__ for one in together(live, unruly)} == {"ConfigError", "DataError"}
    first, wrong, last = together(live, asked)
    assert isinstance(wrong, DataError)
    assert "colour" in str(wrong)
    assert first.user_id == "u0"
    assert last.user_id == "u2"


def test_the_same_user_twice_is_answered_twice(live: Live) -> None:
    one, other = together(live, [("u0", Ask()), ("u0", Ask(exclude=("i1",)))])
    assert one.recommendation_id != other.recommendation_id
    assert [line.rank for line in other.items] == list(range(1, len(other.items) + 1))


def test_an_offset_goes_on_where_the_list_ended(live: Live) -> None:
    whole, second = together(live, [("u0", Ask(n=10)), ("u0", Ask(n=5, offset=5))])
    assert told(second) == told(whole)[5:]


def test_hidden_and_excluded_items_stay_out(live: Live) -> None:
    async def steps() -> list[Answer]:
        before = await live.recommend("u0", Ask(n=20))
        hidden, own = before.items[0].item_id, before.items[1].item_id
        await live.put_items([ItemRecord(hidden, {}, hidden=True)])
        await live.put_users([UserRecord("u0", {}, exclude=[own])])
        after, others = await live.recommend("u0", Ask(n=20)), await live.recommend("u4", Ask(n=40))
        ids = [line.item_id for line in after.items]
        assert hidden not in ids
        assert own not in ids
        assert own in [line.item_id for line in others.items]
        assert hidden not in [line.item_id for line in others.items]
        await live.put_items([ItemRecord(hidden, {})])
        return [before, await live.recommend("u0", Ask(n=20))]

    before, after = asyncio.run(steps())
    assert after.items[0].item_id == before.items[0].item_id


def test_a_session_is_a_list_for_who_has_these(live: Live, learned: Recommender) -> None:
    answer = asyncio.run(live.session([{"item_id": "i1"}, {"item_id": "i2"}], Ask(n=5)))
    assert [line.item_id for line in answer.items] == [
        row.item_id for row in learned.recommend({"x": ["i1", "i2"]}, n=5)
    ]
    assert answer.user_id is None
    assert "session" not in str(live.now.state.memory.user_ids)


def test_a_session_without_events_gets_what_is_popular(live: Live, learned: Recommender) -> None:
    answer = asyncio.run(live.session([], Ask(n=5)))
    assert [line.item_id for line in answer.items] == [row.item_id for row in learned.recommend({"x": []}, n=5)]


def test_items_are_ranked_for_a_user(live: Live, learned: Recommender) -> None:
    items = ["i9", "i1", "nothing", "i40"]
    answer = asyncio.run(live.rank("u0", items, Ask()))
    scores = learned.score("u0", ["i9", "i1", "i40"])[0]
    best = [item for _, item in sorted(zip(-scores, ["i9", "i1", "i40"], strict=True))]
    assert [line.item_id for line in answer.items] == best


def test_when_the_model_fails_people_get_what_is_popular(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Lists:
        raise ZeroDivisionError

    monkeypatch.setattr(Lists, "of", failing)
    answer = asyncio.run(live.recommend("u0", Ask(n=5)))
    assert answer.policy == FALLBACK
    seen = set(live.now.state.memory.of_users(["u0"]).frame["item_id"])
    assert len(answer.items) == 5
    assert not seen & {line.item_id for line in answer.items}


def test_a_server_that_watches_says_what_is_popular(opened: Callable[..., Live], learned: Recommender) -> None:
    live = opened(log_only=True)
    answer = asyncio.run(live.recommend("u0", Ask(n=5)))
    assert answer.policy == POPULAR
    seen = set(learned.fitted.memory.of_users(["u0"]).frame["item_id"])
    popular = [row.item_id for row in learned.recommend({"x": []}, n=48) if row.item_id not in seen][:5]
    assert [line.item_id for line in answer.items] == popular
    live.store.write(lambda _: None).result()
    kept = live.store.impression(answer.recommendation_id)
    assert kept is not None
    assert list(kept.instead) == [row.item_id for row in learned.recommend("u0", n=5)]


def test_every_answer_is_kept_with_place_score_version_and_propensity(live: Live) -> None:
    answer = asyncio.run(live.recommend("u0", Ask(n=4, diversity=0.5)))
    live.store.write(lambda _: None).result()
    kept = live.store.impression(answer.recommendation_id)
    assert kept is not None
    assert (kept.user_id, kept.version, kept.as_of_event, kept.policy) == ("u0", live.version, 0, "ranking")
    assert kept.request == {"n": 4, "diversity": 0.5}
    assert [(one["item_id"], one["rank"], one["score"]) for one in kept.items] == told(answer)
    assert all(one["channel"] in live.now.state.model.channels.names for one in kept.items)


def test_neighbours_change_places_as_often_as_was_said() -> None:
    lines = [Line(f"i{place}", place, 1.0) for place in range(1, 6)]
    found = [explored(lines, 0.6) for _ in range(4_000)]
    changed = np.mean([one[0].item_id == "i2" for one in found])
    assert changed == pytest.approx(0.3, abs=0.03)
    for one in found:
        assert [line.rank for line in one] == [1, 2, 3, 4, 5]
        assert {line.item_id for line in one[:2]} == {"i1", "i2"}
        assert one[0].propensity == pytest.approx(0.3 if one[0].item_id == "i2" else 0.7)
        assert (one[4].item_id, one[4].propensity) == ("i5", 1.0)


def test_reasons_come_with_the_list_and_are_kept_with_their_proof(live: Live, learned: Recommender) -> None:
    answer = asyncio.run(live.recommend("u0", Ask(n=3, explain=True)))
    assert all(line.reason and line.reason_code and line.evidence for line in answer.items)
    kept = asyncio.run(live.explain(answer.recommendation_id, answer.items[0].item_id))
    assert kept.row["explanation"] == answer.items[0].reason
    assert kept.same_state
    proof = {**kept.row, "user_id": "u0", "title": answer.items[0].title, "rank": 1, "score": answer.items[0].score}
    assert learned.verify_explanation(proof).passed


def test_more_than_fit_are_refused_at_once(opened: Callable[..., Live], monkeypatch: pytest.MonkeyPatch) -> None:
    live = opened(waiting=2, max_batch=1)
    found = together(live, [("u0", Ask()) for _ in range(50)])
    refused = [one for one in found if isinstance(one, Exception)]
    assert refused
    assert {type(one).__name__ for one in refused} == {"BusyError"}
    assert sum(isinstance(one, Answer) for one in found) == 50 - len(refused)


def test_events_of_sessions_count_nowhere(live: Live) -> None:
    before = live.now.state.counted.counts.digest()
    asyncio.run(live.session([{"item_id": "i1", "kind": "purchase"}], Ask()))
    assert live.now.state.counted.counts.digest() == before
    assert live.store.last_event == 0
    assert Event("", "", "i1", 0.0) not in [one.event for one in live.store.events_after(0)]
