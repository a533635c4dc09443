"""Adapters in the format that others read: PEFT's two files and a card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.artifact.folders import read_regular
from recllm.errors import ArtifactError

PREFIX = "base_model.model."
"""What PEFT puts before every name in its files."""

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

MOST_BYTES = 1 << 24
"""Of a file that is read; a shop's adapter has a few hundred numbers."""


def lora_names(module: str) -> tuple[str, str, str]:
    """Names of A [rank, in], B [out, rank] and what is added to the bias [out]."""
    return tuple(f"{PREFIX}{module}.lora_{part}" for part in ("A.weight", "B.weight", "B.bias"))  # type: ignore[return-value]


def write_peft(folder: Path, matrices: Mapping[str, Tensor], base: str, card: str) -> None:
    """Write LoRA matrices of modules, `weights.A` [in, rank] and `weights.B` [rank, out], as PEFT has them.

    Args:
        folder: Made if missing.
        matrices: By module and side.
        base: What they are for.
        card: README.md.

    Raises:
        ArtifactError: The disk refuses.
    """
    # PEFT keeps A as [rank, in] and B as [out, rank].
    weights = {
        f"{PREFIX}{module}.lora_{side}.weight": np.ascontiguousarray(matrix.T.numpy())
        for name, matrix in matrices.items()
        for module, side in [name.rsplit(".", 1)]
    }
    modules = sorted({name.rsplit(".", 1)[0] for name in matrices})
    write_folder(folder, weights, modules, base, card, rank=matrices[f"{modules[0]}.A"].shape[1])


def write_folder(
    folder: Path,
    weights: Mapping[str, np.ndarray],
    modules: list[str],
    base: str,
    card: str,
    *,
    rank: int,
    moves_bias: bool = False,
) -> None:
    """Write arrays under PEFT's names.

    Raises:
        ArtifactError: The disk refuses.
    """
    from safetensors.numpy import save_file

    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "base_model_name_or_path": base,
        "inference_mode": True,
    }
    if moves_bias:
        config["lora_bias"] = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(weights), folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        (folder / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"cannot write the adapter to {folder}: {error.strerror or error}.") from error


def read_folder(folder: Path) -> tuple[dict[str, Any], SavedArrays]:
    """Settings and arrays, as they stand there.

    Raises:
        ArtifactError: A file is missing, or is none of PEFT's.
    """
    from safetensors.numpy import load

    try:
        config = json.loads(read_regular(folder / CONFIG, MOST_BYTES))
        arrays = load(read_regular(folder / WEIGHTS, MOST_BYTES))
    except Exception as error:  # whatever a parser raises, the bytes are to blame
        raise ArtifactError(f"{folder} holds no adapter in PEFT's format ({error}); export it again.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ArtifactError(f"{folder} holds an adapter that is no LoRA; export it again.")
    return config, SavedArrays("the adapter", arrays)
