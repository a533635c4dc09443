"""Language models behind one interface."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from recllm.errors import GenerationError

Request = tuple[str, str, Sequence[str]]


class Generator(ABC):
    """A language model.

    Attributes:
        name: How labels call it.
        writes: Whether it is trusted with free text; else it only chooses.
    """

    name: str
    writes: bool

    @abstractmethod
    def generate(self, system: str, user: str, *, max_tokens: int = 160, schema: Any = None) -> str:
        """Free text."""

    @abstractmethod
    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """The place of the best option; None abstains."""

    def choose_many(self, requests: Sequence[Request]) -> list[int | None]:
        """`choose` for each request."""
        return [self.choose(*request) for request in requests]


class CannedGenerator(Generator):
    """Says what it was given, in turn; `asked` keeps what it was asked."""

    def __init__(self, texts: Sequence[str] = (), *, choices: Sequence[int | None] = (), writes: bool = True) -> None:
        self.name, self.writes = "canned", writes
        self.asked: list[tuple[Any, ...]] = []
        self._texts, self._choices = list(texts), list(choices)

    def generate(self, system: str, user: str, *, max_tokens: int = 160, schema: Any = None) -> str:
        """The next text."""
        self.asked.append((system, user))
        if not self._texts:
            raise GenerationError("there is no further canned text; give CannedGenerator more")
        return self._texts.pop(0)

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """The next choice."""
        self.asked.append((system, user, tuple(options)))
        if not self._choices:
            raise GenerationError("there is no further canned choice; give CannedGenerator more")
        return self._choices.pop(0)
