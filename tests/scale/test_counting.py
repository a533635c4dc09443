"""A divided log, counted part by part in other processes, is the whole log counted at once, to the last bit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.counts import apart
from recllm.counts.apart import count_apart, keep, sum_of
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback, Tallies
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.errors import ArtifactError, DataError
from recllm.resources import demo_folder
from recllm.scale.counting import count_events
from recllm.scale.events import PartitionedEvents, write_partitioned
from recllm.scale.executor import open_executor
from tests.workers import Here

ITEMS = 6

events = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(-1, 1)), max_size=6, unique_by=lambda one: one[0])


def people(log: Sequence[Sequence[tuple[int, int]]]) -> Histories:
    rows = np.array([event for user in log for event in user], dtype=np.int64).reshape(-1, 2)
    lengths = [len(user) for user in log]
    times = np.concatenate([np.zeros(0), *(np.arange(length) for length in lengths)])
    nothing = np.zeros(len(rows), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(tuple(map(str, range(len(log)))), offsets, rows[:, 0], times, rows[:, 1].astype(np.int8), nothing)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(events, max_size=4), min_size=1, max_size=5), st.integers(1, 12))
def test_the_sum_of_files_is_the_count_of_all(
    tmp_path_factory: pytest.TempPathFactory, parts: list, at_once: int
) -> None:
    folder = tmp_path_factory.mktemp("counts")
    paths = []
    for number, log in enumerate(parts):
        paths.append(folder / f"{number}.safetensors")
        keep(Counts.of(people(log), ITEMS, 2.0), paths[-1])
    whole = Counts.of(people([user for log in parts for user in log]), ITEMS, 2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "AT_ONCE", at_once)
        found = sum_of(paths, ITEMS)
    mine, theirs = whole.tensors(), found.tensors()
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name])
    assert found.digest() == whole.digest()


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([None, 0.0, 1.0, 3.5, 7.0, 40.0]), st.sampled_from([None, "a", "b"]))),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 60),
)
def test_what_ratings_mean_is_told_by_the_tallies_of_parts(parts: list, often: int) -> None:
    schema = {"rating": pl.Float32, "event": pl.String}
    frames = [pl.DataFrame(part * often, schema=schema, orient="row") for part in parts]
    tallies = sum(map(Tallies.of, frames[1:]), Tallies.of(frames[0]))
    assert Feedback.of_tallies(tallies) == Feedback.infer(pl.concat(frames))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the shop that is shipped."""
    path = tmp_path_factory.mktemp("log") / "events.parquet"
    pl.read_parquet(demo_folder() / "interactions.parquet").sample(20_000, seed=0).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def divided(log: Path, tmp_path_factory: pytest.TempPathFactory) -> PartitionedEvents:
    return write_partitioned(log, tmp_path_factory.mktemp("shop") / "events", 3)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.read(demo_folder() / "items.csv.gz")


def test_a_divided_shop(divided: PartitionedEvents, log: Path, catalog: Catalog) -> None:
    events = Interactions.read(log).known_items(catalog)
    feedback = Feedback.infer(events.frame)
    histories = make_histories(events, catalog, feedback)
    whole = Counts.of(histories, len(catalog), resolution_of(histories.timestamps))
    said: list[tuple[str, float, float]] = []
    found = count_events(
        divided, catalog, Here(), progress=lambda stage, done, total, note="": said.append((stage, done, total))
    )
    assert found.feedback == feedback
    assert found.counts.digest() == whole.digest()
    assert said[-1] == ("shards", 3, 3)
    assert {path.name for path in divided.folder.parent.iterdir()} == {"events"}


@pytest.mark.slow
def test_so_it_is_in_processes_of_their_own(divided: PartitionedEvents, catalog: Catalog) -> None:
    with open_executor("local:2") as workers:
        assert (
            count_events(divided, catalog, workers).counts.digest()
            == count_events(divided, catalog, Here()).counts.digest()
        )


def test_the_events_of_a_fit_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    log = [[(int(item), int(chance.integers(-1, 2))) for item in chance.permutation(ITEMS)[:4]] for _ in range(30)]
    histories, workers = people([*log, []]), Here(3)
    assert count_apart(histories, ITEMS, 2.0, workers).digest() == Counts.of(histories, ITEMS, 2.0).digest()
    assert not workers.shards  # so few events are counted before others have started
    monkeypatch.setattr(apart, "WORTH_SHARING", 1)
    assert count_apart(histories, ITEMS, 2.0, workers).digest() == Counts.of(histories, ITEMS, 2.0).digest()
    assert len(workers.shards) == 6
    assert count_apart(Histories.empty(2), ITEMS, 2.0, workers).events == 0


def test_damage_and_strangers_are_named(divided: PartitionedEvents, tmp_path: Path) -> None:
    workers = Here()
    with pytest.raises(DataError, match="same item ids"):
        count_events(divided, Catalog.from_frame(pl.DataFrame({"item_id": ["nothing"]})), workers)
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\n" + "".join(f"u{n},{n % 2}\n" for n in range(9)), encoding="utf-8")
    other = write_partitioned(log, tmp_path / "events", 2)
    (other.folder / other.parts[1].name).write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=other.parts[1].name):
        count_events(other, Catalog.from_frame(pl.DataFrame({"item_id": ["0", "1"]})), workers)
    damaged = tmp_path / "counts.safetensors"
    damaged.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="count that part again"):
        sum_of([damaged], 2)
