"""The users' state: what each user's own adapter is, and the events it was made from."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recllm.data.interactions import Interactions
from recllm.errors import AdapterMismatch, ArtifactError, DataError

AdaptFunction = Callable[[Interactions], dict[str, Tensor]]
KEPT_COLUMNS = ("user_id", "item_id", "timestamp", "rating", "event", "weight")


@final
class Adapters:
    """Adapters of users, one slice of a stack each.

    An adapter is a function of the shared start and the user's events alone: the order in which events arrive does not
    matter, their timestamps do, and no user's adapter holds anything of another user.

    Args:
        events: What the adapters were made from.
        lora: Matrices with a leading user axis, in the order of `events.user_ids`.
        base: Fingerprint of the model they belong to.
        adapt: Makes adapters from events.
        steps: The gradient steps they were made with; None: as many as the model is configured for.
    """

    def __init__(
        self,
        events: Interactions,
        lora: Mapping[str, Tensor],
        base: str,
        adapt: AdaptFunction,
        steps: int | None = None,
    ) -> None:
        self.events, self.base, self.steps, self._adapt = events, base, steps, adapt
        self._lora = dict(lora)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Users with an adapter."""
        return self.events.user_ids

    def __len__(self) -> int:
        return len(self.user_ids)

    def __repr__(self) -> str:
        return f"Adapters({len(self)} users, {self.bytes_per_user} bytes each in half precision)"

    @property
    def bytes_per_user(self) -> int:
        """Size of one user's matrices as saved, in half precision."""
        return sum(2 * tensor[0].numel() for tensor in self._lora.values()) if len(self) else 0

    def stack(self, user_ids: Sequence[str], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Matrices of these users in this order; a user without an adapter gets the start."""
        place = {user: row for row, user in enumerate(self.user_ids)}
        rows = torch.tensor([place.get(user, -1) for user in user_ids], dtype=torch.long)
        stacked = {}
        for name, first in start.items():
            everyone = torch.cat([self._lora[name], first.unsqueeze(0)]) if len(self) else first.unsqueeze(0)
            stacked[name] = everyone[rows]
        return stacked

    def update(self, new_events: Interactions | Mapping[Any, Any]) -> "Adapters":
        """Take in new events of these or further users and adapt them again; the others stay as they are."""
        fresh = new_events if isinstance(new_events, Interactions) else Interactions.from_mapping(new_events)
        events = self.events.extend(fresh)
        touched = self._adapt(events.of_users(fresh.user_ids))
        users = {user: row for row, user in enumerate(self.user_ids)}
        changed = {user: row for row, user in enumerate(fresh.user_ids)}
        self._lora = {
            name: torch.stack(
                [
                    touched[name][changed[user]] if user in changed else self._lora[name][users[user]]
                    for user in events.user_ids
                ]
            )
            for name in touched
        }
        self.events = events
        return self

    def forget(self, user_ids: Iterable[Any]) -> "Adapters":
        """Delete these users' events and adapters; ids that are not here are passed over."""
        gone = {str(user) for user in user_ids}
        keep = [row for row, user in enumerate(self.user_ids) if user not in gone]
        self._lora = {name: tensor[keep] for name, tensor in self._lora.items()}
        self.events = self.events.without_users(gone)
        return self

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: matrices in half precision, and the events they follow from."""
        from safetensors.numpy import save_file

        columns = [name for name in KEPT_COLUMNS if name in self.events.frame.columns]
        metadata = {
            "format": "recllm-adapters-1",
            "base": self.base,
            "user_ids": json.dumps(list(self.user_ids)),
            "timed": json.dumps(self.events.timed),
            "steps": json.dumps(self.steps),
            "events": json.dumps(self.events.frame.select(columns).to_dict(as_series=False)),
        }
        target = Path(path)
        fresh = target.with_name(f".{target.name}.saving")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            arrays = {name: np.ascontiguousarray(t.half().numpy()) for name, t in self._lora.items()}
            save_file(arrays, fresh, metadata)
            fresh.replace(target)
        except OSError as error:
            raise ArtifactError(f"cannot save adapters to {path}: {error.strerror or error}.") from error
        finally:
            fresh.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, recommender: Any, *, refresh: bool = False) -> "Adapters":
        """Read what `save` wrote, for the recommender that made it.

        Args:
            path: The file.
            recommender: Whose adapters they are.
            refresh: Whether adapters of another model are made anew from the events in the file, instead of refused.

        Raises:
            ArtifactError: The file is missing, damaged or something else.
            AdapterMismatch: It belongs to another model.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                names = file.keys()
                lora = {name: torch.from_numpy(file.get_tensor(name).astype(np.float32)) for name in names}
            if metadata.get("format") != "recllm-adapters-1":
                raise KeyError("format")
            frame = pl.DataFrame(json.loads(metadata["events"]))
            users, timed = json.loads(metadata["user_ids"]), json.loads(metadata["timed"])
            steps = json.loads(metadata.get("steps", "null"))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{path} is no saved adapters file or is damaged; save the adapters again.") from error
        base = recommender.fingerprint
        if metadata["base"] != base and not refresh:
            raise AdapterMismatch(
                f"adapters in {path} were made with model {metadata['base'][:12]}, this one is {base[:12]}; adapt the "
                "users again with this model, or load with refresh=True to have that done from the events in the file."
            )
        events = Interactions.from_mapping({user: [] for user in users})
        if frame.height:
            clean = Interactions.from_frame(frame)
            events = Interactions(clean.frame, clean.report, users, timed)
        make = recommender.adapt_function(steps)
        return cls(events, lora if metadata["base"] == base else make(events), base, make, steps)

    def export(self, user_id: str, folder: str | Path) -> None:
        """Write one user's adapter (start and own steps together) as PEFT's two files and a card.

        `peft.PeftModel.from_pretrained(recommender.model.head, folder)` loads what moves the ranking head. What moves
        the history encoder, where the model adapts it, is loaded the same way onto `recommender.model.encoder.blocks`;
        the head's is then in the folder's `head/`.

        Raises:
            DataError: The user has no adapter here.
        """
        if user_id not in self.user_ids:
            raise DataError(f"user {user_id!r} has no adapter here; adapt the user first.")
        row = self.user_ids.index(user_id)
        own = {name: tensor[row] for name, tensor in self._lora.items()}
        head = {name.removeprefix("head."): part for name, part in own.items() if name.startswith("head.")}
        history = {name: part for name, part in own.items() if not name.startswith("head.")}
        if history:
            _write_peft(Path(folder), history, self.base, "history encoder")
        if head:
            _write_peft(Path(folder) / "head" if history else Path(folder), head, self.base, "ranking head")


def _write_peft(folder: Path, own: Mapping[str, Tensor], base: str, part: str) -> None:
    """PEFT's two files and a card, for one part of the model."""
    from safetensors.numpy import save_file

    # PEFT keeps A as [rank, in] and B as [out, rank].
    weights = {
        f"base_model.model.{module}.lora_{side}.weight": np.ascontiguousarray(matrix.T.numpy())
        for name, matrix in own.items()
        for module, side in [name.rsplit(".", 1)]
    }
    modules = sorted({name.rsplit(".", 1)[0] for name in own})
    rank = own[f"{modules[0]}.A"].shape[1]
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "base_model_name_or_path": f"recllm {part} {base[:12]}",
        "inference_mode": True,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        (folder / "README.md").write_text(
            f"# A user's adapter\n\nLoRA on the {part} of the recllm model `{base}`.\n"
            "Made from this one user's events; it holds nothing of anybody else. The start that it was moved from is\n"
            "shared: the model's card says from how many users it was learned.\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise ArtifactError(f"cannot write the adapter to {folder}: {error.strerror or error}.") from error
