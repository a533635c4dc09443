"""The inner loop: a few steps on one user's own events, for a whole batch of users at once, as a function."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from recllm.adaptation.support import Base, Contrast, Support, logits


def support_loss(
    base: Base, support: Support, contrast: Contrast, lora: Mapping[str, Tensor]
) -> Float[Tensor, "users"]:
    """How badly each user's own events are ranked, each from the ones before it.

    A liked item should win against the catalog (cross-entropy against the contrast items, as many as they stand for);
    a disliked one should lose against the average of them. Neutral events are read, not asked. Users without a liked or
    disliked event have loss 0.
    """
    scores = logits(base, support, contrast, lora)
    own, rivals = scores[:, 0], scores[:, 1:].logsumexp(dim=1)
    liked = torch.nn.functional.softplus(rivals - own)
    number = (contrast.log_counts + support.rivals.log()).logsumexp(dim=1)  # of items that the rivals stand for
    disliked = torch.nn.functional.softplus(own - rivals + number)
    return support.mean(torch.where(support.signals > 0, liked, disliked))


def adapt(
    base: Base,
    support: Support,
    contrast: Contrast,
    start: Mapping[str, Tensor],
    step_sizes: Mapping[str, Float[Tensor, "steps *element"]],
    *,
    steps: int,
    second_order: bool = False,
) -> dict[str, Tensor]:
    """Each user's adapter after `steps` gradient steps from the shared start (MAML, arXiv 1703.03400).

    Nothing passed in is changed. Users do not influence each other: the loss is a sum over users, so the gradient of a
    user's matrices is that of their own loss. Matrices without step sizes stay at the start. Beyond the learned steps
    the last is repeated.

    Args:
        base: Constants.
        support: The users' known events.
        contrast: Items that a liked item must win against.
        start: Where each user starts, with a user axis (`for_each_user` gives a shared start one).
        step_sizes: Of each matrix that moves: one number per step, or one per step and element.
        steps: Gradient steps; 0 returns the start.
        second_order: Differentiate through the gradient steps as well.

    Returns:
        Matrices with a leading user axis. They depend on `start` and `step_sizes` for autograd.
    """
    lora = dict(start)
    for step in range(steps):
        with torch.enable_grad():
            leaves = {
                name: tensor if second_order and tensor.requires_grad else tensor.detach().requires_grad_()
                for name, tensor in lora.items()
            }
            loss = support_loss(base, support, contrast, leaves).sum()
            moved = [leaves[name] for name in step_sizes]
            gradients = torch.autograd.grad(loss, moved, create_graph=second_order, allow_unused=True)
        for (name, sizes), gradient in zip(step_sizes.items(), gradients, strict=True):
            if gradient is not None:
                lora[name] = lora[name] - sizes[min(step, len(sizes) - 1)] * gradient
    return lora
