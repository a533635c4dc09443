"""Moving the head's linear weights to where tasks are answered better, and not far from where they were.

With the hidden layer's correction as it is, the listwise loss is convex in what is added to the linear weights. So
there is one best place, and Newton's method finds it: no learning rate, no chance.

How sharp scores are is a nuisance: one factor for all of them changes the loss and no list. It is fitted along with
each batch and thrown away, or most of what is learned would be that factor: of labels that mean nothing, that all
weights should be zero.
"""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.ranking.head import history_features
from recllm.ranking.objective import RankingTasks

Scorer = Callable[[Tensor, Tensor], Tensor]
"""From channel scores [tasks, channels, listed] and events known [tasks] to scores [tasks, listed]: a `RankingHead`."""

PLACES = 3
"""Numbers per channel: what `history_features` weighs, and the bias."""

MOST_STEPS, SMALLEST_STEP, SETTLED = 50, 1e-4, 1e-10

MOST_STRENGTHS, CLOSE = 12, 1e-3
"""Pulls that are tried to reach as far as allowed, and how much of that may be left, as a share."""

MOST_LOSS = 1e6
"""Of one task; beyond it something was not a number."""


@final
class HeadLoss:
    """The loss of tasks as a function of a point: what is added to the linear weights, and the logarithm of the scale.

    Args:
        served: The fitted head, without anything added.
        tasks: Those whose loss is no finite number are left out.
    """

    def __init__(self, served: Scorer, tasks: RankingTasks) -> None:
        with torch.no_grad():
            finite = tasks.losses(served(tasks.scores.nan_to_num(0.0), tasks.known)).abs() < MOST_LOSS
            self.tasks = tasks = tasks.of(torch.nonzero(finite).ravel())
            scores = tasks.scores.nan_to_num(0.0)
            self._served = served(scores, tasks.known).double()
        self._scores, self._target, self._log_counts = scores.double(), tasks.target.double(), tasks.log_counts.double()
        self._about = torch.cat([history_features(tasks.known), torch.ones(len(tasks), 1)], dim=1).double()

    def __len__(self) -> int:
        """Tasks that count."""
        return len(self.tasks)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._scores.shape[1]

    def values(self, point: Float[Tensor, "numbers"]) -> Float[Tensor, "tasks"]:
        """Of each task."""
        logits = self._scaled(point) + self._log_counts
        return -(self._target * logits.log_softmax(dim=1)).sum(dim=1)

    def slopes(
        self, point: Float[Tensor, "numbers"]
    ) -> tuple[Float[Tensor, "numbers"], Float[Tensor, "numbers numbers"]]:
        """Gradient and curvature (Gauss-Newton: never negative) of the sum."""
        scaled, channels = self._scaled(point), self.channels
        expected = (scaled + self._log_counts).softmax(dim=1)
        slope = torch.cat([point[-1].exp() * self._scores, scaled.unsqueeze(1)], dim=1)
        wrong = torch.bmm(slope, (expected - self._target).unsqueeze(2)).squeeze(2)
        mean = torch.bmm(slope, expected.unsqueeze(2))
        spread = torch.bmm(slope * expected.unsqueeze(1), slope.transpose(1, 2)) - mean @ mean.transpose(1, 2)
        about, numbers = self._about, channels * PLACES
        gradient = point.new_zeros(numbers + 1)
        gradient[:-1] = (wrong[:, :channels].T @ about).ravel()
        gradient[-1] = wrong[:, -1].sum()
        curvature = point.new_zeros(numbers + 1, numbers + 1)
        inner = torch.einsum("tcd,tf,tg->cfdg", spread[:, :channels, :channels], about, about)
        curvature[:-1, :-1] = inner.reshape(numbers, numbers)
        curvature[-1, :-1] = curvature[:-1, -1] = (spread[:, :channels, -1].T @ about).ravel()
        curvature[-1, -1] = spread[:, -1, -1].sum()
        return gradient, curvature

    def _scaled(self, point: Tensor) -> Tensor:
        weights = self._about @ point[:-1].reshape(self.channels, PLACES).T
        return point[-1].exp() * (self._served + torch.bmm(weights.unsqueeze(1), self._scores).squeeze(1))


def best_scale(loss: HeadLoss, added: Float[Tensor, "added"]) -> Float[Tensor, "numbers"]:
    """The point with this added and the scale that suits the tasks best."""
    start = torch.cat([added, added.new_zeros(1)])
    return _minimum(loss, start, start, torch.eye(len(start), dtype=start.dtype), torch.tensor([len(added)]))


def nearest_best(
    loss: HeadLoss, last: Float[Tensor, "added"], firmness: Float[Tensor, "added added"], reach: float
) -> Float[Tensor, "numbers"]:
    """Where the loss and the pull to the last place are least together, no farther than `reach` from nothing added.

    Args:
        loss: Of the new tasks.
        last: Where it was.
        firmness: The pull's matrix: moving by d costs d·firmness·d / 2, in units of tasks' losses. Positive definite.
        reach: Longest vector.
    """
    centre = torch.cat([last, last.new_zeros(1)])
    matrix = torch.block_diag(firmness, firmness.new_ones(1, 1))
    everything = torch.arange(len(centre))
    free = _minimum(loss, centre, centre, matrix, everything)
    if float(free[:-1].norm()) <= reach:
        return free
    # A pull to nothing added that is just strong enough; the stronger it is, the shorter is what it leaves.
    none = torch.diag((everything < len(last)).to(last.dtype))

    def held(strength: float) -> Tensor:
        together = matrix + strength * none
        return _minimum(loss, free, torch.linalg.solve(together, matrix @ centre), together, everything)

    # One over its length is nearly a line in the strength of the pull (Hebden), so few strengths have to be tried.
    (weak, too_far), (strong, found) = (0.0, free), (1.0, held(1.0))
    while float(found[:-1].norm()) > reach:
        (weak, too_far), strong = (strong, found), 4 * strong
        found = held(strong)
    for _ in range(MOST_STRENGTHS):
        low, high = (1 / float(point[:-1].norm()) - 1 / reach for point in (too_far, found))
        if high * reach <= CLOSE:
            break
        middle = weak - low * (strong - weak) / (high - low)
        middle = min(max(middle, weak + 0.1 * (strong - weak)), weak + 0.9 * (strong - weak))
        if float((between := held(middle))[:-1].norm()) > reach:
            weak, too_far = middle, between
        else:
            strong, found = middle, between
    return found


def certainty(loss: HeadLoss, point: Float[Tensor, "numbers"]) -> Float[Tensor, "added added"]:
    """How firmly the tasks hold what is added where it is, whatever the scale: the curvature without it."""
    _, curvature = loss.slopes(point)
    across = curvature[:-1, -1]
    return curvature[:-1, :-1] - torch.outer(across, across) / (curvature[-1, -1] + 1)


def _minimum(loss: HeadLoss, start: Tensor, centre: Tensor, matrix: Tensor, free: Int[Tensor, "free"]) -> Tensor:
    """Of the loss plus (x - centre)·matrix·(x - centre) / 2, over the free numbers."""

    def value(point: Tensor) -> float:
        away = point - centre
        return float(loss.values(point).sum() + away @ matrix @ away / 2)

    point, now = start, value(start)
    for _ in range(MOST_STEPS):
        gradient, curvature = loss.slopes(point)
        gradient = (gradient + matrix @ (point - centre))[free]
        step = torch.zeros_like(point)
        step[free] = torch.linalg.solve((curvature + matrix)[free][:, free], gradient)
        size, promised = 1.0, float(gradient @ step[free])
        while not (reached := value(point - size * step)) <= now - 1e-4 * size * promised and size > SMALLEST_STEP:
            size /= 2
        if not reached < now:
            break
        point, gained, now = point - size * step, now - reached, reached
        if gained <= SETTLED * (1 + abs(now)):
            break
    return point
