"""Arrays from the bytes of a safetensors file: views of them, so that what is read is held once.

The package's own reader copies every array. The format is a length (eight bytes, the lowest first), a JSON header, and
the arrays one after another, of which the header says name, type, shape and place.
"""

import json
import math
from typing import Any

import numpy as np

__all__ = ["Offsets", "unpack_tensors"]

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "|b1",
}

SMALL = 2**20
"""Bytes of an array up to which it is a copy: it does not hold on to a whole file for as long as it lives."""

Offsets = dict[str, int]
"""Where in the file each array begins, by name."""


def unpack_tensors(content: bytearray) -> tuple[dict[str, np.ndarray], Offsets]:
    """The arrays of a safetensors file, by name: views of `content`, small ones copies; and where they begin in it.

    Raises:
        ValueError: The bytes are no such file, or its header claims something else than they hold.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or start > len(content):
        raise ValueError("its header is longer than the file")
    header = json.loads(content[8:start].decode("utf-8"), object_pairs_hook=_once)
    header.pop("__metadata__", None)
    arrays, offsets, end = {}, {}, start
    for name, facts in sorted(header.items(), key=lambda pair: _place(pair[1])):
        (begin, stop), kind, shape = _place(facts), np.dtype(_TYPES[facts["dtype"]]), _shape(facts)
        if start + begin != end or stop - begin != kind.itemsize * math.prod(shape):
            raise ValueError(f"{name!r} does not lie where the one before it ends, or is longer than its shape")
        end = start + stop
        if end > len(content):
            raise ValueError(f"{name!r} ends behind the file")
        arrays[name] = _array(content, kind, shape, start + begin)
        offsets[name] = start + begin
    if end != len(content):
        raise ValueError("it holds more than its header says")
    return arrays, offsets


def _array(content: bytearray, kind: np.dtype[Any], shape: tuple[int, ...], begin: int) -> np.ndarray:
    count = math.prod(shape)
    found = np.frombuffer(content, kind, count, begin) if count else np.empty(0, kind)
    if kind == np.bool_ and count and found.view(np.uint8).max() > 1:
        raise ValueError("a truth value is neither 0 nor 1")
    small = found.nbytes <= SMALL or not found.flags.aligned
    return (found.copy() if small else found).reshape(shape)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header names something twice")
    return found


def _place(facts: Any) -> tuple[int, int]:
    begin, stop = (_whole(one) for one in facts["data_offsets"])
    return begin, stop


def _shape(facts: Any) -> tuple[int, ...]:
    return tuple(_whole(one) for one in facts["shape"])


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no length")
    return value
