"""Values written as text: which numbers, dates and booleans a column of texts holds, and what in it is none.

One word among a thousand prices must not turn all of them to text. So a column is what `SHARE` of its values are; the
others are left empty and counted.
"""

import re
from datetime import UTC, datetime

import polars as pl

from recllm.data.series import finite, nothing, only

SHARE = 0.9
"""Of the values that are there; "n/a" and its like do not count."""
MOST = 0.6
"""Where the name says so, too: a column called price."""

MOMENT = pl.Datetime("us", "UTC")

_NOTHING = (
    r"(?i)^(|-+|\?+|\.+|n\.?/?a\.?|<na>|nan|nat|nil|none|null|missing|unknown"
    r"|undefined|unspecified|not available|tb[acd])$"
)
_YES, _NO = r"(?i)^(true|yes)$", r"(?i)^(false|no)$"
_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_WHOLE = r"^-?\d+$"
# Digits that are a name: leading zeros, a plus sign, more whole digits than a float can hold.
_CODE = r"^-?0\d|^\+|^-?\d{16,}$"
_NAMES_CODES = re.compile(r"(^|_)(id|sku|ean|upc|gtin|isbn|asin|code|zip|postcode|postal|plz|phone|tel)s?($|_)", re.I)
_NAMES_NUMBERS = re.compile(
    r"(^|_)(prices?|costs?|amount|msrp|discount|year|scores?|ratings?|counts?|quantity|qty|weight|stock)($|_)", re.I
)
_CURRENCY = r"(?i)(US\$|[$£€¥₹₩₽₺]|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK|BRL|MXN)\b|zł|Kč)"
_GROUPED = r"^-?\d{1,3}(,\d{3})+(\.\d+)?$"
_GROUPED_BY_POINTS = r"^-?\d{1,3}(\.\d{3})+(,\d+)?$"
_DATE = r"^\d{4}([-/])\d{1,2}([-/])\d{1,2}$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}"


def blank(texts: pl.Series) -> pl.Series:
    """bool [rows]: nothing is there, or only a word for nothing ("n/a", "unknown", "-")."""
    return texts.str.strip_chars().str.contains(_NOTHING).fill_null(True)


def booleans(texts: pl.Series) -> pl.Series:
    """bool [rows]: true, false, yes and no in any case; null for all else."""
    texts = texts.str.strip_chars()
    yes, no = texts.str.contains(_YES), texts.str.contains(_NO)
    return pl.select(pl.when(yes).then(True).when(no).then(False).alias(texts.name)).to_series()


def numbers(texts: pl.Series) -> pl.Series:
    """float64 [rows]: finite numbers, also with a currency or grouped digits ("£1,234.50"); null for all else."""
    return _floats(_plain(texts)[0])


def dates(texts: pl.Series) -> pl.Series:
    """date [rows]: 2024-01-31 or 2024/01/31; null for all else, 31/01/2024 (or 01/31?) among it."""
    texts = texts.str.strip_chars()
    return only(texts, texts.str.contains(_DATE)).str.replace_all("/", "-").str.to_date("%Y-%m-%d", strict=False)


def moments(texts: pl.Series) -> pl.Series:
    """datetime in UTC [rows]: ISO 8601, UTC where no zone is given; a date is its midnight; null for all else."""
    texts = texts.str.strip_chars()
    distinct = texts.filter(texts.str.contains(_MOMENT).fill_null(False)).unique()
    micros = pl.Series([_microseconds(text) for text in distinct.to_list()], dtype=pl.Int64)
    exact = texts.replace_strict(distinct, micros, default=None, return_dtype=pl.Int64).cast(MOMENT)
    return exact.fill_null(dates(texts).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def read_column(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    """A column of texts as what it holds: booleans, whole numbers, numbers, dates, moments, or still text.

    Args:
        texts: [rows].

    Returns:
        The column, null where empty, and sentences for the report.
    """
    name = texts.name
    texts = only(texts, texts.str.strip_chars() != "")
    there = ~blank(texts)
    if not there.any():
        return texts, []
    values = texts.filter(there)
    if booleans(values).null_count() == 0:
        return booleans(texts), left_empty(name, _lost(texts, booleans(texts)), "neither true nor false")
    for read, what in ((_read_numbers, "no number"), (_read_times, "no date")):
        found, notes = read(texts)
        share = MOST if read is _read_numbers and _NAMES_NUMBERS.search(name) else SHARE
        if found.len() - found.null_count() >= share * len(values):
            return found, notes + left_empty(name, _lost(texts, found), what)
    return texts, []


def left_empty(name: str, lost: pl.Series, what: str) -> list[str]:
    """The sentence about values that do not fit their column; nothing if there are none."""
    values, were = ("value is", "was") if len(lost) == 1 else ("values are", "were")
    example = f"for example {str(lost[0])[:60]!r}" if len(lost) else ""
    return [f"{name}: {len(lost):,} {values} {what} and {were} left empty, {example}"] if example else []


def _lost(texts: pl.Series, found: pl.Series) -> pl.Series:
    return texts.filter(texts.is_not_null() & found.is_null())


def _read_numbers(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    plain, notes = _plain(texts)
    there = plain.filter(~blank(plain))
    found = _floats(plain)
    strange = len(there) - (len(found) - found.null_count())
    if there.str.contains(_CODE).any() or (strange and _NAMES_CODES.search(texts.name)):
        return nothing(texts, pl.Float64()), []
    whole = there.str.contains(_WHOLE).sum()
    return (found.cast(pl.Int64) if whole + strange == len(there) else found), notes


def _read_times(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    days, found = dates(texts), moments(texts)
    return (found if found.null_count() < days.null_count() else days), []


def _floats(plain: pl.Series) -> pl.Series:
    return finite(only(plain, plain.str.contains(_NUMBER)).cast(pl.Float64, strict=False))


def _plain(texts: pl.Series) -> tuple[pl.Series, list[str]]:
    """Numbers as computers write them: without the column's one currency, and without grouped digits."""
    name, texts, notes = texts.name, texts.str.strip_chars(), []
    currencies = texts.str.extract(_CURRENCY).drop_nulls().unique()
    if len(currencies) == 1:
        stripped = texts.str.replace(_CURRENCY, "").str.replace_all(r"[\s\u00a0\u202f]", "")
        digits = stripped.str.contains(r"^-?[\d.,]+$").fill_null(False)
        texts = stripped.zip_with(digits, texts)
        notes.append(f"{name}: the currency {currencies[0]!r} was cut off its numbers")
    commas = texts.filter(texts.str.contains(r"^-?[\d.]*\d,[\d,.]*\d$").fill_null(False))
    if commas.is_empty():
        return texts, notes
    if commas.str.contains(_GROUPED).all():
        grouped = texts.str.contains(_GROUPED).fill_null(False)
        return _replaced(texts, grouped, (",", "")), [*notes, f"{name}: commas group the digits of its numbers"]
    decimal = commas.str.contains(r"^-?(\d+|\d{1,3}(\.\d{3})+),\d+$").all()
    if decimal and (notes or commas.str.contains(r",\d\d$").all()):
        pointed = texts.str.contains(",", literal=True) | texts.str.contains(_GROUPED_BY_POINTS)
        texts = _replaced(texts, pointed.fill_null(False), (".", ""), (",", "."))
        notes.append(f"{name}: a comma is the decimal point of its numbers")
    return texts, notes


def _replaced(texts: pl.Series, where: pl.Series, *pairs: tuple[str, str]) -> pl.Series:
    changed = texts
    for old, new in pairs:
        changed = changed.str.replace_all(old, new, literal=True)
    return changed.zip_with(where, texts)


def _microseconds(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
