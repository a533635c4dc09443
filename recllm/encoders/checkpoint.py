"""The state of a training run on disk, so that a run that was stopped goes on as if it had not been."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import torch

from recllm.artifact.arrays import SavedArrays
from recllm.artifact.folders import former_of
from recllm.artifact.manifest import MANIFEST
from recllm.artifact.saved import check_target, load_artifact, save_artifact
from recllm.errors import ArtifactError

KIND = "training checkpoint"

LARGEST = 1e12
"""Of an optimiser's memory, where squares are summed."""

MOST_USERS = 1 << 40


class Resumable(Protocol):
    """A run whose state can be taken and put back."""

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and plain values."""

    def restore(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
        """The inverse of `state`."""


@final
@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds the newest state of one run.

    Attributes:
        folder: Written anew at each look at the validation users.
        run: Hash of all that decides the outcome: data, settings, seed. A state of another run is refused.
    """

    folder: Path
    run: str

    def resume(self, run: "Resumable") -> bool:
        """Put a run where the folder's state left it; False where there is none yet and `save` may write.

        Raises:
            ArtifactError: The folder holds something else, is damaged, or belongs to another run.
        """
        check_target(self.folder)  # better now than at the first look
        if former_of(self.folder) is None and not (self.folder / MANIFEST).exists():
            return False
        artifact = load_artifact(self.folder, KIND)
        try:
            if artifact.documents["run"]["run"] != self.run:
                raise ArtifactError("it is of another run: its data, settings or seed differ")
            arrays = artifact.tensors["state"]
            _check_arrays(SavedArrays("the state", arrays), run.state()[0])
            run.restore(dict(arrays), artifact.documents["state"])
        except Exception as error:  # whatever is raised on the way, what was saved is to blame
            raise ArtifactError(
                f"the checkpoint in {self.folder} cannot be gone on from: {error}; give another folder, or delete this "
                "one to begin anew."
            ) from error
        return True

    def save(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
        """Replace what the folder holds, all at once."""
        save_artifact(
            self.folder,
            tensors={"state": arrays},
            documents={"state": values, "run": {"run": self.run}},
            card="# The state of a training run\n\nGive this folder again, and the run goes on. No model to load.\n",
            kind=KIND,
        )


def _check_arrays(saved: SavedArrays, fresh: dict[str, np.ndarray]) -> None:
    """Hold a state against that of the run at its beginning, which has neither a best one nor an optimiser's memory."""
    for name, array in fresh.items():
        if name != "waiting":
            saved.like(name, array, LARGEST)
    saved.integers("waiting", None, least=0, below=MOST_USERS)
    for name in saved:
        kind, _, rest = name.partition(".")
        if kind == "best":
            saved.like(name, fresh[f"present.{rest}"], LARGEST)
        elif kind == "optimiser":
            row, _, memory = rest.partition(".")
            scalar = memory == "step"
            saved.like(name, np.zeros((), np.float32) if scalar else fresh[f"average.{row}"], LARGEST)
    saved.all_taken()


def optimiser_arrays(optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """The optimiser's memory of each parameter."""
    return {
        f"optimiser.{row}.{name}": value.cpu().numpy()
        for row, memory in optimiser.state_dict()["state"].items()
        for name, value in memory.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, arrays: dict[str, np.ndarray]) -> None:
    """Put what `optimiser_arrays` took back into an optimiser over the same parameters."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        if key.startswith("optimiser."):
            _, row, name = key.split(".")
            state.setdefault(int(row), {})[name] = torch.from_numpy(array.copy())
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
