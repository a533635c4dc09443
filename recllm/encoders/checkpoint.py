"""The state of a training run on disk, so that a run that was stopped goes on as if it had not been."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from recllm.artifact import check_target, load_artifact, save_artifact
from recllm.errors import ArtifactError

KIND = "training checkpoint"


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

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays and plain values as they were saved; None where there is nothing yet and `save` may write.

        Raises:
            ArtifactError: The folder holds something else, is damaged, or belongs to another run.
        """
        check_target(self.folder)  # better now than at the first look
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        artifact = load_artifact(self.folder, KIND)
        if artifact.documents["run"]["run"] != self.run:
            raise ArtifactError(
                f"the checkpoint in {self.folder} is of another run: its data, settings or seed differ; give another "
                "folder, or delete this one to begin anew."
            )
        return dict(artifact.tensors["state"]), artifact.documents["state"]

    def save(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
        """Replace what the folder holds, all at once."""
        save_artifact(
            self.folder,
            tensors={"state": arrays},
            documents={"state": values, "run": {"run": self.run}},
            card="# The state of a training run\n\nGive this folder again, and the run goes on. No model to load.\n",
            kind=KIND,
        )


def optimiser_arrays(optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """The optimiser's memory of each parameter."""
    return {
        f"optimiser.{row}.{name}": value.numpy()
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
