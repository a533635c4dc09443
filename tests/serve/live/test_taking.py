"""What was acknowledged is durable, counted once, and in the next answer."""

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recllm.serve.live.taking as taking_module
from recllm.data.interactions import Interactions
from recllm.errors import ConflictError, StorageError
from recllm.recommender import Recommender
from recllm.serve.answers import Ask
from recllm.serve.live.history import interactions
from recllm.serve.live.live import Live
from recllm.serve.state.records import Event, ItemRecord

NOW = 1_700_000_000.0


def event(number: int, user: str = "u0", item: str = "i1", **more: Any) -> Event:
    return Event(f"e{number}", user, item, NOW + number, **more)


def same_counts(live: Live, other: Recommender) -> bool:
    return live.now.state.counted.counts.digest() == other.counts.digest()


def test_an_event_is_in_the_next_answer(live: Live) -> None:
    async def steps() -> None:
        for number in range(10):
            first = (await live.recommend("u0", Ask(n=1))).items[0].item_id
            taken = await live.feedback([event(number, item=first)])
            after = await live.recommend("u0", Ask(n=48))
            assert first not in [line.item_id for line in after.items]
            assert after.as_of_event == taken.as_of_event == number + 1
            assert live.now.state.memory.of_users(["u0"]).frame["item_id"][-1] == first

    asyncio.run(steps())


def test_counts_are_those_of_one_update_with_everything(live: Live, learned: Recommender) -> None:
    chance = random.Random(0)
    events = [event(n, f"u{chance.randrange(90)}", f"i{chance.randrange(48)}") for n in range(60)]
    for start in range(0, 60, 7):
        asyncio.run(live.feedback(events[start : start + 7]))
    other = Recommender.of(learned.fitted).update(interactions(events))
    assert same_counts(live, other)
    assert live.now.state.memory.log.frame.sort("user_id", "timestamp")["item_id"].to_list() == (
        other.fitted.memory.log.frame.sort("user_id", "timestamp")["item_id"].to_list()
    )


def test_what_a_log_says_of_its_events_is_taken_in_behind_it(opened: Callable[..., Live], learned: Recommender) -> None:
    """A log that has ratings and weights has them in types of its own, and what comes later has the same."""
    first = {"user_id": "u0", "item_id": "i1", "timestamp": NOW, "event": "view", "rating": 4.5, "weight": 2.0}
    live = opened(Recommender.of(learned.fitted).update([first]))
    taken = asyncio.run(live.feedback([event(1, item="i2", kind="view", rating=2.1, weight=3.0)]))
    assert taken.waiting == 0
    theirs = live.now.state.memory.of_users(["u0"]).frame
    assert theirs.select("item_id", "event", "rating", "weight").rows()[-1] == ("i2", "view", pytest.approx(2.1), 3.0)


def test_many_at_once_are_all_taken_in(live: Live, learned: Recommender) -> None:
    events = [event(number, f"new{number % 13}", f"i{number % 48}") for number in range(120)]

    def send(part: list[Event]) -> None:
        for one in part:
            asyncio.run(live.feedback([one]))

    threads = [threading.Thread(target=send, args=[events[start::8]]) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same_counts(live, Recommender.of(learned.fitted).update(interactions(events)))
    assert live.as_of_event == 120


def test_sent_twice_counts_once(live: Live, learned: Recommender) -> None:
    first, second, third = (event(number, "new", f"i{number}") for number in (1, 2, 3))
    asyncio.run(live.feedback([first, second]))
    taken = asyncio.run(live.feedback([first, third, second]))
    assert (taken.accepted, taken.known) == (1, 2)
    taken = asyncio.run(live.feedback([first]))
    assert (taken.accepted, taken.known, taken.as_of_event) == (0, 1, 3)
    assert same_counts(live, Recommender.of(learned.fitted).update(interactions([first, second, third])))


def test_sent_twice_without_a_time_counts_once(live: Live) -> None:
    first = Event("e1", "new", "i1", NOW, dated=False)
    asyncio.run(live.feedback([first]))
    taken = asyncio.run(live.feedback([Event("e1", "new", "i1", NOW + 60, dated=False)]))
    assert (taken.accepted, taken.known) == (0, 1)
    with pytest.raises(ConflictError):
        asyncio.run(live.feedback([Event("e1", "new", "i2", NOW + 60, dated=False)]))
    with pytest.raises(ConflictError):
        asyncio.run(live.feedback([Event("e1", "new", "i1", NOW + 60)]))


def test_an_id_with_another_content_is_a_conflict_or_takes_its_place(live: Live, learned: Recommender) -> None:
    asyncio.run(live.feedback([event(1, "new", "i1"), event(2, "new", "i2")]))
    changed = Event("e1", "new", "i9", NOW + 1)
    with pytest.raises(ConflictError, match="e1"):
        asyncio.run(live.feedback([changed]))
    taken = asyncio.run(live.feedback([changed], replace=True))
    assert (taken.accepted, taken.replaced) == (0, 1)
    assert same_counts(live, Recommender.of(learned.fitted).update(interactions([changed, event(2, "new", "i2")])))
    ids = [line.item_id for line in asyncio.run(live.recommend("new", Ask(n=48))).items]
    assert "i1" in ids
    assert "i9" not in ids


def test_an_event_waits_for_its_item(live: Live) -> None:
    taken = asyncio.run(live.feedback([event(1, "new", "later"), event(2, "new", "i1")]))
    assert (taken.accepted, taken.waiting) == (2, 1)
    assert live.now.state.memory.of_users(["new"]).frame["item_id"].to_list() == ["i1"]
    told = asyncio.run(live.put_items([ItemRecord("later", {"title": "toys thing number 3"})]))
    assert told == {"accepted": 1, "known": 0, "hidden": 0}
    assert set(live.now.state.memory.of_users(["new"]).frame["item_id"]) == {"i1", "later"}


def test_a_new_item_is_found_and_listed_by_its_text(live: Live) -> None:
    asyncio.run(live.put_items([ItemRecord("fresh", {"title": "garden thing number 1"})]))
    assert asyncio.run(live.search("garden thing number 1", 3))[0].item_id in ("fresh", "i1")
    answer = asyncio.run(live.recommend("u0", Ask(n=49)))
    assert "fresh" in [line.item_id for line in answer.items]


def test_nothing_of_a_refused_write_counts(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> "Future[Any]":
        told: Future[Any] = Future()
        told.set_exception(StorageError("the disk is full."))
        return told

    before = live.now
    monkeypatch.setattr(live.store, "write", refused)
    with pytest.raises(StorageError):
        asyncio.run(live.feedback([event(1)]))
    assert live.now is before


def test_events_that_cannot_be_taken_in_hold_nobody_up(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_in = taking_module.taken_in

    def picky(state: Any, events: Any) -> Any:
        if any(one.event.user_id == "bad" for one in events):
            raise ZeroDivisionError
        return taken_in(state, events)

    monkeypatch.setattr(taking_module, "taken_in", picky)

    async def both() -> Any:
        return await asyncio.gather(live.feedback([event(1, "bad")]), live.feedback([event(2, "good")]))

    bad, good = asyncio.run(both())
    assert (bad.waiting, good.waiting) == (1, 0)
    assert "good" in live.now.state.memory
    assert "bad" not in live.now.state.memory
    assert live.store.last_event == 2


def test_weights_between_items_follow_without_holding_events_up(
    live: Live, learned: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    fit = taking_module.with_renewed_weights

    def slow(state: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return fit(state)

    monkeypatch.setattr(taking_module, "with_renewed_weights", slow)
    first = [event(number, f"new{number}", f"i{number % 48}") for number in range(40)]
    asyncio.run(live.feedback(first))
    assert begun.wait(20)
    asyncio.run(live.feedback([event(100, "late", "i5")]))  # answered while weights are being fitted
    assert live.as_of_event == 41
    go_on.set()
    assert live._taking._renewing is not None
    live._taking._renewing.join()
    live._taking.change(lambda now: (now, None)).result()
    other = Recommender.of(learned.fitted).update(interactions(first))
    ours, theirs = (one.channels.tensors() for one in (live.now.state.model, other.model))
    weights = [name for name in theirs if name.startswith(("ease", "cooccurrence", "text_cooccurrence"))]
    assert weights
    assert all((ours[name] == theirs[name]).all() for name in weights)
    assert live.now.state.counted.since_weights == 1


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["u0", "new", "u5"]), st.integers(0, 47)), min_size=1, max_size=12
    )
)
def test_whatever_comes_in_whatever_order_counts_as_if_at_once(learned: Recommender, told: list[Any]) -> None:
    """Without a server around it: events one by one, with replacements, against all that is left at the end."""
    state, kept = learned.fitted, {}
    for number, user, item in told:
        new = Event(f"e{number}", user, f"i{item}", NOW + number)
        old = kept.get(number)
        if old is None:
            state = taking_module.taken_in(state, [taking_module.Stored(number, new)])
        elif old != new:
            state = taking_module.exchanged(state, old, new)
        kept[number] = new
    other = Recommender.of(learned.fitted).update(interactions(list(kept.values())))
    assert state.counted.counts.digest() == other.counts.digest()


def test_who_goes_away_stops_nobody(live: Live) -> None:
    async def leaves() -> None:
        for number in range(20):
            for waiting in (live.feedback([event(number, "gone")]), live.put_items([ItemRecord("i4", {})])):
                task = asyncio.create_task(waiting)
                await asyncio.sleep(0)
                task.cancel()

    asyncio.run(leaves())
    later = live._taking.feedback([event(100, "here")])
    assert later.result(20).accepted == 1, "and not for ever in vain"
    assert "here" in live.now.state.memory


def test_silent_columns_are_left_out() -> None:
    plain = interactions([event(1), event(2, "u1")])
    assert plain.frame.columns == ["user_id", "item_id", "timestamp"]
    rated = interactions([event(1, rating=4.0), event(2, kind="view")])
    assert rated.frame["rating"].to_list() == [4.0, None]
    assert rated.frame["event"].to_list() == [None, "view"]
    assert isinstance(rated, Interactions)


def test_closing_takes_in_what_waits(opened: Callable[..., Live], learned: Recommender) -> None:
    live = opened()
    futures = [live._taking.feedback([event(number, f"n{number}")]) for number in range(30)]
    live.close()
    assert all(one.result(0).accepted == 1 for one in futures)
    again = opened(None)
    assert again.as_of_event == 30
    assert "n29" in again.now.state.memory
