"""The shop prior: what a ranking head should be in a shop that looks like this one, learned from many shops.

Channels mean the same in every catalog, so how far each is to be believed can be learned from other shops. It depends
on the shop: in a sparse one popularity says more than co-occurrence. `W = W₀ + U tanh(V s)`, s the shop's statistics:
the head's linear weights, the offsets of its hidden layer and what this adds move in a few directions that the training
shops have in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recllm.adaptation.statistics import HISTORY, STATISTICS, shop_statistics
from recllm.artifact import Artifact, fingerprint, load_artifact, save_artifact
from recllm.artifact.arrays import SavedArrays
from recllm.data.histories import Histories
from recllm.errors import ArtifactError
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.resources import data_folder

KIND = "shop-prior"

VERSION = 1
"""Of what the statistics and the channels mean; a prior of another version is refused."""

FARTHEST = 2.5
"""Statistics count as if no farther than this from the training shops' mean, in their spreads."""

PLACES = 3
"""Numbers per channel: to weigh how much is known, whether it is nothing, and the bias."""

ALIKE = {"senses": "text"}
"""Channels that no prior has seen, and the one that each is thought of as."""


@final
@dataclass(frozen=True, eq=False)
class ShopPrior:
    """Makes a ranking head from a shop's statistics.

    Attributes:
        channels: Names, in the order of the arrays.
        mean: Of the statistics over training shops, float32 [statistics].
        spread: And their spread, float32 [statistics].
        down: From statistics to the directions in which shops differ, float32 [directions, statistics].
        down_bias: float32 [directions].
        weights: W₀ of the linear weights, float32 [channels, 3].
        weights_by: How they move along each direction, float32 [directions, channels, 3].
        hidden: Of the head's hidden layer, float32 [hidden, channels + 2].
        hidden_bias: float32 [hidden].
        hidden_by: How its offsets move, float32 [directions, hidden].
        output: What each hidden unit adds, float32 [hidden].
        output_by: How that moves, float32 [directions, hidden].
    """

    channels: tuple[str, ...]
    mean: np.ndarray
    spread: np.ndarray
    down: np.ndarray
    down_bias: np.ndarray
    weights: np.ndarray
    weights_by: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    hidden_by: np.ndarray
    output: np.ndarray
    output_by: np.ndarray

    def __repr__(self) -> str:
        return f"ShopPrior({len(self.channels)} channels, {len(self.down)} directions, {self.digest[:12]})"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of it."""
        return fingerprint(*self.channels, *self.arrays().values())

    def directions(self, statistics: Float[np.ndarray, "statistics"]) -> Float[np.ndarray, "directions"]:
        """Where a shop lies, each between -1 and 1."""
        away = np.clip((statistics - self.mean) / self.spread, -FARTHEST, FARTHEST)
        found: np.ndarray = np.tanh(self.down @ away + self.down_bias)
        return found

    def linear(self, statistics: Float[np.ndarray, "statistics"]) -> Float[np.ndarray, "channels 3"]:
        """The linear weights of all channels in such a shop."""
        found: np.ndarray = self.weights + np.tensordot(self.directions(statistics), self.weights_by, axes=1)
        return found

    def head(
        self, statistics: Float[np.ndarray, "statistics"], names: Sequence[str], config: RankingConfig
    ) -> RankingHead:
        """The head of such a shop; of a channel that the prior does not know it thinks nothing.

        Args:
            statistics: Of the shop.
            names: Its channels, in the order in which the head reads them.
            config: Of the head; its hidden layer is as wide as the prior's.
        """
        known_as = [name if name in self.channels else ALIKE.get(name, "") for name in names]
        places = [self.channels.index(name) if name in self.channels else -1 for name in known_as]
        known = np.array(places) >= 0
        where = self.directions(statistics)
        linear = np.where(known[:, None], self.linear(statistics)[places], 0.0)
        inward = np.where(known, self.hidden[:, places], 0.0)
        head = RankingHead(len(names), replace(config, hidden=len(self.hidden)))
        made = {
            "weights.weight": linear[:, :-1],
            "weights.bias": linear[:, -1],
            "hidden.weight": np.concatenate([inward, self.hidden[:, len(self.channels) :]], axis=1),
            "hidden.bias": self.hidden_bias + where @ self.hidden_by,
            "output.weight": (self.output + where @ self.output_by)[None],
        }
        head.load_state_dict({name: _tensor(array) for name, array in made.items()})
        return head

    def untaught_head(
        self, histories: Histories, items: int, names: Sequence[str], config: RankingConfig
    ) -> RankingHead:
        """The head of a shop with these users whose transformer nothing has taught, so that nothing is believed of it.

        Args:
            histories: Of its users.
            items: Size of the catalog.
            names: Its channels.
            config: Of the head.
        """
        heard = tuple("" if name == HISTORY else name for name in names)
        return self.head(shop_statistics(histories, items, heard), heard, config)

    # -- on disk ------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "channels"}

    def save(self, folder: str | Path, card: str) -> None:
        """Write it to a folder, with its card.

        Raises:
            ArtifactError: The disk refuses.
        """
        about = {"version": VERSION, "channels": list(self.channels), "statistics": list(STATISTICS)}
        save_artifact(folder, kind=KIND, tensors={"prior": self.arrays()}, documents={"prior": about}, card=card)

    @classmethod
    def load(cls, folder: str | Path) -> "ShopPrior":
        """What `save` wrote.

        Raises:
            ArtifactError: It is damaged, none, or of another version of recllm.
        """
        try:
            return cls._from(load_artifact(folder, KIND))
        except ArtifactError as error:
            raise ArtifactError(f"the shop prior cannot be used: {error}") from error

    @classmethod
    def _from(cls, artifact: Artifact) -> "ShopPrior":
        about: Any = artifact.documents.get("prior")
        if not isinstance(about, dict) or about.get("version") != VERSION:
            version = about.get("version") if isinstance(about, dict) else None
            raise ArtifactError(
                f"it is of version {version!r}, and this recllm reads version {VERSION}; "
                "take the one that came with recllm, or make it again."
            )
        names = about.get("channels")
        if about.get("statistics") != list(STATISTICS) or not isinstance(names, list) or not names:
            raise ArtifactError("it goes by other statistics or channels than this recllm has; make it again.")
        saved = SavedArrays("the prior", artifact.tensors.get("prior", {}))
        directions, hidden, channels, statistics = (
            saved.shape("down")[0],
            len(saved.floats("hidden_bias", None)),
            len(names),
            len(STATISTICS),
        )
        shapes = {
            "mean": (statistics,),
            "spread": (statistics,),
            "down": (directions, statistics),
            "down_bias": (directions,),
            "weights": (channels, PLACES),
            "weights_by": (directions, channels, PLACES),
            "hidden": (hidden, channels + PLACES - 1),
            "hidden_by": (directions, hidden),
            "output": (hidden,),
            "output_by": (directions, hidden),
        }
        arrays = {name: saved.floats(name, *shape) for name, shape in shapes.items()}
        arrays["hidden_bias"] = saved.floats("hidden_bias", hidden)
        saved.all_taken()
        if not (arrays["spread"] > 0).all():
            raise ArtifactError("the spread of a statistic is not above 0.")
        return cls(channels=tuple(map(str, names)), **arrays)


def open_prior(name: str) -> ShopPrior:
    """A prior that came with recllm, by its name, or one in a folder.

    Raises:
        ArtifactError: There is none, or it cannot be used.
    """
    shipped = {folder.name: folder for folder in data_folder("adapters").iterdir() if folder.is_dir()}
    if name in shipped:
        return ShopPrior.load(shipped[name])
    if not name or not Path(name).is_dir():
        raise ArtifactError(
            f"there is no shop prior {name!r}: no folder has that name, and with recllm came {', '.join(shipped)}; "
            "name one of these, the folder of another, or None for none."
        )
    return ShopPrior.load(name)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
