"""Dates as people and programs write them -> unix seconds.

ISO 8601, year first with any of - / . between, day or month first, months by their (English) name, RFC 2822, the times
of C, Java and JavaScript; 12 and 24 hours; zones as offsets or by the names of RFC 2822. Without a zone it is UTC.
Whether 01/02/2024 is in January or in February is the same for a whole column, and any date beyond the 12th tells; with
dots, the day comes first.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from recllm.errors import DataError

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_ZONES = {"z": 0, "ut": 0, "utc": 0, "gmt": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6}
_ZONES |= {"pst": -8, "pdt": -7, "wet": 0, "cet": 1, "cest": 2, "eet": 2, "eest": 3, "msk": 3, "jst": 9}

_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?(?:\s*(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?:\s*(?P<zone>(?:utc|gmt)?[+-]\d\d?:?\d\d|[a-z]{1,4}))?(?:\s*(?:\[.*\]|\(.*\)))?"
_WEEKDAY = r"(?:[a-z]{3,9}\.?,?\s+)?"
_NAME = r"(?P<name>[a-z]{3,9})\.?"
_DAY = r"(?P<day>\d\d?)(?:st|nd|rd|th)?"
_BETWEEN = r"[\s,/-]+"
_TIME = rf"(?:(?:\s*,\s*|\s+|t){_CLOCK}{_ZONE})?"
_NUMBERS = re.compile(
    rf"{_WEEKDAY}(?P<a>\d{{1,4}})(?P<between>[/.-])(?P<b>\d\d?)(?P=between)(?P<c>\d{{1,4}}){_TIME}", re.I
)
_NAMED = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"{_WEEKDAY}{_DAY}{_BETWEEN}{_NAME}{_BETWEEN}(?P<year>\d{{4}}|\d\d){_TIME}",
        rf"{_WEEKDAY}{_NAME}{_BETWEEN}{_DAY}{_BETWEEN}(?P<year>\d{{4}}){_TIME}",
        rf"{_WEEKDAY}{_NAME}\s+{_DAY}\s+{_CLOCK}{_ZONE}\s+(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}}){_BETWEEN}{_NAME}{_BETWEEN}{_DAY}{_TIME}",
    )
)
_YEAR_AND_MONTH = re.compile(r"(\d{4})[-/](\d\d?)")

_Ways = tuple[str, tuple[float | None, float | None]]
"""A text, and its seconds with the day and with the month first."""


def parse_dates(texts: Sequence[str], dayfirst: bool | None, notes: list[str]) -> list[float | None]:
    """Unix seconds of each text, None for what is no date.

    Args:
        texts: All distinct ones of a column.
        dayfirst: Whether days come before months where only numbers are written; None: as the texts tell.
        notes: Gets a sentence about their order.

    Raises:
        DataError: Their order cannot be told, or differs from text to text.
    """
    found: list[float | None] = [_one_way(text) for text in texts]
    several = {place: match for place, text in enumerate(texts) if found[place] is None and (match := _two_ways(text))}
    if several:
        first = _is_day_first(several.values(), notes) if dayfirst is None else dayfirst
        for place, match in several.items():
            found[place] = _seconds(match, *_day_and_month(match, first))
    return found


def is_date(text: str) -> bool:
    """Whether it is a date in one of the notations, whatever the order of its numbers."""
    text = text.strip()
    match = _two_ways(text)
    return _one_way(text) is not None or any(
        match and _seconds(match, *_day_and_month(match, first)) is not None for first in (True, False)
    )


def parse_formats(texts: Sequence[str], formats: Sequence[str]) -> list[float | None]:
    """Unix seconds of each text by the first of the formats that fits it, None where none does.

    Raises:
        DataError: None of them fits any text.
    """
    found = [next((s for one in formats if (s := _by_format(text, one)) is not None), None) for text in texts]
    if texts and all(seconds is None for seconds in found):
        raise DataError(
            f"no time has the format dates={', '.join(map(repr, formats))}; they are like {texts[0][:60]!r}"
        )
    return found


def check_format(one: object) -> None:
    """Refuse what is no format of dates with a year.

    Raises:
        DataError: It is none.
    """
    example = "write for example dates='%d/%m/%Y %H:%M'"
    try:
        if not isinstance(one, str):
            raise ValueError("no text")
        moment = datetime(2024, 2, 13, 10, 11, 12, tzinfo=UTC)
        again = datetime.strptime(moment.strftime(one), one)
    except (ValueError, re.error) as error:
        raise DataError(f"dates={one!r} is no format of dates ({error}); {example}") from error
    if (again.year, again.month) != (2024, 2) and "%Y" not in one:
        raise DataError(f"dates={one!r} has no year; {example}")


def _by_format(text: str, one: str) -> float | None:
    try:
        moment = datetime.strptime(text, one)
        return _of_datetime(moment)
    except (ValueError, OverflowError):
        return None


# --- one text --------------------------------------------------------------------------------------------------------


def _one_way(text: str) -> float | None:
    """Seconds of what can be read in one way only."""
    try:
        return _of_datetime(datetime.fromisoformat(text.removesuffix(" UTC")))
    except (ValueError, OverflowError):
        pass
    if (match := _NUMBERS.fullmatch(text)) and len(match["a"]) == 4:
        return _seconds(match, int(match["a"]), int(match["b"]), int(match["c"]))
    for pattern in _NAMED:
        if match := pattern.fullmatch(text):
            return _seconds(match, int(match["year"]), _month(match["name"]), int(match["day"]))
    if match := _YEAR_AND_MONTH.fullmatch(text):
        return _of_parts(int(match[1]), int(match[2]), 1, 0)
    return None


def _two_ways(text: str) -> re.Match[str] | None:
    match = _NUMBERS.fullmatch(text)
    return match if match and len(match["a"]) <= 2 and len(match["c"]) in (2, 4) else None


def _day_and_month(match: re.Match[str], dayfirst: bool) -> tuple[int, int, int]:
    """Year, month and day."""
    a, b, c = int(match["a"]), int(match["b"]), int(match["c"])
    return (c, b, a) if dayfirst else (c, a, b)


def _is_day_first(matches: Iterable[re.Match[str]], notes: list[str]) -> bool:
    """What the dates of a column tell about all of them."""
    dotted: list[_Ways] = []
    others: list[_Ways] = []
    for match in matches:
        day, month = (_seconds(match, *_day_and_month(match, first)) for first in (True, False))
        if day is not None or month is not None:
            (dotted if match["between"] == "." else others).append((match[0], (day, month)))
    only_day = next((text for text, (day, month) in others + dotted if month is None and day is not None), None)
    only_month = next((text for text, (day, month) in others + dotted if day is None and month is not None), None)
    say = "say which with dayfirst=True or dayfirst=False, or with a format such as dates='%d/%m/%Y %H:%M'"
    if only_day and only_month:
        raise DataError(f"{only_day!r} has its day first and {only_month!r} its month; {say}: others are then dropped")
    if only_day or only_month:
        notes.append(f"dates have their {'day' if only_day else 'month'} first, as {only_day or only_month!r} tells")
        return only_month is None
    unclear = next((text for text, (day, month) in others if day != month), None)
    if unclear is not None:
        raise DataError(f"{unclear!r} can be read with its day or its month first, and no other date tells; {say}")
    if dotted:
        notes.append("dates written with dots have their day first; dayfirst=False reads them the other way")
    return True


def _month(name: str) -> int:
    """1 to 12, 0 for what is none."""
    name = name.casefold()
    name = "sep" if name == "sept" else name
    return next((number for number, month in enumerate(_MONTHS, 1) if month.startswith(name)), 0)


def _seconds(match: re.Match[str], year: int, month: int, day: int) -> float | None:
    """Of a date with the time and zone that were matched beside it."""
    part = match.groupdict()
    if year < 100:
        year += 2000 if year < 70 else 1900
    hour, minute, second = (int(part.get(name) or 0) for name in ("hour", "minute", "second"))
    if part.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if part["half"].casefold() == "p" else 0)
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and minute + second > 0):
        return None
    offset = _offset(part.get("zone"))
    if offset is None:
        return None
    thousandths = round(1000 * float(f"0.{part.get('fraction') or 0}"))
    return _of_parts(year, month, day, ((60 * hour + minute - offset) * 60 + second) * 1000 + thousandths)


def _offset(zone: str | None) -> int | None:
    """Minutes east of Greenwich; None for a zone that is not known."""
    if zone is None:
        return 0
    name = zone.casefold()
    if name in _ZONES:
        return 60 * _ZONES[name]
    digits = re.fullmatch(r"(?:utc|gmt)?([+-])(\d\d?):?(\d\d)", name)
    if digits is None or int(digits[2]) > 15 or int(digits[3]) > 59:
        return None
    return (60 * int(digits[2]) + int(digits[3])) * (-1 if digits[1] == "-" else 1)


def _of_parts(year: int, month: int, day: int, milliseconds: int) -> float | None:
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    return (86_400_000 * days + milliseconds) / 1000


def _of_datetime(moment: datetime) -> float:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000) / 1000
