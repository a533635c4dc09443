"""What a model is made of: to save it, and to tell whether two are the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from recllm.adaptation.drift import Drift
from recllm.adaptation.meta import MetaLearner
from recllm.adaptation.own import OwnStep
from recllm.artifact import fingerprint
from recllm.artifact.arrays import SavedArrays
from recllm.artifact.rows import Rows
from recllm.data.catalog import Catalog
from recllm.data.cleaning import fingerprint_frame
from recllm.data.feedback import Feedback
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.history import HistoryEncoder, ItemEncoder
from recllm.encoders.remembered import Remembered
from recllm.encoders.senses import Senses
from recllm.encoders.text import Whitening
from recllm.prompting.template import Prompt
from recllm.ranking.head import RankingHead
from recllm.ranking.ratings.ratings import Ratings
from recllm.retrieval.config import RetrievalConfig
from recllm.retrieval.scoring import Channels


@dataclass(kw_only=True)
class Contents:
    """The parts of a fitted model. Rows are catalog rows.

    Attributes:
        catalog: The items.
        feedback: What ratings and events mean.
        text: Sentence vectors of all items, float32 [items, dim]; large ones of a saved model are left in its file.
        whitening: Its statistics over items with events.
        encoder: Reads histories.
        items: Item vectors from text and delta.
        channels: Co-occurrence, popularity and text similarity.
        head: Weighs the channels.
        retrieval: How many candidates each channel brings.
        learner: The meta-learned adapter start; None without adaptation.
        text_adapter: What fine-tuning taught the text encoder; None for the frozen one.
        backbone: Digest of the text encoder's weights, with which new texts have to be read as well.
        prompt: What put the items into words, and puts new ones; None: what the settings name.
        drift: What the shop's own adapter adds to the head; None where nothing was ever learned after the fit.
        own: The step from the shop prior that is in the head; None where the head was fitted without a prior.
        senses: How other vectors of items are whitened.
        ratings: Predicts ratings; None where they were not learned.
        remembered: Users' vectors that were read before; None: every question reads its histories.
    """

    catalog: Catalog
    feedback: Feedback
    text: Rows
    whitening: Whitening
    encoder: HistoryEncoder
    items: ItemEncoder
    channels: Channels
    head: RankingHead
    retrieval: RetrievalConfig
    learner: MetaLearner | None = None
    text_adapter: TextAdapter | None = None
    backbone: str | None = None
    prompt: Prompt | None = None
    drift: Drift | None = None
    own: OwnStep | None = None
    senses: Senses = field(default_factory=Senses)
    ratings: Ratings | None = None
    remembered: Remembered | None = None

    def fingerprint(self) -> str:
        """SHA-256 over what users' adapters depend on. The catalog may grow without touching it."""
        start = arrays_of(self.learner) if self.learner is not None else {}
        head = {f"head.{name}": array for name, array in arrays_of(self.head).items()}
        learned = arrays_of(self.encoder) | {"project": self.items.project.weight.numpy()} | head | start
        text = () if self.text_adapter is None else (self.text_adapter.digest(),)
        return fingerprint(*text, *(part for name, array in sorted(learned.items()) for part in (name, array)))

    def digest(self) -> str:
        """SHA-256 over everything that scores depend on, the catalog and what channels remember included."""
        tensors = self.tensors()
        if self.drift is not None:  # what is added to the head now; nothing depends on its earlier versions
            tensors["drift"] = {"weight": self.drift.weight, "bias": self.drift.bias}
        parts = [
            part
            for group, arrays in sorted(tensors.items())
            for name, array in sorted(arrays.items())
            for part in (f"{group}.{name}", array if isinstance(array, Rows) else np.asarray(array))
        ]
        people = fingerprint_frame(self.channels.people.users.frame)
        return fingerprint(self.catalog.fingerprint, people, repr(self.feedback), repr(self.retrieval), *parts)

    def tensors(self) -> dict[str, Mapping[str, np.ndarray | Rows]]:
        """Everything to save, in one group per part."""
        saved: dict[str, Mapping[str, np.ndarray | Rows]] = {
            "text": {"vectors": self.text, "mean": self.whitening.mean, "matrix": self.whitening.matrix},
            "encoder": arrays_of(self.encoder),
            "items": arrays_of(self.items) | {"warm": self.items.warm.numpy()},
            "channels": self.channels.tensors(),
            "head": arrays_of(self.head),
        }
        if self.drift is not None:
            saved["drift"] = self.drift.tensors()
        if self.own is not None:
            saved["own"] = self.own.tensors()
        if self.senses.whitening:
            saved["senses"] = self.senses.tensors() | {"white": self.channels.senses.numpy()}
        if self.ratings is not None:
            saved["ratings"] = self.ratings.tensors()
        if self.text_adapter is not None:
            saved["text_adapter"] = dict(self.text_adapter.weights)
        if self.learner is not None:
            saved["adaptation"] = arrays_of(self.learner)
        return saved


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
