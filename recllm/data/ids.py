"""Ids as people write them: one, or several in a list, an array, a series, a set, an iterator."""

import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import narwhals as nw

from recllm.data.cleaning import as_id
from recllm.errors import DataError


def is_frame(given: Any) -> bool:
    """Whether it is a table of pandas, polars or pyarrow."""
    return (
        nw.dependencies.is_into_dataframe(given) or hasattr(given, "collect_schema") or hasattr(given, "column_names")
    )


def read_ids(given: Any, what: str, *, ordered: bool = False) -> list[str]:
    """Ids, in their order.

    Args:
        given: One id, or several in any form that holds nothing else.
        what: What they are, for the sentence: "users", "candidates".
        ordered: Whether the answer comes in their order, so that a set, which has none, is refused.

    Raises:
        DataError: It is nothing of the kind.
    """
    if isinstance(given, str | bytes | numbers.Number):
        return [_one(given, what)]
    if given is None:
        raise DataError(f"{what}: ids were expected, got None; write a list of ids, or one id.")
    if is_frame(given) or isinstance(given, Mapping):
        raise DataError(f"{what}: a list of ids was expected, got {kind_of(given)}; write the ids alone, as a list.")
    if isinstance(given, set | frozenset):
        if ordered:
            raise DataError(f"{what}: a set has no order, and the answer comes in the order of the ids; write a list.")
        return sorted(_one(value, what) for value in given)
    return [_one(value, what) for value in elements(given, what)]


def elements(given: Any, what: str) -> list[Any]:
    """What a list, an array, a series or an iterator holds, as a list.

    Raises:
        DataError: It is none of them, or has several dimensions.
    """
    if len(shape := getattr(given, "shape", (0,))) != 1 and shape != ():
        raise DataError(f"{what}: one dimension was expected, got an array of {len(shape)}; write a plain list.")
    for name in ("to_pylist", "tolist", "to_list"):
        if hasattr(given, name):
            values = getattr(given, name)()
            return values if isinstance(values, list) else [values]
    return list(given) if isinstance(given, Iterable) else [given]


def _one(value: Any, what: str) -> str:
    try:
        return as_id(value)
    except DataError as error:
        raise DataError(f"{what}: {error}") from None


def are_records(given: Any) -> bool:
    """Whether it is a table written as a list of records."""
    return isinstance(given, list) and bool(given) and all(isinstance(value, Mapping) for value in given)


def holds_several(value: Any) -> bool:
    """Whether it is a list, a record or the like, and no single id."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def kind_of(given: Any) -> str:
    """In words, for a sentence."""
    return "None" if given is None else "a data frame" if is_frame(given) else f"a {type(given).__name__}"
