"""Data frames as bytes: Arrow files, uncompressed, so that whatever a file says it holds can be held against its size.

Any polars type that Arrow has is kept. Files are read by Arrow's own reader, which checks them whole (offsets, text,
dictionaries); polars trusts what it is given.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any

import polars as pl

__all__ = ["pack_table", "unpack_table"]

MAGIC = b"ARROW1\0\0"
"""What an Arrow file begins and ends with; in between are the messages of a stream, and an index that is not needed."""

_REFUSALS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, LookupError, OverflowError)


def pack_table(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow file.

    Raises:
        ValueError: A column's type cannot be kept as it is.
    """
    for name in frame.columns:
        kind = frame.schema[name]
        try:
            kept = unpack_table(_written(frame.select(name))).schema[name] == kind
        except (ValueError, *_REFUSALS):
            kept = False
        if not kept:
            raise ValueError(f"column {name!r} of type {kind} cannot be kept; give it another type, or leave it out")
    return _written(frame)


def unpack_table(content: bytes | bytearray) -> pl.DataFrame:
    """The frame that `pack_table` was given.

    Raises:
        ValueError: The bytes are no such file, or claim more than they hold.
    """
    import pyarrow as pa

    if not (content.startswith(MAGIC) and content.endswith(MAGIC.rstrip(b"\0"))):
        raise ValueError("it is no Arrow file")
    source = pa.py_buffer(content).slice(len(MAGIC))
    try:
        if any(_is_compressed(message) for message in _messages(source)):
            raise ValueError("it is compressed, which recllm does not write")
        table = pa.ipc.open_stream(source).read_all()
        table.validate(full=True)
        # A value takes a bit at least; only what takes no room at all (nulls) can be claimed in any number.
        most = 8 * len(content)
        if max((_size(part) for column in table.columns for part in _parts(column)), default=table.num_rows) > most:
            raise ValueError("it claims more values than it has room for")
        frame = pl.DataFrame(pl.from_arrow(table))
        _refuse_impossible_times(frame)
    except (*_REFUSALS, pa.ArrowException) as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    return frame


def _written(frame: pl.DataFrame) -> bytes:
    import pyarrow as pa

    # In one piece: a file holds one dictionary of a column's categories, and every piece would bring its own.
    table, stream = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()), io.BytesIO()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _messages(source: Any) -> Iterator[bytes]:
    import pyarrow as pa

    reader = pa.ipc.MessageReader.open_stream(source)
    while True:
        try:
            yield reader.read_next_message().metadata.to_pybytes()
        except StopIteration:
            return


def _is_compressed(message: bytes) -> bool:
    """Whether a message holds a batch with compressed buffers: Arrow's Python interface does not tell.

    A message is a flatbuffer: a table points to its list of offsets, by which its fields are found (0: left out).
    """

    def field(table: int, number: int) -> int:
        offsets = table - struct.unpack_from("<i", message, table)[0]
        at = 4 + 2 * number
        if at >= struct.unpack_from("<H", message, offsets)[0]:
            return 0
        place: int = struct.unpack_from("<H", message, offsets + at)[0]
        return table + place if place else 0

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", message, place)[0])

    try:
        root = follow(0)
        kind, header = field(root, 1), field(root, 2)
        batch = follow(header)
        if kind and message[kind] == 2:  # a dictionary: its values are a batch inside
            batch = follow(field(batch, 1))
        elif not kind or message[kind] != 3:  # a schema
            return False
        return field(batch, 3) > 0
    except (struct.error, IndexError) as error:
        raise ValueError("its messages are damaged") from error


def _parts(array: Any) -> Iterator[Any]:
    """An array (in its chunks) and all that it is made of."""
    import pyarrow as pa

    for chunk in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        yield chunk
        kind = chunk.type
        if pa.types.is_dictionary(kind):
            yield from _parts(chunk.dictionary)
        elif pa.types.is_struct(kind):
            for number in range(kind.num_fields):
                yield from _parts(chunk.field(number))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            yield from _parts(chunk.values)
        elif pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind) or "view" in str(kind):
            raise ValueError(f"it holds the type {kind}, which recllm does not write")


def _size(array: Any) -> int:
    """Values of an array, or letters where many may point to one long text: that takes room once it is looked at."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(array.type):
        return len(array)
    try:
        letters = pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0
    except pa.ArrowNotImplementedError:
        raise ValueError(f"it holds the type {array.type}, which recllm does not write") from None
    return max(len(array), letters // 64)


def _refuse_impossible_times(frame: pl.DataFrame) -> None:
    """A date of the year 200,000 is a number to Arrow; Python has no such dates, and the first to look would fail."""
    for series in frame:
        values = series.explode(empty_as_null=True) if series.dtype == pl.List else series
        if values.dtype.is_temporal():
            values.min(), values.max()
