"""Which pretrained transformer, and where its files are.

A backbone is any sentence-transformers encoder (BERT-type or decoder-type). It serves twice: whole, to turn item text
into vectors, and truncated to its first blocks, to read histories of item vectors.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from recllm.errors import BackboneError
from recllm.resources import embedded_models, quiet_loading

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

EMBEDDED_HUB_NAMES = {"sentence-transformers/all-MiniLM-L6-v2": "minilm"}
"""Hub names whose files also come with an installed package."""


@final
@dataclass(frozen=True)
class Backbone:
    """A resolved backbone.

    Attributes:
        name: What was asked for.
        path: Folder with the model's files.
        source: Where it was found.
    """

    name: str
    path: Path
    source: Literal["path", "hub", "package"]

    def digest(self) -> str:
        """SHA-256 over the weight files, also those of further layers; the same digest means the same vectors."""
        return _digest(_weights(self.path) + [file for part in _folders(self.path) for file in _weights(part)])

    def has_digest(self, digest: str) -> bool:
        """Whether it has these weights; models that were saved before further layers counted know the first ones."""
        first = _weights(self.path)
        return digest == self.digest() or (bool(first) and digest == _digest(first))

    @property
    def transformer(self) -> Path:
        """The folder of the transformer itself: in some models, such as CLIP's, the first of several parts."""
        if (self.path / "config.json").is_file():
            return self.path
        return next((part for part in _folders(self.path) if (part / "config.json").is_file()), self.path)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def _folders(path: Path) -> list[Path]:
    """Of the parts that sentence-transformers numbers: `0_CLIPModel`, `1_Pooling`, `2_Dense`, in this order."""
    return sorted((part for part in path.glob("[0-9]*_*") if part.is_dir()), key=lambda part: _place(part.name))


def _place(name: str) -> tuple[int, str]:
    number = name.split("_")[0]
    return (int(number) if number.isdecimal() else 0, name)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def resolve_backbone(name: str) -> Backbone:
    """Find a backbone: a local folder, else the hub's cache or the hub, else a model that a package embeds.

    Args:
        name: A folder, a hub name such as `sentence-transformers/all-MiniLM-L6-v2`, or an embedded one (`minilm`).

    Raises:
        BackboneError: Found in none of the three; the message names them all.
    """
    embedded = embedded_models()
    folder = Path(name).expanduser()
    if any((folder / file).is_file() for file in ("config.json", "modules.json")):
        return Backbone(name, folder.resolve(), "path")
    if name in embedded:
        return Backbone(name, embedded[name], "package")
    reason = "it is not of the form 'owner/name'"
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        found, reason = _from_hub(name)
        if found is not None:
            return Backbone(name, found, "hub")
        alias = EMBEDDED_HUB_NAMES.get(name)
        if alias in embedded:
            return Backbone(name, embedded[alias], "package")
    raise BackboneError(
        f"backbone {name!r} was not found: no folder of that name with a config.json or modules.json; not on the "
        f"model hub or in its cache ({reason}); not among the embedded models "
        f"({', '.join(sorted(embedded)) or 'none installed'}). "
        "Give the folder of a sentence-transformers model, a hub name, or an embedded one (for a saved recommender: "
        "Recommender.load(folder, backbone=…))."
    )


def _from_hub(name: str) -> tuple[Path | None, str]:
    """The hub's snapshot folder, from the cache first so that a machine without a network does not wait."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True)), ""
    except Exception:  # the hub's client raises many kinds; whichever it is, the network is asked next
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=patterns)), ""
    except Exception as error:
        return None, f"{type(error).__name__}"


def reads_vectors(backbone: Backbone) -> bool:
    """Whether it is one transformer of blocks; not several, such as CLIP's, nor one that writes, too, such as T5.

    Raises:
        BackboneError: Its settings cannot be read.
    """
    config = _settings(backbone)
    return isinstance(getattr(config, "num_hidden_layers", None), int) and not config.is_encoder_decoder


def _settings(backbone: Backbone) -> "PretrainedConfig":
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(backbone.transformer)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(backbone, error) from error


def _unreadable(backbone: Backbone, error: Exception) -> BackboneError:
    return BackboneError(f"backbone {backbone.name!r} at {backbone.path} could not be loaded: {error}")


def load_blocks(backbone: Backbone, depth: int) -> "PreTrainedModel":
    """The first `depth` transformer blocks with their pretrained weights, without word embeddings or pooling.

    The result takes `inputs_embeds` [batch, time, width], a 4-D additive attention mask and `position_ids`.

    Raises:
        BackboneError: The files cannot be read, or the model has fewer blocks.
    """
    import transformers

    config = _settings(backbone)
    try:
        available = int(config.num_hidden_layers)
        if depth > available:
            raise BackboneError(
                f"backbone {backbone.name!r} has {available} blocks, but depth={depth} was asked; choose depth ≤ "
                f"{available}."
            )
        config.num_hidden_layers = depth
        if getattr(config, "layer_types", None):
            config.layer_types = list(config.layer_types)[:depth]
        with quiet_loading():
            model = transformers.AutoModel.from_pretrained(backbone.transformer, config=config, dtype="float32")
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(backbone, error) from error
    return without_unused_parts(model)


def without_unused_parts(model: "PreTrainedModel") -> "PreTrainedModel":
    """Drop what histories never use (the word table is half of MiniLM's weights), so that it is not saved either."""
    import torch

    model.set_input_embeddings(torch.nn.Embedding(1, model.config.hidden_size))
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model
