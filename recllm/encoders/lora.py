"""Low-rank changes of linear layers that travel with a call, so that one encoder serves many threads at once.

Nothing is put into shared modules or taken out of them while they answer: the layers that a user may have LoRA on are
made ready once, and look for matrices in the calling thread's own context.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from jaxtyping import Float
from torch import Tensor, bmm, nn

UserLora = Mapping[str, Tensor]
"""`<module>.A` [users, in, rank] and `<module>.B` [users, rank, out] for each adapted linear layer."""

_present: ContextVar[UserLora | None] = ContextVar("users_lora", default=None)


def make_ready(linears: Mapping[str, nn.Linear]) -> None:
    """Let each of these layers add its users' `x A B` where the call brings matrices for it (`bringing`)."""
    for name, linear in linears.items():
        linear.register_forward_hook(partial(_changed, name))


@contextmanager
def bringing(lora: UserLora | None) -> Iterator[None]:
    """Inside, and in this thread only, layers that were made ready use these matrices; the batch is as long as they."""
    token = _present.set(lora)
    try:
        yield
    finally:
        _present.reset(token)


def _changed(name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    lora = _present.get()
    if lora is None or f"{name}.A" not in lora:
        return output
    return output + low_rank(inputs[0], lora[f"{name}.A"], lora[f"{name}.B"])


def low_rank(
    x: Float[Tensor, "users *time width"], a: Float[Tensor, "users width rank"], b: Float[Tensor, "users rank out"]
) -> Float[Tensor, "users *time out"]:
    """`x A B` with matrices of their own for every user; a user has one row of x, or one for every moment."""
    if x.dim() == 2:
        return low_rank(x.unsqueeze(1), a, b).squeeze(1)
    return bmm(bmm(x, a), b)
