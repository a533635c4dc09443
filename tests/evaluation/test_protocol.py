"""Protocols: known answers on small logs, what every split promises on random ones, and what is refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.evaluation.arms import Arm
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.split import Split
from recllm.testing import ToyShop, toy_shop

LETTERS = Catalog.from_frame(pl.DataFrame({"item_id": list("abcdefghijklmnopqrstuvwxyz")}))
NUMBERS = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(60)]}))
PROTOCOLS = ("users", "time", "early", "prequential", "basket", "cold")
OTHERS = {"t1": "a1 b2 c3", "t2": "b1 c2 d3", "t3": "c1 d2 e3", "t4": "d1 e2 f3"}

Rows = list[tuple[str, str, int, float]]


def log_of(rows: Rows, rated: bool = True) -> Interactions:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "rating": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return Interactions.from_frame(frame if rated else frame.drop("rating"))


def letters(users: dict[str, str]) -> Interactions:
    """`{"ann": "a1 b2:5"}`: ann took a at 1 and rated b with 5 at 2; without a rating it is 5."""
    rows = []
    for user, events in users.items():
        for event in events.split():
            time, _, rating = event[1:].partition(":")
            rows.append((user, event[0], int(time), float(rating or 5)))
    return log_of(rows)


def arm_of(split: Split, name: str) -> Arm:
    (arm,) = (arm for arm in split.arms if arm.name == name)
    return arm


def told_and_asked(split: Split, name: str) -> dict[str, tuple[str, str]]:
    """User -> items of the support, oldest first, and items of the query, sorted."""
    arm, items = arm_of(split, name), split.catalog.item_ids
    told = ["".join(items[row] for row in arm.support.items_of(user)) for user in range(len(arm))]
    asked = ["".join(sorted(items[row] for row in arm.query.items_of(user))) for user in range(len(arm))]
    return dict(zip(arm.user_ids, zip(told, asked, strict=True), strict=True))


def shuffled(events: Interactions, seed: int = 0) -> Interactions:
    order = np.random.default_rng(seed).permutation(len(events))
    return Interactions.from_frame(events.frame[order])


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_users() -> Split:
    asked = {
        "zoe": "a1 b2 c3 d4",
        "ann": "a1 b1 c2 d3 e4 e5 f6 g6 h6",  # e5 is a repeat; the newest two of eight events lie inside a block
        "bob": "a1 b2",
        "cat": "a1 b1 c1",
        "dan": "a1:5 b2:5 c3:1",
    }
    (split,) = make_splits(
        LETTERS, letters(OTHERS | asked), shots=(3, 0, 1, 5, 20), test_users=[*asked, "nobody", "zoe"]
    )
    return split


def test_users_query_is_whole_timestamps_and_support_the_newest_before(by_users: Split) -> None:
    assert [arm.name for arm in by_users.arms] == ["users/0", "users/1", "users/3", "users/5", "users/20"]
    assert told_and_asked(by_users, "users/0") == {"ann": ("", "fgh"), "zoe": ("", "d")}
    assert told_and_asked(by_users, "users/1") == {"ann": ("e", "fgh"), "zoe": ("c", "d")}
    assert told_and_asked(by_users, "users/3") == {"ann": ("cde", "fgh"), "zoe": ("abc", "d")}
    (told, _), _ = told_and_asked(by_users, "users/20").values()
    assert told in ("abcde", "bacde")  # a and b are of one second
    assert told_and_asked(by_users, "users/5") == told_and_asked(by_users, "users/20")
    assert [arm.activity.tolist() for arm in by_users.arms] == [[5, 3]] * 5


def test_users_who_make_no_task_are_counted(by_users: Split) -> None:
    assert by_users.dropped == {"fewer_than_3_events": 2, "no_support": 1, "no_liked_query": 1}  # bob and nobody


def test_training_is_everybody_else(by_users: Split) -> None:
    assert by_users.train.user_ids == ("t1", "t2", "t3", "t4")
    assert len(by_users.train) == 12
    assert len(by_users.validation_users) == 1
    assert set(by_users.fitting.user_ids) == set(by_users.train.user_ids) - set(by_users.validation_users)
    assert [arm.user_ids for arm in by_users.validation] == [by_users.validation_users] * 5


def test_known_events_are_rows_of_the_log(by_users: Split) -> None:
    arm = arm_of(by_users, "users/1")
    assert arm.known_events().frame.rows() == [("ann", "e", 4, 5.0), ("zoe", "c", 3, 5.0)]
    assert arm.known_events(slice(1, 2)).user_ids == ("zoe",)
    assert arm_of(by_users, "users/0").known_events().user_ids == ("ann", "zoe")


def test_test_users_may_be_numbers() -> None:
    shop = toy_shop(users=20)
    frame = shop.events.frame.with_columns(pl.col("user_id").str.slice(1).cast(pl.Int64))
    (split,) = make_splits(shop.catalog, Interactions.from_frame(frame), shots=(1,), test_users=[3, 4, 5])  # type: ignore[list-item]
    assert split.arms[0].user_ids == ("3", "4", "5")
    assert not {"3", "4", "5"} & set(split.train.user_ids)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_disjoint_and_ask_everybody(toy: ToyShop, folds: int) -> None:
    splits = make_splits(toy.catalog, toy.events, shots=(0, 3), folds=folds)
    groups = [set(split.arms[0].user_ids) for split in splits]
    assert [split.fold for split in splits] == list(range(folds))
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(toy.events.user_ids)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    for split, group in zip(splits, groups, strict=True):
        assert set(split.train.user_ids) == set(toy.events.user_ids) - group


def test_one_fold_asks_a_fifth_and_seeds_differ(toy: ToyShop) -> None:
    groups = [make_splits(toy.catalog, toy.events, shots=(0,), seed=seed)[0].arms[0].user_ids for seed in (0, 0, 1)]
    assert len(groups[0]) == 16
    assert groups[0] == groups[1] != groups[2]


# --- time ------------------------------------------------------------------------------------------------------------


def test_time_asks_newcomers_and_the_next_basket_of_known_users() -> None:
    users = {
        **OTHERS,
        "kim": "a1 b2 c10 d10 e11",  # the next basket is c and d
        "lee": "a3 a12 b13",  # a is no discovery: what comes next is b
        "max": "a3 b4",  # comes no more
        "pia": "a2:5 b10:1 c11:5",  # dislikes her next basket
        "new": "a10 b11 c12 d12 e13 f14",  # at 10 she is new
        "nat": "g11 h12 i13",
        "nil": "g12 h13",  # too short
    }
    events = letters(users)
    before = int((events.frame["timestamp"] < 10).sum())
    (split,) = make_splits(LETTERS, events, protocol="time", shots=(0, 1, 3), cut=(before + 0.5) / len(events))
    assert split.until == 10
    assert split.train.frame["timestamp"].max() == 4
    assert len(split.train) == before
    known = "time: known users, next basket"
    assert [arm.name for arm in split.arms] == ["time/0", "time/1", "time/3", f"{known}/1", f"{known}/3"]
    assert told_and_asked(split, "time/0") == {"nat": ("", "i"), "new": ("", "ef")}
    assert told_and_asked(split, "time/1")["nat"] == ("h", "i")
    assert told_and_asked(split, f"{known}/1") == {"kim": ("b", "cd"), "lee": ("a", "b")}
    assert told_and_asked(split, f"{known}/3") == {"kim": ("ab", "cd"), "lee": ("a", "b")}
    assert [arm.strangers for arm in split.arms] == [True, True, True, False, False]
    assert split.dropped == {"fewer_than_3_events": 1, "no_support": 0, "no_liked_query": 0}
    split.audit()


def test_time_needs_times(toy: ToyShop) -> None:
    untimed = Interactions.from_frame(toy.events.frame.drop("timestamp"))
    with pytest.raises(DataError, match="no timestamps"):
        make_splits(toy.catalog, untimed, protocol="time")
    make_splits(toy.catalog, untimed, protocol="users")


# --- early, prequential, basket --------------------------------------------------------------------------------------


def numbers(users: dict[str, list[int]]) -> Interactions:
    """Of each user's times; the items are i0, i1 …"""
    rows = [(user, f"i{row}", time, 5.0) for user, times in users.items() for row, time in enumerate(times)]
    return log_of(rows)


MANY = {f"t{row}": list(range(30)) for row in range(4)}


def sizes(split: Split, name: str) -> dict[str, tuple[int, int, int]]:
    """User -> events of the support, of the query, and before the query."""
    arm = arm_of(split, name)
    lengths = zip(arm.support.lengths.tolist(), arm.query.lengths.tolist(), arm.activity.tolist(), strict=True)
    return dict(zip(arm.user_ids, lengths, strict=True))


def test_early_cuts_at_the_first_edge_after_twenty_events() -> None:
    users = {
        "plain": list(range(40)),
        "short": list(range(23)),
        "tied": [*range(19), 19, 19, 19, *range(20, 40)],  # events 20 to 22 share a second: the edge is after 22
        "wide": [*range(25), *[25] * 15, 26],  # the tenth event of the query lies inside a block
        "none": list(range(20)),
        "block": [0] * 30,
    }
    (split,) = make_splits(NUMBERS, numbers(MANY | users), protocol="early", shots=(0, 5, 50), test_users=list(users))
    before = {"plain": (20, 10), "short": (20, 3), "tied": (22, 10), "wide": (20, 20)}
    for shots in (0, 5, 50):
        wanted = {user: (min(shots, known), asked, known) for user, (known, asked) in before.items()}
        assert sizes(split, f"early/{shots}") == wanted
    arm = arm_of(split, "early/5")
    assert arm.support.timestamps.reshape(4, 5)[0].tolist() == [15, 16, 17, 18, 19]
    assert arm.query.timestamps[:10].tolist() == list(range(20, 30))
    assert split.dropped == {"shorter_than_their_early_life": 2, "no_liked_query": 0}


def test_early_counts_who_likes_nothing() -> None:
    sour = [("sour", f"i{row}", row, 1.0) for row in range(30)]
    asked = [(user, f"i{row}", row, 5.0) for user in ("a", "b", *MANY) for row in range(30)]
    (split,) = make_splits(NUMBERS, log_of(sour + asked), protocol="early", test_users=["a", "b", "sour"])
    assert split.dropped == {"shorter_than_their_early_life": 0, "no_liked_query": 1}


def test_prequential_asks_each_next_basket_once() -> None:
    # Edges with 0, 2, 3 and 6 events before them, and one at 10 that lies at no rung's first edge.
    times = [1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8]
    users = {"a": times, "b": times}
    (split,) = make_splits(NUMBERS, numbers(MANY | users), protocol="prequential", shots=(1,), test_users=["b", "a"])
    found = {arm.shots: sizes(split, arm.name)["a"] for arm in split.arms}
    assert found == {0: (0, 2, 0), 2: (2, 1, 2), 3: (3, 3, 3), 5: (6, 1, 6), 8: (8, 1, 8)}
    assert all(arm.user_ids == ("a", "b") for arm in split.arms)
    assert arm_of(split, "prequential/3").query.timestamps.tolist() == [3, 3, 3] * 2


def test_basket_asks_for_known_items_too() -> None:
    users = {"ann": "a1 b2 c3 a3", "bob": "a1 a2 a3", "cat": "a1 b2 c3 d4"}
    (split,) = make_splits(LETTERS, letters(OTHERS | users), protocol="basket", shots=(0, 2), test_users=list(users))
    assert told_and_asked(split, "basket/2") == {"ann": ("ab", "ac"), "bob": ("aa", "a"), "cat": ("bc", "d")}
    for arm in (*split.arms, *split.validation):
        assert arm.protocol == "basket"
        assert not arm.exclude_seen
        assert arm.allowed(slice(None), len(LETTERS)).all()
    others = make_splits(LETTERS, letters(OTHERS | users), protocol="users", shots=(2,), test_users=list(users))[0]
    assert told_and_asked(others, "users/2") == {"ann": ("ab", "c"), "cat": ("bc", "d")}
    assert not others.arms[0].allowed(slice(0, 1), len(LETTERS))[0, :2].any()


# --- cold ------------------------------------------------------------------------------------------------------------

KNOWN_NEW = [(user, item) for user in ("known user", "new user") for item in ("known item", "new item")]


@pytest.fixture(scope="module")
def cold(toy: ToyShop) -> Split:
    (split,) = make_splits(toy.catalog, toy.events, protocol="cold", shots=(0, 3))
    return split


def test_cold_has_four_cells_that_share_their_questions(cold: Split, toy: ToyShop) -> None:
    names = [f"cold: {user}, {item}/{shots}" for user, item in KNOWN_NEW for shots in (0, 3)]
    assert [arm.name for arm in cold.arms] == names
    assert cold.cold_items is not None
    assert cold.cold_items.sum() == round(0.15 * len(toy.catalog))
    for user in ("known user", "new user"):
        known, new = (arm_of(cold, f"cold: {user}, {item} item/3") for item in ("known", "new"))
        assert known.query.item_rows.tolist() == new.query.item_rows.tolist()
        assert known.strangers is (user == "new user")
        assert known.candidates is not None
        assert new.candidates is not None
        np.testing.assert_array_equal(new.candidates, cold.cold_items)
        np.testing.assert_array_equal(known.candidates, ~cold.cold_items)
        asked = [arm.asked(len(toy.catalog)).toarray() for arm in (known, new)]
        assert not asked[0][:, cold.cold_items].any()
        assert not asked[1][:, ~cold.cold_items].any()
        assert asked[0].sum() + asked[1].sum() == known.query.n_events
        assert all(matrix.any() for matrix in asked)


def test_cold_training_sees_no_cold_item_and_no_answer(cold: Split, toy: ToyShop) -> None:
    assert cold.cold_items is not None
    known, new = (arm_of(cold, f"cold: {user} user, known item/3") for user in ("known", "new"))
    assert not cold.cold_items[cold.train.item_rows(toy.catalog)].any()
    pairs = set(cold.train.frame.select("user_id", "item_id").rows())
    asked = {
        (known.user_ids[user], toy.catalog.item_ids[row])
        for user, row in zip(known.query.user_rows, known.query.item_rows, strict=True)
    }
    assert asked
    assert not asked & pairs
    assert not set(new.user_ids) & set(cold.train.user_ids)
    assert len(known) == len(new) == 16
    assert set(known.user_ids) <= set(cold.train.user_ids)
    # Everything else is there.
    others = toy.events.without_users(new.user_ids).frame.select("user_id", "item_id").rows()
    warm = {item for item, row in zip(toy.catalog.item_ids, cold.cold_items, strict=True) if not row}
    assert pairs == {(user, item) for user, item in others if item in warm} - asked


# --- what all promise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_users_are_sorted_and_the_file_order_does_not_matter(protocol: str) -> None:
    shop = toy_shop(users=60, items_per_department=30, purchases=24, seed=3)
    (split,) = make_splits(shop.catalog, shop.events, protocol=protocol)
    (again,) = make_splits(shop.catalog, shuffled(shop.events), protocol=protocol)
    assert split.arms
    for arm, other in zip(split.arms, again.arms, strict=True):
        assert list(arm.user_ids) == sorted(arm.user_ids)
        assert arm.user_ids == other.user_ids
        np.testing.assert_array_equal(arm.support.item_rows, other.support.item_rows)
        np.testing.assert_array_equal(arm.query.item_rows, other.query.item_rows)
        assert arm.known_events().frame.equals(other.known_events().frame)
    assert list(split.train.user_ids) == sorted(split.train.user_ids)
    assert split.train.frame.equals(again.train.frame)
    assert split.validation_users == again.validation_users


def test_two_ratings_in_one_second_have_an_order_of_their_own() -> None:
    twice = [("t1", "a", 1, rating) for rating in (4.1, 4.2, 4.3)]
    events = letters(OTHERS | {"ann": "a1 b2 c3", "bob": "a1 b2 c3"})
    rows = [*events.frame.rows(), *twice]
    splits = [
        make_splits(LETTERS, log_of(part), shots=(1,), test_users=["ann", "bob"])[0] for part in (rows, rows[::-1])
    ]
    assert splits[0].train.frame.equals(splits[1].train.frame)


def test_thinning_keeps_a_share_that_is_nested(toy: ToyShop) -> None:
    kept = {}
    for share in (0.1, 0.3, 1.0):
        splits = [make_splits(toy.catalog, log, share=share)[0] for log in (toy.events, shuffled(toy.events))]
        assert splits[0].train.frame.equals(splits[1].train.frame)
        kept[share] = splits[0]
    whole = len(kept[1.0].train)
    events = {share: set(split.train.frame.rows()) for share, split in kept.items()}
    assert events[0.1] < events[0.3] < events[1.0]
    for share in (0.1, 0.3):
        assert abs(len(events[share]) - share * whole) < 4 * (share * (1 - share) * whole) ** 0.5
    assert [split.arms[1].protocol for split in kept.values()] == [
        "users, 10 % of events",
        "users, 30 % of events",
        "users",
    ]
    for thin in (kept[0.1], kept[0.3]):
        for arm, full in zip(thin.arms, kept[1.0].arms, strict=True):
            np.testing.assert_array_equal(arm.support.item_rows, full.support.item_rows)
            np.testing.assert_array_equal(arm.query.item_rows, full.query.item_rows)
    seeds = [set(make_splits(toy.catalog, toy.events, share=0.3, seed=seed)[0].train.frame.rows()) for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_what_is_liked_is_told_by_training_alone() -> None:
    # Only the test users use the upper half of the scale: to training, 4 of 5 stars are a like.
    others = [(f"t{user}", f"i{row}", row, 1.0 + row % 5) for user in range(4) for row in range(10)]
    asked = [(user, f"i{row}", row, 5.0 + row % 6) for user in ("a", "b") for row in range(10)]
    (split,) = make_splits(NUMBERS, log_of(others + asked), shots=(1,), test_users=["a", "b"])
    assert split.feedback.scale == (1.0, 5.0)
    (split,) = make_splits(NUMBERS, log_of(others + asked), shots=(1,), test_users=["a", "b"], liked_from=3)
    assert split.feedback.liked_from == 3


logs = st.lists(
    st.tuples(
        st.sampled_from([f"u{row}" for row in range(9)]),
        st.sampled_from(NUMBERS.item_ids[:25]),
        st.integers(0, 12),
        st.sampled_from([1.0, 3.0, 4.0, 5.0]),
    ),
    min_size=45,
    max_size=250,
)


def check_promises(split: Split, events: Interactions) -> None:
    split.audit()
    learned = set(split.train.user_ids)
    assert set(split.train.frame.rows()) <= set(events.frame.rows())
    assert max(map(len, split.arms)) >= 2
    queries: dict[tuple[str, Any], list[int]] = {}
    taken: dict[str, list[tuple[str, int]]] = {user: [] for user in events.user_ids}
    for user, item, time in events.frame.select("user_id", "item_id", "timestamp").iter_rows():
        taken[user].append((item, time))
    for arm in split.arms:
        assert len(arm) > 0
        assert arm.support.user_ids == arm.query.user_ids == tuple(sorted(set(arm.user_ids)))
        if arm.strangers:
            assert not learned & set(arm.user_ids)
        for user in range(len(arm)):
            told, asked = arm.support.of([user]), arm.query.of([user])
            assert asked.n_events > 0
            assert (asked.signals > 0).any()
            if split.protocol != "prequential":
                assert told.n_events <= arm.shots
                rows = queries.setdefault((arm.protocol, arm.user_ids[user]), asked.item_rows.tolist())
                assert rows == asked.item_rows.tolist(), "the query is the same for every K"
            assert told.n_events <= arm.activity[user]
            assert (told.timestamps.max(initial=-1) < asked.timestamps).all()
            # All that the user newly took in those seconds is asked, not a part of it.
            there, seconds = taken[arm.user_ids[user]], set(asked.timestamps.tolist())
            then = {item for item, time in there if time in seconds}
            before = {item for item, time in there if time < min(seconds)}
            items = {split.catalog.item_ids[row] for row in asked.item_rows}
            assert items == (then if split.protocol == "basket" else then - before)
        known = arm.known_events()
        assert known.user_ids == arm.user_ids
        assert len(known) == arm.support.n_events


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_split_of_any_log_keeps_its_promises(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.evaluation.asking.EARLY_EVENTS", 3)
    made = 0

    @settings(max_examples=20)
    @given(rows=logs, seed=st.integers(0, 3), share=st.sampled_from([0.5, 1.0]), rated=st.booleans())
    def on_a_log(rows: Rows, seed: int, share: float, rated: bool) -> None:
        nonlocal made
        events = log_of(rows, rated)
        folds = 1 if protocol == "time" else 3
        try:
            splits = make_splits(NUMBERS, events, protocol=protocol, folds=folds, seed=seed, share=share, cut=0.6)
        except DataError:  # too few users
            return
        for split in splits:
            made += 1
            check_promises(split, events)

    on_a_log()
    assert made > 8, "hardly any log made a split: this test says nothing"


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("rows", [[], [("u", "a", 1, 5.0)], [(f"u{n}", "a", 1, 5.0) for n in range(4)]])
def test_too_few_users_are_counted(protocol: str, rows: Rows) -> None:
    events = log_of(rows) if rows else Interactions.from_mapping({})
    with pytest.raises(DataError) as caught:
        make_splits(LETTERS, events, protocol=protocol, shots=(1,))
    said = str(caught.value)
    assert f"protocol '{protocol}' leaves" in said
    assert "users to ask" in said
    assert f"of {len(rows)} users with {len(rows)} known events" in said
    assert "at least 3 and 2 are needed" in said
    assert "a few hundred of each" in said


def test_the_reasons_of_too_few_users_are_told() -> None:
    with pytest.raises(DataError) as caught:
        make_splits(LETTERS, letters(OTHERS | {"ann": "a1 b2", "bob": "a1 b1 c1"}), test_users=["ann", "bob"])
    assert "leaves 4 users with 12 events to learn from and 0 users to ask" in str(caught.value)
    assert "not asked: 1 fewer than 3 events, 1 no support" in str(caught.value)
    with pytest.raises(DataError, match="leaves 0 users with 0 events to learn from and 4 users to ask"):
        make_splits(LETTERS, letters(OTHERS), test_users=list(OTHERS))
    strange = Catalog.from_frame(pl.DataFrame({"item_id": ["x1"]}))
    with pytest.raises(DataError, match="of 0 users with 0 known events"):
        make_splits(strange, letters(OTHERS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"protocol": "user"}, "'user' is unknown; choose one of users, .*time"),
        ({"shots": ()}, "at least one and none below 0"),
        ({"shots": (1, -1)}, "none below 0; got"),
        ({"folds": 0}, "folds must be at least 1"),
        ({"folds": 2, "test_users": ["u1"]}, "1 where test_users are given; got 2"),
        ({"protocol": "time", "folds": 2}, "one cut for everybody"),
        ({"protocol": "time", "test_users": ["u1"]}, "one cut for everybody"),
        ({"cut": 1.0}, "got 1.0 and"),
        ({"share": 0.0}, "and 0.0"),
        ({"share": 1.5}, "and 1.5"),
    ],
)
def test_impossible_options_are_refused(toy: ToyShop, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_splits(toy.catalog, toy.events, **options)


def test_a_single_name_is_no_list_of_test_users(toy: ToyShop) -> None:
    with pytest.raises(DataError, match="u1"):
        make_splits(toy.catalog, toy.events, test_users="u1")
