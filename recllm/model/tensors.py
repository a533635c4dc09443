"""What a model is made of, as arrays: to save it, and to tell whether two are the same."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from recllm.artifact import fingerprint
from recllm.artifact.arrays import SavedArrays
from recllm.data.cleaning import fingerprint_frame

if TYPE_CHECKING:
    from recllm.model.model import Model


def fingerprint_of(model: "Model") -> str:
    """SHA-256 over what users' adapters depend on. The catalog may grow without touching it."""
    start = arrays_of(model.learner) if model.learner is not None else {}
    head = {f"head.{name}": array for name, array in arrays_of(model.head).items()}
    learned = arrays_of(model.encoder) | {"project": model.items.project.weight.numpy()} | head | start
    text = () if model.text_adapter is None else (model.text_adapter.digest(),)
    return fingerprint(*text, *(part for name, array in sorted(learned.items()) for part in (name, array)))


def digest_of(model: "Model") -> str:
    """SHA-256 over everything that scores depend on, the catalog and what channels remember included."""
    tensors = tensors_of(model)
    if model.drift is not None:  # what is added to the head now; nothing depends on its earlier versions
        tensors["drift"] = {"weight": model.drift.weight, "bias": model.drift.bias}
    parts = [
        part
        for group, arrays in sorted(tensors.items())
        for name, array in sorted(arrays.items())
        for part in (f"{group}.{name}", np.asarray(array))
    ]
    people = fingerprint_frame(model.channels.people.users.frame)
    return fingerprint(model.catalog.fingerprint, people, repr(model.feedback), repr(model.retrieval), *parts)


def tensors_of(model: "Model") -> dict[str, dict[str, np.ndarray]]:
    """Everything to save, in one group per part."""
    saved = {
        "text": {"vectors": model.text, "mean": model.whitening.mean, "matrix": model.whitening.matrix},
        "encoder": arrays_of(model.encoder),
        "items": arrays_of(model.items) | {"warm": model.items.warm.numpy()},
        "channels": model.channels.tensors(),
        "head": arrays_of(model.head),
    }
    if model.drift is not None:
        saved["drift"] = model.drift.tensors()
    if model.own is not None:
        saved["own"] = model.own.tensors()
    if model.senses.whitening:
        saved["senses"] = model.senses.tensors() | {"white": model.channels.senses.numpy()}
    if model.ratings is not None:
        saved["ratings"] = model.ratings.tensors()
    if model.text_adapter is not None:
        saved["text_adapter"] = dict(model.text_adapter.weights)
    return saved if model.learner is None else saved | {"adaptation": arrays_of(model.learner)}


def load_state(module: torch.nn.Module, saved: SavedArrays) -> None:
    """Put saved arrays into a module of the same shape.

    Raises:
        ArtifactError: They are not all that the module has, or something else.
    """
    state = {name: saved.like(name, tensor.numpy()) for name, tensor in module.state_dict().items()}
    saved.all_taken()
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})


def arrays_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A module's parameters and buffers, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
