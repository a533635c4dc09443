"""A device that is not there: tensors that were moved to it know so, and meet no other ones.

Everything is computed on the CPU, so the numbers can be compared; what a GPU would refuse is refused here.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

THERE, HERE = torch.device("cuda"), torch.device("cpu")
DEVICE_OF = Tensor.device.__get__  # type: ignore[attr-defined]
GRADIENT_OF = Tensor.grad.__get__  # type: ignore[attr-defined]
LOOKS = (
    "__get__",
    "dim",
    "size",
    "__len__",
    "__repr__",
    "item",
    "__bool__",
    "__int__",
    "__float__",
    "is_floating_point",
)


def is_there(tensor: Tensor) -> bool:
    """Whether it was moved, or came of one that was."""
    return vars(tensor).get("there", False)


def mark(value: Any, there: bool) -> Any:
    """Tensors of a result, as made on that device."""
    for tensor in tensors_in(value):
        tensor.there = there  # type: ignore[attr-defined]
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors of arguments, however deep."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def wanted_device(arguments: Iterable[Any]) -> torch.device | None:
    """The device among arguments, if one is."""
    for value in arguments:
        if isinstance(value, torch.device):
            return value
        if isinstance(value, str) and value.split(":")[0] in ("cuda", "cpu"):
            return torch.device(value)
    return None


class Elsewhere(TorchFunctionMode):
    """While it is on, `device="cuda"` is a place of its own.

    Attributes:
        calls: How many operations were on tensors there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == DEVICE_OF:
            return THERE if is_there(args[0]) else HERE
        if func == GRADIENT_OF:
            return mark(func(*args, **kwargs), is_there(args[0]))
        given = list(tensors_in((args, kwargs)))
        there = [is_there(tensor) for tensor in given]
        device = wanted_device([*args, *kwargs.values()])
        args = tuple(HERE if isinstance(value, torch.device) else value for value in args)
        kwargs = {key: HERE if key == "device" and value is not None else value for key, value in kwargs.items()}
        if name in ("to", "cpu", "cuda"):
            target = {"cpu": HERE, "cuda": THERE}.get(name, device)
            moved = is_there(given[0]) if target is None else target.type == "cuda"
            result = given[0] if name == "cuda" else func(*args, **kwargs)
            return mark(result.clone() if moved != is_there(given[0]) else result, moved)
        if not given:
            return mark(func(*args, **kwargs), device is not None and device.type == "cuda")
        if name not in LOOKS:
            self._check(func, name, given, there, args)
        self.calls += any(there)
        # What is there in any of its parts is there; a number of no dimension may come along from here.
        return mark(func(*args, **kwargs), any(there) if device is None else device.type == "cuda")

    def _check(self, func: Any, name: str, given: list[Tensor], there: list[bool], args: Any) -> None:
        if name == "numpy":
            assert not there[0], "a tensor on the device was made an array; call .cpu() first"
        if name in ("numpy", "tolist", "copy_"):  # the last copies from anywhere
            return
        if name in ("__getitem__", "__setitem__", "index_put_"):
            if there[0]:  # places may come from here
                return
            given = [given[0], *tensors_in(args[1:2])]
            there = [is_there(tensor) for tensor in given]
        sizes = [place for tensor, place in zip(given, there, strict=True) if tensor.dim()]
        assert len(set(sizes)) < 2, f"{resolve_name(func) or name} was given tensors of two devices"


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """The device is there inside."""

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        device = wanted_device([*args, *kwargs.values()])
        if device is not None:
            mark([*module.parameters(), *module.buffers()], device.type == "cuda")
        return module

    with monkeypatch.context() as patched, Elsewhere() as mode:
        patched.setattr(nn.Module, "to", to)
        yield mode
