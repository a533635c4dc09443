"""Where a transformer is trained: there with all that it reads, and back again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def on_device(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Inside, the modules are there; afterwards on the CPU, where they are asked and saved."""
    for module in modules:
        module.to(device)
    try:
        yield
    finally:
        for module in modules:
            module.to("cpu")


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Inside, a GPU that knows bfloat16 multiplies in it; weights, sums and losses stay float32."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported():
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
