"""Tasks: disjoint users, block cuts, one query for every K; and the counts on real data."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data import (
    Catalog,
    Feedback,
    Histories,
    Interactions,
    make_histories,
    make_tasks,
    rolling_tasks,
    split_users,
)
from recllm.errors import DataError

ITEMS = [f"i{n}" for n in range(60)]
CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": ITEMS}))


def one_user(times: list[int], signals: list[int] | None = None) -> Histories:
    events = len(times)
    return Histories(
        user_ids=("u",),
        offsets=np.array([0, events]),
        item_rows=np.arange(events),
        timestamps=np.array(times, dtype=np.int64),
        signals=np.array(signals if signals is not None else [1] * events, dtype=np.int8),
        tokens=np.zeros(events, dtype=np.int64),
    )


# --- cuts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "support", "query"),
    [
        (list(range(30)), 20, 10),
        (list(range(100)), 90, 10),
        (list(range(29)), 20, 9),
        (list(range(3)), 2, 1),
        (list(range(5)), 4, 1),
        ([*range(18), *[18] * 5, *range(19, 26)], 18, 12),  # the tenth event from behind lies inside a block
        ([*range(20), *[20] * 10], 20, 10),
        ([0, 1, 1, 1], 1, 3),
        ([0] * 10 + [1] * 40, 10, 40),
    ],
)
def test_the_query_is_the_shortest_suffix_of_whole_blocks(times: list[int], support: int, query: int) -> None:
    tasks = make_tasks(one_user(times))
    assert len(tasks) == 1
    assert tasks.support.lengths.tolist() == [support]
    assert tasks.query.lengths.tolist() == [query]
    assert tasks.query.blocks[0] == 0
    assert sum(tasks.dropped.values()) == 0


@pytest.mark.parametrize(
    ("times", "signals", "reason"),
    [
        ([], None, "fewer_than_3_events"),
        ([1, 2], None, "fewer_than_3_events"),
        ([7, 7, 7], None, "no_support"),
        ([1, 2, 3], [1, 1, 0], "no_liked_query"),
        ([1, 2, 3], [1, 1, -1], "no_liked_query"),
    ],
)
def test_users_without_a_task_are_counted(times: list[int], signals: list[int] | None, reason: str) -> None:
    tasks = make_tasks(one_user(times, signals))
    assert len(tasks) == 0
    assert tasks.dropped[reason] == 1
    assert sum(tasks.dropped.values()) == 1


def test_the_query_size_can_be_chosen() -> None:
    assert make_tasks(one_user(list(range(30))), query_size=4).query.lengths.tolist() == [4]
    with pytest.raises(DataError, match="0"):
        make_tasks(one_user([1, 2, 3]), query_size=0)


def test_rows_lead_back_to_the_users() -> None:
    histories = Histories.concatenate([Histories.empty(["x"]), one_user([1, 2, 3]), one_user([1]), one_user([4, 5, 6])])
    tasks = make_tasks(histories)
    assert tasks.user_rows.tolist() == [1, 3]
    assert tasks.support.user_ids == tasks.query.user_ids == tasks.user_ids == ("u", "u")
    assert tasks.support.timestamps.tolist() == [1, 2, 4, 5]
    assert len(make_tasks(Histories.empty(0))) == 0


def log_of(events: list[tuple[str, str, int, float]]) -> Interactions:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "rating": pl.Float64}
    return Interactions.from_frame(pl.DataFrame(events, schema=schema, orient="row"))


def tasks_of(
    events: list[tuple[str, str, int, float]], items: list[str], shots: int | None = None
) -> dict[str, object]:
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": items}))
    log = log_of(events)
    tasks = make_tasks(make_histories(log, catalog, Feedback(scale=(1, 5), liked_from=4, disliked_to=2)))
    support = tasks.support if shots is None else tasks.support.last(shots)
    return {
        user: (
            [items[i] for i in support.items_of(row)],
            [items[i] for i in tasks.query.items_of(row)],
            tasks.query.signals[tasks.query.offsets[row] : tasks.query.offsets[row + 1]].tolist(),
        )
        for row, user in enumerate(tasks.user_ids)
    } | {"dropped": tasks.dropped}


logs = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.sampled_from(ITEMS), st.integers(0, 9), st.sampled_from([1.0, 3.0, 4.0, 5.0])
    ),
    min_size=3,
    max_size=120,
)


@settings(max_examples=40)
@given(events=logs, data=st.data())
def test_permuting_file_and_catalog_changes_no_task(events: list[tuple], data: st.DataObject) -> None:
    assert tasks_of(events, ITEMS, 3) == tasks_of(
        data.draw(st.permutations(events)), data.draw(st.permutations(ITEMS)), 3
    )


@settings(max_examples=40)
@given(events=logs)
def test_support_and_query_part_the_history_at_a_block_edge(events: list[tuple]) -> None:
    log = log_of(events)
    histories = make_histories(log, CATALOG, Feedback(scale=(1, 5), liked_from=4, disliked_to=2))
    tasks = make_tasks(histories)
    assert len(tasks) + sum(tasks.dropped.values()) == len(histories)
    for row, user in enumerate(tasks.user_rows):
        support, query = tasks.support.of([row]), tasks.query.of([row])
        assert np.concatenate([support.item_rows, query.item_rows]).tolist() == histories.items_of(user).tolist()
        assert support.timestamps.max() < query.timestamps.min()
        need = min(10, len(histories.items_of(user)) // 3)
        assert query.n_events >= need
        newest_blocks = (query.timestamps > query.timestamps.min()).sum()
        assert newest_blocks < need, "one block fewer would have been enough"
        assert (query.signals > 0).any()
        assert not set(support.item_rows) & set(query.item_rows), "repeats collapse to the first"


@settings(max_examples=40)
@given(events=logs)
def test_the_query_is_the_same_for_every_number_of_shots(events: list[tuple]) -> None:
    whole = tasks_of(events, ITEMS)
    for shots in (0, 1, 3, 5):
        part = tasks_of(events, ITEMS, shots)
        assert part.keys() == whole.keys()
        for user in part.keys() - {"dropped"}:
            support, query, signals = part[user]  # type: ignore[misc]
            whole_support, *rest = whole[user]  # type: ignore[misc]
            assert [query, signals] == rest
            assert support == (whole_support[-shots:] if shots else [])


# --- users -----------------------------------------------------------------------------------------------------------


def test_groups_are_disjoint_and_have_their_sizes() -> None:
    users = [f"user {n}" for n in range(1_000)]
    groups = split_users(users, {"train": 0.85, "head": 0.1, "stop": 0.05}, seed=0)
    assert {name: len(rows) for name, rows in groups.items()} == {"train": 850, "head": 100, "stop": 50}
    assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(1_000))
    assert all((np.diff(rows) > 0).all() and rows.dtype == np.int64 for rows in groups.values())
    assert not np.array_equal(groups["head"], split_users(users, {"train": 0.85, "head": 0.1, "stop": 0.05}, 1)["head"])


@settings(max_examples=50)
@given(users=st.sets(st.text(max_size=5), max_size=30), data=st.data())
def test_the_order_of_users_does_not_matter(users: set[str], data: st.DataObject) -> None:
    one, two = data.draw(st.permutations(sorted(users))), data.draw(st.permutations(sorted(users)))
    fractions = {"a": 0.5, "b": 0.3}
    first = {name: {one[r] for r in rows} for name, rows in split_users(one, fractions, 3).items()}
    assert first == {name: {two[r] for r in rows} for name, rows in split_users(two, fractions, 3).items()}
    assert not first["a"] & first["b"]
    assert len(first["a"] | first["b"]) <= len(users)


@pytest.mark.parametrize(
    ("count", "sizes"), [(10, [8, 1, 1]), (3, [1, 1, 1]), (2, [1, 1, 0]), (1, [1, 0, 0]), (0, [0, 0, 0])]
)
def test_small_groups_get_a_user_if_there_are_enough(count: int, sizes: list[int]) -> None:
    groups = split_users([str(n) for n in range(count)], {"train": 0.85, "head": 0.1, "stop": 0.05}, seed=0)
    assert [len(rows) for rows in groups.values()] == sizes


@pytest.mark.parametrize("fractions", [{"a": 0.7, "b": 0.4}, {"a": -0.1}, {"a": float("nan")}])
def test_impossible_shares_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(DataError, match="fractions"):
        split_users(["x"], fractions, 0)


def test_one_user_in_two_groups_is_impossible() -> None:
    with pytest.raises(DataError, match="twice"):
        split_users(["x", "y", "x"], {"a": 0.5, "b": 0.5}, 0)


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("RECLLM_DATA" not in os.environ, reason="RECLLM_DATA does not name a folder with ml-1m and others")
@pytest.mark.parametrize(("name", "asked", "kept"), [("ml-1m", 599, 571), ("uci-online-retail", 601, 446)])
def test_the_number_of_tasks_on_real_data(name: str, asked: int, kept: int) -> None:
    folder = Path(os.environ["RECLLM_DATA"]) / name
    users = (folder / "test_users.txt").read_text().split()
    catalog = Catalog.read(folder / "items.csv.gz")
    events = Interactions.read(folder / "interactions.csv.gz").of_users(users)
    tasks = make_tasks(make_histories(events, catalog, Feedback.infer(events.frame)))
    assert len(users) == asked
    assert len(tasks) == kept
    assert len(tasks) + sum(tasks.dropped.values()) == asked


def test_rolling_tasks_ask_earlier_moments_until_there_are_enough() -> None:
    histories = Histories.concatenate([one_user(list(range(40))), one_user(list(range(100, 125)))])
    assert rolling_tasks(histories, wanted=2).query.lengths.tolist() == [10, 8]
    tasks = rolling_tasks(histories, wanted=5)
    assert tasks.user_rows.tolist() == [0, 1, 0, 1, 0, 1]
    assert len(rolling_tasks(histories, wanted=10**6)) == 8, "four moments at most"
    newest = tasks.newest()
    assert newest.user_rows.tolist() == [0, 1]
    assert newest.query.item_rows.tolist() == rolling_tasks(histories, wanted=2).query.item_rows.tolist()
    for earlier, later in ((2, 0), (3, 1)):
        asked, known = tasks.query.of([earlier]), tasks.support.of([later])
        assert asked.item_rows.tolist() == known.item_rows[-len(asked.item_rows) :].tolist(), "what was known later"
    assert len(rolling_tasks(Histories.empty(0), wanted=3)) == 0
