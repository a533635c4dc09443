"""Everything that recllm raises on purpose.

Each message is a sentence that says what came, what was wanted and what to do. ::

    RecllmError                 the root: `except recllm.RecllmError` catches all of these
    ├── ConfigError             a setting is unknown, of the wrong type or out of range   (also a ValueError)
    ├── DataError               a catalog, an event log, or ids that were passed cannot be used   (also a ValueError)
    ├── PromptError             a prompt file is wrong, or a variable is missing
    ├── BackboneError           a pretrained model cannot be found or cannot be used
    ├── GenerationError         a language model gave no answer, or none that can be used
    ├── ArtifactError           a saved folder is missing, damaged, of another kind, or cannot be written
    ├── AdapterMismatch         an adapter does not fit the encoder
    ├── ForkError               the process was forked after recllm had begun to work in it
    ├── NotFittedError          the recommender has to be fitted or loaded first
    ├── LeakageError            an evaluation would use users that the model was trained on
    ├── ResourceError           a file that recllm ships is not where it should be
    ├── WorkerError             work that was spread over processes or machines cannot be done
    ├── ServeError              a server cannot do what it was asked for
    │   ├── BusyError           more is asked at once than it can answer; ask again in a moment
    │   ├── ConflictError       it is known otherwise already
    │   ├── UnknownError        there is no such user, item or recommendation
    │   └── StorageError        the disk refuses, so nothing of it was taken in
    │       └── UnreachableError    the database is away; ask again in a moment
    └── MissingExtraError       an optional dependency is not installed   (also an ImportError)
"""

import importlib
from types import ModuleType

__all__ = [
    "AdapterMismatch",
    "ArtifactError",
    "BackboneError",
    "BusyError",
    "ConfigError",
    "ConflictError",
    "DataError",
    "ForkError",
    "GenerationError",
    "LeakageError",
    "MissingExtraError",
    "NotFittedError",
    "PromptError",
    "RecllmError",
    "ResourceError",
    "ServeError",
    "StorageError",
    "UnknownError",
    "UnreachableError",
    "WorkerError",
    "require",
]


class RecllmError(Exception):
    """The root of all errors that recllm raises on purpose."""

    def __str__(self) -> str:
        """One line, whatever came: that of a table that is shown has several."""
        said = super().__str__()
        return " ".join(said.split()) if "\n" in said else said


class ConfigError(RecllmError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(RecllmError, ValueError):
    """A catalog, an event log, or ids that were passed cannot be used."""


class PromptError(RecllmError):
    """A prompt file is wrong, or a variable is missing.

    Attributes:
        line: Where in the prompt's file; None if the file is not at fault.
        key: Of the front matter, such as ``input.schema.title``; None if the fault is elsewhere.
        partial: The partial that the line is of, None for the prompt itself.
    """

    def __init__(
        self, message: str, *, line: int | None = None, key: str | None = None, partial: str | None = None
    ) -> None:
        super().__init__(message)
        self.line, self.key, self.partial = line, key, partial


class BackboneError(RecllmError):
    """A pretrained model cannot be found or cannot be used."""


class GenerationError(RecllmError):
    """A language model gave no answer, or none that can be used."""


class ArtifactError(RecllmError):
    """A saved folder is missing, damaged, of another kind, or cannot be written."""


class AdapterMismatch(RecllmError):
    """An adapter does not fit the encoder."""


class ForkError(RecllmError):
    """The process was forked after recllm had begun to work in it."""


class NotFittedError(RecllmError):
    """The recommender has to be fitted or loaded first."""


class LeakageError(RecllmError):
    """An evaluation would use users that the model was trained on."""


class ResourceError(RecllmError):
    """A file that recllm ships is not where it should be."""


class WorkerError(RecllmError):
    """A part of the work that was spread over processes or machines cannot be done.

    Attributes:
        shard: Its place among the shards, from 0; None if it is not of one of them.
    """

    def __init__(self, message: str, *, shard: int | None = None) -> None:
        super().__init__(message)
        self.shard = shard


class ServeError(RecllmError):
    """A server cannot do what it was asked for."""


class BusyError(ServeError):
    """More is asked at once than the server can answer; ask again in a moment."""


class ConflictError(ServeError):
    """It is known otherwise already."""


class UnknownError(ServeError):
    """There is no such user, item or recommendation."""


class StorageError(ServeError):
    """The disk refuses, so nothing of it was taken in."""


class UnreachableError(StorageError):
    """The database is away, so nothing of it was taken in; ask again in a moment."""


class MissingExtraError(RecllmError, ImportError):
    """An optional dependency is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to get it.

    Args:
        module: The module's name, such as `"ray"`.
        extra: The extra of recllm that installs it, such as `"scale"`.

    Raises:
        MissingExtraError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is there but lacks one of its own dependencies has another cure than our extra.
        if error.name is None or module.partition(".")[0] != error.name.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {module!r}, which is not installed; run: pip install 'recllm[{extra}]'",
            name=module,
        ) from None
