"""A log that is cleaned in pieces is the log that is cleaned whole: every cell, every count, every sentence."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recllm.data.interactions import Interactions
from recllm.errors import ArtifactError, ConfigError, DataError
from recllm.resources import demo_folder
from recllm.scale.events import PartitionedEvents, dividing, staged, texts, write_partitioned
from recllm.scale.shards import shard_of

AS_USUAL = """user_id,item_id,timestamp,rating,event,shop
a,1,2024-01-02,4,view,x
b,2,2024-01-03,,buy,y
a,1,2024-01-02,4,view,x
,2,2024-01-03,1,view,x
a,3,yesterday,2,view,x
c,4,1970-01-01,nan,view,
a,5,2024-05-01,x,view,x
"""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, so that a short log has many."""
    monkeypatch.setattr(staged, "SMALL", 0)
    monkeypatch.setattr(staged, "ROWS", 3)
    monkeypatch.setattr(texts, "BLOCK", 60)
    monkeypatch.setattr(texts, "FIRST", 130)
    monkeypatch.setattr(texts, "ROWS", 2)


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Path]:
    """Folders that are not there yet."""
    made: list[Path] = []

    def fresh() -> Path:
        made.append(tmp_path / f"place-{len(made)}" / "events")
        return made[-1]

    return fresh


def same(source: object, folder: Path, partitions: int = 3, **arguments: object) -> PartitionedEvents:
    """Divide and compare with what is read whole."""
    whole = Interactions.read(source, **arguments)  # type: ignore[arg-type]
    found = write_partitioned(source, folder, partitions, **arguments)  # type: ignore[arg-type]
    equal(found, whole)
    equal(PartitionedEvents.open(folder), whole)
    return found


def equal(found: PartitionedEvents, whole: Interactions) -> None:
    again = found.whole()
    assert again.frame.equals(whole.frame)
    assert again.frame.schema == whole.frame.schema
    assert again.user_ids == whole.user_ids
    assert again.timed == whole.timed
    assert found.report.to_dict() == whole.report.to_dict()
    assert str(found.report) == str(whole.report)
    parts = list(found)
    assert sum(map(len, parts)) == len(found) == len(whole)
    assert sum(len(part.user_ids) for part in parts) == found.users == len(whole.user_ids)
    for number, part in enumerate(parts):
        assert {shard_of(user, len(parts)) for user in part.user_ids} <= {number}
        assert part.frame.equals(whole.of_users(part.user_ids).frame) or set(part.user_ids) == set(
            whole.of_users(part.user_ids).user_ids
        )


@pytest.mark.parametrize(
    "text",
    [
        AS_USUAL,
        AS_USUAL.replace(",", "\t"),
        AS_USUAL.replace(",", " ; "),
        AS_USUAL + "a,6\n" + AS_USUAL.split("\n", 1)[1],
        AS_USUAL + 'd,"7\n,8",2024-01-02,4,"say ""x""",y\n' + "e,9,2024-03-01,4,view,x\n",
        AS_USUAL + 'd,7" wide,2024-01-02,4,view,y\n',
        AS_USUAL.replace("2024-01-02", "13/01/2024").replace("2024-01-03", "01/02/2024"),
        AS_USUAL.replace("2024-01-02", "20240102").replace("2024-01-03", "20240103").replace("yesterday", "20241301"),
        AS_USUAL.replace("timestamp", "something"),
        AS_USUAL.replace("timestamp", "x").replace("2024-01-0", "").replace("1970-01-01", "").replace("2024-", ""),
        AS_USUAL.replace("2024-01-02", "  17  ").replace("2024-01-03", "1e2").replace("x\n", "1,5\n".replace(",", ".")),
        AS_USUAL.replace("b,2", "\udcff".encode("utf-8", "surrogatepass").decode("latin-1") + ",2"),
        "user_id,item_id,timestamp\n" + "".join(f"u{n % 3},{n},{n}\n" for n in range(12)),
        "sep=;\n" + AS_USUAL.replace(",", ";"),
        "\ufeff" + AS_USUAL,
    ],
)
def test_texts_of_all_kinds(text: str, tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    same(path, place())
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    same(packed, place(), 1)


def test_bytes_that_are_no_text(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(
        AS_USUAL.encode().replace(b"yesterday", b"2024-01-09").replace(b"b,2", b"b\xff,2") + b"z,1,1e9,1,\xff,x\n"
    )
    same(path, place())
    path.write_bytes(AS_USUAL.replace("view", "zurück").encode("cp1252"))
    same(path, place(), encoding="cp1252")


def test_files_without_a_header_and_of_movielens(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text("".join(f"{n % 4}::{n}::{n % 5 + 1}::{978300760 + n}\n" for n in range(20)), encoding="utf-8")
    same(path, place(), columns=["user_id", "item_id", "rating", "timestamp"])
    same(path, place(), columns=["user_id", "item_id", None, "timestamp"])


def test_json_lines(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"user_id": f"u{n % 3}", "item_id": n % 4, "timestamp": 1e9 + n, "list": ["a"] * (n % 2)} for n in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no\n", encoding="utf-8")
    same(path, place())
    rows.append({"user_id": "u9", "item_id": "x", "timestamp": None, "late": True})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    same(path, place())
    path.write_text(json.dumps(rows), encoding="utf-8")
    same(path, place())


cells = st.one_of(st.none(), st.sampled_from(["", "1", "2.5", "n/a", " x ", "2024-01-31", 'a"b', "a,b", "true", "é"]))
rows = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), cells, cells, cells, cells), min_size=1, max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(given_rows=rows, kind=st.sampled_from(["csv", "parquet", "jsonl"]), partitions=st.integers(1, 4))
def test_any_frame(given_rows: list, kind: str, partitions: int, tmp_path: Path) -> None:
    names = ["user_id", "item_id", "timestamp", "rating", "extra"]
    frame = pl.DataFrame(given_rows, schema=dict.fromkeys(names, pl.String), orient="row")
    path, folder = tmp_path / f"log.{kind}", tmp_path / "divided"
    shutil.rmtree(folder, ignore_errors=True)
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[kind](path)
    if (why := refusal(Interactions.read, path)) is None:
        equal(write_partitioned(path, folder, partitions), Interactions.read(path))
    else:
        assert refusal(write_partitioned, path, folder, partitions) == why
        assert {one.name for one in tmp_path.iterdir()} <= {"log.csv", "log.parquet", "log.jsonl"}


def refusal(read: Callable[..., object], *arguments: object) -> str | None:
    """The sentence with which a log is refused, if it is."""
    try:
        read(*arguments)
    except DataError as error:
        return str(error)
    return None


def test_types_of_parquet_and_files_of_a_folder(tmp_path: Path, place: Callable[[], Path]) -> None:
    count = 8
    frame = pl.DataFrame(
        {
            "user_id": [n % 3 for n in range(count)],
            "item_id": [float(n % 5) for n in range(count)],
            "timestamp": pl.Series(np.arange(count) * 10**9 + 1.7e18, dtype=pl.Int64).cast(pl.Datetime("ns")),
            "event": pl.Series(["view", "buy"] * 4, dtype=pl.Categorical),
            "price": pl.Series(range(count), dtype=pl.Decimal(10, 2)),
            "tags": [["a", "b"]] * count,
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    same(tmp_path / "log.parquet", place())
    for number, part in enumerate((frame, frame.with_columns(pl.col("user_id").cast(pl.String)))):
        folder = tmp_path / "logs" / f"day={number}"
        folder.mkdir(parents=True)
        part.write_parquet(folder / "part.parquet")
    same(tmp_path / "logs", place())
    same(str(tmp_path / "logs" / "*" / "*.parquet"), place())


def test_the_shipped_shop(monkeypatch: pytest.MonkeyPatch, place: Callable[[], Path]) -> None:
    monkeypatch.setattr(staged, "ROWS", 50_000)
    found = same(demo_folder() / "interactions.parquet", place(), 4)
    assert min(part.events for part in found.parts) > 50_000


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl", "log.parquet"])
def test_what_can_be_read_in_pieces_is(
    name: str, tmp_path: Path, place: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"user_id": [f"u{n % 5}" for n in range(40)], "item_id": range(40), "timestamp": range(40)})
    path = tmp_path / name
    text = {"csv": frame.write_csv, "gz": frame.write_csv, "jsonl": frame.write_ndjson}.get(name.split(".")[-1])
    if text is None:
        frame.write_parquet(path)
    else:
        content = str(text()).encode()
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    monkeypatch.setattr(staged, "_whole", lambda *_: pytest.fail("read as a whole"))
    monkeypatch.setattr(staged, "read_any_rows", lambda *_: pytest.fail("regular rows, read one by one"))
    pieces = []
    write_partitioned(path, place(), 2, progress=lambda stage, done, total, note="": pieces.append((stage, total)))
    assert ("parts written", 2) in pieces
    assert dict(pieces)["pieces read"] > 4


def test_a_packed_log_may_not_unpack_to_more_than_allowed(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id\n" + b"a,1\n" * 1000))
    with pytest.raises(DataError, match="max_bytes"):
        write_partitioned(path, place(), 2, max_bytes=500)
    assert len(write_partitioned(path, place(), 2, max_bytes=5000)) == 1000


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id\n" + "".join(f"u{n},{n}\n" for n in range(20)), encoding="utf-8")
    folder = place()
    found = write_partitioned(path, folder, 3)
    second = folder / found.parts[1].name
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    (folder / found.parts[2].name).unlink()
    assert list(found.damaged()) == [found.parts[1].name, found.parts[2].name]
    assert len(found.part(0)) == found.parts[0].events
    with pytest.raises(ArtifactError, match=f"{found.parts[1].name} is damaged"):
        found.part(1)
    with pytest.raises(ArtifactError, match=f"{found.parts[2].name} cannot be read"):
        found.part(2)
    with pytest.raises(ArtifactError, match=found.parts[1].name):
        found.whole()


def test_what_is_no_place_or_no_divided_log_is_refused(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv"
    path.write_text(AS_USUAL, encoding="utf-8")
    with pytest.raises(ConfigError, match="shards"):
        write_partitioned(path, place(), 0)
    with pytest.raises(ArtifactError, match="something is there"):
        write_partitioned(path, tmp_path, 2)
    with pytest.raises(DataError, match="does not exist"):
        write_partitioned(tmp_path / "nowhere.csv", place(), 2)
    with pytest.raises(ArtifactError, match="holds no events that were divided"):
        PartitionedEvents.open(tmp_path)
    folder = place()
    write_partitioned(path, folder, 2)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"timed": true', b'"timed": false'))
    with pytest.raises(ArtifactError, match="damaged or was not written"):
        PartitionedEvents.open(folder)


def test_a_column_named_like_ours_keeps_its_name(tmp_path: Path, place: Callable[[], Path]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,log_row\na,1,x\nb,2,y\n", encoding="utf-8")
    found = same(path, place(), 2)
    assert found.row_column == "log_row_"
    assert dividing.ROW_COLUMN in found.part(0).frame.columns
