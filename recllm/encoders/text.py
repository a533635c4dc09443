"""Items to vectors: a prompt turns an item into text, a sentence encoder turns the text into a vector."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, final

import numpy as np

from recllm.artifact import fingerprint
from recllm.config import Count, Within, Word, checked
from recllm.data.catalog import Catalog
from recllm.encoders.backbone import Backbone, resolve_backbone
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.reading import TOGETHER, Reader, load_reader, read_texts, readable
from recllm.errors import BackboneError
from recllm.options import Workers
from recllm.prompting.items import check_columns, item_values
from recllm.prompting.template import Prompt, load_prompt
from recllm.resources import cache_folder

ROWS = 65_536
"""Items that are brought to length 1 at once."""

AUTO = "auto"
"""The prompt that is composed from the catalog."""


@final
@dataclass(frozen=True)
@checked
class TextEncoderConfig:
    """How item text becomes a vector.

    Attributes:
        backbone: A folder, a hub name, or an embedded model (`minilm`).
        prompt: What puts an item into words: an item prompt in `prompts/`, a file of your own, or `auto` for one that
            is composed from the catalog.
        max_tokens: Text beyond this is cut; time grows with it. A prompt may say less, never more.
        batch_size: Texts per forward pass.
        comments: How many of an item's comments (`review_text`) are read at most; 0: none.
        shrinkage: Weight of the identity in the whitening's covariance, in [0, 1]; more for small catalogs.
    """

    backbone: Word = "minilm"
    prompt: Word = "item.neutral"
    max_tokens: Annotated[int, Within("[8, ∞)")] = 128
    batch_size: Count = 32
    comments: Annotated[int, Within("[0, ∞)")] = 4
    shrinkage: Annotated[float, Within("[0, 1]")] = 0.1


def describe_items(catalog: Catalog, prompt: Prompt) -> list[str]:
    """Each item in the words of the prompt, in catalog order.

    Raises:
        PromptError: The prompt asks for a column that the catalog does not have.
    """
    check_columns(prompt, catalog.frame.columns)
    return [prompt.render(**item_values(catalog.item(row), prompt)) for row in range(len(catalog))]


_encoding = Lock()
"""Neither loading a transformer nor a tokenizer may be used by two threads at once."""


@final
class TextEncoder:
    """The sentence encoder, with a cache on disk.

    The cache's key is everything a vector depends on: weights, adapter, prompt, maximum length and the texts.

    Args:
        config: Settings.
        adapter: What fine-tuning learned; None for the frozen encoder.
        digest: Of the weights that the backbone must have; None for any.
        prompt: Puts items into words; None: the one that the settings name.

    Raises:
        BackboneError: The backbone was not found, or has other weights.
        PromptError: There is no such prompt, or it is not well formed.
    """

    def __init__(
        self,
        config: TextEncoderConfig,
        adapter: TextAdapter | None = None,
        digest: str | None = None,
        prompt: Prompt | None = None,
    ) -> None:
        self.config, self.adapter = config, adapter
        self.backbone: Backbone = resolve_backbone(config.backbone)
        if digest is not None and not self.backbone.has_digest(digest):
            raise BackboneError(
                f"the backbone {config.backbone!r} at {self.backbone.path} has other weights than the one that this "
                "recommender was fitted with, so new texts would not fit its items; say where that one is, with "
                "Recommender.load(folder, backbone=…), or fit again."
            )
        self.prompt: Prompt = load_prompt(config.prompt) if prompt is None else prompt  # `auto` needs a catalog
        self._loaded: dict[str, Any] = {}

    def reading(self, prompt: Prompt) -> "TextEncoder":
        """The same encoder for another prompt; the loaded weights are shared."""
        other = copy(self)
        other.prompt = prompt
        return other

    @property
    def max_tokens(self) -> int:
        """How much of a text is read: what the settings say, or what the prompt says if that is less."""
        return min(self.config.max_tokens, self.prompt.max_tokens or self.config.max_tokens)

    def encode(
        self,
        texts: list[str],
        *,
        device: str = "cpu",
        progress: Callable[[float, float], None] | None = None,
        keep: bool = True,
        workers: Workers | None = None,
    ) -> np.ndarray:
        """Unit vectors, float32 [texts, dim]; equal texts are encoded once.

        Args:
            texts: What to encode.
            device: Where to compute.
            progress: Called with (texts done, texts in all).
            keep: Whether the cache on disk may hold them: what visitors write is nobody else's business.
            workers: Who reads them, on their processors; None: this process.
        """
        distinct = list(dict.fromkeys(texts))
        cached = _cache_file(fingerprint(*self.identity(), *distinct)) if keep else None
        vectors = _read_cache(cached, len(distinct))
        if vectors is None:
            vectors = self._encode_distinct(distinct, device, progress, workers)
            _write_cache(cached, vectors)
        position = {text: row for row, text in enumerate(distinct)}
        return vectors[[position[text] for text in texts]] if texts else vectors

    def encode_catalog(
        self,
        catalog: Catalog,
        *,
        device: str = "cpu",
        progress: Callable[[float, float], None] | None = None,
        workers: Workers | None = None,
    ) -> np.ndarray:
        """One vector per item, float32 [items, dim], from the item prompt; see `encode`."""
        return self.encode(describe_items(catalog, self.prompt), device=device, progress=progress, workers=workers)

    def knows(self, texts: list[str]) -> bool:
        """Whether the cache on disk holds these texts' vectors."""
        distinct = list(dict.fromkeys(texts))
        cached = _cache_file(fingerprint(*self.identity(), *distinct))
        return cached is not None and cached.is_file()

    def identity(self) -> tuple[str, ...]:
        """What, besides the text, a vector depends on."""
        weights = self.backbone.digest()
        adapter = () if self.adapter is None else (self.adapter.digest(),)
        return (weights, *adapter, self.prompt.digest, str(self.max_tokens))

    def load(self, device: str = "cpu") -> Any:
        """The `SentenceTransformer`, with its adapter."""
        return load_reader(self.backbone, self.max_tokens, self.adapter, device)

    def _encode_distinct(
        self,
        texts: list[str],
        device: str,
        progress: Callable[[float, float], None] | None,
        workers: Workers | None = None,
    ) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # batches of like length waste no padding
        together = TOGETHER * self.config.batch_size
        rows = [order[start : start + together] for start in range(0, len(order), together)] or [[]]
        asked = [[texts[row] for row in some] for some in rows]
        if workers is None or not texts:
            with _encoding:
                return self._placed(rows, self._read(asked, device), progress)
        reader = Reader(
            self.config.backbone, self.backbone.digest(), self.adapter, self.max_tokens, self.config.batch_size
        )
        return self._placed(rows, workers.map(reader, asked), progress)

    def _read(self, asked: list[list[str]], device: str) -> Iterator[np.ndarray]:
        if device not in self._loaded:
            self._loaded[device] = self.load(device)
        model = self._loaded[device]
        model.max_seq_length = readable(model, self.max_tokens)  # another prompt may have read less
        return (read_texts(model, texts, self.config.batch_size) for texts in asked)

    def _placed(
        self, rows: list[list[int]], found: Iterable[np.ndarray], progress: Callable[[float, float], None] | None
    ) -> np.ndarray:
        """The vectors of all rows, from those of some at a time."""
        vectors, done, total = np.zeros((0, 0), dtype=np.float32), 0, sum(map(len, rows))
        for some, part in zip(rows, found, strict=True):
            if not done:
                vectors = np.zeros((total, part.shape[1]), dtype=np.float32)
            vectors[some] = part
            done += len(some)
            if progress is not None:
                progress(done, total)
        return vectors


@final
@dataclass(frozen=True)
class Whitening:
    """ZCA whitening with shrinkage: vectors of equal spread in every direction, still close to the original axes.

    Sentence vectors share a large common direction, which makes all cosines alike; without it, text similarity says
    something (WhitenRec, arXiv 2402.10602). Statistics come from known items only and are saved; new items reuse them.

    Attributes:
        mean: float32 [dim].
        matrix: float32 [dim, dim].
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, shrinkage: float) -> "Whitening":
        """Statistics of `vectors` [items, dim]; the fewer the items, the more the covariance leans on the identity."""
        items, dim = vectors.shape
        mean = vectors.mean(axis=0) if items else np.zeros(dim, dtype=np.float32)
        centred = (vectors - mean).astype(np.float64)
        covariance = centred.T @ centred / max(items - 1, 1)
        scale = float(np.trace(covariance)) / dim or 1.0
        weight = min(1.0, max(shrinkage, shrinkage * dim / max(items, 1)))
        values, axes = np.linalg.eigh((1 - weight) * covariance + weight * scale * np.eye(dim))
        matrix = (axes / np.sqrt(np.maximum(values, 1e-12))) @ axes.T
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, vectors: np.ndarray, *, spent: bool = False) -> np.ndarray:
        """Whitened unit vectors, float32 [items, dim]; vectors that are `spent` may be written over."""
        import torch

        centred = np.subtract(vectors, self.mean, out=vectors if spent else None, dtype=np.float32)
        # By torch: the last bits of numpy's product depend on the number of threads, and a kept graph is of these bits.
        whitened: np.ndarray = (torch.from_numpy(centred) @ torch.from_numpy(self.matrix)).numpy()
        for start in range(0, len(vectors), ROWS):  # in parts: what is between would take twice as much again
            part = whitened[start : start + ROWS]
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-8)
        return whitened


def _cache_file(key: str) -> Path | None:
    folder = cache_folder("text")
    return None if folder is None else folder / f"{key}.safetensors"


def _read_cache(file: Path | None, count: int) -> np.ndarray | None:
    """The cached vectors, or None; a damaged file only costs the time to encode again."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if file is None or not file.is_file():
        return None
    try:
        vectors = load_file(file)["vectors"]
    except (SafetensorError, OSError, KeyError):
        return None
    return vectors if len(vectors) == count and np.isfinite(vectors).all() else None


def _write_cache(file: Path | None, vectors: np.ndarray) -> None:
    """Best effort: a read-only home must not stop anyone from fitting."""
    from safetensors.numpy import save_file

    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent)
        os.close(handle)
        save_file({"vectors": vectors}, temporary)
        os.replace(temporary, file)
    except OSError:
        return
