"""Jobs over shards: one file for each, the same bytes whoever made them, and what is missing or damaged is made."""

import hashlib
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm import scale
from recllm.errors import AdapterMismatch, ArtifactError, ConfigError, DataError
from recllm.recommender import Recommender
from recllm.scale.manifest import Manifest
from recllm.scale.sources import Named
from recllm.scale.work import Shard, Work
from recllm.testing import ToyShop
from tests.scale.here import Here
from tests.scale.test_executor import needs_ray
from tests.small import config_for

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 5


@pytest.fixture(scope="module")
def rec(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events)


@pytest.fixture(scope="module")
def model(rec: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    rec.save(folder)
    return folder


@pytest.fixture(scope="module")
def lists(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "lists"
    scale.recommend(model, folder, executor=Here(), shards=SHARDS)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def name(number: int, ending: str = "parquet") -> str:
    return f"part-{number:06d}-of-{SHARDS:06d}.{ending}"


# --- what is made ------------------------------------------------------------------------------------------------


def test_each_user_is_in_one_file_with_the_list_that_is_served(rec: Recommender, lists: Path) -> None:
    assert sorted(digests(lists)) == ["manifest.json", *(name(number) for number in range(SHARDS))]
    made, served = read(lists), rec.recommend(rec.user_ids).to_polars()
    assert made.schema == served.schema
    keys = ["user_id", "rank"]
    assert made.drop("score").sort(keys).equals(served.drop("score").sort(keys))
    assert (made.sort(keys)["score"] - served.sort(keys)["score"]).abs().max() < 1e-4


def test_the_job_says_what_it_made_and_how_far_it_is(model: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    done = scale.recommend(
        model,
        tmp_path,
        n=3,
        executor=Here(),
        shards=SHARDS,
        progress=lambda what, at, of, note="": seen.append((what, at, of)),
    )
    assert (done.users, done.rows, done.kept, dict(done.failed)) == (80, 240, 0, {})
    assert done.files == tuple(name(number) for number in range(SHARDS))
    assert seen == [("recommend", at, SHARDS) for at in range(1, SHARDS + 1)]


def test_workers_of_their_own_make_the_same_bytes(model: Path, lists: Path, tmp_path: Path) -> None:
    scale.recommend(str(model), str(tmp_path / "two"), executor="local:2", shards=SHARDS)
    assert digests(tmp_path / "two") == digests(lists)


@pytest.mark.slow
@needs_ray
def test_ray_makes_the_same_bytes(model: Path, lists: Path, tmp_path: Path) -> None:
    with scale.open_executor("ray:2") as ray:
        scale.recommend(model, tmp_path / "lists", executor=ray, shards=SHARDS)
        for job in (scale.explain, scale.adapt):
            one, other = tmp_path / f"{job.__name__}-here", tmp_path / f"{job.__name__}-ray"
            for folder, executor in ((one, Here()), (other, ray)):
                job(model, folder, ["u1", "u2", "u3"], executor=executor, shards=2)  # type: ignore[operator]
            assert digests(one) == digests(other)
    assert digests(tmp_path / "lists") == digests(lists)


def test_reasons_can_be_verified_from_their_files(rec: Recommender, model: Path, lists: Path, tmp_path: Path) -> None:
    whom = ["u1", "u2", "nobody"]
    scale.explain(model, tmp_path / "reasons", whom, n=2, executor=Here(), shards=2)
    scale.recommend(model, tmp_path / "lists", whom, n=2, explain=True, executor=Here(), shards=2)
    for folder in ("reasons", "lists"):
        rows = read(tmp_path / folder).to_dicts()
        assert len(rows) == 6
        row = rows[0] | {key: json.loads(rows[0][key]) for key in ("evidence", "proof")}
        assert rec.verify_explanation(row).passed
        assert not rec.verify_explanation(row | {"explanation": "because we say so"}).passed


def test_the_items_of_finished_lists_are_explained(model: Path, tmp_path: Path) -> None:
    whom = [f"u{number}" for number in range(6)]
    scale.recommend(model, tmp_path / "lists", whom, n=2, diversity=0.9, executor=Here(), shards=SHARDS)
    scale.explain(model, tmp_path / "reasons", whom, lists=tmp_path / "lists", executor=Here(), shards=SHARDS)
    pairs = [
        read(tmp_path / folder).select("user_id", "item_id").sort("user_id", "item_id")
        for folder in ("lists", "reasons")
    ]
    assert pairs[0].equals(pairs[1])
    schemas = {tuple(pl.read_parquet(path).schema.items()) for path in (tmp_path / "reasons").glob("*.parquet")}
    assert len(schemas) == 1, "an empty shard has the columns of the others"


def test_adapters_are_made_and_used_shard_by_shard(rec: Recommender, model: Path, tmp_path: Path) -> None:
    events = {"new": ["i0", "i1"], "u3": ["i5"], "other": ["i20"]}
    scale.adapt(model, tmp_path / "adapters", events, steps=2, executor=Here(), shards=SHARDS)
    parts = [recllm.Adapters.load(path, rec) for path in sorted((tmp_path / "adapters").glob("*.safetensors"))]
    assert sorted(user for part in parts for user in part.user_ids) == sorted(events)
    asked: Any = {"executor": Here(), "shards": SHARDS, "adapters": tmp_path / "adapters"}
    scale.recommend(model, tmp_path / "lists", list(events), **asked)
    served = rec.recommend(list(events), adapters=rec.adapt(events, steps=2)).to_polars().sort("user_id", "rank")
    plain = rec.recommend(events).to_polars().sort("user_id", "rank")
    made = read(tmp_path / "lists").sort("user_id", "rank")
    assert made["item_id"].equals(served["item_id"])
    assert (made["score"] - served["score"]).abs().max() < 0.01 < (made["score"] - plain["score"]).abs().max()


def test_rules_and_wishes_reach_the_lists(rec: Recommender, model: Path, tmp_path: Path) -> None:
    asked: Any = {"n": 4, "wishes": [recllm.Wish("never", "toys")], "pinned": ["i3"], "exclude": ["i4"]}
    scale.recommend(model, tmp_path / "lists", ["u1"], executor=Here(), shards=1, **asked)
    assert (
        read(tmp_path / "lists")["item_id"].to_list() == rec.recommend("u1", **asked).to_polars()["item_id"].to_list()
    )


def test_a_divided_log_is_read_part_by_part(rec: Recommender, model: Path, tmp_path: Path, toy: ToyShop) -> None:
    toy.events.frame.write_parquet(tmp_path / "log.parquet")
    events = scale.write_partitioned(tmp_path / "log.parquet", tmp_path / "events", partitions=3)
    asked: Any = {"n": 4, "executor": Here()}
    assert len(scale.recommend(model, tmp_path / "lists", events, **asked).files) == 3
    made, served = read(tmp_path / "lists"), rec.recommend(toy.events, 4).to_polars()
    assert made.sort("user_id", "rank")["item_id"].equals(served.sort("user_id", "rank")["item_id"])
    with pytest.raises(ConfigError, match="the events are in 3 parts"):
        scale.recommend(model, tmp_path / "four", events, shards=4, **asked)
    (tmp_path / "events" / events.parts[1].name).write_bytes(b"")
    with pytest.warns(UserWarning, match=f"could not be made: .*events/{events.parts[1].name} is damaged"):
        done = scale.recommend(model, tmp_path / "others", events, **asked)
    assert (len(done.files), list(done.failed)) == (2, [events.parts[1].name])


def test_what_lists_leave_out_is_told_once(model: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="unknown items only|of this kind") as told:
        scale.recommend(model, tmp_path, {str(user): [f"gone-{user}"] for user in range(30)}, executor=Here(), shards=8)
    notes = [str(one.message) for one in told]
    assert all("unknown items only" in note for note in notes[:3])
    assert notes[3:] == ["… and 4 more of this kind"]


# --- going on ----------------------------------------------------------------------------------------------------


def copied(lists: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lists, tmp_path / "copy"))


def go_on(model: Path, folder: Path, executor: Here, **asked: Any) -> scale.Finished:
    return scale.recommend(model, folder, **({"shards": SHARDS} | asked), executor=executor)


def test_what_is_finished_is_not_made_again(model: Path, lists: Path, tmp_path: Path) -> None:
    folder, executor = copied(lists, tmp_path), Here()
    assert go_on(model, folder, executor).kept == SHARDS
    assert executor.done == []


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")])
def test_a_damaged_shard_is_named_and_made_again(
    model: Path, lists: Path, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    folder, executor = copied(lists, tmp_path), Here()
    damage(folder / name(2))
    with pytest.warns(UserWarning, match=rf"{name(2)} was damaged, and has been made again"):
        done = go_on(model, folder, executor)
    assert (executor.done, done.kept) == ([2], SHARDS - 1)
    assert digests(folder) == digests(lists)


def test_a_stopped_job_goes_on(model: Path, lists: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(what: str, done: float, of: float, note: str = "") -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        go_on(model, tmp_path / "copy", Here(), progress=stop)
    executor = Here()
    assert go_on(model, tmp_path / "copy", executor).kept == 2
    assert executor.done == [2, 3, 4]
    assert digests(tmp_path / "copy") == digests(lists)


@pytest.mark.parametrize(
    ("other", "said"),
    [({"n": 3}, "another request"), ({"shards": 4}, "another shards"), ({"users": ["u1"]}, "another users")],
)
def test_another_request_is_refused(model: Path, lists: Path, other: dict[str, Any], said: str) -> None:
    before, executor = digests(lists), Here()
    with pytest.raises(ArtifactError, match=said):
        go_on(model, lists, executor, **other)
    assert (digests(lists), executor.done) == (before, [])


def test_another_model_is_refused(rec: Recommender, lists: Path, tmp_path: Path, toy: ToyShop) -> None:
    other = Recommender.of(rec.fitted).update({"u1": ["i0"]})
    other.save(tmp_path / "model")
    with pytest.raises(ArtifactError, match="another model"):
        go_on(tmp_path / "model", lists, Here())


def test_a_model_that_changes_under_a_job_is_refused(model: Path, tmp_path: Path) -> None:
    work = Work("recommend", str(model), "0" * 64, str(tmp_path), 1, Named(), {"n": 3})
    with pytest.raises(ArtifactError, match="has changed since this job began"):
        work(Shard(0, "part"))


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_shard_that_no_worker_survives_is_named_and_the_rest_goes_on(
    model: Path, lists: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    with pytest.warns(UserWarning, match="could not be made: its worker died") as told:
        done = go_on(model, folder, Here(dying=[1, 3]))
    assert [name(1) in str(told[0].message), name(3) in str(told[1].message)] == [True, True]
    assert set(done.failed) == {name(1), name(3)}
    assert len(done.files) == 3
    assert not go_on(model, folder, Here()).failed
    assert digests(folder) == digests(lists)


def test_a_shard_whose_input_is_damaged_is_named_and_the_rest_goes_on(model: Path, tmp_path: Path) -> None:
    whom: Any = {"executor": Here(), "shards": SHARDS}
    scale.adapt(model, tmp_path / "adapters", **whom)
    (tmp_path / "adapters" / name(4, "safetensors")).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="could not be made: .* is damaged"):
        done = scale.recommend(model, tmp_path / "lists", adapters=tmp_path / "adapters", **whom)
    assert set(done.failed) == {name(4)}
    assert len(done.files) == SHARDS - 1


def test_what_is_wrong_with_all_is_no_damaged_shard(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="colour"):
        scale.recommend(model, tmp_path, filters={"colour": "red"}, executor=Here(), shards=SHARDS)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"n": 0}, ConfigError, "n"),
        ({"colour": 1}, ConfigError, "'colour' cannot be asked of many users; what can is adapt, "),
        ({"shards": 0}, ConfigError, "shards"),
        ({"executor": "moon"}, ConfigError, "is no place to work"),
        ({"executor": 3}, ConfigError, "executor is an address, such as 'local:4'"),
        ({"users": 3.5j}, DataError, "users"),
        ({"adapters": "nowhere"}, ArtifactError, "nowhere holds no shards"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    model: Path, tmp_path: Path, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        scale.recommend(model, tmp_path / "lists", **({"executor": Here()} | asked))
    assert not list(tmp_path.glob("lists/*.parquet"))


def test_other_folders_have_to_fit(model: Path, lists: Path, rec: Recommender, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="give a folder that 'adapt' made in 5"):
        scale.recommend(model, tmp_path / "x", adapters=lists, executor=Here(), shards=SHARDS)
    with pytest.raises(ArtifactError, match="give a folder that 'recommend' made in 4"):
        scale.explain(model, tmp_path / "x", lists=lists, executor=Here(), shards=4)
    Recommender.of(rec.fitted).update({"u1": ["i0"]}).save(tmp_path / "model")
    with pytest.raises(AdapterMismatch, match="another model"):
        scale.explain(tmp_path / "model", tmp_path / "x", lists=lists, executor=Here(), shards=SHARDS)
    with pytest.raises(ConfigError, match="name of a language model"):
        scale.explain(model, tmp_path / "x", generator=object(), executor=Here())
    with pytest.raises(ArtifactError, match="is not a folder saved by recllm"):
        scale.recommend(tmp_path / "nowhere", tmp_path / "x", executor=Here())


# --- killed ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(
    model: Path, lists: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def kill(what: str, done: float, of: float, note: str = "") -> None:
        if done == 1:
            multiprocessing.active_children()[0].kill()

    done = scale.recommend(model, tmp_path / "lists", executor="local:1", shards=SHARDS, progress=kill)
    assert not done.failed
    assert "ended by signal 9 (SIGKILL); the shard is done again (1 of 3)" in caplog.text
    assert digests(tmp_path / "lists") == digests(lists)


DRIVER = """
import sys, time
from recllm import scale
if __name__ == "__main__":
    wait = lambda *_: time.sleep(1)
    scale.recommend(sys.argv[1], sys.argv[2], executor="local:2", shards=int(sys.argv[3]), progress=wait)
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_what_the_next_goes_on_from(model: Path, lists: Path, tmp_path: Path) -> None:
    folder, end = tmp_path / "lists", time.monotonic() + 60
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(model), str(folder), str(SHARDS)], cwd=ROOT)
    while not (folder / "manifest.json").exists() or not Manifest.read(folder).parts:  # files alone are made again
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    executor = Here()
    assert go_on(model, folder, executor).kept >= 1
    assert 0 < len(executor.done) < SHARDS
    assert digests(folder) == digests(lists)
