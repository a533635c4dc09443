"""Batched LoRA: every user of a batch has low-rank matrices of their own, applied in two `bmm`.

PEFT's mixed-adapter batches loop over adapters and refuse training; here a batch of users is one stack. PEFT stays the
format on disk: a stack's slice is a PEFT LoRA with `lora_alpha = lora_rank` (scale 1).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

UserLora = Mapping[str, Tensor]
"""`<module>.A` [users, in, rank] and `<module>.B` [users, rank, out] for each adapted linear layer."""


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


@contextmanager
def applied(linears: Mapping[str, nn.Linear], lora: UserLora) -> Iterator[None]:
    """Inside, each linear layer adds its users' `x A B`. The batch must be as long as the stack.

    Hooks, rather than replaced layers, keep the encoder the plain transformer that is saved.
    """

    def hook(name: str) -> Any:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + low_rank(inputs[0], lora[f"{name}.A"], lora[f"{name}.B"])

        return add

    handles = [linear.register_forward_hook(hook(name)) for name, linear in linears.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def low_rank(
    x: Float[Tensor, "users *time width"], a: Float[Tensor, "users width rank"], b: Float[Tensor, "users rank out"]
) -> Float[Tensor, "users *time out"]:
    """`x A B` with matrices of their own for every user; a user has one row of x, or one for every moment."""
    if x.dim() == 2:
        return low_rank(x.unsqueeze(1), a, b).squeeze(1)
    return torch.bmm(torch.bmm(x, a), b)
