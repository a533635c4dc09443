"""The text encoder's own adapter: what fine-tuning learned, in PEFT's format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from recllm.artifact import fingerprint
from recllm.artifact.arrays import SavedArrays
from recllm.errors import AdapterMismatch, ArtifactError

PREFIX = "base_model.model."
"""What PEFT puts before every name in its files."""

SETTINGS = ("r", "lora_alpha", "lora_dropout", "bias", "target_modules", "task_type", "base_model_name_or_path")
"""What is kept of PEFT's settings; the others have their defaults."""


@final
@dataclass(frozen=True, eq=False)
class TextAdapter:
    """A LoRA on the last blocks of the text encoder.

    Attributes:
        config: PEFT's `adapter_config.json`.
        weights: PEFT's names -> float32 arrays.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, transformer: Any) -> "TextAdapter":
        """The adapter that a model from transformers carries, copied."""
        import peft

        config = transformer.peft_config["default"].to_dict()
        known = {name: config[name] for name in SETTINGS}
        known["target_modules"] = sorted(known["target_modules"])
        state = peft.get_peft_model_state_dict(transformer, adapter_name="default")
        weights = {PREFIX + name: tensor.detach().float().cpu().numpy().copy() for name, tensor in state.items()}
        return cls(known | {"peft_type": "LORA", "inference_mode": True}, weights)

    @classmethod
    def from_saved(cls, config: Mapping[str, Any], saved: SavedArrays) -> "TextAdapter":
        """From the settings and weights of a saved one.

        Raises:
            ArtifactError: They are not what `of` takes from a model: PEFT imports what other settings name.
        """
        weights = {name: saved.floats(name, None, None) for name in saved}
        rank, modules = config["r"], config["target_modules"]
        known = set(config) == {*SETTINGS, "peft_type", "inference_mode"}
        lists = isinstance(modules, list) and all(isinstance(name, str) for name in modules)
        if not known or not lists or (config["bias"], config["peft_type"]) != ("none", "LORA"):
            raise ArtifactError("the text adapter has settings that are not recllm's")
        if not weights or type(rank) is not int or not 0 < config["lora_alpha"] <= 1e4:
            raise ArtifactError("the text adapter has no weights, or no rank")
        for name, array in weights.items():
            if not name.startswith(PREFIX) or array.shape[0 if ".lora_A." in name else 1] != rank:
                raise ArtifactError(f"the text adapter's {name!r} is not of rank {rank}")
        return cls(config, weights)

    def digest(self) -> str:
        """SHA-256 over settings and weights; what a vector made with it depends on."""
        parts = [part for name, array in sorted(self.weights.items()) for part in (name, array)]
        return fingerprint(json.dumps(dict(self.config), sort_keys=True), *parts)

    def scaled(self, strength: float) -> "TextAdapter":
        """The same adapter with a share of its effect on the weights."""
        return TextAdapter(
            self.config,
            {
                name: array * np.float32(strength) if ".lora_B." in name else array
                for name, array in self.weights.items()
            },
        )

    def put_on(self, transformer: Any) -> None:
        """Set the weights of a model that carries an adapter of the same shape."""
        import peft
        import torch

        state = {name.removeprefix(PREFIX): torch.from_numpy(np.array(a)) for name, a in self.weights.items()}
        peft.set_peft_model_state_dict(transformer, state)

    def load_into(self, model: Any) -> None:
        """Put the adapter on a `SentenceTransformer`, in place.

        Raises:
            AdapterMismatch: It was made for another backbone.
        """
        import peft
        import torch

        transformer = model.transformers_model
        try:
            peft.inject_adapter_in_model(peft.LoraConfig(**self.config), transformer)
            state = {name.removeprefix(PREFIX): torch.from_numpy(np.array(a)) for name, a in self.weights.items()}
            result = peft.set_peft_model_state_dict(transformer, state)
        except (ValueError, RuntimeError, KeyError) as error:
            raise AdapterMismatch(f"the text adapter does not fit the backbone: {error}") from error
        if result.unexpected_keys:
            raise AdapterMismatch(
                f"the text adapter has weights for {result.unexpected_keys[0]!r}, which the backbone does not have; "
                "use the backbone it was trained with."
            )
        transformer.requires_grad_(False)

    def write(self, folder: str | Path, card: str) -> None:
        """Write PEFT's two files and a card; `SentenceTransformer(backbone).load_adapter(folder)` reads them."""
        from safetensors.numpy import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: np.ascontiguousarray(a) for name, a in self.weights.items()}, target / "adapter_model.safetensors"
        )
        (target / "adapter_config.json").write_text(json.dumps(dict(self.config), indent=2), encoding="utf-8")
        (target / "README.md").write_text(card, encoding="utf-8")
