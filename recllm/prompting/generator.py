"""Language models behind one interface: they put evidence into words, or only choose among sentences that are true.

Whatever comes back from a model is a proposal. The caller checks it, and has something else to say when there is none.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, final

from recllm.errors import GenerationError


class Choice(NamedTuple):
    """One question for `Generator.choose_many`; a plain tuple of the three does as well."""

    system: str
    user: str
    options: Sequence[str]


class Generator(ABC):
    """A language model.

    Attributes:
        name: For labels, such as `"smollm2"` or `"gpt-x at localhost:8000"`.
        writes: Whether it is trusted with free text; else it only chooses among sentences that others wrote.
    """

    name: str
    writes: bool

    @abstractmethod
    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        """What the model answers, at most about `max_tokens` long.

        Args:
            system: What the model is to do.
            user: The facts.
            max_tokens: Where the text is cut; JSON that is not complete by then is an error.
            schema: A JSON schema; the text is then JSON that obeys it.

        Raises:
            GenerationError: There is no answer, or none that can be used.
        """

    @abstractmethod
    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """Index of the option that fits best, or None if none fits or there are no options.

        Raises:
            GenerationError: There is no answer, or none that can be used.
        """

    def choose_many(self, questions: Sequence[Choice | tuple[str, str, Sequence[str]]]) -> list[int | None]:
        """`choose` for many questions, which some models answer at once.

        Raises:
            GenerationError: A question could not be answered.
        """
        return [self.choose(*question) for question in questions]


@final
class CannedGenerator(Generator):
    """Answers what it was told to, in order: for tests, yours and ours.

    Args:
        texts: What `generate` returns, one after the other; an exception is raised instead.
        choices: What `choose` returns, likewise.
        writes: Whether it counts as a model that is trusted with free text.
        name: For labels.

    Attributes:
        asked: (system, user) of every question so far.
    """

    def __init__(
        self,
        texts: Iterable[str | Exception] = (),
        choices: Iterable[int | Exception | None] = (),
        *,
        writes: bool = True,
        name: str = "canned",
    ) -> None:
        self.name, self.writes = name, writes
        self.asked: list[tuple[str, str]] = []
        self._texts, self._choices = list(texts), list(choices)

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        """The next text, whatever `max_tokens` and `schema` are: what models do wrong can be canned, too."""
        self.asked.append((system, user))
        return _next(self._texts, "texts")

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """The next choice; one that is no option is the GenerationError it would be with a model."""
        self.asked.append((system, user))
        choice: int | None = _next(self._choices, "choices")
        if choice is not None and not 0 <= choice < len(options):
            raise GenerationError(f"the model chose option {choice} of {len(options)}; ask again, or do without it")
        return choice


def _next(entries: list[Any], kind: str) -> Any:
    if not entries:
        raise GenerationError(f"the canned generator has no {kind} left; give CannedGenerator more of them")
    entry = entries.pop(0)
    if isinstance(entry, Exception):
        raise entry
    return entry
