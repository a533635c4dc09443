"""The models of a server's folder: one is in use, and a fit makes the next."""

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, final

from recllm.artifact.manifest import MANIFEST
from recllm.errors import ArtifactError, ServeError
from recllm.recommender import Recommender
from recllm.serve.state.store import Store

_FACT = "model"


@final
@dataclass(frozen=True)
class InUse:
    """Which model is in use.

    Attributes:
        name: Its folder.
        as_of_event: Number of the newest event that is in it.
        source: SHA-256 of the manifest of the folder that it was taken from; "" for one that was fitted here.
    """

    name: str
    as_of_event: int
    source: str = ""


@final
class Models:
    """Saved models beside the store; which of them is in use is a fact of the store, so both change as one.

    Args:
        folder: Where they are.
        store: Where the fact is.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self._store = folder, store
        self._changing = Lock()
        folder.mkdir(exist_ok=True)
        shutil.rmtree(self.workshop, ignore_errors=True)

    @property
    def workshop(self) -> Path:
        """Where a fit under way has its files; what a killed one has left is deleted at the start."""
        return self.folder.with_name("refit")

    @property
    def in_use(self) -> InUse | None:
        """The model to begin with; None: there is none yet."""
        fact = self._store.fact(_FACT)
        used = InUse(**fact) if isinstance(fact, Mapping) else None
        if used is None or not (self.folder / used.name).is_dir():
            return None  # a backup has no models, nor has another machine that serves the same database
        # A backup of before may have been put beside it: known events are passed over.
        return used if used.as_of_event <= self._store.last_event else replace(used, as_of_event=0)

    def open(self, given: Path | Recommender | None) -> tuple[Recommender, int]:
        """The recommender to begin with, and the number of the newest event in it.

        Args:
            given: A model to take over, if it was not taken over before.

        Raises:
            ServeError: There is none.
            ArtifactError: It is damaged.
        """
        used = self.in_use
        if isinstance(given, Recommender):
            if used is None or used.source != given.fingerprint:
                self.take(given, 0, source=given.fingerprint)
                return given, 0
        elif given is not None:
            source = _digest_of(given)
            if used is None or used.source != source:
                recommender = Recommender.load(given)
                self.take(recommender, 0, source=source)
                return recommender, 0
        if used is None:
            raise ServeError(
                f"{self.folder.parent} holds no model yet; write `recllm serve MODEL --data FOLDER`, with a model that "
                "`recllm fit` saved, or `recllm serve --demo`."
            )
        return Recommender.load(self.folder / used.name), used.as_of_event

    def take(self, recommender: Recommender, as_of_event: int, *, source: str | None = None) -> None:
        """Save a model and put it into use; the former is deleted.

        Args:
            recommender: The model.
            as_of_event: Number of the newest event that is in it.
            source: Where it was taken from; None: as the one in use.
        """
        with self._changing:
            target = self._place()
            recommender.save(target)
            self._use(target, as_of_event, source)

    def adopt(self, fitted: Path, as_of_event: int) -> None:
        """Put a model that was fitted in the workshop into use; see `take`."""
        with self._changing:
            target = self._place()
            fitted.rename(target)
            self._use(target, as_of_event, None)

    def _use(self, target: Path, as_of_event: int, source: str | None) -> None:
        used = self.in_use
        source = source if source is not None else used.source if used else ""
        fact: dict[str, Any] = asdict(InUse(target.name, as_of_event, source))
        self._store.write(lambda change: change.put_fact(_FACT, fact)).result()
        for path in self.folder.iterdir():
            if path.name != target.name and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _place(self) -> Path:
        # By its name, a model is not taken for one that another machine has told the same database of.
        taken = [int(path.name[:6]) for path in self.folder.iterdir() if path.name[:6].isdigit()]
        return self.folder / f"{max(taken, default=0) + 1:06d}-{secrets.token_hex(4)}"


def _digest_of(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be read as a saved recommender ({error.strerror}); give one that `recllm fit` saved."
        ) from error
