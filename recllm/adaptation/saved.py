"""Users' adapters as one file: matrices in half precision, and the events they follow from."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.artifact.folders import read_regular, replace_file
from recllm.artifact.tables import pack_table, unpack_table
from recllm.data.interactions import Interactions
from recllm.data.saved import event_table, id_table, saved_events, saved_ids
from recllm.errors import ArtifactError

__all__ = ["AdapterFile", "read_adapters", "write_adapters"]

FORMAT = "recllm-adapters-2"
TABLES = ("users", "items", "events")
MOST_BYTES = 1 << 36
MOST_STEPS = 100_000

LARGEST = 65_504.0
"""What half precision can hold."""


@final
@dataclass(frozen=True)
class AdapterFile:
    """What a file holds.

    Attributes:
        events: What the adapters were made from; of users in the order of the matrices.
        base: Fingerprint of the model they belong to.
        steps: The gradient steps they were made with.
    """

    events: Interactions
    base: str
    steps: int | None
    _matrices: SavedArrays

    def lora(self, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The matrices, if they are adapters from this start.

        Raises:
            ArtifactError: They are of another shape, or no numbers.
        """
        users = len(self.events.user_ids)
        found = {
            name: self._matrices.floats(name, users, *first.shape, least=-LARGEST, most=LARGEST, dtype=np.float16)
            for name, first in start.items()
            if users
        }
        if users:
            self._matrices.all_taken()
        return {name: torch.from_numpy(array.astype(np.float32)) for name, array in found.items()}


def write_adapters(
    path: str | Path, events: Interactions, lora: Mapping[str, Tensor], base: str, steps: int | None
) -> None:
    """Write one file, whole or not at all.

    Raises:
        ArtifactError: The disk refuses.
    """
    from safetensors.numpy import save

    item_ids = events.frame["item_id"].unique(maintain_order=True).to_list()
    tables = (id_table("user_id", events.user_ids), id_table("item_id", item_ids), event_table(events, item_ids))
    arrays = {
        f"lora.{name}": np.ascontiguousarray(tensor.clamp(-LARGEST, LARGEST).half().numpy())
        for name, tensor in lora.items()
    }
    arrays |= {
        name: np.frombuffer(pack_table(table), dtype=np.uint8) for name, table in zip(TABLES, tables, strict=True)
    }
    about = {"base": base, "timed": events.timed, "steps": steps}
    try:
        content = _in_order(save(arrays, {"format": FORMAT, "about": json.dumps(about)}))
        replace_file(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise ArtifactError(f"cannot save adapters to {path}: {error.strerror or error}.") from error


def _in_order(content: bytes) -> bytes:
    """The same file with what it says of itself in the order of the names; safetensors writes that in any order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # where the arrays begin is a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_adapters(path: str | Path) -> AdapterFile:
    """Read what `write_adapters` wrote.

    Raises:
        ArtifactError: The file is missing, damaged, of an older version or something else.
    """
    try:
        return _read(read_regular(Path(path), MOST_BYTES))
    except _OfAnotherVersion as error:
        raise ArtifactError(
            f"{path} holds adapters in another version's format ({error}, this one reads {FORMAT}); adapt the users "
            "again, and save that."
        ) from None
    except Exception as error:  # whatever a parser raises, the bytes are to blame
        raise ArtifactError(
            f"{path} is no saved adapters file or is damaged ({error}); save the adapters again."
        ) from error


class _OfAnotherVersion(Exception):
    pass


def _read(content: bytes) -> AdapterFile:
    from safetensors.numpy import load

    arrays = load(content)
    metadata: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    if metadata["format"] != FORMAT:
        raise _OfAnotherVersion(metadata["format"]) if metadata["format"][:16] == FORMAT[:16] else KeyError("format")
    about = json.loads(metadata["about"])
    base, steps = about["base"], about["steps"]
    if not isinstance(base, str) or not (steps is None or (type(steps) is int and 0 <= steps <= MOST_STEPS)):
        raise ValueError("it does not say how they were made")
    users, items, events = (
        unpack_table(SavedArrays("the file", arrays).integers(name, None, least=0, below=256, dtype=np.uint8).tobytes())
        for name in TABLES
    )
    log = saved_events(
        events, saved_ids("users", users, "user_id"), saved_ids("items", items, "item_id"), about["timed"]
    )
    matrices = {name.removeprefix("lora."): array for name, array in arrays.items() if name not in TABLES}
    return AdapterFile(log, base, steps, SavedArrays("the adapters", matrices))
