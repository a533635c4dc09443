"""What is remembered is what one log would hold, whatever came in which order, and costs what is asked for."""

import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data import memory as memories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory

USERS = st.sampled_from("abcd")
LISTS = st.dictionaries(USERS, st.lists(st.sampled_from("xyz"), max_size=3), max_size=3)
TIMED = st.lists(st.tuples(USERS, st.sampled_from("xyz"), st.integers(0, 4)), min_size=1, max_size=5)
CHANGES = st.lists(st.one_of(LISTS, TIMED, USERS), max_size=6)


def log_of(rows: list[tuple[str, str, int]]) -> Interactions:
    return Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))


@pytest.mark.parametrize("settle", [0, 3, 10_000])
@given(changes=CHANGES)
def test_a_memory_is_one_log(settle: int, changes: list[object]) -> None:
    log = Interactions.from_mapping({})
    memory = Memory.of(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memories, "SETTLE", settle)
        for change in changes:
            if isinstance(change, str):
                log, memory = log.without_users([change]), memory.without_users([change])
                continue
            events = Interactions.from_mapping(change) if isinstance(change, dict) else log_of(change)  # type: ignore[arg-type]
            log, memory = log.extend(events), memory.extend(events)
    assert memory.user_ids == log.user_ids
    assert len(memory) == len(log.user_ids)
    assert [user in memory for user in "abcd"] == [user in log.user_ids for user in "abcd"]
    assert memory.log.timed == log.timed
    assert memory.log.frame.rows() == log.frame.rows()
    asked = ["d", "a", "stranger"]
    assert memory.of_users(asked).user_ids == tuple(asked)
    assert sorted(memory.of_users(asked).frame.rows()) == sorted(log.of_users(asked).frame.rows())


def test_what_is_forgotten_is_nowhere() -> None:
    memory = Memory.of(log_of([("a", "x", 1), ("b", "x", 1)])).extend(log_of([("a", "secret", 2)])).without_users(["a"])
    assert "a" not in memory
    assert "secret" not in memory.settled.frame["item_id"].to_list() + memory.since.frame["item_id"].to_list()
    assert len(memory.of_users(["a"])) == 0


def test_the_next_memory_leaves_the_last_as_it_was() -> None:
    first = Memory.of(log_of([("a", "x", 1)]))
    second = first.extend(log_of([("a", "y", 2)]))
    assert (len(first.of_users(["a"])), len(second.of_users(["a"]))) == (1, 2)


def test_a_large_log_is_not_copied() -> None:
    """Of 300,000 users one is looked up and added to in a small part of what going through all of them takes."""
    users = np.repeat(np.arange(300_000), 2)
    items = np.tile(["x", "y"], 300_000)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(600_000)})
    memory = Memory.of(Interactions.from_frame(frame))
    news = [log_of([(str(user), "z", 10**6 + user)]) for user in range(20)]
    begin = time.perf_counter()
    without = memory.settled.without_users(["5"])
    whole = time.perf_counter() - begin
    memory.of_users(["5"])  # makes the index
    seconds = []
    for events in news:
        begin = time.perf_counter()
        memory = memory.extend(events)
        assert len(memory.of_users(events.user_ids)) == 3
        seconds.append(time.perf_counter() - begin)
    assert len(without) == 599_998
    assert np.median(seconds) < whole / 4
    assert memory.settled.frame is not memory.log.frame
