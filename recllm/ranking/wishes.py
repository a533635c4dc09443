"""What a user asks for in words: "more of Garden", "less of Toys", "never of Candles", as terms of the ranking."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recllm.config import Within, Word, check_types
from recllm.data.attributes import Attributes
from recllm.errors import ConfigError, DataError

STEP = 1 / 3
"""What "more" adds and "less" takes: this part of the way from the user's average item to their best. On MovieLens a
list of ten then has 9 comedies instead of 2, or 4 horror films instead of none."""

_FORM = re.compile(
    r"\s*(more|less|never)\s+(?:of\s+)?(?!of\s*$)(.*?\S)(?:\s+\((\d{1,2}(?:\.\d+)?)\))?\s*", re.IGNORECASE | re.DOTALL
)


@final
@dataclass(frozen=True)
class Wish:
    """One wish.

    Attributes:
        direction: "more" raises the items meant, "less" lowers them, "never" rules them out.
        of: A value of a column ("Garden"), one of a named column ("sector=Energy"), or words of titles and texts.
        strength: Of more and less; 2 is twice as much.
    """

    direction: Literal["more", "less", "never"]
    of: Word
    strength: Annotated[float, Within("(0, 100)")] = 1.0

    def __post_init__(self) -> None:
        try:
            check_types(self)
        except ConfigError as error:
            raise DataError(f"{error}; a wish is for example Wish('more', 'Garden', 2).") from None

    @classmethod
    def parse(cls, text: Any) -> Self:
        """From "more of Garden", or "more of Garden (2)" with a strength.

        Raises:
            DataError: It has another form.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise DataError(f"{text!r} is no wish; write 'more of …', 'less of …' or 'never of …'.")
        strength = float(found[3]) if found[3] else 1.0
        return cls(found[1].lower(), " ".join(found[2].split()), strength)  # type: ignore[arg-type]

    def __str__(self) -> str:
        strength = "" if self.strength == 1 else f" ({self.strength:g})"
        return f"{self.direction} of {self.of}{strength}"


@final
@dataclass(frozen=True, eq=False)
class Wishes:
    """Wishes about a catalog.

    Attributes:
        wishes: As they were said.
        meant: bool [wishes, items], the items that each is about.
    """

    wishes: tuple[Wish, ...]
    meant: NDArray[np.bool_]

    @classmethod
    def of(cls, wishes: Any, attributes: Attributes) -> "Wishes":
        """Look up what is meant.

        Args:
            wishes: A list of `Wish` or of their texts, or None.
            attributes: Of the catalog.

        Raises:
            DataError: A wish has no known form, or no item is meant.
        """
        if isinstance(wishes, str | Wish | Mapping) or not isinstance(wishes, Iterable | None):
            raise DataError(f"wishes are a list of texts; write [{str(wishes)!r}].")
        parsed = tuple(
            wish if isinstance(wish, Wish) else Wish.parse(wish) for wish in (() if wishes is None else wishes)
        )
        meant = [items_meant(wish.of, attributes) for wish in parsed]
        return cls(parsed, np.array(meant, dtype=bool).reshape(len(parsed), len(attributes.catalog)))

    def __len__(self) -> int:
        return len(self.wishes)

    def of_direction(self, direction: str) -> NDArray[np.bool_]:
        """bool [items]: items that a wish of this direction is about."""
        chosen = np.array([wish.direction == direction for wish in self.wishes], dtype=bool)
        meant: NDArray[np.bool_] = self.meant[chosen].any(axis=0)
        return meant

    @property
    def ruled_out(self) -> NDArray[np.bool_]:
        """bool [items]: "never" means none."""
        return self.of_direction("never")

    @property
    def term(self) -> Float[Tensor, "items"] | None:
        """What they add, as `moved` does it; None without wishes. What is wanted more of has more than 0."""
        if not self.wishes:
            return None
        steps = [{"more": STEP, "less": -STEP, "never": 0.0}[wish.direction] * wish.strength for wish in self.wishes]
        return torch.from_numpy((np.array(steps) @ self.meant).astype(np.float32))

    def raising(self, item: int) -> tuple[str, ...]:
        """What was wanted more of and is true of this item, in the user's words."""
        pairs = zip(self.wishes, self.meant, strict=True)
        return tuple(wish.of for wish, meant in pairs if wish.direction == "more" and meant[item])


def moved(
    scores: Float[Tensor, "users width"], term: Float[Tensor, "users width"], average: Float[Tensor, "users"]
) -> Float[Tensor, "users width"]:
    """Scores with parts of the way from a user's average item to their best one added.

    Args:
        scores: −inf where a user has no item.
        term: Which part of it.
        average: The score of the average item.
    """
    way = (scores.amax(dim=1) - average).clamp(min=0)
    return scores + term * way.unsqueeze(1)


def items_meant(of: str, attributes: Attributes) -> NDArray[np.bool_]:
    """bool [items]: the items that a user means by a value or by words.

    Raises:
        DataError: None.
    """
    meant = attributes.items_with(of)
    if not meant.any():
        common = ", ".join(attributes.commonest[:8]) or "none; use words of titles"
        raise DataError(f"no item has {of!r} as a value or in its words; values of this catalog are, e.g., {common}.")
    return meant
