"""Fitting the ranking head: several small ones by the objective, averaged into one."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recllm.encoders.stopping import Best, Weights
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import Objective

PATIENCE = 5
"""Epochs without improvement after which a head is fitted."""


def fit_head(
    head: RankingHead,
    tasks: Objective,
    seed: int,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Fit several small heads and put their average into `head`.

    One head follows the luck of its start and of the users that decide when it is good (by 3 % at 5 events known, on
    MovieLens); the mean of networks is a network again, whose hidden layer is those of all side by side.

    Args:
        head: Fitted in place.
        tasks: To learn from.
        seed: Of folds and starts.
        seconds: Time at most, the same for each of the heads; one that has none stays a plain sum.
        clock: Counts them.

    Returns:
        The loss on held-out users, mean over the folds.
    """
    config, begin = head.config, clock()
    folds = tasks.folds(min(config.folds, config.hidden), seed)

    def is_over(number: int) -> Callable[[], bool]:
        return lambda: seconds is not None and clock() - begin >= seconds * (number + 1) / len(folds)

    members = [
        _fit_member(
            replace(config, hidden=len(units)), head.channels, tasks, fold, seed + number, is_over=is_over(number)
        )
        for number, (fold, units) in enumerate(
            zip(folds, torch.arange(config.hidden).tensor_split(len(folds)), strict=True)
        )
    ]
    states = [member.state_dict() for member, _ in members]
    with torch.no_grad():
        head.weights.weight.copy_(torch.stack([state["weights.weight"] for state in states]).mean(dim=0))
        head.weights.bias.copy_(torch.stack([state["weights.bias"] for state in states]).mean(dim=0))
        head.hidden.weight.copy_(torch.cat([state["hidden.weight"] for state in states]))
        head.hidden.bias.copy_(torch.cat([state["hidden.bias"] for state in states]))
        head.output.weight.copy_(torch.cat([state["output.weight"] for state in states], dim=1) / len(states))
    return float(np.mean([loss for _, loss in members]))


def _fit_member(
    config: RankingConfig,
    channels: int,
    tasks: Objective,
    fold: tuple[Tensor, Tensor],
    seed: int,
    batch: int = 64,
    *,
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[RankingHead, float]:
    """One head, at the epoch that was best for the users held out, and its loss on them."""
    train, check = (tasks.of(rows if len(rows) else fold[1]) for rows in fold)
    torch.manual_seed(seed)
    head = RankingHead(channels, config)
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def loss_of(part: Objective) -> Tensor:
        return part.losses(head(part.scores.nan_to_num(0.0), part.known)).mean()

    weights = Weights(dict(head.named_parameters()))
    best = Best(weights.copy(), patience=PATIENCE)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(train)).split(batch):
            if is_over():
                break
            optimiser.zero_grad()
            loss_of(train.of(rows)).backward()
            optimiser.step()
        with torch.no_grad():
            best.offer(-float(loss_of(check)), weights.copy)
        if best.stale or is_over():
            break
    weights.restore(best.state)
    return head, -best.value
