"""LightGCN: vectors of users and items, smoothed over the graph of who has what."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recllm.data.catalog import Catalog
from recllm.errors import ConfigError
from recllm.evaluation.baselines.baseline import EVENTS, Baseline, Known, Scores, grid

LOOKS = (100, 200, 400)
"""Steps of training after which the vectors are kept, so that a state before the last one can be chosen."""

BATCH = 1024
"""Users of a step at most; the graph is walked once a step, however many they are."""

LOGITS = 1 << 23
"""Most entries of the scores of a step: 32 MB."""


@final
@dataclass(eq=False, kw_only=True)
class LightGCN(Baseline):
    """LightGCN (He et al., arXiv 2002.02126), learned with a softmax over all items.

    Users and items have a vector each, `E⁰`; a layer is one step over the graph of who has what, both ends weighing by
    the root of their degree: `Eᵏ⁺¹ = D^-½ A D^-½ Eᵏ`. What is compared is the mean of all layers. A new user has no
    vector of their own: theirs is what the items of their history pass on, layer by layer. The paper draws one negative
    for each event (BPR); here each is set against the whole catalog, which needs fewer steps and no drawing.

    Attributes:
        layers: Steps over the graph.
        width: Of the vectors.
        penalty: On the squared length of a vector, for each user or item.
        learning_rate: Learning rate of Adam.
        steps: Steps of training whose state is used, one of `LOOKS`; choosing fewer is stopping early.
    """

    name = "LightGCN"
    costly = True
    choices = grid(events=EVENTS, layers=(1, 2), penalty=(0.01, 0.03), steps=LOOKS, window=(None, 5, 20))
    at_scoring = frozenset({"window", "steps"})
    layers: int = 2
    width: int = 64
    penalty: float = 0.03
    learning_rate: float = 0.03
    steps: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ConfigError(f"layers must be at least 1: a new user is known by the graph alone; got {self.layers}.")
        if self.steps not in LOOKS:
            raise ConfigError(f"steps must be one of {', '.join(map(str, LOOKS))}, got {self.steps}.")

    def _fit(self, catalog: Catalog, known: Known) -> None:
        matrix = known.matrix(len(catalog))
        graph, users = graph_of(matrix), matrix.shape[0]
        chance = torch.Generator().manual_seed(self.seed)
        start = torch.randn(sum(matrix.shape), self.width, generator=chance) * 0.1
        start[torch.from_numpy(np.diff(graph.indptr) == 0)] = 0.0  # nothing is learned of who has no events
        vectors = start.requires_grad_()
        optimiser = torch.optim.Adam([vectors], lr=self.learning_rate)
        batches = self._batches(matrix)
        self._kept: dict[int, tuple[Scores, Scores]] = {}
        for step in range(1, max(LOOKS) + 1):
            if matrix.nnz:
                optimiser.zero_grad()
                rows = next(batches)
                smooth = Smoothed.apply(vectors, graph, self.layers)
                loss = softmax_loss(smooth[:users][rows], smooth[users:], matrix[rows])
                (loss + self.penalty * vectors.square().sum(dim=1).mean()).backward()
                optimiser.step()
            if step in LOOKS:
                self._kept[step] = self._state(vectors.detach().numpy(), graph, users)

    def _batches(self, matrix: sparse.csr_array) -> Iterator[NDArray[np.int64]]:
        """User rows of one step after the other, everybody with events once before anybody twice."""
        some = np.flatnonzero(np.diff(matrix.indptr))
        size = max(1, min(BATCH, LOGITS // max(matrix.shape[1], 1)))
        rng = np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(some)
            for start in range(0, len(order), size):
                yield np.sort(order[start : start + size])

    def _state(self, vectors: Scores, graph: sparse.csr_array, users: int) -> tuple[Scores, Scores]:
        """What each item passes on to a user who has it, and what it is compared by: float32 [items, width]."""
        layers = [vectors]
        for _ in range(self.layers):
            layers.append(graph @ layers[-1])
        degrees = np.maximum(np.diff(graph.indptr)[users:], 1).astype(np.float32)
        passed = np.sum(layers[:-1], axis=0)[users:] / np.sqrt(degrees)[:, None]
        return passed, np.mean(layers, axis=0)[users:]

    def _scores(self, known: Known) -> Scores:
        passed, compared = self._kept[self.steps]
        return (known.matrix(self._items) @ passed) @ compared.T


def graph_of(matrix: sparse.csr_array) -> sparse.csr_array:
    """Both sides of who has what, each edge divided by the roots of its ends' degrees.

    Args:
        matrix: CSR [users, items], 1 where the user has the item.

    Returns:
        float32 CSR [users + items, users + items], symmetric.
    """
    whole = sparse.csr_array(sparse.block_array([[None, matrix], [matrix.T, None]], format="csr"))
    degrees = np.maximum(np.diff(whole.indptr), 1)
    scale = sparse.diags_array(1 / np.sqrt(degrees), format="csr")
    return sparse.csr_array(scale @ whole @ scale).astype(np.float32)


@final
class Smoothed(torch.autograd.Function):
    """The mean of all layers; linear and symmetric, so that it is its own gradient."""

    @staticmethod
    def forward(context: Any, vectors: Tensor, graph: sparse.csr_array, layers: int) -> Tensor:
        """float32 [users + items, width]."""
        context.graph, context.layers = graph, layers
        return _mean_of_layers(vectors, graph, layers)

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the vectors."""
        return _mean_of_layers(slopes[0], context.graph, context.layers), None, None


def _mean_of_layers(vectors: Tensor, graph: sparse.csr_array, layers: int) -> Tensor:
    layer = vectors.detach().numpy()
    total = layer.copy()
    for _ in range(layers):
        layer = graph @ layer
        total += layer
    return torch.from_numpy(total / np.float32(layers + 1))


def softmax_loss(users: Tensor, items: Tensor, taken: sparse.csr_array) -> Tensor:
    """Mean over events of how unlikely the item was among all that somebody took.

    Args:
        users: [users, width].
        items: [items, width].
        taken: CSR [users, items].
    """
    owners = torch.from_numpy(np.repeat(np.arange(taken.shape[0]), np.diff(taken.indptr)))
    columns = torch.from_numpy(taken.indices.astype(np.int64))
    logits = users @ items.T
    return (torch.logsumexp(logits, dim=1)[owners] - logits[owners, columns]).mean()
