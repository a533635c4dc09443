"""Arrays that are views of the bytes they came in, and headers that claim something else."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from recllm.artifact import load_artifact, save_artifact
from recllm.artifact.tensors import SMALL, unpack_tensors

KINDS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def packed(**arrays: np.ndarray) -> bytearray:
    return bytearray(safetensors.numpy.save(arrays))


def with_header(header: Any, data: bytes = bytes(8)) -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + data)


def facts(begin: int, stop: int, shape: list[Any] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [stop - begin] if shape is None else shape, "data_offsets": [begin, stop]}


def test_every_type_is_read_as_it_was_written() -> None:
    arrays = {kind.replace("?", "bool"): np.arange(6).astype(kind).reshape(3, 2) for kind in KINDS}
    arrays |= {"empty": np.zeros((0, 3), np.float32), "number": np.array(2.5)}
    content = packed(**arrays)
    found, offsets = unpack_tensors(content)
    assert found.keys() == arrays.keys() == offsets.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
        assert content[offsets[name] :].startswith(array.tobytes())


def test_large_arrays_are_views_and_small_ones_hold_on_to_nothing() -> None:
    content = packed(large=np.ones(SMALL, dtype=np.float32), small=np.ones(3, dtype=np.float32))
    found, _ = unpack_tensors(content)
    whole = np.frombuffer(content, np.uint8)
    assert np.shares_memory(found["large"], whole)
    assert not np.shares_memory(found["small"], whole)
    assert found["large"].flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        bytearray(),
        bytearray(b"\xff" * 8),
        bytearray((9).to_bytes(8, "little") + b"{}"),
        with_header({"a": facts(0, 8)}, bytes(9)),
        with_header({"a": facts(0, 9)}),
        with_header({"a": facts(0, 8, [4])}),
        with_header({"a": facts(4, 8)}),
        with_header({"a": facts(0, 4), "b": facts(0, 8)}),
        with_header({"a": facts(0, 4), "b": facts(5, 8)}),
        with_header({"a": facts(0, 8, [-8])}),
        with_header({"a": facts(0, 8, [8.0])}),
        with_header({"a": facts(0, 8, [True, 8])}),
        with_header({"a": facts(0, 0, [2**40, 2**40], "F64")}, b""),
        with_header({"a": facts(0, 8, [2], "BF16X")}),
        with_header({"a": facts(0, 8, dtype="BOOL")}, bytes([2] * 8)),
        with_header(b'{"a": %b, "a": %b}' % ((json.dumps(facts(0, 8)).encode(),) * 2)),
        with_header(b"[1"),
        with_header(b"\xff{}", b""),
        with_header({"a": 3}),
        with_header([1], b""),
    ],
)
def test_what_claims_something_else_is_refused(content: bytearray) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        unpack_tensors(content)


def test_loading_needs_what_is_loaded_and_little_more(tmp_path: Path) -> None:
    array = np.ones((4, SMALL), dtype=np.float32)
    save_artifact(tmp_path / "model", tensors={"one": {"array": array}}, documents={}, card="", kind="toy")
    tracemalloc.start()
    try:
        loaded = load_artifact(tmp_path / "model", "toy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(loaded.tensors["one"]["array"], array)
    assert peak < 1.1 * array.nbytes
