"""Batched LoRA: every user of a batch has low-rank matrices of their own, applied in two `bmm`.

PEFT's mixed-adapter batches loop over adapters and refuse training; here a batch of users is one stack. PEFT stays the
format on disk: a stack's slice is a PEFT LoRA with `lora_alpha = lora_rank` (scale 1).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def starting_lora(linears: Mapping[str, nn.Linear], lora_rank: int, generator: torch.Generator) -> dict[str, Tensor]:
    """One adapter that changes nothing: A is random, B is zero (LoRA, arXiv 2106.09685)."""
    start: dict[str, Tensor] = {}
    for name, linear in linears.items():
        bound = linear.in_features**-0.5
        start[f"{name}.A"] = (torch.rand(linear.in_features, lora_rank, generator=generator) * 2 - 1) * bound
        start[f"{name}.B"] = torch.zeros(lora_rank, linear.out_features)
    return start


def for_each_user(start: Mapping[str, Tensor], users: int) -> dict[str, Tensor]:
    """The same adapter for every user of a batch, as views [users, …]."""
    return {name: tensor.expand(users, *tensor.shape) for name, tensor in start.items()}
