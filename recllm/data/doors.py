"""The doors: users, items, events and catalogs as people write them, read in one place and by one rule.

Ids are what `as_id` makes of them: 3, 3.0, numpy's 3, b"3" and "3" are one id, and a text is one id, never its letters.
Several ids are a list, an array of one dimension, a series, an iterator …; a set counts in the order of its ids, and
only where order does not matter. What cannot be told for sure is refused, with a sentence that says what to write.
"""

import math
import numbers
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id, as_ids
from recllm.data.columns import INTERACTION_COLUMNS, ITEM_COLUMNS, match_columns
from recllm.data.frames import table_of_frame
from recllm.data.ids import are_records, elements, holds_several, is_frame, kind_of, read_ids
from recllm.data.interactions import Interactions
from recllm.data.users import Users
from recllm.errors import ConfigError, DataError

Kind = TypeVar("Kind")

Items = list[str] | dict[str, list[str]]
"""The same items for everybody, or each user's own."""


_USERS = "Interactions, a data frame of events, a sequence of ids, or a mapping from ids to items"


def read_users(users: Any, *, ordered: bool = False) -> Interactions | list[str]:
    """Whom a call is about: events of known or new users, or the ids of users who are remembered.

    Args:
        users: As people write them.
        ordered: Whether the answer is an array in their order, so that a set is refused.

    Raises:
        DataError: It is neither.
    """
    if isinstance(users, Interactions):
        return users
    if isinstance(users, Mapping):
        return Interactions.from_mapping(users)
    if is_frame(users):
        return Interactions.from_frame(users)
    if users is None or isinstance(users, Catalog):
        raise DataError(f"users are {_USERS}; got {kind_of(users)}.")
    ids = users if isinstance(users, str | bytes | set | frozenset) else elements(users, "users")
    if are_records(ids):
        return Interactions.from_frame(ids)
    if any(map(holds_several, ids)):
        raise DataError(f"users are {_USERS}; got a list of lists: write {{'visitor': [item ids]}}.")
    return read_ids(ids, "users", ordered=ordered)


def read_user_ids(users: Any) -> list[str]:
    """The ids alone of users in any form.

    Raises:
        DataError: It is no form of users.
    """
    found = [as_id(user) for user in users] if isinstance(users, Mapping) else read_users(users)
    return list(found.user_ids) if isinstance(found, Interactions) else found


def known_among(user_ids: Iterable[str], known: Container[str], what: str) -> list[str]:
    """Those who are known; that some are not is said.

    Args:
        user_ids: Whom somebody wants forgotten.
        known: Who is here.
        what: What is true of those who are here, for the sentence.

    Raises:
        DataError: None of them is known.
    """
    ids = list(dict.fromkeys(user_ids))
    strangers = [user for user in ids if user not in known]
    if not strangers:
        return ids
    names = ", ".join(map(repr, strangers[:3])) + (f" and {len(strangers) - 3:,} more" if len(strangers) > 3 else "")
    if len(strangers) == len(ids):
        raise DataError(f"nobody named {names} {what}, so nothing was deleted; look at the spelling of the ids.")
    warnings.warn(f"nobody named {names} {what}; only the others were deleted.", stacklevel=3)
    return [user for user in ids if user in known]


def read_items(items: Any, what: str, *, ordered: bool = False) -> Items:
    """Items for everybody, or each user's own: ids, users' ids, a table, recommendations, a catalog, or events.

    Raises:
        DataError: It is nothing of the kind.
    """
    if isinstance(items, Catalog):
        return list(items.item_ids)
    if isinstance(items, Interactions):
        return _by_user(items.frame["user_id"].to_list(), items.frame["item_id"].to_list(), items.user_ids)
    if callable(to_polars := getattr(items, "to_polars", None)) and not is_frame(items):
        items = to_polars()  # recommendations
    if is_frame(items) or are_records(items):
        return _items_of_table(items, what)
    if isinstance(items, Mapping):
        if "item_id" in items:
            raise DataError(f"{what}: users' items or ids were expected, got columns; write the list of ids alone.")
        shared: dict[int, list[str]] = {}  # one iterator for several users is read once
        found: dict[str, list[str]] = {}
        for user, value in items.items():
            if (key := as_id(user)) in found:
                raise DataError(f"{what}: user {key!r} is there twice, once as {user!r}; write each user once.")
            if id(value) not in shared:
                shared[id(value)] = read_ids(value, what, ordered=ordered)
            found[key] = shared[id(value)]
        return found
    return read_ids(items, what, ordered=ordered)


def items_of(items: Items, user_ids: Sequence[str], what: str) -> list[list[str]]:
    """What is asked for each of these users; nothing for one whom a mapping leaves out.

    Raises:
        DataError: A mapping leaves out all of them.
    """
    if not isinstance(items, dict):
        return [items] * len(user_ids)
    if items and len(user_ids) and not any(user in items for user in user_ids):
        raise DataError(
            f"{what} are given for {next(iter(items))!r} and the like, and for none of the users asked about, such as "
            f"{user_ids[0]!r}; write the same ids in both."
        )
    return [items.get(user, []) for user in user_ids]


def _items_of_table(table: Any, what: str) -> Items:
    frame = table_of_frame(table).frame
    names = {"user_id": INTERACTION_COLUMNS["user_id"], "item_id": ITEM_COLUMNS["item_id"]}
    found = match_columns(frame.columns, names, ["item_id"], None, f"{what}: the table").found
    ids = read_ids(as_ids(frame[found["item_id"]]), what)
    return _by_user(read_ids(as_ids(frame[found["user_id"]]), what), ids) if "user_id" in found else ids


def _by_user(owners: list[str], ids: list[str], user_ids: Iterable[str] = ()) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {user: [] for user in user_ids}
    for owner, item in zip(owners, ids, strict=True):
        found.setdefault(owner, []).append(item)
    return found


def read_events(events: Any) -> Interactions:
    """Events: `Interactions`, a table, a mapping from users to items or events, or a file.

    Raises:
        DataError: It is nothing of the kind.
    """
    if isinstance(events, Interactions):
        return events
    if isinstance(events, Mapping):
        return Interactions.from_mapping(events)
    if _no_records(events):
        return Interactions.from_mapping({})
    if events is None or isinstance(events, Catalog | bytes | numbers.Number):
        raise DataError(f"events are Interactions, a table, a file or {{user: [item ids]}}; got {kind_of(events)}.")
    if isinstance(events, str | PathLike) or hasattr(events, "read"):
        return Interactions.read(events)
    return Interactions.from_frame(events)


def read_catalog(catalog: Any) -> Catalog:
    """A catalog: `Catalog`, a table, or a file.

    Raises:
        DataError: It is nothing of the kind.
    """
    if isinstance(catalog, Catalog):
        return catalog
    if catalog is None or isinstance(catalog, Interactions | bytes | numbers.Number):
        raise DataError(f"a catalog is a Catalog, a table with item_id, or a file; got {kind_of(catalog)}.")
    if isinstance(catalog, str | PathLike) or hasattr(catalog, "read"):
        return Catalog.read(catalog)
    return Catalog.from_frame(_NO_ROWS.select("item_id") if _no_records(catalog) else catalog)


def read_profiles(users: Any) -> Users:
    """Users with profiles: `Users`, a table, or a file.

    Raises:
        DataError: It is nothing of the kind.
    """
    if isinstance(users, Users):
        return users
    if users is None or isinstance(users, Interactions | Catalog | bytes | numbers.Number):
        raise DataError(f"profiles are a table with user_id and further fields, or a file; got {kind_of(users)}.")
    if isinstance(users, str | PathLike) or hasattr(users, "read"):
        return Users.read(users)
    return Users.from_frame(_NO_ROWS.select("user_id") if _no_records(users) else users)


_NO_ROWS = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String})


def _no_records(given: Any) -> bool:
    """Whether it is a table of no rows, written as a list of records: where nothing is new, nothing came."""
    return isinstance(given, list | tuple) and not given


def read_path(given: Any, what: str) -> Path:
    """A file or a folder.

    Raises:
        ConfigError: It is no path.
    """
    if not isinstance(given, str | PathLike) or not str(given):
        raise ConfigError(f"{what} is a path, such as 'model/'; got {given!r}.")
    return Path(given)


def of_kind(given: Any, kind: type[Kind], name: str) -> Kind:
    """A value that has to be made of one class.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(given, kind):
        raise ConfigError(f"{name} is a {kind.__name__}; got {given!r:.60}.")
    return given


def whole_number(given: Any, name: str, least: int) -> int:
    """A whole number of at least `least`; numpy's count, truth values and texts do not.

    Raises:
        ConfigError: It is something else.
    """
    try:
        number = None if isinstance(given, bool) else index(given)
    except TypeError:
        number = None
    if number is None or number < least:
        raise ConfigError(f"{name} is a whole number and must be at least {least}; got {given!r}.")
    return number


def real_number(given: Any, name: str, lowest: float, highest: float) -> float:
    """A finite number between two others.

    Raises:
        ConfigError: It is something else.
    """
    number = float(given) if isinstance(given, numbers.Real) and not isinstance(given, bool) else math.nan
    if not lowest <= number <= highest:
        raise ConfigError(f"{name} lies between {lowest:g} and {highest:g}; got {given!r}.")
    return number


def one_of(given: Any, choices: Sequence[str], name: str) -> str:
    """One of a few words; a table or an array, which has no truth of its own, is none.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(given, str) or given not in choices:
        words = [repr(word) for word in choices]
        wanted = " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"
        raise ConfigError(f"{name} is {wanted}; got {given!r:.60}.")
    return given


def truth(given: Any, name: str) -> bool:
    """True or False, also numpy's.

    Raises:
        ConfigError: It is something else.
    """
    if type(given).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"{name} is True or False; got {given!r}.")
    return bool(given)
