"""Whose shard is which does not depend on machine, Python or company."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import ConfigError
from recllm.scale.shards import number_of_shards, part_name, shard_of, shards_of

GOLDEN = {"mia": 19, "3": 11, "": 20, "zoë": 37}
"""Among 64, from `printf mia | sha256sum`."""


@pytest.mark.parametrize("user", GOLDEN)
def test_the_shard_of_a_user_is_written_down(user: str) -> None:
    assert shard_of(user, 64) == GOLDEN[user]


@given(st.lists(st.text(st.characters(), max_size=8)), st.integers(1, 1_000_000))
def test_many_users_at_once_get_the_same(users: list[str], shards: int) -> None:
    found = shards_of(users, shards)
    assert found.dtype == np.int64
    assert found.tolist() == [shard_of(user, shards) for user in users]


def test_shards_are_of_one_size() -> None:
    sizes = np.bincount(shards_of(map(str, range(20_000)), 16), minlength=16)
    assert sizes.min() > 0.9 * 20_000 / 16
    assert sizes.max() < 1.1 * 20_000 / 16


def test_twice_the_shards_split_each_in_two() -> None:
    users = [str(user) for user in range(500)]
    assert (shards_of(users, 128) % 64 == shards_of(users, 64)).all()


def test_another_python_with_another_hash_seed_agrees() -> None:
    code = "from recllm.scale.shards import shard_of; print(shard_of('mia', 64))"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == GOLDEN["mia"]


@pytest.mark.parametrize("number", [0, -1, 2_000_000, 1.5, "x", None])
def test_a_number_that_is_none_is_refused(number: object) -> None:
    with pytest.raises(ConfigError, match="shards"):
        number_of_shards(number)  # type: ignore[arg-type]


def test_names_sort_as_numbers_do() -> None:
    assert part_name(2, 64, "parquet") == "part-000002-of-000064.parquet" < part_name(10, 64, "parquet")
