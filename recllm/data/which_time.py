"""Which column of a log is the time, where no name says so."""

import re
import time
from collections.abc import Callable

import polars as pl

from recllm.data.columns import ColumnMapping
from recllm.data.dates import is_date
from recllm.data.timestamps import DAY, parse_timestamps
from recllm.errors import DataError

_SAMPLE = 200
_SHARE = 0.9
_LEAST = 10_000_000
_FIRST = 946_684_800.0  # numbers are taken for times from 2000 on
# Dates of something else than what the user did.
_OTHER = re.compile(
    r"birth|born|release|publish|expir|deliver|ship|return|refund|update|modif|valid|due|end|signup|register|joined|launch",
    re.IGNORECASE,
)
_NAMES_IDS = re.compile(
    r"(^|[\W_])(id|no|nr|number|code|isbn|ean|sku|phone|tel|zip|price|amount)s?($|[\W_])", re.IGNORECASE
)


def with_time(column: Callable[[str], pl.Series], mapping: ColumnMapping) -> tuple[ColumnMapping, list[str]]:
    """The mapping with a further column that holds dates or times as timestamp, where no name says which one is.

    Args:
        column: Gives a column of the raw table.
        mapping: What its names tell.

    Returns:
        The mapping and sentences for the report.
    """
    if "timestamp" in mapping.found:
        return mapping, []
    found = [theirs for theirs in mapping.extras.values() if not _OTHER.search(theirs) and _holds_times(column(theirs))]
    if not found:
        return mapping, []
    theirs, *others = found
    notes = [f"column {theirs!r} holds times and was taken as timestamp; columns={{'timestamp': …}} takes another one"]
    notes += [f"column {other!r} holds times, too; {theirs!r} was taken, since it comes first" for other in others]
    return mapping.with_role("timestamp", theirs), notes


def _holds_times(series: pl.Series) -> bool:
    """Whether its values are moments, dates written as text, or numbers that as times lie between 2000 and now."""
    kind = series.dtype
    if isinstance(kind, pl.Date | pl.Datetime):
        return series.null_count() < len(series)
    if not (kind in (pl.String, pl.Categorical) or kind.is_integer() or kind.is_float()):
        return False
    values = series.drop_nulls().head(_SAMPLE)
    if kind in (pl.String, pl.Categorical):
        values = values.cast(pl.String).str.strip_chars()
        values = values.filter(values != "")
        dates = sum(map(is_date, values.filter(~values.str.contains(r"^[\d.]*$")).to_list()))
        if dates:
            return dates >= _SHARE * len(values)
    if values.is_empty() or _NAMES_IDS.search(series.name):
        return False
    try:
        seconds = parse_timestamps(values)[0]
    except DataError:
        return False
    # Years and months alone are rather those of the item.
    number = values.cast(pl.Float64, strict=False)
    if number.null_count() or number.lt(_LEAST).any():
        return False
    return seconds.null_count() == 0 and bool(seconds.is_between(_FIRST, time.time() + DAY).all())
