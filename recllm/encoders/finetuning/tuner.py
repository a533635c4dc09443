"""Fine-tuning the text encoder on a catalog: texts of items that the same people like move together.

Pairs of texts, a LoRA on the last blocks, and the contrastive loss of sentence-transformers, taken in the whitened
space in which recllm compares texts: whitening anew afterwards would undo whatever a linear map can learn. An adapter
is kept only if it pays on users, and for items, that training has not seen.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.data.tasks import Tasks
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.finetuning.figures import TextFigures, pays_off, restricted
from recllm.encoders.finetuning.last_blocks import Activations, LastBlocks, blocks_of
from recllm.encoders.finetuning.pairs import Material, Sums
from recllm.encoders.finetuning.training import Whitened, agreed, is_first_process, train_on_pairs, training_arguments
from recllm.encoders.stopping import Best
from recllm.encoders.text import TextEncoder, Whitening, describe_items
from recllm.encoders.validation import evaluating
from recllm.errors import BackboneError
from recllm.options import TrainOptions

ACTIVATIONS_SHARE = 0.5
"""Part of the time for computing activations at most; what it does not suffice for is not learned from."""

EMBED_BATCH = 64

STRENGTHS = (0.25, 0.5, 1.0)
"""Parts of the way from the frozen weights to the tuned ones that are tried."""


@final
@dataclass
class FinetuneLog:
    """What fine-tuning saw; part of the card.

    Attributes:
        points: (step, training loss since the last one, NDCG@10 of text alone) at each look; step 0 is the frozen one.
        verdict: Fine-tuned or kept frozen, with the figures.
        stopped: Why training ended.
        seconds: How long it took.
    """

    points: list[tuple[int, float | None, float]] = field(default_factory=list)
    verdict: str = ""
    stopped: str = ""
    seconds: float = 0.0


@final
@dataclass(frozen=True)
class TunedText:
    """An adapter that pays.

    Attributes:
        adapter: For the text encoder.
        whitening: Statistics of the frozen vectors; the adapter was trained to be used with them.
        rows: Catalog rows whose vectors are known already.
        vectors: float32 [rows, dim], unit vectors.
        held_out: Which of them were in no pair.
    """

    adapter: TextAdapter
    whitening: Whitening
    rows: Int[np.ndarray, "rows"]
    vectors: Float[np.ndarray, "rows dim"]
    held_out: Bool[np.ndarray, "rows"]

    def complete(self, encoder: TextEncoder, catalog: Catalog, **how: Any) -> Float[np.ndarray, "items dim"]:
        """One vector per item: the known ones, and the others from the fine-tuned encoder (`how` as for `encode`)."""
        others = np.setdiff1d(np.arange(len(catalog)), self.rows)
        described = describe_items(catalog, encoder.prompt)
        vectors = np.zeros((len(catalog), self.vectors.shape[1]), dtype=np.float32)
        vectors[self.rows] = self.vectors
        if len(others):
            vectors[others] = encoder.encode([described[row] for row in others], **how)
        return vectors


@final
class TextTuner:
    """Fine-tunes a text encoder and decides whether that pays.

    Args:
        encoder: The frozen encoder.
        catalog: Items.
        histories: Training users.
        validation: Tasks of users who are not among them.
        config: Hyper-parameters.
        options: Run options.
        sums: What may be known of the training users where their privacy is kept; None: their events.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        catalog: Catalog,
        histories: Histories,
        validation: Tasks,
        config: FinetuneConfig,
        options: TrainOptions,
        sums: Sums | None = None,
    ) -> None:
        self.sums = sums
        self.encoder, self.catalog, self.config, self.options = encoder, catalog, config, options
        self.histories, self.validation = histories, validation
        self.log = FinetuneLog()
        self.rng = np.random.default_rng(options.seed)

    def run(self, seconds: float | None = None) -> TunedText | None:
        """Train until the pairs or the seconds are used up; None if the frozen encoder is the better one.

        Raises:
            BackboneError: The backbone's last blocks cannot be trained by themselves.
        """
        begin = self.options.clock()
        try:
            with tempfile.TemporaryDirectory() as folder:
                return self._run(training_arguments(self.config, self.options, folder), begin, seconds)
        except KeyboardInterrupt:
            self._keep_frozen("interrupted")
            return None
        finally:
            self._say(1.0)
            self.log.seconds = self.options.clock() - begin

    def _run(self, arguments: Any, begin: float, seconds: float | None) -> TunedText | None:
        config = self.config
        material = Material.choose(self.catalog, self.encoder.prompt, self.histories, config, self.rng, self.sums)
        if not self._suffices(material):
            return None
        model = self.encoder.load(str(self.options.torch_device()))
        activations = Activations.compute(
            model,
            material.texts,
            config.blocks,
            most_bytes=1e6 * config.cached_mb,
            seconds=None if seconds is None else ACTIVATIONS_SHARE * seconds,
            progress=lambda done, total: self._say(ACTIVATIONS_SHARE * done / total),
            clock=self.options.clock,
        )
        material = material.first(agreed(len(activations)))
        if not self._suffices(material):
            return None
        frozen = activations.vectors[: len(material.rows)]
        learned_from = np.isin(material.rows, self.histories.item_rows) & ~material.held_out
        whitening = Whitening.fit(frozen[learned_from], self.encoder.config.shrinkage)
        tail = self._tail(model, activations, material.texts, whitening)
        looks = _Looks(self._tasks(material), material.held_out, whitening, frozen)
        self.log.points.append((0, None, looks.frozen.means()["NDCG@10"]))

        def embed() -> np.ndarray:
            return _embed(tail, material.items, activations)

        def look(step: int, loss: float) -> None:
            figures = looks.offer(embed(), model.transformers_model)
            self.log.points.append((step, loss, figures.means()["NDCG@10"]))

        def say(part: float) -> None:
            self._say(ACTIVATIONS_SHARE + (1 - ACTIVATIONS_SHARE) * part)

        pairs, clock = material.pairs(self.histories, config, self.rng), self.options.clock
        left = None if seconds is None else seconds - (clock() - begin)
        try:
            self.log.stopped = train_on_pairs(tail, pairs, config, arguments, look, say, left, clock)
        except KeyboardInterrupt:
            self.log.stopped = "interrupted; the best state so far is kept"
        return self._decide(looks, model.transformers_model, embed, material)

    def _tasks(self, material: Material) -> Tasks:
        return restricted(self.validation, material.rows, len(self.catalog))

    def _suffices(self, material: Material) -> bool:
        """Whether there is something to learn and somebody to measure on; if not, says so."""
        if not len(self._tasks(material)):
            self._keep_frozen("there is nobody to measure on")
        elif not len(material.together(self.histories, self.config)):
            self._keep_frozen("no two items are liked by the same people")
        else:
            return True
        return False

    def _decide(
        self, looks: "_Looks", transformer: Any, embed: Callable[[], np.ndarray], material: Material
    ) -> TunedText | None:
        best = looks.best.state
        adapter, vectors = best.adapter, best.vectors
        if adapter is not None and best.strength < 1.0:  # mixed vectors stood for mixed weights; now those themselves
            adapter = adapter.scaled(best.strength)
            adapter.put_on(transformer)
            vectors = embed()
        pays, figures = pays_off(looks.frozen, looks.measure(vectors))
        if adapter is None or not pays:
            self._keep_frozen(figures)
            return None
        self.log.verdict = f"fine-tuned at {best.strength:.0%} strength: {figures}"
        return TunedText(adapter, looks.whitening, material.rows, vectors, material.held_out)

    def _keep_frozen(self, reason: str) -> None:
        self.log.verdict = f"kept frozen: {reason}"

    def _tail(self, model: Any, activations: Activations, texts: list[str], whitening: Whitening) -> Any:
        """The encoder from the last blocks on, with a fresh LoRA in them."""
        import peft
        from sentence_transformers import SentenceTransformer

        config, transformer = self.config, model.transformers_model
        last = LastBlocks(transformer, activations, texts, config.blocks, config.tokens, self.options.seed)
        tail = SentenceTransformer(modules=[last, *list(model)[1:], Whitened(whitening)], device=str(model.device))
        few = texts[:8]
        if not np.allclose(_embed(tail, few, activations), activations.vectors[: len(few)], atol=1e-3):
            raise BackboneError(
                f"the last blocks of {self.encoder.backbone.name!r} cannot be run by themselves, so it cannot be "
                "fine-tuned; use finetune='none' or another backbone."
            )
        transformer.requires_grad_(False)
        for module in transformer.modules():  # whitening would blow its noise up
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        torch.manual_seed(self.options.seed)
        transformer.add_adapter(
            peft.LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                target_modules=_linear_layers(transformer),
                base_model_name_or_path=self.encoder.backbone.name,
                task_type="FEATURE_EXTRACTION",
            )
        )
        return tail

    def _say(self, part: float) -> None:
        if self.options.progress is not None and is_first_process():
            note = f"NDCG@10 {self.log.points[-1][2]:.3f}" if self.log.points else ""
            self.options.progress("learn the words", part, 1.0, note)


@final
@dataclass(frozen=True)
class _State:
    """An adapter (None: the frozen encoder), the vectors that it makes, and the part of its way that is taken."""

    adapter: TextAdapter | None
    vectors: np.ndarray
    strength: float


@final
class _Looks:
    """Measures states of the encoder, and keeps the best one."""

    def __init__(
        self, tasks: Tasks, held_out: Bool[np.ndarray, "rows"], whitening: Whitening, frozen: np.ndarray
    ) -> None:
        self.tasks, self.held_out, self.whitening = tasks, held_out, whitening
        self.frozen, self.frozen_vectors = self.measure(frozen), frozen
        self.best = Best(_State(None, frozen, 0.0), self.frozen.value)

    def measure(self, vectors: np.ndarray) -> TextFigures:
        """Figures of the whitened vectors."""
        return TextFigures.measure(self.whitening(vectors), self.tasks, self.held_out)

    def offer(self, vectors: np.ndarray, transformer: Any) -> TextFigures:
        """Take this state, or a part of the way to it, if that is better than all before.

        A mean of frozen and tuned weights is often better than both, most of all on what training has not read
        (WiSE-FT, arXiv 2109.01903). Means of the vectors stand for means of the weights.

        Returns:
            The figures at full strength.
        """
        for strength in STRENGTHS:
            figures = self.measure(_mixed(self.frozen_vectors, vectors, strength))
            self.best.offer(figures.value, partial(_state_of, transformer, vectors, strength))
        return figures


def _state_of(transformer: Any, vectors: np.ndarray, strength: float) -> _State:
    return _State(TextAdapter.of(transformer), vectors, strength)


def _mixed(frozen: np.ndarray, tuned: np.ndarray, strength: float) -> Float[np.ndarray, "texts dim"]:
    mixed = (1 - strength) * frozen + strength * tuned
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def _linear_layers(transformer: nn.Module) -> list[str]:
    """Full names of the linear layers inside the blocks that are left."""
    blocks = blocks_of(transformer)
    (prefix,) = [name for name, module in transformer.named_modules() if module is blocks]
    return [
        name
        for name, module in transformer.named_modules()
        if name.startswith(f"{prefix}.") and isinstance(module, nn.Linear)
    ]


def _embed(tail: Any, texts: Sequence[str], activations: Activations) -> Float[np.ndarray, "texts dim"]:
    """Unit vectors of the first `texts`, without whitening."""
    order = np.argsort(np.diff(activations.offsets)[: len(texts)], kind="stable")
    vectors = np.zeros((len(texts), activations.vectors.shape[1]), dtype=np.float32)
    with evaluating(tail):
        for start in range(0, len(order), EMBED_BATCH):
            rows = order[start : start + EMBED_BATCH]
            features = tail.preprocess([texts[row] for row in rows])
            features = {name: value.to(tail.device) for name, value in features.items()}
            vectors[rows] = tail(features)["text_embedding"].cpu().numpy()
    return vectors
