"""The base's loss: a softmax over the catalog, or over a sample that stands for it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.encoders.windows import Predictions


def softmax_loss(
    states: Float[Tensor, "predictions width"],
    items: Float[Tensor, "items width"],
    predictions: Predictions,
    candidates: Int[Tensor, "candidates"],
    sampled_from: int,
    targets: Int[Tensor, "any_targets"] | None = None,
) -> Tensor:
    """Cross-entropy of soft targets over `candidates`, the targets among them.

    Where candidates are a sample of `sampled_from` items, the logits of those that are no target are raised by the
    log of the sampling ratio, which makes the normaliser an unbiased estimate of the full one. `targets` are those of
    the whole batch, where `predictions` are only a part of it.
    """
    logits = states @ items[candidates].T
    place = torch.full((len(items),), -1, device=items.device)
    place[candidates] = torch.arange(len(candidates), device=items.device)
    columns = place[predictions.target_item]
    if len(candidates) < sampled_from:
        is_target = torch.zeros(len(candidates), dtype=torch.bool, device=items.device)
        is_target[columns if targets is None else place[targets]] = True
        positives = int(is_target.sum())
        ratio = (sampled_from - positives) / max(len(candidates) - positives, 1)
        logits = logits + torch.where(is_target, 0.0, float(np.log(ratio)))
    log_probability = logits - logits.logsumexp(dim=1, keepdim=True)
    chosen = log_probability[predictions.target_of, columns]
    return -(chosen * predictions.target_weight).sum() / len(states)


def draw_candidates(warm: np.ndarray, targets: np.ndarray, size: int, rng: np.random.Generator) -> Int[Tensor, "items"]:
    """All warm items when they are few, else the targets and a uniform sample of the others."""
    if len(warm) <= size:
        return torch.from_numpy(warm)
    sample = warm[rng.integers(0, len(warm), size)]
    return torch.from_numpy(np.union1d(sample, targets))
