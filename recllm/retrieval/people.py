"""Profiles as a ranking reads them: the values of users' fields, by number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, final

import numpy as np
import polars as pl
from scipy import sparse

from recllm.config import Word, checked
from recllm.data.sensitive import is_sensitive
from recllm.data.users import Users
from recllm.errors import ConfigError, DataError

MOST_VALUES, FEWEST_USERS = 200, 5
"""Values of a field that are told apart, the most frequent ones; users with a value, below which it says nothing."""

BINS = 5
"""Of numbers and dates: as many users in each."""


@final
@dataclass(frozen=True)
@checked
class ProfilesConfig:
    """Which fields of users' profiles are read.

    Attributes:
        fields: These alone; None: all whose names are not sensitive.
        sensitive: Whether fields are read that are called like age, gender, religion or income, too.
    """

    fields: tuple[Word, ...] | None = None
    sensitive: bool = False

    def chosen(self, fields: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of the fields that there are, those that are read, and those that are left out as sensitive.

        Raises:
            ConfigError: A field is named that there is not.
        """
        if self.fields is not None:
            missing = [name for name in self.fields if name not in fields]
            if missing:
                raise ConfigError(
                    f"profiles.fields names {missing[0]!r}, and the users have {', '.join(fields) or 'no fields'}."
                )
        wanted = fields if self.fields is None else self.fields
        hidden = () if self.sensitive else tuple(name for name in wanted if is_sensitive(name))
        return tuple(name for name in wanted if name not in hidden), hidden


@final
@dataclass(frozen=True)
class Field:
    """How a field is read.

    Attributes:
        name: Of the field.
        values: The values that are told apart, in the order of their numbers; of numbers and dates none.
        edges: Of numbers and dates: where the next bin begins, in the unit of `_measure`.
    """

    name: str
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """How many values are told apart."""
        return len(self.values) if self.values else len(self.edges) + 1

    def numbers(self, series: pl.Series) -> list[list[int]]:
        """The numbers of each user's values; none where a value is missing or was not there at the fit."""
        if self.values:
            number = {value: place for place, value in enumerate(self.values)}
            return [[number[one] for one in dict.fromkeys(row) if one in number] for row in _texts(series)]
        measured = _measure(series)
        places = np.searchsorted(np.array(self.edges), measured, side="right")
        return [[int(place)] if np.isfinite(value) else [] for place, value in zip(places, measured, strict=True)]


@final
@dataclass(frozen=True, eq=False)
class People:
    """Users' profiles, and how they are read.

    Attributes:
        users: All who have a profile, with the fields that are read.
        fields: How each field is read, in the order of the values' numbers.
    """

    users: Users
    fields: tuple[Field, ...]

    @classmethod
    @cache
    def nobody(cls) -> "People":
        """Without profiles."""
        return cls(Users.from_frame(pl.DataFrame({"user_id": pl.Series([], dtype=pl.String)})), ())

    @classmethod
    def of(cls, users: Users, known: Iterable[str], config: ProfilesConfig) -> "People":
        """How the profiles of `known` users, who are learned from, say that fields are to be read."""
        wanted, _ = config.chosen(users.fields)
        learned = users.of(known).frame
        fields = tuple(_field(learned[name]) for name in wanted)
        return cls._keeping(users, tuple(field for field in fields if field is not None))

    @classmethod
    def _keeping(cls, users: Users, fields: tuple[Field, ...]) -> "People":
        """Of profiles no more than is read: what nobody reads, age or religion among it, is not for us to keep."""
        names = [field.name for field in fields if field.name in users.frame.columns]
        return cls(Users(users.frame.select("user_id", *names), users.report), fields)

    @property
    def size(self) -> int:
        """Values of all fields."""
        return sum(field.size for field in self.fields)

    @cached_property
    def _matrix(self) -> sparse.csr_array:
        """bool CSR [users, values]."""
        rows, columns, start = [], [], 0
        for field in self.fields:
            if field.name in self.users.frame.columns:
                for row, found in enumerate(field.numbers(self.users.frame[field.name])):
                    rows += [row] * len(found)
                    columns += [start + one for one in found]
            start += field.size
        shape = (len(self.users), self.size)
        return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.users

    def matrix(self, user_ids: Sequence[str]) -> sparse.csr_array:
        """float32 CSR [users, values]: 1 where a user has a value; an empty row for who has no profile."""
        if not self.fields:
            return sparse.csr_array((len(user_ids), 0), dtype=np.float32)
        rows = np.array([self.users.row_of.get(user, -1) for user in user_ids], dtype=np.int64)
        if not (rows >= 0).any():
            return sparse.csr_array((len(rows), self.size), dtype=np.float32)
        found = self._matrix[np.maximum(rows, 0)]
        have = sparse.diags_array((rows >= 0).astype(np.float32))
        return sparse.csr_array(have @ found)

    def updated(self, users: Users) -> "People":
        """With further or changed profiles, read as at the fit."""
        return self._keeping(self.users.updated(self._keeping(users, self.fields).users), self.fields)

    def without(self, user_ids: Iterable[str]) -> "People":
        """Without these users' profiles."""
        return replace(self, users=self.users.without(user_ids))

    def to_dict(self) -> list[dict[str, Any]]:
        """How fields are read, in values that JSON has."""
        return [{"name": one.name, "values": list(one.values), "edges": list(one.edges)} for one in self.fields]

    @classmethod
    def from_dict(cls, users: Users, saved: Any) -> "People":
        """The inverse of `to_dict`.

        Raises:
            DataError: It is nothing of the kind.
        """
        try:
            fields = tuple(
                Field(str(one["name"]), tuple(map(str, one["values"])), tuple(map(float, one["edges"])))
                for one in saved
            )
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"the profiles' fields are none: {error}") from error
        if any(not (np.diff(field.edges) > 0).all() or not np.isfinite(field.edges).all() for field in fields):
            raise DataError("the edges of a profile's field do not ascend")
        return cls._keeping(users, fields)


def profile_notes(users: Users, config: ProfilesConfig, people: People) -> list[str]:
    """What is to be said of the profiles: which fields are read, and which are not."""
    _, hidden = config.chosen(users.fields)
    read = ", ".join(field.name for field in people.fields)
    notes = [f"profiles: read {read}" if read else "profiles: no field that tells users apart"]
    if hidden:
        notes.append(
            f"profiles: left out as sensitive: {', '.join(hidden)}; ProfilesConfig(sensitive=True) reads them."
        )
    return notes


def _texts(series: pl.Series) -> list[list[str]]:
    if isinstance(series.dtype, pl.List):
        return [[str(one).strip().casefold() for one in row or () if one is not None] for row in series.to_list()]
    return [[] if value is None or value == "" else [str(value).strip().casefold()] for value in series.to_list()]


def _measure(series: pl.Series) -> np.ndarray:
    """float64 [users]: numbers as they are, dates in days; NaN where there is none."""
    if series.dtype.is_temporal():
        series = series.cast(pl.Datetime("us")).dt.epoch("d")
    return series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _field(series: pl.Series) -> Field | None:
    """How a field is read; None where it tells no two users apart."""
    kinds = series.drop_nulls().n_unique() if not isinstance(series.dtype, pl.List) else 2
    if kinds < 2:
        return None
    if (series.dtype.is_numeric() and kinds > 2 * BINS) or series.dtype.is_temporal():
        known = _measure(series)
        known = known[np.isfinite(known)]
        edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS))
        return Field(series.name, edges=tuple(float(edge) for edge in edges[edges > known.min()]))
    counts: Mapping[str, int] = _counted(value for row in _texts(series) for value in dict.fromkeys(row))
    often = sorted((value for value in counts if counts[value] >= FEWEST_USERS), key=lambda one: (-counts[one], one))
    return Field(series.name, values=tuple(often[:MOST_VALUES])) if often else None


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
