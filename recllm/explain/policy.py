"""What a reason may not say: items and topics that are never cited, although they count."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from recllm.config import Word, checked
from recllm.data.attributes import Attributes

SENSITIVE = (
    "abortion",
    "addiction",
    "addiction & recovery",
    "adult",
    "adult only",
    "bankruptcy",
    "contraception",
    "debt relief",
    "erotic",
    "erotica",
    "fertility",
    "gay & lesbian",
    "hiv",
    "lgbt",
    "lgbtq",
    "mental health",
    "political",
    "politics",
    "pornography",
    "pregnancy tests",
    "religion",
    "religious",
    "sex",
    "sexual health",
    "sexual wellness",
    "sexuality",
    "std",
    "suicide",
    "trade unions",
    "weight loss",
)
"""Values of categories and other columns that a reason does not bring up, whole values without case."""


@final
@dataclass(frozen=True)
@checked
class ExplanationConfig:
    """What reasons may name.

    Attributes:
        never_cite: Ids of items, and values of categories or other columns, that no reason names.
        sensitive: The same, for topics that embarrass in most places; replace it by your own list.
    """

    never_cite: tuple[Word, ...] = ()
    sensitive: tuple[Word, ...] = SENSITIVE

    def forbids(self, value: str) -> bool:
        """Whether a value of a column may not be named."""
        return value.strip().casefold() in self._values

    @property
    def _values(self) -> frozenset[str]:
        return frozenset(value.strip().casefold() for value in (*self.never_cite, *self.sensitive))

    def private_items(self, attributes: Attributes) -> NDArray[np.bool_]:
        """bool [items]: items that no reason names."""
        private = np.zeros(len(attributes.catalog), dtype=bool)
        listed = attributes.catalog.rows(self.never_cite)
        private[listed[listed >= 0]] = True
        for (_, value), rows in attributes.rows_of.items():
            if self.forbids(value):
                private[rows] = True
        return private
