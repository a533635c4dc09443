"""Commands that are spread over workers."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm.recommender import Recommender
from tests.cli.command_line import refuses, run, told
from tests.scale.here import Here

SPREAD = ("--model", "model", "--executor", "local:3", "--shards", "4")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where work was spread to; it is done here."""
    addresses: list[str] = []

    def open_here(address: str) -> Here:
        addresses.append(address)
        return Here()

    monkeypatch.setattr("recllm.scale.executor.open_executor", open_here)
    return addresses


def test_lists_of_all_are_files(rec: Recommender, here: Path, asked: list[str]) -> None:
    facts = told("recommend", *SPREAD, "--out", "lists", "-n", "3", "--wish", "never of toys", "--filter", "price=..6")
    assert facts == {"lists": "lists", "users": 80, "rows": 240, "files": 4, "kept": 0, "failed": {}}
    wanted = rec.recommend(rec.user_ids, n=3, wishes=["never of toys"], filters={"price": (None, "6")}).to_polars()
    keys = ["user_id", "rank"]
    assert pl.read_parquet("lists/*.parquet").sort(keys)["item_id"].equals(wanted.sort(keys)["item_id"])
    assert asked == ["local:3"]
    again = run("recommend", *SPREAD, "--out", "lists", "-n", "3", "--wish", "never of toys", "--filter", "price=..6")
    assert "lists: 240 rows, 80 users, 4 files, 4 of them made before: " in again.stdout
    refuses(run("recommend", *SPREAD, "--out", "lists", "-n", "4"), "another request")


def test_users_are_named_as_elsewhere(rec: Recommender, here: Path, asked: list[str]) -> None:
    told("recommend", *SPREAD, "--out", "lists", "--events", "new.csv", "--user", "mia")
    assert set(pl.read_parquet("lists/*.parquet")["user_id"]) == {"mia"}
    told("explain", *SPREAD, "--out", "reasons", "--user", "u3", "-n", "2", "--audience", "owner")
    assert pl.read_parquet("reasons/*.parquet")["explanation"].null_count() == 0
    absent = run("recommend", *SPREAD, "--out", "x", "--events", "new.csv", "--user", "zoe")
    refuses(absent, "--user 'zoe'", "no events of such a user")


def test_a_folder_of_events_is_read_part_by_part(rec: Recommender, here: Path, asked: list[str]) -> None:
    recllm.scale.write_partitioned("events.csv", "divided", partitions=2)
    facts = told("recommend", "--model", "model", "--executor", "local", "--out", "lists", "--events", "divided")
    assert (facts["files"], facts["users"]) == (2, 80)
    refuses(run("recommend", *SPREAD, "--out", "x", "--events", "divided", "--user", "u1"), "--user has no place")


def test_adapters_are_made_and_used(rec: Recommender, here: Path, asked: list[str]) -> None:
    whom = ("--events", "new.csv")
    assert told("adapt", *SPREAD, "--out", "adapters", *whom)["users"] == 2
    told("recommend", *SPREAD, "--out", "lists", *whom, "--adapters", "adapters", "--candidates", "items.csv")
    assert pl.read_parquet("lists/*.parquet").height == 20
    refuses(run("recommend", *SPREAD, "--out", "y", "--adapters", "lists"), "give a folder that 'adapt' made in 4")


@pytest.mark.filterwarnings("always:.*could not be made")
def test_a_shard_that_cannot_be_made_is_in_the_exit_code(
    rec: Recommender, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recllm.scale.executor.open_executor", lambda address: Here(dying=[2]))
    result = run("recommend", *SPREAD, "--out", "lists")
    assert result.exit_code == 1
    assert "part-000002-of-000004.parquet could not be made: its worker died." in result.stderr
    assert "Error: 1 of 4 shards could not be made; run this again for them." in result.stderr
    assert len(list(here.glob("lists/*.parquet"))) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recommend", "--user", "u1", "--out", "lists"), "give --executor local, too"),
        (("recommend", "--executor", "local"), "--out FOLDER"),
        (
            ("recommend", "--executor", "local", "--out", "lists", "--preview"),
            "--preview has no place beside --executor",
        ),
        (("explain", "--executor", "local", "--out", "lists", "--item", "i1"), "--item has no place"),
        (("adapt", "--executor", "local", "--out", "lists", "--adapters", "a"), "--adapters has no place"),
        (("recommend", "--executor", "moon", "--out", "lists"), "executor 'moon' is no place to work"),
        (("evaluate", "--items", "items.csv", "--events", "events.csv", "--executor", "moon"), "'moon' is no place"),
    ],
)
def test_what_does_not_go_together_is_refused(here: Path, arguments: tuple[str, ...], said: str) -> None:
    model = () if arguments[0] == "evaluate" else ("--model", "model")
    refuses(run(*arguments, *model), said)


def test_evaluate_passes_its_workers_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def evaluate(*_: Any, **options: Any) -> Any:
        given.update(options)
        raise recllm.DataError("enough")

    workers = Here()
    monkeypatch.setitem(vars(recllm), "evaluate", evaluate)
    monkeypatch.setattr("recllm.scale.open_executor", lambda address: workers, raising=False)
    refuses(run("evaluate", "--items", "items.csv", "--events", "events.csv", "--executor", "local:2"), "enough")
    assert given["executor"] is workers
