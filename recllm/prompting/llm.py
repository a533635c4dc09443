"""Language models behind one interface: they put evidence into words, or only choose among sentences that are true.

Whatever comes back from a model is a proposal. The caller checks it, and has something else to say when there is none.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, final

from recllm.errors import BackboneError, GenerationError

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""The hosts that an endpoint may be on when nothing else is said."""


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


def open_generator(spec: str, *, allow_hosts: Sequence[str] = LOCAL_HOSTS) -> Generator:
    """A language model by name.

    Args:
        spec: `"smollm2"` (a package embeds it; it only chooses), `"http://localhost:8000/v1#model"` (anything that
            speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp), or the folder or hub name of a causal language
            model of transformers.
        allow_hosts: Where an endpoint may be; events and catalog text leave the machine for any other than these.

    Raises:
        ConfigError: The URL cannot be used, or its host is not allowed.
        BackboneError: No such model is here, or it cannot be loaded.
    """
    if re.match(r"https?://", spec, re.IGNORECASE):
        from recllm.prompting.endpoint import EndpointGenerator

        url, _, model = spec.partition("#")
        return EndpointGenerator(url, model, allow_hosts=allow_hosts)
    from recllm.prompting.local import TransformersGenerator
    from recllm.prompting.smollm2 import NAME, open_smollm2

    if spec == NAME:
        return open_smollm2()
    if not spec:
        raise BackboneError(f"a language model has no name; give {NAME!r}, a URL, a folder or a hub name")
    return TransformersGenerator(spec)


# --- checking what came ------------------------------------------------------------------------------------------

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of a model's JSON text, checked against the part of JSON schema that prompts use.

    That part is type, enum, required, properties, additionalProperties=false, items, minItems, maxItems and maxLength.

    Raises:
        GenerationError: The text is not JSON and nothing else, or it does not obey the schema.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise GenerationError(
            f"the model answered {_shown(text)} where JSON and nothing else was wanted; ask again, or use another model"
        ) from None
    wrong = _mismatch(value, schema, "the value")
    if wrong:
        raise GenerationError(f"the model's JSON does not obey the schema: {wrong}; ask again, or use another model")
    return value


def _mismatch(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    """What is wrong with `value`, or None."""
    kind = schema.get("type")
    if isinstance(kind, str):
        misread = isinstance(value, bool) and kind in ("integer", "number")  # to Python, True is an int
        if not isinstance(value, _TYPES[kind]) or misread:
            return f"{where} is not of type {kind}"
    # By JSON's own notion of equality: 1 and true differ.
    if "enum" in schema and json.dumps(value) not in map(json.dumps, schema["enum"]):
        return f"{where} is none of those offered"
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return f"{where} is longer than {schema['maxLength']} characters"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)} entries"
        inside = [(entry, schema.get("items", {}), f"entry {row} of {where}") for row, entry in enumerate(value)]
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{where} lacks {missing[0]!r}"
        unknown = [name for name in value if name not in properties]
        if unknown and schema.get("additionalProperties") is False:
            return f"{where} has the unknown key {_shown(unknown[0])}"
        inside = [(value[name], properties[name], f"{name!r} of {where}") for name in value if name in properties]
    else:
        return None
    return next((wrong for entry in inside if (wrong := _mismatch(*entry))), None)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
