"""What one method answered on one split, kept on disk: an evaluation that was stopped goes on where it was."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from recllm.artifact import fingerprint, load_artifact, save_artifact
from recllm.errors import ArtifactError
from recllm.evaluation.arms import Ranked

KIND = "evaluation cell"


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """One method's answers on one split.

    Attributes:
        ranked: Arm -> lists.
        about: Chosen settings, times and other JSON-able facts.
        extra: Arm -> metric -> a figure of all lists together.
        errors: Arm -> metric -> per-user figure of predicted ratings [tasks].
    """

    ranked: Mapping[str, Ranked]
    about: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


@final
class Cells:
    """A folder of cells, found again by what made them; without a folder nothing is kept.

    Args:
        folder: Where to keep them; delete it to measure anew after the code has changed.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)

    def get(self, key: tuple[str, ...], make: Callable[[], Cell]) -> Cell:
        """The cell of `key`, made and kept if it is not here (or is damaged)."""
        place = self.place(key)
        if place is None:
            return make()
        try:
            return _read(place)
        except ArtifactError:
            cell = make()
            shutil.rmtree(place, ignore_errors=True)  # so damaged that nobody could tell whose it is
            _write(place, cell)
            return cell

    def place(self, key: tuple[str, ...], kind: str = "cell") -> Path | None:
        """The folder for what `key` names."""
        return None if self.folder is None else self.folder / f"{kind}-{fingerprint(*key)[:24]}"


def _write(place: Path, cell: Cell) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    errors = {f"{arm}\n{metric}": value for arm, found in cell.errors.items() for metric, value in found.items()}
    save_artifact(
        place,
        tensors={"ranked": {arm: ranked.rows for arm, ranked in cell.ranked.items()}, "errors": errors},
        documents={
            "about": {
                "about": dict(cell.about),
                "extra": {arm: dict(found) for arm, found in cell.extra.items()},
                "seconds": {arm: ranked.seconds for arm, ranked in cell.ranked.items()},
            }
        },
        card="Lists of one method on one split of an evaluation.\n",
        kind=KIND,
    )


def _read(place: Path) -> Cell:
    artifact = load_artifact(place, KIND)
    document = artifact.documents["about"]
    errors: dict[str, dict[str, np.ndarray]] = {}
    for name, value in artifact.tensors["errors"].items():
        arm, _, metric = name.partition("\n")
        errors.setdefault(arm, {})[metric] = value
    seconds = document["seconds"]
    ranked = {arm: Ranked(artifact.tensors["ranked"][arm], seconds[arm]) for arm in seconds}
    return Cell(ranked, document["about"], document["extra"], errors)
