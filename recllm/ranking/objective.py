"""What the head and users' adapters are fitted to: tasks, and how badly given scores answer them.

The base has a loss of its own (`recllm.encoders.softmax`): it predicts many moments of a history in one pass, from user
and item vectors, and stands above this room.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Objective(Protocol):
    """Tasks with their loss: all that the head wants of them. A further objective is a class like `RankingTasks`."""

    @property
    def scores(self) -> Float[Tensor, "tasks channels listed"]:
        """Standardised channel scores of some items of each task; NaN where there is none."""

    @property
    def known(self) -> Float[Tensor, "tasks"]:
        """Events known."""

    def __len__(self) -> int: ...

    def of(self, tasks: Int[Tensor, "chosen"]) -> Self:
        """Some of the tasks."""

    def losses(self, scores: Float[Tensor, "tasks listed"]) -> Float[Tensor, "tasks"]:
        """How badly these scores of the listed items answer each task."""

    def folds(self, parts: int, seed: int) -> list[tuple[Tensor, Tensor]]:
        """(train, held out) tasks for each of up to `parts` disjoint groups of users."""


@final
@dataclass(frozen=True)
class RankingTasks:
    """The listwise objective: what was liked next must win against all else that was there.

    Attributes:
        scores: Standardised channel scores of some items of each task [tasks, channels, listed].
        known: Events known [tasks].
        target: Soft targets that sum to 1 [tasks, listed].
        rest: How many items each listed item that is no target stands for, 1 if all are listed [tasks].
        rows: The items, catalog rows [tasks, listed].
        users: Whose task it is [tasks]; tasks of one user are held out together.
    """

    scores: Float[Tensor, "tasks channels listed"]
    known: Float[Tensor, "tasks"]
    target: Float[Tensor, "tasks listed"]
    rest: Float[Tensor, "tasks"]
    rows: Int[Tensor, "tasks listed"]
    users: Int[Tensor, "tasks"]

    def __len__(self) -> int:
        return len(self.known)

    @classmethod
    def listing(
        cls,
        said: "Callable[[Int[Tensor, 'tasks listed']], Float[Tensor, 'tasks channels listed']]",
        known: Float[Tensor, "tasks"],
        eligible: Bool[Tensor, "tasks items"],
        target: Float[Tensor, "tasks items"],
        users: Int[Tensor, "tasks"],
        size: int,
        generator: torch.Generator,
    ) -> "RankingTasks":
        """The targets and a random sample of the other eligible items, `size` in all.

        Only of these need the channels say anything: `said` is asked for the scores of rows of the catalog.
        """
        size = min(size, target.shape[1])
        order = torch.rand(eligible.shape, generator=generator).masked_fill(~eligible, -1.0) + 2 * (target > 0)
        rows = order.topk(size, dim=1).indices
        listed = eligible.gather(1, rows)
        chosen = target.gather(1, rows)
        sampled = (listed & (chosen == 0)).sum(dim=1)
        others = (eligible & (target == 0)).sum(dim=1)
        # A seen item that fills up a short list must not count.
        part = said(rows).masked_fill(~listed.unsqueeze(1), float("nan"))
        return cls(part, known, chosen, others / sampled.clamp(min=1), rows, users)

    @classmethod
    def none(cls, channels: int, listed: int) -> "RankingTasks":
        """No tasks."""
        lists, whole = torch.zeros(0, listed), torch.zeros(0, dtype=torch.long)
        nothing = torch.zeros(0)
        return cls(torch.zeros(0, channels, listed), nothing, lists, nothing, whole.expand(listed, 0).T, whole)

    @classmethod
    def concatenate(cls, parts: "list[RankingTasks]") -> "RankingTasks":
        """The tasks of all parts; as many items have to be listed in each."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    @classmethod
    def of_other_users(cls, parts: "list[RankingTasks]") -> "RankingTasks":
        """As `concatenate`, where each part has numbered its users from 0."""
        first, moved = 0, []
        for part in parts:
            moved.append(replace(part, users=part.users + first))
            first += int(part.users.max()) + 1 if len(part) else 0
        return cls.concatenate(moved)

    def of(self, tasks: Int[Tensor, "chosen"]) -> "RankingTasks":
        """Some of the tasks."""
        return RankingTasks(*(getattr(self, name)[tasks] for name in self.__dataclass_fields__))

    @property
    def log_counts(self) -> Float[Tensor, "tasks listed"]:
        """Logarithm of how many items each stands for: the sampled others for all others, a seen item for none."""
        others = torch.where(self.target > 0, 0.0, self.rest.log().unsqueeze(1))
        return others.masked_fill(self.scores[:, 0].isnan(), torch.finfo(torch.float32).min)

    def losses(self, scores: Float[Tensor, "tasks listed"]) -> Float[Tensor, "tasks"]:
        """Listwise cross-entropy of these scores of the listed items."""
        return -(self.target * (scores + self.log_counts).log_softmax(dim=1)).sum(dim=1)

    def folds(self, parts: int, seed: int) -> "list[tuple[Tensor, Tensor]]":
        """(train, held out) tasks for each of up to `parts` disjoint groups of users."""
        owners = self.users.unique()
        order = owners[torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))]
        groups = order.tensor_split(min(parts, len(owners))) if parts > 1 else [order[: max(len(order) // 10, 1)]]
        held = [torch.isin(self.users, group) for group in groups]
        return [(torch.nonzero(~mask).ravel(), torch.nonzero(mask).ravel()) for mask in held]
