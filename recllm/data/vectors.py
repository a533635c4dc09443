"""Vectors of items, as they are given: one row for each item, or by id."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.data.cleaning import as_id
from recllm.errors import DataError

LARGEST = 1e6
"""Magnitude of a number that is no mistake."""


def read_vectors(name: str, vectors: Any, item_ids: Sequence[str]) -> NDArray[np.float32]:
    """float32 [items, dim], NaN where an item has none; see `Catalog.with_vectors`."""
    if not isinstance(name, str) or not name.strip():
        raise DataError(f'vectors have a name, such as "image"; got {name!r}.')
    if isinstance(vectors, Mapping):
        return _by_id(name, vectors, item_ids)
    array = _numbers(name, vectors, "an array [items, dim]")
    if array.ndim != 2 or array.shape[0] != len(item_ids) or not array.shape[1]:
        raise DataError(
            f"vectors {name!r}: an array of shape {list(array.shape)} came for {len(item_ids):,} items; give one row "
            "for each item in the catalog's order, or a mapping from item ids to vectors."
        )
    return _finite(name, array, item_ids)


def _by_id(name: str, vectors: Mapping[Any, Any], item_ids: Sequence[str]) -> NDArray[np.float32]:
    row_of = {item: row for row, item in enumerate(item_ids)}
    found = {as_id(item): _numbers(name, vector, "one vector per item") for item, vector in vectors.items()}
    unknown = [item for item in found if item not in row_of]
    if unknown:
        raise DataError(f"vectors {name!r}: item {unknown[0]!r} is not in the catalog; leave it out, or add the item.")
    shapes = {vector.shape for vector in found.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not next(iter(shapes))[0]:
        told = " and ".join(str(list(shape)) for shape in sorted(shapes)) or "none"
        raise DataError(f"vectors {name!r}: vectors of shape {told} came; give at least one, all of one length.")
    array = np.stack(list(found.values()))
    result = np.full((len(item_ids), array.shape[1]), np.nan, dtype=np.float32)
    result[[row_of[item] for item in found]] = _finite(name, array, list(found))
    return result


def _numbers(name: str, given: Any, wanted: str) -> NDArray[np.floating]:
    if hasattr(given, "detach"):  # a tensor: of any type of number, on any device, with or without a gradient
        given = given.detach().cpu().double() if given.is_floating_point() else given.detach().cpu()
    elif isinstance(given, list | tuple) and any(hasattr(one, "detach") for one in given):
        given = [_numbers(name, one, wanted) for one in given]
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"vectors {name!r}: rows of different lengths came; wanted {wanted}.") from error
    if array.dtype.kind not in "fiu":
        raise DataError(f"vectors {name!r}: values of type {array.dtype} came; wanted {wanted}, of numbers.")
    return array


def _finite(name: str, array: NDArray[np.floating], ids: Sequence[str]) -> NDArray[np.float32]:
    wrong = ~(np.abs(array.astype(np.float64)) <= LARGEST).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"vectors {name!r}: that of item {ids[row]!r} holds {array[row][~(np.abs(array[row]) <= LARGEST)][0]}; "
            "give finite numbers, or leave the item out of a mapping from ids to vectors."
        )
    return array.astype(np.float32)


def stacked_vectors(
    ours: Mapping[str, NDArray[np.float32]],
    items: int,
    theirs: Mapping[str, NDArray[np.float32]],
    chosen: NDArray[np.bool_],
) -> dict[str, NDArray[np.float32]]:
    """The vectors of a catalog and of some items of another one behind each other; NaN where one of them has none.

    Raises:
        DataError: A sense has vectors of another length there.
    """
    result = {}
    for name in dict.fromkeys([*ours, *theirs]):
        mine, others = ours.get(name), theirs.get(name)
        if mine is not None and others is not None and mine.shape[1] != others.shape[1]:
            raise DataError(
                f"vectors {name!r} of new items have {others.shape[1]} numbers, and those of the catalog have "
                f"{mine.shape[1]}; give them from the same model."
            )
        width = (mine if mine is not None else others).shape[1]  # type: ignore[union-attr]
        first = np.full((items, width), np.nan, dtype=np.float32) if mine is None else mine
        second = np.full((len(chosen), width), np.nan, dtype=np.float32) if others is None else others
        result[name] = np.concatenate([first, second[chosen]])
    return result
