"""The one LoRA that all users share: base training adapts the pretrained blocks by it, and it is merged afterwards."""

import warnings
from typing import Any

from recllm.encoders.history import HistoryEncoder


def add_shared_lora(encoder: HistoryEncoder) -> None:
    """Freeze the pretrained blocks and put PEFT's LoRA on all their linear layers; norms stay trainable."""
    import peft

    config = encoder.config
    lora = peft.LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=0.0, target_modules="all-linear"
    )
    with warnings.catch_warnings():
        # peft asks transformers for a property under its former name.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        wrapped: Any = peft.get_peft_model(encoder.blocks, lora)
    encoder.blocks = wrapped
    for module in wrapped.modules():
        if "Norm" in type(module).__name__:
            module.requires_grad_(True)


def merge_shared_lora(encoder: HistoryEncoder) -> None:
    """Fold the LoRA into the blocks, so that what is served and saved is a plain transformer."""
    blocks: Any = encoder.blocks
    encoder.blocks = blocks.merge_and_unload()
    encoder.blocks.requires_grad_(False)
