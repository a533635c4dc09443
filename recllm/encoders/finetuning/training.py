"""Contrastive training on pairs of texts with sentence-transformers' trainer, on whatever accelerate runs on."""

import time
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.text import Whitening
from recllm.options import TrainOptions

TIMED_STEPS = 3
"""Steps after which it is known how many the time suffices for."""

LOOKS_SHARE = 0.8
"""Part of the time for the steps; the rest is for looking how good they were."""

Look = Callable[[int, float], None]
"""Called with the step and the training loss since the last look."""


@final
class Whitened(nn.Module):
    """The last module while training: it compares vectors where recllm does, whitened as frozen ones are."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, whitening: Whitening) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(whitening.mean))
        self.register_buffer("matrix", torch.from_numpy(whitening.matrix))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Also keeps the encoder's own unit vector, as `text_embedding`."""
        unit = nn.functional.normalize(features["sentence_embedding"].float(), dim=1)
        return features | {"text_embedding": unit, "sentence_embedding": (unit - self.mean) @ self.matrix}


def training_arguments(config: FinetuneConfig, options: TrainOptions, folder: str) -> Any:
    """Arguments for the trainer; making them also joins the processes that accelerate or torchrun have started."""
    from sentence_transformers import SentenceTransformerTrainingArguments

    device = options.torch_device()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=folder,
        seed=options.seed,
        data_seed=options.seed,
        use_cpu=device.type == "cpu",
        bf16=device.type == "cuda" and torch.cuda.is_bf16_supported(),
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        batch_sampler="no_duplicates",
        dataloader_pin_memory=device.type != "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    arguments.per_device_train_batch_size = max(1, config.batch_pairs // max(arguments.world_size, 1))
    return arguments


def agreed(value: int) -> int:
    """The least of all processes' values, so that clocks that differ do not part them."""
    from accelerate.utils import gather_object

    return int(min(gather_object([value])))


def is_first_process() -> bool:
    """Whether this process is the one that speaks."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def train_on_pairs(
    model: Any,
    pairs: Sequence[tuple[str, str]],
    config: FinetuneConfig,
    arguments: Any,
    look: Look,
    say: Callable[[float], None],
    seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Train a `SentenceTransformer` in place, looking how good it is now and then.

    Args:
        model: What requires gradients is trained.
        pairs: Texts that belong together.
        config: Hyper-parameters.
        arguments: From `training_arguments`.
        look: Called `config.looks` times, the last time at the end.
        say: Called with the share that is done.
        seconds: Time at most; the steps are cut to it, and the learning rate comes down in time.
        clock: Counts them.

    Returns:
        Why training ended.
    """
    pace = _Pace(config, len(pairs), look, say, seconds, clock)
    arguments.max_steps = pace.steps
    trainer = _trainer(model, pairs, config, arguments, pace)
    model.train()
    trainer.train()
    return pace.stopped


def _trainer(
    model: Any, pairs: Sequence[tuple[str, str]], config: FinetuneConfig, arguments: Any, pace: "_Pace"
) -> Any:
    """The trainer of sentence-transformers, at our pace."""
    import datasets
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
    from transformers import PrinterCallback

    class Trainer(SentenceTransformerTrainer):
        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """Our own card is written instead."""

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            pace.losses.append(float(loss.detach()))
            return loss

    loss = CachedMultipleNegativesRankingLoss(
        model,
        scale=config.scale,
        mini_batch_size=32,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
        gather_across_devices=arguments.world_size > 1,
    )
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=arguments.learning_rate, weight_decay=arguments.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace.factor)
    texts = {"anchor": [first for first, _ in pairs], "positive": [second for _, second in pairs]}
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(texts),
        loss=loss,
        callbacks=[pace.callback()],
        optimizers=(optimiser, schedule),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@final
class _Pace:
    """When to look, when to stop, and how the learning rate comes down until then."""

    WARMUP = 0.1

    def __init__(
        self,
        config: FinetuneConfig,
        pairs: int,
        look: Look,
        say: Callable[[float], None],
        seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        batches = config.pairs / config.batch_pairs
        self.steps = max(1, round(min(batches, config.epochs * max(pairs / config.batch_pairs, 1))))
        self.looks, self.look, self.say, self.seconds = config.looks, look, say, seconds
        self.stopped = "all pairs read"
        self.clock, self.begin = clock, clock()
        self.losses: list[float] = []

    def factor(self, step: int) -> float:
        """Multiplier on the learning rate: a warm-up, then a linear decay to zero."""
        warmup = max(1, round(self.WARMUP * self.steps))
        return max(0.0, min((step + 1) / warmup, (self.steps - step) / max(self.steps - warmup, 1), 1.0))

    def over(self, step: int) -> bool:
        """Called after each step: looks, and says whether that was the last one."""
        spent = self.clock() - self.begin
        if self.seconds is not None:
            if step == TIMED_STEPS:
                affordable = agreed(int(LOOKS_SHARE * self.seconds * step / max(spent, 1e-9)))
                if affordable < self.steps:
                    self.steps, self.stopped = max(affordable, step), "the time budget"
            if agreed(spent > self.seconds):
                self.steps, self.stopped = step, "the time budget"
        every = max(1, self.steps // self.looks)
        last = step >= self.steps
        if last or (step % every == 0 and step + every <= self.steps):
            self.look(step, float(np.mean(self.losses)) if self.losses else float("nan"))
            self.losses.clear()
        self.say(min(1.0, step / self.steps))
        return last

    def callback(self) -> Any:
        from transformers import TrainerCallback

        over = self.over

        class Callback(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
                control.should_training_stop = over(state.global_step)
                return control

        return Callback()
