"""The last blocks of a sentence encoder over remembered activations: what makes fine-tuning affordable without a GPU.

Only the last blocks are trained, so what reaches them never changes. It is computed once for each text and looked up
from then on: a table with one row per token in its context, which takes the place of the word embeddings.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recllm.errors import BackboneError

CHUNK = 64
"""Texts between two looks at the clock."""


@final
@dataclass(frozen=True)
class Activations:
    """What the lower, frozen blocks make of each text.

    Attributes:
        tokens: float32 [tokens, width], the states that enter the last blocks, one text after the other.
        offsets: int64 [texts + 1]; the tokens of text t are `offsets[t]:offsets[t + 1]`.
        vectors: float32 [texts, dim], the whole encoder's unit vectors.
    """

    tokens: Float[Tensor, "tokens width"]
    offsets: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def compute(
        cls,
        model: Any,
        texts: Sequence[str],
        blocks: int,
        *,
        most_bytes: float = float("inf"),
        seconds: float | None = None,
        progress: Callable[[float, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Activations":
        """Run texts through a sentence encoder and keep what enters its last `blocks` blocks.

        Args:
            model: A `SentenceTransformer`.
            texts: The most important first: as many as the bounds allow are computed.
            blocks: How many blocks are going to be trained.
            most_bytes: Memory for the activations.
            seconds: Time for computing them.
            progress: Called with (texts done, texts in all).
            clock: Counts the seconds.
        """
        begin, size = clock(), 0
        states: list[Tensor] = []
        vectors: list[np.ndarray] = []
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            fresh, fresh_vectors = _run(model, chunk, blocks)
            size += sum(state.numel() * state.element_size() for state in fresh)
            states += fresh
            vectors.append(fresh_vectors)
            if progress is not None:
                progress(start + len(chunk), len(texts))
            late = seconds is not None and clock() - begin > seconds
            if late or size * (start + 2 * CHUNK) / (start + CHUNK) > most_bytes:
                break
        offsets = np.concatenate([[0], np.cumsum([len(state) for state in states])]).astype(np.int64)
        return cls(torch.cat(states), offsets, np.concatenate(vectors))


def _run(model: Any, texts: list[str], blocks: int) -> tuple[list[Tensor], np.ndarray]:
    """The states of each text's tokens before the last blocks, and the texts' unit vectors."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # batches of like length waste no padding
    states: list[Tensor] = [torch.empty(0)] * len(texts)
    vectors = np.zeros((len(texts), model.get_embedding_dimension() or 0), dtype=np.float32)
    caught: list[Tensor] = []
    first = blocks_of(model.transformers_model)[-blocks]
    handle = first.register_forward_pre_hook(
        lambda _, args, kwargs: caught.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    model.eval()
    try:
        for start in range(0, len(order), CHUNK // 2):
            rows = order[start : start + CHUNK // 2]
            features = model.preprocess([texts[row] for row in rows])
            features = {n: v.to(model.device) if isinstance(v, Tensor) else v for n, v in features.items()}
            mask = features["attention_mask"].bool()
            caught.clear()
            with torch.no_grad():
                embedded = model(features)["sentence_embedding"]
            for place, row in enumerate(rows):
                states[row] = caught[0][place][mask[place]].float().cpu()
            vectors[rows] = nn.functional.normalize(embedded.float(), dim=1).cpu().numpy()
    finally:
        handle.remove()
    return states, vectors


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The transformer blocks of a model from transformers, whatever it calls them.

    Raises:
        BackboneError: There is no list of as many modules as the model says it has blocks.
    """
    count: int | None = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise BackboneError(
        f"{type(model).__name__} has no list of its {count} blocks, so it cannot be fine-tuned; use finetune='none' or "
        "another backbone."
    )


@final
class LastBlocks(nn.Module):
    """The first module of a sentence encoder that reads remembered activations instead of words.

    The pretrained model runs as it is (masks, positions, final norm); its lower blocks are passed over, and what the
    first of the last blocks receives is replaced by what was remembered. Module names stay those of the whole model,
    so an adapter trained here fits there.

    Args:
        model: A pretrained transformer; its lower blocks are taken out.
        activations: From `Activations.compute` with the same number of blocks.
        texts: Their texts, in the same order.
        blocks: How many blocks stay.
        most_tokens: Longer texts are read as that many of their tokens while training, drawn anew each time. They have
            seen their whole context already.
        seed: Of these draws.
    """

    def __init__(
        self,
        model: Any,
        activations: Activations,
        texts: Sequence[str],
        blocks: int,
        most_tokens: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.model, self.most_tokens = model, most_tokens
        # A plain attribute, not a buffer: it must neither be saved nor copied to a device nor sent between processes.
        self._activations = activations
        self._row = {text: row for row, text in enumerate(texts[: len(activations)])}
        self._rng = np.random.default_rng(seed)
        self._entering: Tensor | None = None
        layers = blocks_of(model)
        for place in range(len(layers) - blocks):
            layers[place] = _PassedOver()
        layers[-blocks].register_forward_pre_hook(self._enter, with_kwargs=True)

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Tensor]:
        """Texts to rows of the table, in the shape of token ids: `input_ids` and `attention_mask` [texts, time]."""
        spans = [self._span(self._row[text]) for text in inputs]
        longest = max(map(len, spans))
        ids = np.zeros((len(spans), longest), dtype=np.int64)
        mask = np.zeros((len(spans), longest), dtype=np.int64)
        for row, span in enumerate(spans):
            ids[row, : len(span)], mask[row, : len(span)] = span, 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def _span(self, row: int) -> np.ndarray:
        first, end = self._activations.offsets[row], self._activations.offsets[row + 1]
        if not self.training or end - first <= self.most_tokens:
            return np.arange(first, end)
        # The ends stay: some encoders read the first token, some the last.
        inner = self._rng.choice(end - first - 2, self.most_tokens - 2, replace=False) + first + 1
        return np.concatenate([[first], np.sort(inner), [end - 1]])

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds `token_embeddings` [texts, time, width]."""
        mask = features["attention_mask"]
        self._entering = self._look_up(features["input_ids"]).to(mask.device)
        output = self.model(inputs_embeds=self._entering, attention_mask=mask)
        self._entering = None
        return features | {"token_embeddings": output.last_hidden_state}

    def _look_up(self, rows: Int[Tensor, "texts time"]) -> Float[Tensor, "texts time width"]:
        found: Tensor = self._activations.tokens[rows.cpu()]
        return found

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (self._entering, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": self._entering}


@final
class _PassedOver(nn.Module):
    """Stands where a block was."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states
