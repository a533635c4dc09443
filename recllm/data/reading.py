"""Files and data frames -> a raw polars table, with what could not be read counted.

CSV columns are all read as text: a guess at types would turn the id `007` into 7.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from recllm.data.delimited import read_csv
from recllm.data.process import stay_in_process
from recllm.data.raw import RawTable
from recllm.errors import DataError

_TAB_SUFFIXES = {".tsv", ".tab", ".inter", ".item", ".user"}
_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_PARQUET_SUFFIXES = {".parquet", ".pq"}


def read_table(path: str | Path, encoding: str | None = None) -> RawTable:
    """Read csv, tsv, RecBole's .inter/.item, jsonl (each also gzipped) or parquet.

    Raises:
        DataError: The file is missing, empty, not what its name says, or of an unknown kind.
    """
    stay_in_process()
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}; a csv, jsonl or parquet file was expected")
    suffixes = [s.lower() for s in path.suffixes]
    gzipped = bool(suffixes) and suffixes[-1] == ".gz"
    kind = (suffixes[-2] if len(suffixes) > 1 else ".csv") if gzipped else (suffixes[-1] if suffixes else ".csv")
    if kind in _PARQUET_SUFFIXES:
        return _read_parquet(path)
    if kind not in {".csv", ".txt", ".data", *_TAB_SUFFIXES, *_JSON_SUFFIXES}:
        raise DataError(f"{path} has the unknown ending {kind!r}; known are .csv, .tsv, .jsonl (also .gz) and .parquet")
    raw = RawTable(pl.DataFrame(), path.name, 0)
    data = _decode(_bytes_of(path, gzipped), raw, encoding)
    if not data.strip():
        raise DataError(f"{path} is empty; a header row and at least one row were expected")
    if kind in _JSON_SUFFIXES:
        _read_json_lines(data, raw)
    else:
        read_csv(data, raw, tab=kind in _TAB_SUFFIXES)
    if not raw.rows:
        raise DataError(
            f"{path} has only a header row ({', '.join(raw.frame.columns)[:200]!r}); at least one data row was expected"
        )
    return raw


def _bytes_of(path: Path, gzipped: bool) -> bytes:
    data = path.read_bytes()
    if not gzipped and not data.startswith(b"\x1f\x8b"):
        return data
    if not data:
        return b""
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked as gzip ({error}); compress it again, or drop .gz from the name of a plain file"
        ) from error


def _decode(data: bytes, raw: RawTable, encoding: str | None) -> bytes:
    """The text as clean UTF-8 bytes without a byte order mark."""
    if encoding is None:
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise DataError(f"encoding {encoding!r} is unknown to Python; try 'utf-8' or 'cp1252'") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raw.undecodable = True
        raw.notes.append(
            f"not all bytes are {encoding} (first in line {line}); if the file has another encoding, "
            f"say so, for example encoding='cp1252'"
        )
        text = data.decode(encoding, errors="replace")
    else:
        if encoding == "utf-8":
            return data.removeprefix(b"\xef\xbb\xbf")
    return text.removeprefix("\ufeff").encode()


def _read_parquet(path: Path) -> RawTable:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as parquet ({first}); write it again or give a csv file") from error
    return RawTable(frame, path.name, frame.height)


def _read_json_lines(data: bytes, raw: RawTable) -> None:
    found = _json_values(data)
    records = [record for record in found if isinstance(record, dict)]
    if not records:
        raise DataError(f"{raw.source} holds no JSON objects; one object per line was expected (JSON Lines)")
    raw.frame, raw.rows = frame_of_records(records), len(found)
    if len(records) < len(found):
        raw.dropped["bad_json"] = len(found) - len(records)


def _json_values(data: bytes) -> list[Any]:
    """One value per line, None for a line that is not JSON; or the elements of one array."""
    if data.lstrip().startswith(b"["):
        try:
            whole = json.loads(data)
        except ValueError:
            whole = None
        if isinstance(whole, list):
            return whole
    values = []
    for line in data.split(b"\n"):
        if line.strip():
            try:
                values.append(json.loads(line))
            except (ValueError, RecursionError):
                values.append(None)
    return values


def frame_of_records(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows given as mappings -> a frame; columns in order of first appearance, absent values null."""
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame([series_of(name, [record.get(name) for record in records]) for name in names])


def series_of(name: str, values: Iterable[Any]) -> pl.Series:
    """A series of mixed Python values without any guess that loses one: what does not fit one type becomes text."""
    values = [None if _is_missing(v) else v for v in values]
    kinds = {type(v) for v in values if v is not None}
    try:
        if kinds <= {int, float} and float in kinds and int in kinds:
            return pl.Series(name, [_as_text(v) for v in values], dtype=pl.String)
        if len(kinds) == 1 and kinds != {dict}:
            series = pl.Series(name, values, strict=True)
            if series.dtype != pl.Object:
                return series
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError):
        pass
    if kinds <= {list, tuple, set, frozenset, np.ndarray} and kinds:
        lists = [None if v is None else [_as_text(x) for x in v if not _is_missing(x)] for v in values]
        return pl.Series(name, lists, dtype=pl.List(pl.String))
    try:
        return pl.Series(name, [_as_text(v) for v in values], dtype=pl.String)
    except UnicodeEncodeError as error:
        raise DataError(f"column {name!r} holds text that is not valid Unicode (lone surrogates)") from error


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return type(value).__name__ in {"NAType", "NaTType"}


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def table_of_frame(data: Any) -> RawTable:
    """A pandas, polars or pyarrow table (or a lazy polars frame) through narwhals; the input is not changed.

    Raises:
        DataError: It is no such table, or two columns have the same name.
    """
    stay_in_process()
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if not isinstance(data, pl.DataFrame):
        try:
            wrapped = nw.from_native(data, eager_only=True)
            data = pl.DataFrame([_polars_series(series) for series in wrapped.iter_columns()])
        except TypeError as error:
            raise DataError(
                f"a pandas, polars or pyarrow table was expected, got {type(data).__name__}; "
                f".read(path) takes files, Interactions.from_mapping takes {{user: [items]}}"
            ) from error
        except (ValueError, nw.exceptions.NarwhalsError) as error:
            why = " ".join(str(error).split())
            raise DataError(f"the {type(data).__name__} cannot be read: {why[:200]}") from error
    return RawTable(data, "data frame", data.height)


def _polars_series(series: "nw.Series[Any]") -> pl.Series:
    if series.dtype in (nw.Object, nw.Unknown):
        return series_of(str(series.name), series.to_list())
    return series.to_polars().alias(str(series.name))
