"""Asking a language model that is not trusted: whatever goes wrong is one kind of error."""

from collections.abc import Sequence

from recllm.errors import GenerationError
from recllm.prompting.generator import Generator
from recllm.texts import clean_text


def text_of(generator: Generator, system: str, user: str) -> str:
    """What the model says, on one line.

    Raises:
        GenerationError: It says nothing, whatever the reason.
    """
    try:
        text = generator.generate(system, user)
    except Exception as error:  # a backend may raise anything; whoever asked for reasons still gets them
        raise GenerationError(f"The model did not answer: {error}") from error
    if not isinstance(text, str):
        raise GenerationError(f"The model answered with {type(text).__name__} instead of a text")
    return clean_text(text)


def choices_of(generator: Generator, requests: Sequence[tuple[str, str, list[str]]]) -> list[int | None]:
    """What the model chooses, a place among the options for each request or None.

    Raises:
        GenerationError: There is no answer, or one that is no choice.
    """
    if not requests:
        return []
    try:
        chosen = list(generator.choose_many(requests))
    except Exception as error:  # as above
        raise GenerationError(f"The model did not answer: {error}") from error
    if len(chosen) != len(requests):
        raise GenerationError(f"The model answered {len(chosen)} of {len(requests)} questions")
    for choice, (_, _, options) in zip(chosen, requests, strict=True):
        if choice is not None and not (type(choice) is int and 0 <= choice < len(options)):
            raise GenerationError(f"The model chose {choice!r} where there are {len(options)} options")
    return chosen
