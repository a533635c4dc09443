"""Files as people have them: each is read like the plain csv, or refused with one sentence that says what to do."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recllm.data import Catalog, Interactions
from recllm.data.packed import ALWAYS, EXPANSION, Limit
from recllm.errors import DataError

ROWS = "user_id,item_id,rating,timestamp\nu,1,5,1600000000\nv,2,4,1600000001\n"
NAMES = ["user_id", "item_id", "rating", "timestamp"]
BARE = ROWS.split("\n", 1)[1]
WANTED = [("u", "1", 1_600_000_000.0, 5.0), ("v", "2", 1_600_000_001.0, 4.0)]
FRAME = pl.read_csv(ROWS.encode())


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def written(write: str) -> bytes:
    target = io.BytesIO()
    getattr(FRAME, write)(target)
    return target.getvalue()


PACKED = {
    "a.csv.gz": gzip.compress(ROWS.encode()),
    "a.csv": gzip.compress(ROWS.encode()),  # whatever its name says
    "a.csv.bz2": bz2.compress(ROWS.encode()),
    "a.csv.xz": lzma.compress(ROWS.encode()),
    "a.csv.zst": pa.compress(ROWS.encode(), "zstd", asbytes=True),
    "a.zip": zipped({"d/ratings.csv": ROWS.encode(), "README.txt": b"hello", "__MACOSX/d/._ratings.csv": b"\x00"}),
    "b.zip": zipped({"ratings.csv.gz": gzip.compress(ROWS.encode())}),
    "a.parquet": written("write_parquet"),
    "a.feather": written("write_ipc"),
    "a.arrow": written("write_ipc_stream"),
    "a.jsonl.gz": gzip.compress(written("write_ndjson")),
    "a.json": written("write_json"),
    "b.json": json.dumps({"data": FRAME.to_dicts()}, indent=1).encode(),
    "c.json": json.dumps(FRAME.to_dict(as_series=False)).encode(),
    "d.json": pd.DataFrame(FRAME.to_dict(as_series=False)).to_json().encode(),
    "utf16.csv": ROWS.encode("utf-16"),
    "utf16-without-a-mark.csv": ROWS.encode("utf-16-le"),
    "utf32.csv": ROWS.encode("utf-32"),
    "excel.csv": ("sep=;\r\n" + ROWS.replace(",", ";")).encode(),
    "spaced.csv": ROWS.replace(",", " ,  ").encode(),
    "quoted and spaced.csv": b'user_id, item_id, rating, timestamp\n"u", "1", 5, 1600000000\nv, 2, 4, 1600000001\n',
} | {
    f"separated{place}.{ending}": ROWS.replace(",", separator).encode()
    for place, separator in enumerate((";", "\t", "|", "::", " ", "   "))
    for ending in ("csv", "txt", "dat", "tsv")
}


@pytest.mark.parametrize("name", PACKED)
def test_every_form_of_a_file_gives_the_same_log(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACKED[name])
    assert Interactions.read(path).frame.rows() == WANTED
    with path.open("rb") as file:
        assert Interactions.read(file).frame.rows() == WANTED


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::", " "])
@pytest.mark.parametrize("head", ["", ROWS.split("\n", 1)[0] + "\n"])
def test_columns_without_a_header_are_named(tmp_path: Path, separator: str, head: str) -> None:
    path = tmp_path / "u.data"
    path.write_text((head + BARE).replace(",", separator))
    assert Interactions.read(path, NAMES).frame.rows() == WANTED
    without = Interactions.read(path, ["user_id", "item_id", None, "ts"])
    assert without.frame.columns == ["user_id", "item_id", "timestamp"]


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text(BARE)
    for columns, words in (
        (["user_id", "item_id"], "names 2 columns, and the first row has 4"),
        ([*NAMES[:3], "user_id"], "a different name"),
        ("user_id", "a mapping"),
    ):
        with pytest.raises(DataError, match=words):
            Interactions.read(path, columns)
    with pytest.raises(DataError, match=r"no header.*columns=\['user_id'"):
        Interactions.read(path)


def test_quotes_in_files_with_two_colons_are_text(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes('1::"Great" Cats (1998)::Musical|Drama\n2::Café, the; "one::Drama\n'.encode("latin-1"))
    catalog = Catalog.read(path, ["item_id", "title", "genres"], "latin-1")
    assert catalog.titles == ['"Great" Cats (1998)', 'Café, the; "one']
    assert catalog.frame["categories"].to_list() == [["Musical", "Drama"], ["Drama"]]


def test_spaces_around_ids_are_no_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id , item_id\n u 1 ,\t1\nv,2 \n")
    events = Interactions.read(path)
    assert events.frame.select("user_id", "item_id").rows() == [("u 1", "1"), ("v", "2")]
    assert any("spaces around" in note for note in events.report.notes)


# --- folders, patterns, open files -----------------------------------------------------------------------------------


def test_folders_and_patterns_are_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        folder = tmp_path / "parts" / f"day={number}"
        folder.mkdir(parents=True)
        pl.DataFrame({"user_id": [f"u{number}"], "item_id": [number]}).write_parquet(folder / "part.parquet")
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "parts" / "state.json").write_text("{}")
    for source in (tmp_path / "parts", f"{tmp_path}/parts/*/*.parquet", f"{tmp_path}/parts/**/*.parquet"):
        events = Interactions.read(source)
        assert events.user_ids == ("u1", "u2", "u10")
        assert events.frame["day"].to_list() == [1, 2, 10]
        assert "3 files" in events.report.source


def test_files_of_different_tables_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    (tmp_path / "b.csv").write_text("item_id,title\n1,x\n")
    with pytest.raises(DataError, match=r"different columns.*a\.csv.*b\.csv"):
        Interactions.read(tmp_path)
    with pytest.raises(DataError, match="several tables"):
        Interactions.read(io.BytesIO(zipped({"a.csv": b"x", "b.csv": b"y"})))


def test_open_files_are_read_as_bytes_and_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ROWS)
    with path.open() as text, path.open("rb") as plain:
        for file in (text, plain, io.StringIO(ROWS), io.BytesIO(ROWS.encode()), io.BytesIO(PACKED["a.parquet"])):
            assert Interactions.read(file).frame.rows() == WANTED
    with pytest.raises(DataError, match="closed file"):
        Interactions.read(text)


def no_pipe(folder: Path) -> str:
    if not (folder / "pipe.csv").exists():
        os.mkfifo(folder / "pipe.csv")
    return str(folder / "pipe.csv")


def a_tar(folder: Path) -> str:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        archive.add(__file__, "x.csv")
    return str(folder / "a.tar.gz")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (no_pipe, "named pipe"),
        (lambda _: "/dev/zero", "a device"),
        (lambda _: "a\0b.csv", "null byte"),
        (lambda _: "x" * 5000, "too long|no path"),
        (lambda folder: f"{folder}/*.csv", "does not exist"),
        (lambda folder: folder, "a folder without tables"),
        (lambda _: "https://example.org/a.csv", "download"),
        (lambda _: pd.DataFrame(), "from_frame"),
        (lambda _: ROWS.encode(), "BytesIO"),
        (lambda _: None, "a path"),
        (a_tar, r"'\.tar'"),
        (lambda _: io.BytesIO(PACKED["a.zip"][:-30]), "zip"),
        (lambda _: io.BytesIO(PACKED["a.feather"][:-200]), "Arrow"),
        (lambda _: io.BytesIO(PACKED["a.csv.zst"][:-4]), "zstd"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_file_with_a_table_gives_one_sentence(
    tmp_path: Path, source: Callable[[Path], object], words: str
) -> None:
    for read in (Interactions.read, Catalog.read):
        with pytest.raises(DataError, match=words) as caught:
            read(source(tmp_path))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_an_open_device_is_not_read_for_ever() -> None:
    with Path("/dev/zero").open("rb") as file, pytest.raises(DataError, match="a device"):
        Interactions.read(file)


# --- how much a file may unpack to -----------------------------------------------------------------------------------

TOO_MUCH = ALWAYS + 2**20


@pytest.mark.parametrize(
    "bomb",
    [
        lambda data: gzip.compress(data, 1),
        lambda data: pa.compress(data, "zstd", asbytes=True),
        lambda data: zipped({"a.csv": data}),
    ],
)
def test_a_bomb_is_stopped_before_it_is_unpacked(bomb: Callable[[bytes], bytes]) -> None:
    packed = bomb(bytes(TOO_MUCH))
    with pytest.raises(DataError, match="max_bytes="):
        Interactions.read(io.BytesIO(packed))


def test_a_parquet_file_of_one_value_again_and_again_counts_with_its_cells() -> None:
    target = io.BytesIO()
    rows = TOO_MUCH // 16
    pl.select(user_id=pl.lit("u").repeat_by(1).explode(), item_id=pl.lit("i")).select(
        pl.all().repeat_by(rows).explode()
    ).write_parquet(target)
    with pytest.raises(DataError, match="max_bytes="):
        Interactions.read(io.BytesIO(target.getvalue()))


def test_the_limit_is_the_callers_where_there_is_one(tmp_path: Path) -> None:
    packed = gzip.compress(ROWS.encode())
    for most in (len(ROWS), None):
        assert len(Interactions.read(io.BytesIO(packed), max_bytes=most)) == 2
    with pytest.raises(DataError, match="max_bytes="):
        Interactions.read(io.BytesIO(packed), max_bytes=len(ROWS) - 1)
    (tmp_path / "a.csv").write_text(ROWS)
    with pytest.raises(DataError, match="max_bytes="):
        Catalog.read(tmp_path / "a.csv", max_bytes=10)
    for wrong in (0, -1, 1.5, "1 GB", True):
        with pytest.raises(DataError, match="max_bytes must be"):
            Interactions.read(tmp_path / "a.csv", max_bytes=wrong)  # type: ignore[arg-type]
    assert Limit().of(2**26) == EXPANSION * 2**26 > ALWAYS


# --- text that is no text --------------------------------------------------------------------------------------------


def test_half_characters_cost_ids_and_are_replaced_in_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"item_id": "a", "title": "x\\ud800y", "t\\udc00": 1}\n{"item_id": "b\\udfff", "title": "z"}\n')
    for catalog in (
        Catalog.read(path),
        Catalog.from_frame(
            pd.DataFrame({"item_id": ["a", "b\udfff"], "title": ["x\ud800y", "z"], "t\ufffd": [1, None]}, dtype=object)
        ),
    ):
        assert catalog.titles == ["x\ufffdy"]
        assert catalog.report.dropped == {"id_not_utf8": 1}
        assert any("no valid Unicode" in note for note in catalog.report.notes)
        assert catalog.frame.columns[-1] == "t\ufffd"
    with pytest.raises(DataError, match="an id was expected"):
        Interactions.from_mapping({"u\ud800": ["a"]})
    assert Interactions.from_mapping({"u": ["a", "b"], "v": [{"item_id": "a", "note": "\ud800"}]}).frame.height == 3


# --- frames ----------------------------------------------------------------------------------------------------------


def test_other_tables_are_frames_too() -> None:
    import datasets

    records = FRAME.to_dicts()
    hub = datasets.Dataset.from_list(records)
    pandas = pd.DataFrame(records)
    for frame in (records, hub, pandas.set_index("user_id"), pandas.set_index(["user_id", "item_id"])):
        assert Interactions.from_frame(frame).frame.rows() == WANTED
    assert Interactions.from_frame(hub.select([1])).user_ids == ("v",)
    assert Interactions.from_frame(pandas.set_axis(range(4), axis=1), NAMES).frame.rows() == WANTED
    with pytest.raises(DataError, match="splits 'train'"):
        Interactions.from_frame(datasets.DatasetDict(train=hub))
    with pytest.raises(DataError, match="unique column names"):
        Interactions.from_frame(pd.DataFrame([["u", 1, 2]], columns=["user_id", "item_id", "item_id"]))
