"""What is kept comes back, and each change stands alone."""

import math
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from recllm.errors import BusyError, ConflictError, DataError, ServeError, UnknownError
from recllm.serve.state.records import AdapterRecord, Impression, ItemRecord, Stored, UserRecord
from recllm.serve.state.store import Store
from recllm.serve.state.writing import Transaction
from tests.serve.state.conftest import Opens
from tests.serve.state.world import add, event, impression, numbers

# -- what comes back ------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_sent(store: Store) -> None:
    sent = [
        event("a", kind="purchase", rating=4.5, weight=0.5, recommendation_id="list-1"),
        event("b", user="bob", at=1_790_000_000.123456),
        event("c" * 1_000, user="🧁 '; DROP TABLE events; --", item="tab\tinside \u2028", at=-5.25),
    ]
    assert add(store, *sent).new == [Stored(number, one) for number, one in enumerate(sent, 1)]
    assert [one.event for one in store.events_after(0)] == sent
    assert store.last_event == 3
    assert store.events_after(1, limit=1) == [Stored(2, sent[1])]
    assert store.events_of(sent[2].user_id) == [Stored(3, sent[2])]
    assert store.events_of("ann", up_to=0) == []


def test_events_about_items_are_in_the_order_of_coming(store: Store) -> None:
    add(store, event("1", item="mug"), event("2"), event("3", item="mug"), event("4", item="bear"))
    assert [one.number for one in store.events_about(["bear", "mug", "mug", "none"])] == [1, 3, 4]
    assert [one.number for one in store.events_about([f"no {k}" for k in range(1_200)] + ["lamp"])] == [2]


def test_clicks_are_events_that_bring_a_list_back(store: Store) -> None:
    add(
        store,
        event("1", at=10, recommendation_id="x"),
        event("2", at=20, item="mug", recommendation_id="x"),
        event("3", at=20, item="bear", recommendation_id="x"),
        event("4", at=30),
        event("5", at=30, recommendation_id="y"),
    )
    assert store.clicks_since(20) == {"x": {"mug", "bear"}, "y": {"lamp"}}
    assert store.clicks_since(31) == {}


def test_lists_come_back(store: Store) -> None:
    first = impression("x", at=5)
    other = Impression("y", None, 6, "session", "m", 0, "popular", {"have": ["ü"]}, [{"a": 1}, {"b": 2}], ("mug",))
    empty = Impression("z", "ann", 4, "rank", "m", 0, "ranking", {}, [])
    store.write(lambda change: [change.add_impression(one) for one in (first, other, empty)]).result(10)
    assert [store.impression(name) for name in "xyz"] == [first, other, empty]
    assert store.impression("none") is None
    assert store.impressions_of("ann") == [empty, first]
    assert store.impressions_since(5, 10) == [other, first]
    assert store.impressions_since(0, 1) == [other]


def test_figures_of_lists(store: Store) -> None:
    def line(item: str, rank: int, channel: str) -> dict[str, Any]:
        return {"item_id": item, "rank": rank, "score": 0.5, "channel": channel, "propensity": 1.0}

    def list_(name: str, user: str | None, at: float, policy: str, *lines: dict[str, Any]) -> Impression:
        return Impression(name, user, at, "recommend", "m", 0, policy, {}, lines)

    lists = [
        list_("old", "ann", 9, "ranking", line("lamp", 1, "text")),
        list_("x", "ann", 10, "ranking", line("lamp", 1, "text"), line("mug", 2, "ease")),
        list_("y", "ann", 11, "popular", line("mug", 3, "popular")),
        list_("z", None, 12, "ranking"),
    ]
    store.write(lambda change: [change.add_impression(one) for one in lists]).result(10)
    add(
        store,
        event("1", item="mug", at=13, recommendation_id="x"),
        event("2", item="mug", at=14, recommendation_id="x"),
        event("3", item="bear", at=14, recommendation_id="x"),
        event("4", item="mug", at=14, recommendation_id="y"),
        event("5", item="lamp", at=14, recommendation_id="old"),
        event("6", item="lamp", at=2, recommendation_id="x"),
        event("7", item="lamp", at=14, recommendation_id="none"),
    )
    found = store.figures(10)
    assert (found.lists, found.users) == ({"ranking": 2, "popular": 1}, {"ann": 2, None: 1})
    assert found.lines == {("text", 1): 1, ("ease", 2): 1, ("popular", 1): 1}
    assert found.items == {"lamp": 1, "mug": 2}
    assert found.clicked == [("x", "ease", 2), ("y", "popular", 1)]
    assert store.figures(10, most=1).lists == {"ranking": 1}


def test_keys_of_lines_are_kept_once(store: Store) -> None:
    lines = [{"item_id": f"i{k}", "rank": k, "a_long_name_of_a_column": k} for k in range(100)]
    one = Impression("x", "ann", 1, "recommend", "m", 0, "ranking", {}, lines)
    store.write(lambda change: change.add_impression(one)).result(10)
    kept: str = store._rows("SELECT items FROM impressions")[0][0]
    assert kept.count("a_long_name_of_a_column") == 1
    assert store.impression("x") == one


def test_reasons_are_told_once_and_only_of_lists_that_are_kept(store: Store) -> None:
    def tell(why: str) -> Any:
        return store.write(lambda change: change.put_reason("x", "lamp", {"why": why}))

    with pytest.raises(UnknownError, match="list 'x' is not kept"):
        tell("too early").result(10)
    store.write(lambda change: change.add_impression(impression("x"))).result(10)
    tell("first").result(10)
    tell("later").result(10)
    assert store.reason("x", "lamp") == {"why": "first"}
    assert store.reason("x", "mug") is None
    assert store.reason("y", "lamp") is None


def test_items_and_users_are_replaced(store: Store) -> None:
    items = [ItemRecord(f"i{k}", {"title": f"Thing {k}", "tags": ["a", "ü"]}, hidden=k == 1) for k in range(3)]
    users = [UserRecord("ann", {"age": 7}, ("i1",)), UserRecord("bob", {})]
    store.write(lambda change: (change.put_items(items), change.put_users(users))).result(10)
    assert store.items() == items
    assert store.items(after="i0", limit=1) == [items[1]]
    assert store.hidden() == {"i1"}
    assert (store.user("ann"), store.user("none")) == (users[0], None)
    assert store.users() == users
    assert store.users(after="ann") == [users[1]]
    assert store.exclusions() == {"ann": ["i1"]}
    again = ItemRecord("i1", {})
    store.write(lambda change: (change.put_items([again]), change.put_users([UserRecord("ann", {})]))).result(10)
    assert (store.item("i1"), store.item("none")) == (again, None)
    assert (store.hidden(), store.exclusions()) == (frozenset(), {})


def test_an_adapter_is_replaced_by_a_newer_one_or_another_models(store: Store) -> None:
    def put(base: str, as_of_event: int) -> AdapterRecord:
        record = AdapterRecord("ann", base, as_of_event, bytes([as_of_event]), "hash")
        store.write(lambda change: change.put_adapter(record)).result(10)
        return record

    newest = put("m1", 5)
    put("m1", 4)
    assert store.adapter("ann", "m1") == newest
    others = put("m2", 2)
    assert store.adapter("ann", "m2") == others
    assert store.adapter("ann", "m1") is None
    assert store.counts()["adapters"] == 1


def test_facts(store: Store) -> None:
    store.write(lambda change: change.put_fact("keys", {"a": [1, None]})).result(10)
    assert store.fact("keys") == {"a": [1, None]}
    assert store.fact("none") is None


def test_counts(store: Store) -> None:
    add(store, event("1"), event("2"))
    counts = store.counts()
    assert {name: rows for name, rows in counts.items() if rows and name != "bytes"} == {"events": 2}
    assert counts["bytes"] > 10_000


def test_all_is_there_after_closing(opens: Opens) -> None:
    first = opens()
    add(first, event("1"))
    first.close()
    second = opens()
    assert [one.event for one in second.events_after(0)] == [event("1")]
    second.close()
    second.close()


# -- once -----------------------------------------------------------------------------------------------------------


def test_an_event_that_is_sent_again_counts_once(store: Store) -> None:
    add(store, event("1"), event("2"))
    added = add(store, event("2"), event("3"), event("3"))
    assert (added.new, added.known, added.replaced) == ([Stored(3, event("3"))], 2, [])
    assert numbers(store) == [1, 2, 3]


def test_another_content_is_a_conflict_and_nothing_of_the_call_is_added(store: Store) -> None:
    add(store, event("1"))

    def both(change: Transaction) -> None:
        change.put_fact("before", 1)
        with pytest.raises(ConflictError, match="event '1' is here already with another content"):
            change.add_events([event("2"), event("1", item="mug")])

    store.write(both).result(10)
    assert numbers(store) == [1]
    assert store.fact("before") == 1
    with pytest.raises(ConflictError):
        add(store, event("4"), event("4", item="mug"))
    assert numbers(store) == [1]


def test_a_replacement_takes_the_place_of_the_earlier(store: Store) -> None:
    add(store, event("1"), event("2"))
    added = add(store, event("1", item="mug"), event("2"), event("3"), replace=True)
    assert added.replaced == [(event("1"), Stored(1, event("1", item="mug")))]
    assert ([one.number for one in added.new], added.known) == ([3], 1)
    assert [one.event.item_id for one in store.events_after(0)] == ["mug", "lamp", "lamp"]


@pytest.mark.parametrize("wrong", [{"at": math.nan}, {"rating": math.inf}, {"weight": -math.inf}])
def test_numbers_that_would_not_come_back_are_refused(store: Store, wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="send a finite number"):
        add(store, event("1"), event("2", **wrong))
    assert numbers(store) == []


def test_half_a_character_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="which is no character"):
        add(store, event("1", user="\ud800"))
    with pytest.raises(DataError, match="which is no character"):
        store.events_of("a\ud800")
    add(store, event("1"))


# -- together and alone ---------------------------------------------------------------------------------------------


class Held:
    """Holds the writer until it is let go, so that what comes meanwhile waits together."""

    def __init__(self, store: Store) -> None:
        self._entered, self._go = threading.Event(), threading.Event()
        self.told = store.write(self._wait)
        assert self._entered.wait(10)

    def _wait(self, change: Transaction) -> None:
        self._entered.set()
        assert self._go.wait(10)

    def let_go(self) -> None:
        self._go.set()
        self.told.result(10)


def test_changes_that_wait_become_durable_together(store: Store) -> None:
    before, held = store.commits, Held(store)
    told = [store.write(lambda change, k=k: change.add_events([event(str(k))])) for k in range(200)]
    assert store.waiting == 200
    held.let_go()
    assert [one.result(10).new[0].number for one in told] == list(range(1, 201))
    assert store.commits == before + 2


def test_many_threads_share_commits(store: Store) -> None:
    before = store.commits

    def send(thread: int) -> None:
        for k in range(20):
            add(store, event(f"{thread}-{k}", user=str(thread)))

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert store.counts()["events"] == 320
    assert store.commits - before < 320


def test_a_change_that_fails_fails_alone(store: Store) -> None:
    def broken(change: Transaction) -> None:
        change.add_events([event("gone")])
        raise KeyError("mine")

    def exits(change: Transaction) -> None:
        raise SystemExit

    held = Held(store)
    told: list[Future[Any]] = [
        store.write(lambda change: change.add_events([event("1")])),
        store.write(broken),
        store.write(exits),
        store.write(lambda change: change.add_events([event("2"), event("1", at=9)])),
        store.write(lambda change: change.add_events([event("3")])),
    ]
    held.let_go()
    assert [type(one.exception(10)) for one in told] == [type(None), KeyError, SystemExit, ConflictError, type(None)]
    assert [one.event.event_id for one in store.events_after(0)] == ["1", "3"]


def test_whoever_goes_away_before_the_turn_changes_nothing_and_stops_nothing(store: Store) -> None:
    held = Held(store)
    first = store.write(lambda change: change.add_events([event("1")]))
    second = store.write(lambda change: change.add_events([event("2")]))
    assert first.cancel()
    assert not held.told.cancel()
    held.let_go()
    second.result(10)
    assert [one.event.event_id for one in store.events_after(0)] == ["2"]


def test_a_full_queue_refuses(opens: Opens) -> None:
    store = opens(queue=3)
    held = Held(store)
    told = [store.write(lambda change, k=k: change.add_events([event(str(k))])) for k in range(3)]
    with pytest.raises(BusyError, match="3 changes wait for the disk already"):
        store.write(lambda change: None)
    held.let_go()
    assert [one.result(10).known for one in told] == [0, 0, 0]
    add(store, event("later"))
    store.close()


def test_closing_makes_durable_what_waits(opens: Opens) -> None:
    store = opens()
    held = Held(store)
    told = store.write(lambda change: change.add_events([event("1")]))
    closing = threading.Thread(target=store.close)
    closing.start()
    held.let_go()
    closing.join(10)
    assert told.result(0).new[0].number == 1
    with pytest.raises(BusyError, match="being stopped"):
        store.write(lambda change: None)
    with pytest.raises(ServeError, match="has stopped"):
        store.events_after(0)


def test_old_lists_are_pruned_with_their_reasons(store: Store) -> None:
    def fill(change: Transaction) -> None:
        for k in range(10):
            change.add_impression(impression(f"x{k}", at=k))
            change.put_reason(f"x{k}", "lamp", {})

    store.write(fill).result(10)
    assert store.write(lambda change: change.prune_impressions(5, limit=3)).result(10) == 3
    assert store.write(lambda change: change.prune_impressions(5)).result(10) == 2
    assert store.write(lambda change: change.prune_impressions(5)).result(10) == 0
    assert [one.at for one in store.impressions_since(0, 99)] == [9, 8, 7, 6, 5]
    assert store.counts()["reasons"] == 5
