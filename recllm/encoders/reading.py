"""Texts through a sentence transformer, some at a time: in this process, or where there are workers."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from recllm.encoders.backbone import Backbone, resolve_backbone
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.errors import BackboneError
from recllm.resources import quiet_loading

TOGETHER = 8
"""Batches of texts that are read together, sorted by length: what a vector is to the last bit depends on its batch."""

_here: dict[tuple[str, str, int], Any] = {}
"""The transformer that this worker has loaded, by all that it depends on."""


def load_reader(backbone: Backbone, tokens: int, adapter: TextAdapter | None, device: str = "cpu") -> Any:
    """The `SentenceTransformer`, with its adapter, which reads so much of a text."""
    import sentence_transformers

    with quiet_loading():
        model = sentence_transformers.SentenceTransformer(str(backbone.path), device=device)
    model.max_seq_length = readable(model, tokens)
    if adapter is not None:
        adapter.load_into(model)
    return model


def read_texts(model: Any, texts: list[str], batch_size: int) -> np.ndarray:
    """Unit vectors, float32 [texts, dim]; 0 for texts of which a tokenizer makes nothing."""
    vectors = np.zeros((len(texts), model.get_embedding_dimension() or 0), dtype=np.float32)
    rows = [row for row, text in enumerate(texts) if not _is_silent(model, text)]
    if rows:
        vectors[rows] = model.encode(
            [texts[row] for row in rows],
            batch_size=batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
    return vectors


@final
@dataclass(frozen=True)
class Reader:
    """Reads texts in a worker, which loads the transformer once.

    Attributes:
        backbone: Its name or folder, as the worker's machine has it.
        digest: Of its weights.
        adapter: What fine-tuning learned.
        tokens: How much of a text is read.
        batch_size: Texts per forward pass.
    """

    backbone: str
    digest: str
    adapter: TextAdapter | None
    tokens: int
    batch_size: int

    def __call__(self, texts: list[str]) -> np.ndarray:
        """As `read_texts`.

        Raises:
            BackboneError: The worker's machine has another backbone.
        """
        key = (self.digest, "" if self.adapter is None else self.adapter.digest(), self.tokens)
        if key not in _here:
            backbone = resolve_backbone(self.backbone)
            if not backbone.has_digest(self.digest):
                raise BackboneError(
                    f"the backbone {self.backbone!r} of a worker, at {backbone.path}, has other weights than the "
                    "caller's; put the same one on every machine."
                )
            _here.clear()
            _here[key] = load_reader(backbone, self.tokens, self.adapter)
        return read_texts(_here[key], texts, self.batch_size)


def readable(model: Any, tokens: int) -> int:
    """As many tokens as are wanted, or as the transformer has positions for if these are fewer: CLIP's has 77."""
    transformer = model.transformers_model
    settings = getattr(transformer, "config", None)
    most = getattr(settings and settings.get_text_config(), "max_position_embeddings", None)
    table = next((part for name, part in transformer.named_modules() if name.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    if isinstance(most, int) and padding is not None:
        most -= padding + 1  # RoBERTa and its kin count positions from behind the padding's
    return min(tokens, most) if isinstance(most, int) and most > 0 else tokens


def _is_silent(model: Any, text: str) -> bool:
    """Whether a tokenizer makes nothing at all of a text, such as one of invisible signs; its vector stays 0."""
    return not any(sign.isalnum() for sign in text) and not len(model.tokenizer(text)["input_ids"])
