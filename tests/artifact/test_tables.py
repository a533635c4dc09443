"""Tables as bytes: what polars holds is what is read again, or is refused when written."""

import datetime
import io

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from recllm.artifact.tables import pack_table, unpack_table
from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.errors import RecllmError
from recllm.model.storage import _catalog

SOME = pl.DataFrame(
    {
        "text": ["a", "", None, "é🎄"],
        "number": [1.5, float("nan"), float("inf"), None],
        "kind": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
        "tags": [["a"], [], None, ["b", "c"]],
        "day": [datetime.date(2024, 2, 29)] * 4,
    }
)


@settings(max_examples=100)
@given(frame=dataframes(max_cols=3, max_size=6, excluded_dtypes=[pl.Int128, pl.UInt128]))
def test_any_frame_is_kept(frame: pl.DataFrame) -> None:
    assert_frame_equal(unpack_table(pack_table(frame)), frame)


def test_a_frame_of_several_pieces_is_kept() -> None:
    pieces = pl.concat(
        [SOME, SOME.reverse().with_columns(pl.col("kind").cast(pl.String).replace("x", "z").cast(pl.Categorical))],
        rechunk=False,
    )
    assert pieces.n_chunks() > 1
    assert_frame_equal(unpack_table(pack_table(pieces)), pieces)


@settings(max_examples=60)
@given(frame=dataframes(max_cols=2, min_size=1, max_size=4), library=st.sampled_from(["polars", "pandas", "pyarrow"]))
def test_any_column_of_any_library_survives_or_is_refused_at_the_door(frame: pl.DataFrame, library: str) -> None:
    extra = frame.rename({name: f"extra {row}" for row, name in enumerate(frame.columns)})
    ids = pl.Series("item_id", [f"i{row}" for row in range(extra.height)], dtype=pl.String)
    try:
        given_ = extra.with_columns(ids)
        table = given_ if library == "polars" else given_.to_arrow() if library == "pyarrow" else given_.to_pandas()
    except Exception:
        return  # not a column that this library has
    try:
        catalog = Catalog.from_frame(table)
    except RecllmError:
        return
    loaded = _catalog(unpack_table(pack_table(catalog.frame)))
    assert_frame_equal(loaded.frame, catalog.frame)
    assert loaded.fingerprint == catalog.fingerprint


def test_what_the_reader_has_no_word_for_is_named_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="column 'big' of type Int128 cannot be kept"):
        pack_table(SOME.with_columns(pl.lit(2**100, dtype=pl.Int128).alias("big")))
    with pytest.raises(ValueError, match="column 'far' of type Date cannot be kept"):
        pack_table(pl.DataFrame({"far": pl.Series([10**8], dtype=pl.Int32).cast(pl.Date)}))


def test_others_can_read_it() -> None:
    content = pack_table(SOME)
    assert_frame_equal(pl.read_ipc(io.BytesIO(content)), SOME)
    assert pa.ipc.open_file(pa.BufferReader(content)).read_all().num_rows == 4


def written(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_file(stream, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return stream.getvalue()


MANY = pa.nulls(10**9)
REPEATED = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 500_000]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no Arrow file"),
        (b"PAR1" * 10, "no Arrow file"),
        (b"ARROW1\0\0" + b"\xff" * 40, "."),
        (pack_table(SOME)[:-700], "."),
        (written(pa.table({"x": ["long " * 1000] * 1000}), compression="zstd"), "compressed"),
        (written(pa.table({"x": pa.array(["long"] * 9).dictionary_encode()}), compression="lz4"), "compressed"),
        (written(pa.table({"x": MANY})), "more values than it has room for"),
        (written(pa.table({"x": pa.ListArray.from_arrays(pa.array([0, 10**9], pa.int32()), pa.nulls(10**9))})), "room"),
        (written(pa.table({"x": pa.StructArray.from_arrays([MANY], ["y"])})), "room"),
        (written(pa.table({"x": REPEATED})), "room"),
        (written(pa.table({"x": pa.array(["a"], pa.string_view())})), "does not write"),
        (written(pa.table({"x": pa.array([2**40], pa.timestamp("s"))})), "."),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_file_that_claims_what_it_has_not_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack_table(content)


def test_damaged_bytes_are_refused_or_read_and_never_crash() -> None:
    intact, rng = pack_table(SOME), np.random.default_rng(0)
    outcomes = set()
    for _ in range(400):
        content = bytearray(intact)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] ^= 1 << int(rng.integers(8))
        try:
            outcomes.add(unpack_table(bytes(content)).height)
        except ValueError:
            outcomes.add("refused")
    assert outcomes == {4, "refused"}


def test_a_frame_without_rows_or_columns_is_one() -> None:
    for frame in (SOME.clear(), pl.DataFrame()):
        assert_frame_equal(unpack_table(pack_table(frame)), frame)
    assert Catalog(SOME.clear(), CleaningReport("none", 0, 0)).frame.is_empty()
