"""Who was trained on: hashes that know their users and tell nobody."""

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.interactions import Interactions
from recllm.data.trained import HASH_BYTES, TrainedOn
from recllm.errors import DataError


def log_of(*events: tuple[str, str, int]) -> Interactions:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    return Interactions.from_frame(pl.DataFrame(events, schema=schema, orient="row"))


LOG = log_of(("ann", "a", 5), ("bob", "a", 9), ("ann", "b", 7))


def test_it_knows_users_and_the_newest_event() -> None:
    trained = TrainedOn.of(LOG)
    assert trained.includes(["ann", "cat", "bob", "Ann", "ann "]).tolist() == [True, False, True, False, False]
    assert trained.until == 9
    assert trained.includes([]).tolist() == []
    assert trained.includes([]).dtype == np.bool_


def test_the_newest_event_is_known_to_the_millisecond() -> None:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Float64}
    rows = [("ann", "a", 5.25), ("bob", "a", 9.125)]
    assert TrainedOn.of(Interactions.from_frame(pl.DataFrame(rows, schema=schema, orient="row"))).until == 9.125


def test_users_without_events_were_not_trained_on() -> None:
    trained = TrainedOn.of(LOG.of_users(["bob", "dan"]))
    assert trained.includes(["ann", "bob", "dan"]).tolist() == [False, True, False]


def test_nobody() -> None:
    trained = TrainedOn.of(Interactions.from_mapping({}))
    assert trained.users.shape == (0, HASH_BYTES)
    assert trained.until == 0
    assert trained.includes(["ann"]).tolist() == [False]


def test_it_holds_sorted_hashes_and_not_the_order_of_the_log() -> None:
    users = TrainedOn.of(LOG).users
    assert users.shape == (2, HASH_BYTES)
    assert users.dtype == np.uint8
    hashes = [row.tobytes() for row in users]
    assert hashes == sorted(hashlib.sha256(user).digest()[:HASH_BYTES] for user in (b"ann", b"bob"))
    np.testing.assert_array_equal(users, TrainedOn.of(LOG.select(np.array([1, 2, 0]))).users)


def test_it_can_be_made_of_what_was_saved() -> None:
    trained = TrainedOn.of(LOG)
    again = TrainedOn(np.array(trained.users.tolist(), dtype=np.uint8), trained.until)
    assert again.includes(["bob", "cat"]).tolist() == [True, False]


def test_numbers_are_ids_and_a_name_is_no_list() -> None:
    trained = TrainedOn.of(Interactions.from_frame(pl.DataFrame({"user_id": [1, 2], "item_id": ["a", "b"]})))
    assert trained.includes([1, 2.0, 3, "1"]).tolist() == [True, True, False, True]  # type: ignore[list-item]
    with pytest.raises(DataError, match="ann"):
        trained.includes("ann")


@given(users=st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=20))
def test_any_id_is_told_apart(users: set[str]) -> None:
    first, *rest = sorted(users)
    trained = TrainedOn.of(log_of(*((user, "a", 1) for user in rest)))
    assert not trained.includes([first]).any()
    assert trained.includes(rest).all()
