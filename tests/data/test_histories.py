"""Histories: order, ties, blocks, selections."""

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data import Catalog, Feedback, Histories, Interactions, make_histories
from recllm.data.histories import histories_of_lists
from recllm.errors import DataError

ITEMS = [f"i{n}" for n in range(8)]
CATALOG = Catalog.from_frame(pl.DataFrame({"item_id": ITEMS}))


def history(*events: tuple[str, str, int], catalog: Catalog = CATALOG, **options: object) -> Histories:
    frame = pl.DataFrame(list(events), schema=["user_id", "item_id", "timestamp"], orient="row")
    log = Interactions.from_frame(frame)
    return make_histories(log, catalog, Feedback.infer(log.frame), **options)  # type: ignore[arg-type]


def small() -> Histories:
    return Histories(
        user_ids=("a", "b", "c"),
        offsets=np.array([0, 3, 3, 5]),
        item_rows=np.array([4, 2, 7, 1, 2]),
        timestamps=np.array([10, 10, 20, 20, 20]),
        signals=np.array([1, -1, 0, 1, 1], dtype=np.int8),
        tokens=np.array([5, 1, 3, 4, 4]),
    )


def test_events_are_sorted_by_time_and_users_keep_their_order() -> None:
    histories = history(("b", "i1", 30), ("a", "i2", 20), ("b", "i0", 10), ("b", "i3", 20))
    assert histories.user_ids == ("b", "a")
    assert histories.offsets.tolist() == [0, 3, 4]
    assert histories.items_of(0).tolist() == [0, 3, 1]
    assert histories.timestamps.tolist() == [10, 20, 30, 20]
    for array in (histories.offsets, histories.item_rows, histories.tokens):
        assert array.dtype == np.int64
    assert histories.timestamps.dtype == np.float64
    assert histories.signals.dtype == np.int8


def test_order_within_a_second_is_kept_and_only_equal_moments_share_a_block() -> None:
    histories = history(("u", "i2", 10.2), ("u", "i1", 10.1), ("u", "i0", 10.2))
    assert histories.timestamps.tolist() == [10.1, 10.2, 10.2]
    assert histories.items_of(0)[0] == 1
    assert histories.blocks.tolist() == [0, 1, 1]


def test_ties_break_by_the_hash_of_seed_user_and_item() -> None:
    def key(seed: int, user: str, item: str) -> bytes:
        return hashlib.sha256(f"{seed}\x00{user}\x00{item}".encode()).digest()

    for seed in (0, 1):
        histories = history(*[(user, item, 5) for user in ("a", "b", "c") for item in ITEMS], seed=seed)
        for row, user in enumerate(histories.user_ids):
            wanted = sorted(ITEMS, key=lambda item: key(seed, user, item))
            assert [ITEMS[i] for i in histories.items_of(row)] == wanted
    assert histories.items_of(0).tolist() != histories.items_of(1).tolist(), "no order may be shared by users"


events_lists = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(ITEMS),
        st.integers(0, 3),
        st.sampled_from(["buy", "skip", "view"]),
        st.sampled_from([1, -1]),
    ),
    min_size=1,
    max_size=40,
)


def named(histories: Histories, catalog: Catalog) -> dict[str, list[tuple[str, int, int, str]]]:
    return {
        user: [
            (
                catalog.item_ids[histories.item_rows[e]],
                int(histories.timestamps[e]),
                int(histories.signals[e]),
                str(histories.tokens[e]),
            )
            for e in range(histories.offsets[row], histories.offsets[row + 1])
        ]
        for row, user in enumerate(histories.user_ids)
    }


@settings(max_examples=40)
@given(events=events_lists, data=st.data(), repeats=st.sampled_from(["first", "all"]))
def test_neither_file_order_nor_catalog_order_matters(events: list[tuple], data: st.DataObject, repeats: str) -> None:
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": data.draw(st.permutations(ITEMS))}))
    shuffled = data.draw(st.permutations(events))
    schema = ["user_id", "item_id", "timestamp", "event", "weight"]
    sorted_log = Interactions.from_frame(pl.DataFrame(events, schema=schema, orient="row"))
    shuffled_log = Interactions.from_frame(pl.DataFrame(shuffled, schema=schema, orient="row"))
    one = make_histories(sorted_log, CATALOG, Feedback.infer(sorted_log.frame), repeats=repeats)  # type: ignore[arg-type]
    two = make_histories(shuffled_log, catalog, Feedback.infer(shuffled_log.frame), repeats=repeats)  # type: ignore[arg-type]
    assert named(one, CATALOG) == named(two, catalog)


def test_repeats() -> None:
    events = [("u", "i1", 10), ("u", "i2", 20), ("u", "i1", 30), ("u", "i2", 40)]
    assert history(*events).item_rows.tolist() == [1, 2]
    assert history(*events).timestamps.tolist() == [10, 20]
    assert history(*events, repeats="all").item_rows.tolist() == [1, 2, 1, 2]
    with pytest.raises(DataError, match="'last'"):
        history(*events, repeats="last")


def test_unknown_items_and_users_without_events() -> None:
    log = Interactions.from_mapping({"a": ["i1", "?", "i0"], "b": ["?"], "c": []})
    histories = make_histories(log, CATALOG, Feedback.infer(log.frame))
    assert histories.user_ids == ("a", "b", "c")
    assert histories.lengths.tolist() == [2, 0, 0]
    assert histories.item_rows.tolist() == [1, 0]
    nobody = Interactions.from_mapping({})
    assert len(make_histories(nobody, CATALOG, Feedback())) == 0


def test_blocks_and_positions_start_anew_for_each_user() -> None:
    histories = small()
    assert histories.blocks.tolist() == [0, 0, 1, 0, 0]
    assert histories.positions.tolist() == [0, 1, 2, 0, 1]
    assert histories.user_rows.tolist() == [0, 0, 0, 2, 2]
    assert histories.lengths.tolist() == [3, 0, 2]
    assert (len(histories), histories.n_events) == (3, 5)
    assert Histories.empty(2).blocks.tolist() == []
    assert histories.newer.tolist() == [1, 1, 0, 0, 0]
    assert Histories.empty(2).newer.tolist() == []


def test_of_selects_reorders_and_repeats() -> None:
    chosen = small().of([2, 0, 1, 2])
    assert chosen.user_ids == ("c", "a", "b", "c")
    assert chosen.offsets.tolist() == [0, 2, 5, 5, 7]
    assert chosen.item_rows.tolist() == [1, 2, 4, 2, 7, 1, 2]
    assert len(small().of([])) == 0


def test_last_keeps_the_newest() -> None:
    assert small().last(2).item_rows.tolist() == [2, 7, 1, 2]
    assert small().last(0).lengths.tolist() == [0, 0, 0]
    assert small().last(99).item_rows.tolist() == small().item_rows.tolist()
    with pytest.raises(DataError, match="-1"):
        small().last(-1)


def test_drop_events_keeps_all_users() -> None:
    kept = small().drop_events(np.array([True, False, True, False, False]))
    assert kept.lengths.tolist() == [2, 0, 0]
    assert kept.item_rows.tolist() == [4, 7]
    with pytest.raises(DataError, match=r"\[5\]"):
        small().drop_events(np.array([True]))


def test_concatenate_and_empty() -> None:
    both = Histories.concatenate([small(), Histories.empty(["x"]), small().of([2])])
    assert both.user_ids == ("a", "b", "c", "x", "c")
    assert both.offsets.tolist() == [0, 3, 3, 5, 5, 7]
    assert Histories.empty(2).user_ids == ("0", "1")
    assert len(Histories.concatenate([])) == 0


def test_arrays_that_do_not_fit_are_refused() -> None:
    good = small()
    with pytest.raises(DataError, match="offsets"):
        Histories(("a",), good.offsets, good.item_rows, good.timestamps, good.signals, good.tokens)
    with pytest.raises(DataError, match="length"):
        Histories(good.user_ids, good.offsets, good.item_rows, good.timestamps[:2], good.signals, good.tokens)


def test_selections_leave_the_original_alone() -> None:
    histories = small()
    histories.of([0]).item_rows[:] = 99
    histories.last(1).item_rows[:] = 99
    assert histories.item_rows.tolist() == [4, 2, 7, 1, 2]


@given(st.dictionaries(st.sampled_from(["v", "w", "a b", "7"]), st.lists(st.sampled_from(ITEMS)), min_size=1))
def test_lists_of_known_items_are_read_at_once_and_to_the_same(lists: dict[str, list[str]]) -> None:
    log = Interactions.from_mapping(lists)
    wanted, found = make_histories(log, CATALOG, Feedback(event_names=("buy",))), histories_of_lists(lists, CATALOG)
    assert found is not None
    assert found.user_ids == wanted.user_ids
    for name in ("offsets", "item_rows", "timestamps", "signals", "tokens", "event_rows", "ratings"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, name)


@pytest.mark.parametrize(
    "users",
    [
        *({"v": items} for items in (["i1", "unknown"], ["i1", 3], {"i1", "i2"}, [{"item_id": "i1"}], "i1", None)),
        *({user: ["i1"]} for user in (3, "", "\ud800")),
        *({}, ["v"], None),
    ],
)
def test_what_needs_care_is_left_to_the_doors(users: object) -> None:
    assert histories_of_lists(users, CATALOG) is None
