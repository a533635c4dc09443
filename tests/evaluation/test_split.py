"""Splits: every planted leak is found, the fingerprint knows what matters, and files say the same as memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import DataError, LeakageError
from recllm.evaluation.arms import Arm
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.split import Split
from recllm.testing import ToyShop

FILES = ("items", "train", "support", "query")


def split_of(
    toy: ToyShop,
    protocol: str = "users",
    *,
    events: Interactions | None = None,
    catalog: Catalog | None = None,
    **options,
) -> Split:
    (split,) = make_splits(
        catalog or toy.catalog, events or toy.events, protocol=protocol, **({"shots": (0, 1, 3)} | options)
    )
    return split


def with_events(split: Split, *events: tuple[str, str, int]) -> Split:
    """The split with events planted in training."""
    more = pl.DataFrame(events, schema=split.train.frame.schema, orient="row")
    return replace(split, train=Interactions(pl.concat([split.train.frame, more]), split.train.report))


def with_arm(split: Split, number: int, change: Callable[[Arm], Arm], where: str = "arms") -> Split:
    arms = list(getattr(split, where))
    arms[number] = change(arms[number])
    return replace(split, **{where: tuple(arms)})


# --- audit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["users", "time", "prequential", "basket", "cold"])
def test_a_clean_split_passes(toy: ToyShop, protocol: str) -> None:
    split = split_of(toy, protocol)
    split.audit()
    assert split.arms


def test_a_test_user_in_training_is_found(toy: ToyShop) -> None:
    split = split_of(toy)
    first, second = split.arms[0].user_ids[:2]
    leaking = with_events(split, (second, "i0", 1), (first, "i1", 2))
    with pytest.raises(LeakageError, match=rf"^2 users of arm users/0 are in training, for example {first!r}\.$"):
        leaking.audit()


def test_an_event_after_the_cut_is_found(toy: ToyShop) -> None:
    split = split_of(toy, "time")
    assert split.until is not None
    with_events(split, ("u0", "i0", split.until - 1)).audit()
    with pytest.raises(LeakageError, match=f"^training holds events from {split.until:.15g} on, where its time is cut"):
        with_events(split, ("u0", "i0", split.until)).audit()
    with pytest.raises(LeakageError, match=r"asks for events before \d+, where training ends"):
        replace(split, until=split.until + 10**9).audit()


def later(arm: Arm) -> Arm:
    """The arm whose last user was told something of the very second that is asked."""
    support = arm.support
    times = support.timestamps.copy()
    times[-1] = arm.query.timestamps[arm.query.offsets[-2]]
    return replace(arm, support=replace(support, timestamps=times))


@pytest.mark.parametrize(("where", "which"), [("arms", "users/3"), ("validation", "users/1")])
def test_a_query_that_is_not_later_is_found(toy: ToyShop, where: str, which: str) -> None:
    number = [0, 1, 3].index(int(which[-1]))
    with pytest.raises(LeakageError, match=f"^arm {which} asks for events that are not later than what it tells"):
        with_arm(split_of(toy), number, later, where).audit()


def test_a_cold_item_in_training_is_found(toy: ToyShop) -> None:
    split = split_of(toy, "cold")
    assert split.cold_items is not None
    cold = toy.catalog.item_ids[int(np.flatnonzero(split.cold_items)[0])]
    with pytest.raises(LeakageError, match=r"^training holds events of items that are held out of it"):
        with_events(split, (split.train.user_ids[0], cold, 1)).audit()


def test_an_answer_in_training_is_found(toy: ToyShop) -> None:
    for protocol in ("cold", "time"):
        split = split_of(toy, protocol)
        arm = next(arm for arm in split.arms if not arm.strangers)
        warm = [
            row
            for row in range(arm.query.n_events)
            if split.cold_items is None or not split.cold_items[arm.query.item_rows[row]]
        ]
        asked = [
            (arm.user_ids[arm.query.user_rows[row]], toy.catalog.item_ids[arm.query.item_rows[row]], 1) for row in warm
        ]
        with pytest.raises(LeakageError, match=f"^2 events asked in arm {arm.name} are in training"):
            with_events(split, *asked[:2]).audit()
        # The same item is no leak where another known user takes it.
        other = next(user for user in split.train.user_ids if user not in arm.user_ids) if protocol == "cold" else None
        if other is not None:
            with_events(split, (other, asked[0][1], 1)).audit()


def test_validation_users_outside_training_are_found(toy: ToyShop) -> None:
    split = split_of(toy)
    with pytest.raises(LeakageError, match=r"^validation users must be training users"):
        replace(split, validation_users=(*split.validation_users, split.arms[0].user_ids[0])).audit()


def test_validation_arms_over_users_to_be_fitted_on_are_found(toy: ToyShop) -> None:
    split = split_of(toy)
    with pytest.raises(LeakageError, match=r"^validation arm users/0 asks users who are not set apart"):
        replace(split, validation_users=split.validation_users[1:]).audit()


def test_mixed_users_are_found(toy: ToyShop) -> None:
    split = split_of(toy)
    backwards = np.arange(len(split.arms[2]))[::-1]
    for change in (
        lambda arm: replace(arm, query=arm.query.of(backwards)),
        lambda arm: replace(arm, support=arm.support.of([0])),
        lambda arm: replace(arm, support=arm.support.of([0, 0]), query=arm.query.of([0, 0])),
    ):
        with pytest.raises(LeakageError, match=r"^arm users/3 mixes users"):
            with_arm(split, 2, change).audit()


# --- fingerprint -----------------------------------------------------------------------------------------------------


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame[np.random.default_rng(seed).permutation(frame.height)]


@pytest.mark.parametrize("protocol", ["users", "time", "prequential", "basket", "cold"])
def test_the_order_of_files_is_not_in_the_fingerprint(toy: ToyShop, protocol: str) -> None:
    events = Interactions.from_frame(shuffled(toy.events.frame, 1))
    catalog = Catalog.from_frame(shuffled(toy.catalog.frame, 2))
    one = split_of(toy, protocol)
    two = split_of(toy, protocol, events=events, catalog=catalog)
    assert one.fingerprint == two.fingerprint
    assert one.contents != two.contents  # lists are rows of the catalog


def with_row(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    changed = {name: [*frame[name][:row], value, *frame[name][row + 1 :]] for name, value in values.items()}
    return frame.with_columns(pl.Series(name, column, dtype=frame[name].dtype) for name, column in changed.items())


def test_the_fingerprint_knows_events_users_items_and_seeds(toy: ToyShop) -> None:
    frame = toy.events.frame
    asked, learned = (int(np.flatnonzero((frame["user_id"] == user).to_numpy())[-1]) for user in ("u0", "u1"))
    taken = frame.filter(pl.col("user_id").is_in(["u0", "u1"]))["item_id"].to_list()
    free = next(item for item in toy.catalog.item_ids if item not in taken)
    another = pl.DataFrame({"item_id": ["another"], "title": ["thing"]})
    frames = {
        "same": frame,
        "asked item": with_row(frame, asked, item_id=free),
        "asked time": with_row(frame, asked, timestamp=1_700_000_000),
        "learned item": with_row(frame, learned, item_id=free),
        "learned time": with_row(frame, learned, timestamp=1_700_000_000),
        "one event less": frame.filter(np.arange(frame.height) != learned),
    }
    users = ["u0", "u2", "u3"]
    made = {
        name: split_of(toy, test_users=users, events=Interactions.from_frame(changed))
        for name, changed in frames.items()
    }
    made["another test user"] = split_of(toy, test_users=["u0", "u2", "u4"])
    made["a test user less"] = split_of(toy, test_users=users[:2])
    made["seed"] = split_of(toy, test_users=users, seed=1)
    made["shots"] = split_of(toy, test_users=users, shots=(0, 1))
    made["protocol"] = split_of(toy, "basket", test_users=users)
    made["share"] = split_of(toy, test_users=users, share=0.5)
    catalog = Catalog.from_frame(pl.concat([toy.catalog.frame, another], how="diagonal"))
    made["one item more"] = split_of(toy, test_users=users, catalog=catalog)
    assert len({split.fingerprint for split in made.values()}) == len(made)
    assert split_of(toy, test_users=users[::-1]).fingerprint == made["same"].fingerprint


def test_the_contents_know_texts_and_ratings_too(toy: ToyShop) -> None:
    rated = toy.events.frame.with_columns(pl.lit(5.0).alias("rating"))
    told = int(np.flatnonzero((rated["user_id"] == "u0").to_numpy())[-5])  # of a test user
    plain = split_of(toy, test_users=["u0", "u2"], events=Interactions.from_frame(rated), shots=(0, 20))
    others = [
        split_of(
            toy,
            test_users=["u0", "u2"],
            events=Interactions.from_frame(with_row(rated, row, rating=4.0)),
            catalog=Catalog.from_frame(catalog),
            shots=(0, 20),
        )
        for row, catalog in ((told, toy.catalog.frame), (11, toy.catalog.frame))
    ]
    title = Catalog.from_frame(with_row(toy.catalog.frame, 0, title="new words"))
    others.append(
        split_of(toy, test_users=["u0", "u2"], events=Interactions.from_frame(rated), catalog=title, shots=(0, 20))
    )
    assert {split.fingerprint for split in others} == {plain.fingerprint}  # 4 and 5 are both liked
    assert len({split.contents for split in (plain, *others)}) == 4
    again = split_of(toy, test_users=["u0", "u2"], events=Interactions.from_frame(rated), shots=(0, 20))
    assert again.contents == plain.contents


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["users", "cold"])
def test_saved_files_say_what_the_split_says(toy: ToyShop, protocol: str, tmp_path: Path) -> None:
    split = split_of(toy, protocol)
    split.save(tmp_path / "deep" / "split")
    about = json.loads((tmp_path / "deep" / "split" / "split.json").read_text(encoding="utf-8"))
    items, train, support, query = (pd.read_csv(tmp_path / "deep" / "split" / f"{name}.csv.gz") for name in FILES)
    assert list(items.columns) == ["item_id", "cold"]
    assert list(train.columns) == ["user_id", "item_id", "timestamp", "signal", "part"]
    assert list(support.columns) == list(query.columns) == ["arm", "user_id", "item_id", "timestamp", "signal"]
    assert about["fingerprint"] == split.fingerprint
    assert about["format"] == "recllm-split-1"
    assert about["training users"] == train.user_id.nunique() == len(split.train.user_ids)
    assert about["training events"] == len(train) == len(split.train)
    assert set(train[train.part == "validation"].user_id) == set(split.validation_users)
    assert set(items.item_id) == set(toy.catalog.item_ids)
    cold = set(items[items.cold == 1].item_id)
    assert len(cold) == (7 if protocol == "cold" else 0)
    assert not cold & set(train.item_id)
    names = [arm["arm"] for arm in about["arms"]]
    wanted = [f"validation/{arm.name}" for arm in split.validation] + [f"test/{arm.name}" for arm in split.arms]
    assert names == wanted
    assert set(query.arm) == set(names)
    assert set(support.arm) == {arm["arm"] for arm in about["arms"] if arm["shots"]}
    for entry, arm in zip(about["arms"], (*split.validation, *split.arms), strict=True):
        asked, told = query[query.arm == entry["arm"]], support[support.arm == entry["arm"]]
        assert entry["users"] == asked.user_id.nunique() == len(arm)
        assert list(asked.user_id.unique()) == list(arm.user_ids)
        assert len(told) == arm.support.n_events
        assert told.groupby("user_id").size().max() <= entry["shots"] if len(told) else entry["shots"] == 0
        assert entry["strangers"] is arm.strangers
        assert entry["exclude_seen"] is arm.exclude_seen
        liked = asked[asked.signal > 0]
        within = {"all": liked, "cold": liked[liked.item_id.isin(cold)], "not cold": liked[~liked.item_id.isin(cold)]}
        assert len(within[entry["candidates"]]) == arm.asked(len(toy.catalog)).nnz


def test_saving_twice_gives_the_same_bytes(toy: ToyShop, tmp_path: Path) -> None:
    split_of(toy, "cold").save(tmp_path / "one")
    split_of(toy, "cold", events=Interactions.from_frame(shuffled(toy.events.frame, 5))).save(tmp_path / "two")
    split_of(toy).save(tmp_path / "two" / "other")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted([*(f"{name}.csv.gz" for name in FILES), "split.json"])
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert first == second
        assert first != (tmp_path / "two" / "other" / name).read_bytes()


def test_odd_ids_survive_the_files(toy: ToyShop, tmp_path: Path) -> None:
    odd = {"u0": 'a,"b"', "u1": "line\nbreak", "u2": "NA", "u3": "007", "u4": "🎁"}
    frame = toy.events.frame.with_columns(pl.col("user_id").replace(odd))
    split = split_of(toy, events=Interactions.from_frame(frame), test_users=list(odd.values()))
    split.save(tmp_path)
    query = pd.read_csv(tmp_path / "query.csv.gz", dtype=str, keep_default_na=False)
    assert set(query[query.arm == "test/users/0"].user_id) == set(odd.values())


def test_a_place_that_cannot_be_written_is_refused(toy: ToyShop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(DataError, match="cannot write the split to"):
        split_of(toy).save(tmp_path / "file")


# --- rehearsal -------------------------------------------------------------------------------------------------------


def test_new_items_are_rehearsed_with_items_that_training_knows(toy: ToyShop) -> None:
    split = split_of(toy, "cold")
    fitting, arms = split.rehearsal()
    known = set(split.fitting.item_rows(toy.catalog))
    held = np.flatnonzero(arms[0].candidates)
    assert len(held) == round(0.15 * len(known))
    assert set(held) <= known, "so no item that is asked for as new"
    assert set(fitting.item_rows(toy.catalog)) == known - set(held)
    assert set(fitting.user_ids) <= set(split.fitting.user_ids)
    for arm, validation in zip(arms, split.validation, strict=True):
        assert arm.candidates is arms[0].candidates
        assert arm.query is validation.query
    other, _ = replace(split, seed=split.seed + 1).rehearsal()
    assert set(other.item_rows(toy.catalog)) != set(fitting.item_rows(toy.catalog)), "which ones depends on the seed"
